"""Pre-trade checks: each has its code, its case that is refused and its case that is let through."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.assets import Asset
from tandem.domain.forecasts import MarketState
from tandem.domain.trading import Side
from tandem.flow.pretrade import Code, OrderCase, PretradeCase, PretradeLimits, Purpose, Session, check, cost_usd
from trading_cases import KO, PEP

S = 1_000_000_000
MINUTE = 60 * S
OPEN_NS = 1_000_000 * S
CLOSE_NS = OPEN_NS + 390 * MINUTE
AT_NS = OPEN_NS + 100 * MINUTE
LIMITS = PretradeLimits()
BUY = OrderCase(symbol=KO, side=Side.BUY, qty=Decimal(200), price_usd=Decimal("50.00"))
SELL = OrderCase(symbol=PEP, side=Side.SELL, qty=Decimal(80), price_usd=Decimal("100.00"))


def market(symbol: str, price: float, **changes: object) -> MarketState:
    """Traded and quoted a second ago, 2 cents wide."""
    base = MarketState(symbol=symbol, last_usd=price, last_ns=AT_NS - S, bid_usd=price - 0.01, ask_usd=price + 0.01, quote_ns=AT_NS - S)
    return replace(base, **changes)


def case(**changes: object) -> PretradeCase:
    """Opening: 200 KO bought at 50, 80 PEP sold short at 100, in the midst of a session, everything known and well."""
    base = PretradeCase(
        purpose=Purpose.OPEN,
        at_ns=AT_NS,
        bar_ns=MINUTE,
        orders=(SELL, BUY),
        session=Session(open_ns=OPEN_NS, close_ns=CLOSE_NS),
        market={KO: market(KO, 50.0), PEP: market(PEP, 100.0)},
        assets={name: Asset(symbol=name, adv_shares=1e6) for name in (KO, PEP)},
        buying_power_usd=Decimal(100_000),
        requests_left=200,
    )
    return replace(base, **changes)


def seen(symbol: str, price: float, **changes: object) -> dict[str, object]:
    """The case's change in which one symbol's market is another."""
    return {"market": {KO: market(KO, 50.0), PEP: market(PEP, 100.0), symbol: market(symbol, price, **changes)}}


def asset(symbol: str, **changes: object) -> dict[str, object]:
    return {"assets": {symbol: Asset(symbol=symbol, **changes)}}


def codes(found: PretradeCase, limits: PretradeLimits = LIMITS) -> list[Code]:
    return [refusal.code for refusal in check(found, limits)]


def test_orders_against_which_nothing_speaks_may_leave() -> None:
    assert check(case(), LIMITS) == ()


REFUSED: list[tuple[Code, dict[str, object]]] = [
    (Code.DUPLICATE_INTENT, {"intent_known": True}),
    (Code.QTY_NOT_WHOLE, {"orders": (SELL, replace(BUY, qty=Decimal("200.5")))}),
    (Code.QTY_NOT_WHOLE, {"orders": (SELL, replace(BUY, qty=Decimal(-1)))}),
    (Code.TICK_SIZE, {"orders": (SELL, replace(BUY, limit_usd=Decimal("50.005")))}),
    (Code.TICK_SIZE, {"orders": (SELL, replace(BUY, limit_usd=Decimal(0)))}),
    (Code.TURNS_OVER, {"orders": (replace(SELL, held_shares=Decimal(80), closable_shares=Decimal(79)), BUY)}),
    (Code.NOTIONAL_MIN, {"orders": (SELL, replace(BUY, qty=Decimal(1), price_usd=Decimal("0.5"))), "market": {}}),
    (Code.NOTIONAL_MAX, {"orders": (SELL, replace(BUY, qty=Decimal(20_001))), "assets": {}, "buying_power_usd": None}),
    (Code.ADV_SHARE, asset(KO, adv_shares=19_999.0)),
    (Code.NOT_TRADABLE, asset(KO, tradable=False)),
    (Code.NOT_SHORTABLE, asset(PEP, shortable=False, easy_to_borrow=False)),
    (Code.HARD_TO_BORROW, asset(PEP, easy_to_borrow=False)),
    (Code.HALTED, seen(KO, 50.0, halted=True)),
    (Code.JUST_RESUMED, seen(KO, 50.0, resumed_ns=AT_NS - 300 * S + 1)),
    (Code.JUST_RESUMED, seen(KO, 50.0, resumed_ns=AT_NS + S)),  # the log is ahead of the bar
    (Code.JUST_RESUMED, seen(KO, 50.0, resumed_ns=AT_NS - 400 * S, last_ns=AT_NS - 401 * S)),
    (Code.JUST_RESUMED, seen(KO, 50.0, resumed_ns=AT_NS - 400 * S, last_ns=0)),
    (Code.HALTED, seen(KO, 50.0, resumed_ns=AT_NS - 100 * S, halted=True)),
    (Code.SHORT_RESTRICTED, seen(PEP, 100.0, short_restricted=True)),
    (Code.SHORT_RESTRICTED, seen(PEP, 100.0, short_restricted=True) | {"orders": (replace(SELL, limit_usd=Decimal("99.99")), BUY)}),
    (Code.SESSION_CLOSED, {"session": None}),
    (Code.NEAR_CLOSE, {"session": Session(open_ns=OPEN_NS, close_ns=AT_NS + 15 * MINUTE)}),
    (Code.PRICE_STALE, seen(KO, 50.0, last_ns=AT_NS - 901 * S)),
    (Code.QUOTE_STALE, seen(KO, 50.0, quote_ns=AT_NS - 121 * S)),
    (Code.QUOTE_CROSSED, seen(KO, 50.0, bid_usd=50.02, ask_usd=50.01)),
    (Code.QUOTE_CROSSED, seen(KO, 50.0, bid_usd=50.0, ask_usd=50.0)),
    (Code.QUOTE_CROSSED, seen(KO, 50.0, bid_usd=0.0)),
    (Code.SPREAD_WIDE, seen(KO, 50.0, bid_usd=49.8, ask_usd=50.1)),
    (Code.OUTSIDE_BAND, seen(KO, 50.0, band_low_usd=45.0, band_high_usd=50.04)),
    (Code.OUTSIDE_BAND, seen(PEP, 100.0, band_low_usd=99.95, band_high_usd=110.0)),
    (Code.PRICE_OFF_MARKET, seen(KO, 0.5, bid_usd=0.0, ask_usd=0.0, quote_ns=0)),  # decided at 50: a price 100 times the market's
    (Code.PRICE_OFF_MARKET, seen(KO, 50.0, bid_usd=46.99, ask_usd=47.01)),
    (Code.EX_DATE, {"ex_dates": {PEP: "dividend of 1.15 on 2024-06-07"}}),
    (Code.BUYING_POWER, {"buying_power_usd": Decimal("18425.0")}),
    (Code.RATE_BUDGET, {"requests_left": 51}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_each_check_refuses_with_its_code_alone(code: Code, changes: dict[str, object]) -> None:
    found = check(case(**changes), LIMITS)

    assert {refusal.code for refusal in found} == {code}
    assert all(len(refusal.detail) > 10 for refusal in found)


def test_every_code_has_its_case() -> None:
    assert {code for code, _ in REFUSED} | {Code.NEAR_OPEN} == set(Code)


PASSED: list[dict[str, object]] = [
    {"orders": (SELL, replace(BUY, limit_usd=Decimal("50.01")))},
    {"orders": (replace(SELL, held_shares=Decimal(80), closable_shares=Decimal(80)), BUY)},
    {"orders": (SELL, replace(BUY, limit_usd=Decimal("0.1234"))), "market": {}},
    asset(KO, adv_shares=20_000.0),
    asset(KO, shortable=False, easy_to_borrow=False),  # bought, not borrowed
    asset(PEP, easy_to_borrow=False) | {"orders": (replace(SELL, held_shares=Decimal(80)), BUY)},  # sold out of what another pair holds
    seen(KO, 50.0, resumed_ns=AT_NS - 300 * S),
    seen(KO, 50.0, resumed_ns=AT_NS - 400 * S, last_ns=AT_NS - 400 * S),
    seen(KO, 50.0, short_restricted=True),
    seen(PEP, 100.0, short_restricted=True) | {"orders": (replace(SELL, limit_usd=Decimal("100.00")), BUY)},
    {"session": Session(open_ns=OPEN_NS, close_ns=AT_NS + 15 * MINUTE + S)},
    {"session": None, "bar_ns": 86_400 * S},  # daily bars decide at the close, for the next session
    seen(KO, 50.0, last_ns=AT_NS - 900 * S, quote_ns=AT_NS - 120 * S),
    seen(KO, 50.0, bid_usd=0.0, ask_usd=0.0, quote_ns=0),  # never quoted
    seen(KO, 50.0, band_low_usd=49.99, band_high_usd=60.0),  # the lower band does not stop a buyer
    {"market": {}, "assets": {}, "buying_power_usd": None, "requests_left": None},
    {"buying_power_usd": Decimal("18433.6")},
    {"requests_left": 52},
]


@pytest.mark.parametrize("changes", PASSED)
def test_at_the_limit_and_where_nothing_is_known_orders_may_leave(changes: dict[str, object]) -> None:
    assert codes(case(**changes)) == []


def test_all_refusals_of_both_legs_are_told_at_once() -> None:
    found = case(**seen(KO, 50.0, halted=True) | asset(PEP, shortable=False))

    assert codes(found) == [Code.HALTED, Code.NOT_SHORTABLE]


def test_the_first_minutes_of_a_session_may_be_left_out() -> None:
    early = case(at_ns=OPEN_NS + MINUTE, market={})

    assert codes(early) == []
    assert codes(early, replace(LIMITS, open_wait_s=300.0)) == [Code.NEAR_OPEN]


def test_the_wait_after_a_halt_is_a_setting_and_the_first_trade_is_not() -> None:
    """0: as soon as it has traded."""
    at_once = replace(LIMITS, resume_wait_s=0.0)

    assert codes(case(**seen(KO, 50.0, resumed_ns=AT_NS - 2 * S)), at_once) == []
    assert codes(case(**seen(KO, 50.0, resumed_ns=AT_NS)), at_once) == [Code.JUST_RESUMED]


HARMLESS_TO_EXITS = {
    Code.TURNS_OVER,
    Code.NOTIONAL_MIN,
    Code.NOTIONAL_MAX,
    Code.ADV_SHARE,
    Code.NOT_SHORTABLE,
    Code.HARD_TO_BORROW,
    Code.JUST_RESUMED,
    Code.SHORT_RESTRICTED,
    Code.SESSION_CLOSED,
    Code.NEAR_CLOSE,
    Code.PRICE_STALE,
    Code.QUOTE_STALE,
    Code.QUOTE_CROSSED,
    Code.SPREAD_WIDE,
    Code.OUTSIDE_BAND,
    Code.PRICE_OFF_MARKET,
    Code.EX_DATE,
    Code.BUYING_POWER,
    Code.RATE_BUDGET,
}


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_a_reduction_is_stopped_only_by_what_makes_it_impossible_or_wrong(code: Code, changes: dict[str, object]) -> None:
    found = codes(case(purpose=Purpose.REDUCE, **changes))

    assert (found == []) == (code in HARMLESS_TO_EXITS)


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_a_missing_leg_is_completed_at_any_price_but_not_against_the_market_or_the_broker(code: Code, changes: dict[str, object]) -> None:
    found = codes(case(purpose=Purpose.COMPLETE, **changes))

    must = {Code.TURNS_OVER, Code.NOT_SHORTABLE, Code.HARD_TO_BORROW, Code.SHORT_RESTRICTED, Code.BUYING_POWER}
    assert (found == []) == (code in HARMLESS_TO_EXITS - must)


@pytest.mark.parametrize(
    ("held", "side", "opening", "short"),
    [
        (0, Side.BUY, 80, 0),
        (0, Side.SELL, 80, 80),
        (50, Side.SELL, 30, 30),
        (80, Side.SELL, 0, 0),
        (-50, Side.BUY, 30, 0),
        (-50, Side.SELL, 80, 80),
    ],
)
def test_what_closes_a_holding_opens_nothing(held: int, side: Side, opening: int, short: int) -> None:
    order = replace(SELL, side=side, held_shares=Decimal(held))

    assert (order.opening_shares, order.short_shares) == (opening, short)


def test_a_short_sale_reserves_three_percent_above_the_ask() -> None:
    """Alpaca: max(limit, 1.03 x ask) x shares; our margin for a price that moves comes on top."""
    exact = replace(LIMITS, buying_power_margin=Decimal(0))

    assert cost_usd(SELL, market(PEP, 100.0), exact) == Decimal("1.03") * Decimal("100.01") * 80
    assert cost_usd(replace(SELL, limit_usd=Decimal(110)), market(PEP, 100.0), exact) == 8800
    assert cost_usd(BUY, None, LIMITS) == Decimal("10100")
    assert cost_usd(replace(BUY, held_shares=Decimal(-200)), None, LIMITS) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"price_age_s_max": 0.0},
        {"close_cutoff_s": -1.0},
        {"resume_wait_s": -1.0},
        {"short_reserve": Decimal("0.9")},
        {"notional_usd_max": Decimal("0.5")},
    ],
)
def test_limits_that_make_no_sense_cannot_exist(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        replace(LIMITS, **changes)
