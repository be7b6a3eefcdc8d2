"""What goes by bars goes by bars on a live feed, too, where each sector tells something each second, in the night as well."""

from dataclasses import replace

import pandas as pd
import pytest

from tandem.adapters.calendar import session_grid
from tandem.domain.forecasts import MarketState
from tandem.domain.ids import SectorId
from tandem.domain.trading import PairState
from tandem.flow.barrier import Decidable
from tandem.flow.session_end import Policy, SessionEnd
from tandem.portfolio.desk import Desk
from tandem.portfolio.gate import Gate
from tandem.portfolio.guard import Guard
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from trading_cases import CONSUMER, KO, PEP, batch, forecast
from trading_table import RISK, S, Table

SECTORS = (CONSUMER, SectorId("energy"), SectorId("technology"))


def ns(text: str) -> int:
    return pd.Timestamp(text, tz="America/New_York").value


class Live(Table):
    """Bars of some length on a live feed of three sectors."""

    def __init__(self, bar: str, risk: Risk = RISK) -> None:
        super().__init__()
        grid = session_grid(bar, ns("2024-07-01"), ns("2024-07-20"))
        specs, gate, guard = self.desk.specs, Gate(self.books, RISK.pretrade, grid=grid), Guard(self.books, RISK.breakers, grid=grid)
        sender = Sender(self.broker, lambda: False)
        self.desk = Desk(self.books, sender, risk, bars_per_day=78.0, live_run="account", gate=gate, guard=guard)
        self.desk.specs = specs

    def at(self, at_ns: int, *forecasts: object, market: tuple[MarketState, ...] = ()) -> None:
        """Each sector's batch, as they come without lockstep."""
        for sector in SECTORS:
            mine = forecasts if sector == CONSUMER else ()
            found = replace(batch(at_ns, *mine, market=market if sector == CONSUMER else ()), sector=sector, lockstep=False)
            self.desk.trade(Decidable(replay_id="r1", bar_close_ns=at_ns, lockstep=False, end_of_stream=False, batches=(found,)), 0)
        self.books.flush_if_due()


@pytest.mark.parametrize(
    ("bar", "bars"),
    [
        ("5min", ["2024-07-02 10:00", "2024-07-02 10:05", "2024-07-02 10:10", "2024-07-02 10:15", "2024-07-02 10:20", "2024-07-02 10:25"]),
        ("1d", ["2024-07-02 16:00", "2024-07-03 13:00", "2024-07-05 16:00", "2024-07-08 16:00", "2024-07-09 16:00", "2024-07-10 16:00"]),
    ],
)
def test_an_opening_waits_for_bars_and_not_for_heartbeats(bar: str, bars: list[str]) -> None:
    """A decision on daily bars is sent after the close, and its orders wait for the next open."""
    live, patience = Live(bar), RISK.patience.leg_wait_bars_max
    assert patience < len(bars)
    live.at(ns(bars[0]), forecast())
    for number, clock in enumerate(bars[1 : patience + 1], start=1):
        for second in range(1, 20):
            live.at(ns(bars[number - 1]) + second * S + 350_000_000)
        assert live.state() is PairState.OPENING, f"after {number - 1} bars"
        live.at(ns(clock), forecast(z=-1.5))
    assert live.state() is PairState.FLAT


def test_an_unwinding_is_not_given_up_within_seconds() -> None:
    """Its attempts are a bar apart, or `retry_s`."""
    live = Live("5min")
    live.at(ns("2024-07-02 10:00"), forecast())
    live.books.book_fill(live.broker.fill(PEP, ns("2024-07-02 10:01")))
    for second in range(1, 200):
        live.at(ns("2024-07-02 10:01") + second * S + 350_000_000)
    assert live.state() is not PairState.QUARANTINED


@pytest.mark.parametrize(("clock", "trips"), [("2024-07-02 20:00", False), ("2024-07-03 09:30:05", False), ("2024-07-03 10:00", True)])
def test_nobody_misses_trades_where_no_bar_closes(clock: str, trips: bool) -> None:
    """At night, and in the first seconds of a session; a bar that closes on old prices is another thing."""
    live, close_ns = Live("5min"), ns("2024-07-02 16:00")
    live.at(close_ns, market=tuple(MarketState(symbol=name, last_usd=50.0, last_ns=close_ns - S) for name in (KO, PEP)))
    live.at(ns(clock))
    assert ("breaker/stale_data" in live.books.trading_states) == trips


def test_the_equity_curve_has_a_point_a_bar() -> None:
    live = Live("5min")
    first = ns("2024-07-02 10:00")
    live.at(first, forecast())
    for second in range(1, 20):
        live.at(first + second * S + 350_000_000)
    live.at(first + 300 * S, forecast(z=-1.5))
    points = [point.bar_close_ns for changes in (*live.store.written, live.books.changes) for point in changes.equity]
    assert sorted(set(points)) == [first, first + 300 * S]


@pytest.mark.parametrize("kept", [False, True], ids=["closed", "kept"])
def test_a_sector_in_which_nothing_trades_any_more_is_closed_for_the_night_all_the_same(kept: bool) -> None:
    """No bar of it closes: the heartbeat after each bar's end is all that comes. What cannot go is told of, once."""
    live = Live("5min", replace(RISK, session_end=SessionEnd(policy=Policy.CLOSE, margin_minutes=30)))
    live.at(ns("2024-07-03 12:00"), forecast())
    for symbol in (KO, PEP):
        live.books.book_fill(live.broker.fill(symbol, ns("2024-07-03 12:01")))
    live.at(ns("2024-07-03 12:05"), forecast(z=-1.5))
    if kept:
        live.desk.specs = {pair: replace(spec, frozen=True) for pair, spec in live.desk.specs.items()}
    for clock in ("12:29:59.3", "12:30:00.3", "12:30:01.3"):
        live.at(ns(f"2024-07-03 {clock}"))
        assert (live.state() is PairState.HEDGED) == (kept or clock < "12:30")
    assert live.state() is (PairState.HEDGED if kept else PairState.CLOSING)

    for clock in ("12:59:59.3", "13:00:00.3", "13:00:01.3", "13:00:02.3"):
        live.at(ns(f"2024-07-03 {clock}"))
    told = [e for changes in (*live.store.written, live.books.changes) for e in changes.risk_events.values() if e.code == "held_over_night"]
    assert [event.event_ns for event in told] == [ns("2024-07-03 13:00:00.3")]
