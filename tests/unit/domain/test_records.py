"""Records that would be invalid cannot be made."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tandem.domain.control import PairSpec, RoutingPointer, control_key
from tandem.domain.errors import InvariantBroken
from tandem.domain.forecasts import Forecast
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.ledger import CASH, TRADING, USD, Entry, Posting
from tandem.domain.market import TICK_DTYPE, SessionGrid, Source, TickFrame
from tandem.domain.trading import Order, Side

FORECAST = Forecast(
    pair=PairId("KO-PEP"),
    leg_a=Symbol("KO"),
    leg_b=Symbol("PEP"),
    price_a=50.0,
    price_b=100.0,
    beta=0.9,
    mu=0.1,
    spread=0.01,
    expected_spread=0.009,
    z=1.0,
    variance=1e-4,
    garch_variance=1e-4,
    reversion_probability=0.6,
    half_life_bars=12.0,
    bar_index=3,
)
SPEC = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


@pytest.mark.parametrize("field", ["price_a", "price_b", "beta", "spread", "z", "variance", "garch_variance"])
def test_a_forecast_never_holds_nan(field: str) -> None:
    """The promise "never a NaN out" is kept by the record itself."""
    with pytest.raises(ValueError, match="finite"):
        replace(FORECAST, **{field: float("nan")})


@pytest.mark.parametrize(
    ("field", "value"), [("variance", 0.0), ("garch_variance", -1.0), ("price_a", 0.0), ("reversion_probability", 1.1)]
)
def test_a_forecast_out_of_range_is_refused(field: str, value: float) -> None:
    """Variances and prices are above zero, a probability is one."""
    with pytest.raises(ValueError, match="KO-PEP"):
        replace(FORECAST, **{field: value})


def test_an_entry_that_does_not_sum_to_zero_cannot_exist() -> None:
    """Money does not appear."""
    cash = Posting(account=CASH, commodity=USD, amount=Decimal("-5.00"))
    with pytest.raises(InvariantBroken, match=r"USD.*-4\.99|sums to"):
        Entry(
            entry_id="e",
            kind="fill",
            source_id="x",
            pair="",
            event_ns=0,
            postings=(cash, Posting(account=TRADING, commodity=USD, amount=Decimal("4.99"))),
        )


def test_dollars_do_not_balance_shares() -> None:
    """Each commodity sums to zero for itself."""
    with pytest.raises(InvariantBroken):
        Entry(
            entry_id="e",
            kind="fill",
            source_id="x",
            pair="",
            event_ns=0,
            postings=(
                Posting(account=CASH, commodity=USD, amount=Decimal(-5)),
                Posting(account=TRADING, commodity="KO", amount=Decimal(5)),
            ),
        )


@pytest.mark.parametrize(
    "change",
    [{"exit_z": 2.0}, {"stop_z": 2.0}, {"exit_z": -0.1}, {"leg_b": "KO"}, {"notional_usd": Decimal(0)}, {"probability_min": 1.0}],
)
def test_pair_thresholds_are_ordered(change: dict[str, object]) -> None:
    """0 <= exit < entry < stop, two legs, money to trade with."""
    with pytest.raises(ValueError, match="KO-PEP"):
        replace(SPEC, **change)  # type: ignore[arg-type]


def test_orders_have_shares() -> None:
    """An order of nothing is refused."""
    with pytest.raises(ValueError, match="above 0"):
        Order(
            client_order_id="c",
            intent_id="i",
            pair=SPEC.pair,
            leg="a",
            attempt=0,
            symbol=SPEC.leg_a,
            side=Side.BUY,
            qty=0,
            limit_usd=None,
            decided_ns=0,
        )


def test_control_keys_name_their_kind() -> None:
    """One key a pair and a sector: compaction keeps the newest."""
    pointer = RoutingPointer(sector=SectorId("consumer"), version="3", digest="d", epoch=2)
    assert (control_key(SPEC), control_key(pointer)) == ("pair/KO-PEP", "routing/consumer")


def test_a_frame_names_the_symbols_of_its_ticks() -> None:
    """An index that points nowhere is refused where the frame is made."""
    ticks = np.zeros(1, TICK_DTYPE)
    ticks["symbol"] = 1
    with pytest.raises(ValueError, match="names 1 symbols"):
        TickFrame(sector=SectorId("x"), source=Source.LIVE, replay_id="", symbols=(Symbol("KO"),), ticks=ticks)


def test_sessions_are_disjoint() -> None:
    """Overlapping sessions would put a tick into two bars."""
    with pytest.raises(ValueError, match="disjoint"):
        SessionGrid(open_ns=np.array([0, 5]), close_ns=np.array([10, 20]), bar_ns=1)
