"""Sizing: dollars of the legs, whole shares, and each refusal."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast
from tandem.domain.trading import Action, Side
from tandem.flow.sizing import Exposure, Limits, Plan, Refusal, Refused, confidence, kelly_usd, size, volatility_scale
from trading_cases import KO, PEP, SPEC, forecast

LIMITS = Limits(
    volatility_target_daily=0.01,
    scale_max=1.5,
    pairs_open_max=5,
    gross_exposure_max=Decimal("1.5"),
    symbol_exposure_max=Decimal("0.2"),
    hedge_error_max=Decimal("0.1"),
    short_equity_usd_min=Decimal(2000),
)
EXPOSURE = Exposure(equity_usd=Decimal(1_000_000), pairs_open=0, gross_usd=Decimal(0))
FORECAST = forecast()


def sized(
    forecast: Forecast = FORECAST, action: Action = Action.OPEN_LONG, spec: PairSpec = SPEC, limits: Limits = LIMITS, **exposure: object
):
    return size(forecast, spec, action, limits=limits, exposure=replace(EXPOSURE, **exposure), bars_per_day=1.0)


def test_dollars_of_the_legs_are_as_one_to_beta() -> None:
    """18,000 USD at target volatility: 10,000 of a and 8,000 of b, so 200 and 80 shares."""
    plan = sized()

    assert isinstance(plan, Plan)
    assert (plan.a.side, plan.a.qty, plan.a.notional_usd) == (Side.BUY, 200, Decimal(10_000))
    assert (plan.b.side, plan.b.qty, plan.b.notional_usd) == (Side.SELL, 80, Decimal(8_000))


def test_short_spread_sells_a_and_buys_b() -> None:
    plan = sized(action=Action.OPEN_SHORT)

    assert isinstance(plan, Plan)
    assert (plan.a.side, plan.b.side) == (Side.SELL, Side.BUY)


def test_negative_beta_puts_both_legs_on_one_side() -> None:
    plan = sized(replace(FORECAST, beta=-0.8))

    assert isinstance(plan, Plan)
    assert (plan.a.side, plan.b.side) == (Side.BUY, Side.BUY)


def test_the_short_leg_is_rounded_down_and_the_long_one_follows_it() -> None:
    """b: 8,000 / 101 = 79.2, so 79 shares short; a: 79 x 101 / 0.8 / 50 = 199.475, so 199 shares long."""
    plan = sized(replace(FORECAST, price_b=101.0))

    assert isinstance(plan, Plan)
    assert (plan.a.qty, plan.b.qty) == (199, 79)


@pytest.mark.parametrize(("variance", "scale"), [(1e-4, 1.0), (4e-4, 0.5), (0.25e-4, 1.5), (1e-12, 1.5)])
def test_scale_is_target_over_forecast_volatility_up_to_the_cap(variance: float, scale: float) -> None:
    assert volatility_scale(variance, 1.0, LIMITS) == pytest.approx(scale, rel=1e-12)


def test_volatility_of_a_minute_is_scaled_to_a_day() -> None:
    """390 bars of variance 1e-4 / 390 are one day of 1e-4."""
    assert volatility_scale(1e-4 / 390, 390.0, LIMITS) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("result", "refusal"),
    [
        (sized(replace(FORECAST, beta=0.0)), Refusal.BETA_UNUSABLE),
        (sized(replace(FORECAST, price_b=9_000.0)), Refusal.LEG_ROUNDS_TO_ZERO),
        (sized(replace(FORECAST, price_a=40_000.0, variance=1e-5)), Refusal.LEG_ROUNDS_TO_ZERO),
        (sized(replace(FORECAST, price_a=9_900.0, price_b=4_000.0, variance=1e-5)), Refusal.HEDGE_ERROR),
        (sized(sides={KO: frozenset({Side.SELL})}), Refusal.OPPOSES_OTHER_PAIR),
        (sized(sides={PEP: frozenset({Side.BUY, Side.SELL})}), Refusal.OPPOSES_OTHER_PAIR),
        (sized(pairs_open=5), Refusal.PAIRS_OPEN_MAX),
        (sized(equity_usd=Decimal(1999)), Refusal.SHORT_EQUITY_MIN),
        (sized(gross_usd=Decimal(1_482_001)), Refusal.GROSS_EXPOSURE),
        (sized(symbol_usd={KO: Decimal(190_001)}), Refusal.SYMBOL_EXPOSURE),
        (sized(symbol_usd={PEP: Decimal(-192_001)}), Refusal.SYMBOL_EXPOSURE),
    ],
)
def test_each_limit_refuses_with_its_own_reason(result: Plan | Refused, refusal: Refusal) -> None:
    assert isinstance(result, Refused)
    assert result.refusal is refusal


@pytest.mark.parametrize(
    "result",
    [
        sized(sides={KO: frozenset({Side.BUY}), PEP: frozenset({Side.SELL})}),
        sized(pairs_open=4),
        sized(gross_usd=Decimal(1_482_000)),
        sized(symbol_usd={KO: Decimal(190_000)}),
    ],
)
def test_up_to_each_limit_a_trade_is_allowed(result: Plan | Refused) -> None:
    assert isinstance(result, Plan)


@pytest.mark.parametrize(
    ("price_a", "price_b", "limits", "refusal"),
    [
        (50.004, 100.0, {"symbol_exposure_max": Decimal("0.01")}, Refusal.SYMBOL_EXPOSURE),
        (50.0, 100.004, {"symbol_exposure_max": Decimal("0.01")}, None),
        (50.0, 100.004, {"gross_exposure_max": Decimal("0.018")}, Refusal.GROSS_EXPOSURE),
        (50.004, 100.0, {"net_exposure_max": Decimal("0.002")}, Refusal.NET_EXPOSURE),
        (50.004, 100.0, {"beta_exposure_max": Decimal("0.002")}, Refusal.BETA_EXPOSURE),
        (50.0, 100.004, {"sector_exposure_max": Decimal("0.018")}, Refusal.SECTOR_EXPOSURE),
        (49.996, 100.0, {"symbol_exposure_max": Decimal("0.01"), "net_exposure_max": Decimal("0.002")}, None),
    ],
)
def test_a_cap_sees_the_last_price_as_it_is_and_not_on_its_tick(
    price_a: float, price_b: float, limits: dict[str, Decimal], refusal: Refusal | None
) -> None:
    """200 of a and 80 of b, exactly at the cap by prices on their ticks: the marks show four tenths of a cent more for each share."""
    plan = sized(replace(FORECAST, price_a=price_a, price_b=price_b), limits=replace(LIMITS, **limits))

    assert (plan.refusal if isinstance(plan, Refused) else None) == refusal


def test_limits_that_forbid_everything_are_refused_as_a_mistake() -> None:
    with pytest.raises(ValueError, match="pairs_open_max 0"):
        replace(LIMITS, pairs_open_max=0)


def test_a_pair_at_its_confidence_floor_gets_nothing_and_one_that_is_sure_the_whole() -> None:
    limits = replace(LIMITS, confidence_full=0.8)
    shares = []
    for probability in (0.6, 0.65, 0.7, 0.8, 1.0):
        plan = sized(replace(FORECAST, reversion_probability=probability), limits=limits)
        shares.append(plan.refusal if isinstance(plan, Refused) else plan.a.qty)

    assert shares == [Refusal.CONFIDENCE_FLOOR, 50, 98, 200, 200]  # 39.99 shares of b are 39


def test_a_pair_without_a_floor_does_not_ask_for_the_probability() -> None:
    plan = sized(replace(FORECAST, reversion_probability=0.1), spec=replace(SPEC, probability_min=0.0))

    assert isinstance(plan, Plan)
    assert plan.a.qty == 200


def test_kellys_bet_caps_the_size_of_an_account_that_is_small_for_it() -> None:
    """p 0.7, sigma 0.01 x sqrt(10): a quarter of (2 x 0.7 - 1) / 0.0316 is 3.16 times the equity; of 2,000 USD: 6,325 in leg a."""
    assert float(kelly_usd(FORECAST, Decimal(2_000), LIMITS)) == pytest.approx(6324.6, abs=0.1)
    roomy = replace(LIMITS, gross_exposure_max=Decimal(9), symbol_exposure_max=Decimal(9), sector_exposure_max=Decimal(9))
    roomy = replace(roomy, net_exposure_max=Decimal(9), beta_exposure_max=Decimal(9))
    plan = sized(limits=roomy, equity_usd=Decimal(2_000))

    assert isinstance(plan, Plan)
    assert plan.b.qty == int(6324.6 * 0.8 / 100)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"symbol_usd": {"X": Decimal(499_000)}}, Refusal.NET_EXPOSURE),
        ({"symbol_usd": {"X": Decimal(-503_000)}}, Refusal.NET_EXPOSURE),
        ({"symbol_usd": {"X": Decimal(300_000)}, "betas": {"X": 1.7}}, Refusal.BETA_EXPOSURE),
        ({"betas": {KO: 60.0}}, Refusal.BETA_EXPOSURE),
        ({"sector_usd": {SPEC.sector: Decimal(982_001)}}, Refusal.SECTOR_EXPOSURE),
        ({"symbol_usd": {"X": Decimal(498_000)}}, None),
        ({"symbol_usd": {"X": Decimal(499_000), "Y": Decimal(-499_000)}}, None),
        ({"sector_usd": {SPEC.sector: Decimal(982_000), "energy": Decimal(900_000)}}, None),
    ],
)
def test_caps_on_one_side_of_the_market_on_its_moves_and_on_a_sector(changes: dict[str, object], refusal: Refusal | None) -> None:
    """The pair is 10,000 long and 8,000 short of a million: 2,000 net, 18,000 in its sector."""
    plan = sized(**changes)

    assert (plan.refusal if isinstance(plan, Refused) else None) == refusal


@given(st.floats(1e-7, 1e-2), st.floats(1.0, 50.0), st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0.01, 0.9))
def test_size_never_rises_with_sigma_nor_falls_with_confidence(
    variance: float, times: float, probabilities: list[float], floor: float
) -> None:
    low, high = sorted(probabilities)

    def dollars(probability: float, of: float) -> float:
        found = replace(FORECAST, variance=of, garch_variance=of, reversion_probability=probability)
        scale = volatility_scale(of, 1.0, LIMITS) * confidence(probability, floor, LIMITS)
        return min(scale * 10_000, float(kelly_usd(found, Decimal(1_000_000), LIMITS)))

    assert dollars(low, variance) <= dollars(high, variance)
    assert dollars(high, variance * times) <= dollars(high, variance)
    assert confidence(floor, floor, LIMITS) == 0
    assert dollars(min(low, floor), variance) == 0


@pytest.mark.parametrize(
    "changes", [{"kelly_fraction": 0.26}, {"confidence_full": 1.1}, {"kelly_fraction": 0.0}, {"sector_exposure_max": Decimal(0)}]
)
def test_more_than_a_quarter_of_kelly_cannot_be_asked_for(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at most|above 0"):
        replace(LIMITS, **changes)
