"""Pairs that are not held over night: closed before the exchange's own close, by event time, whatever their signals say."""

from dataclasses import replace

import pandas as pd
import pytest

from tandem.adapters.calendar import session_grid
from tandem.domain.control import TradingState
from tandem.domain.forecasts import MarketState
from tandem.domain.trading import PairState, TradingMode
from tandem.flow.barrier import Decidable
from tandem.flow.session_end import Policy, SessionEnd
from tandem.portfolio.desk import Desk
from tandem.portfolio.gate import Gate
from tandem.portfolio.sender import Sender
from trading_cases import KO, PAIR, PEP, batch, forecast
from trading_table import OTHER, PG, RISK, S, Table

CLOSING = replace(RISK, session_end=SessionEnd(policy=Policy.CLOSE, margin_minutes=30))


def ns(text: str) -> int:
    return pd.Timestamp(text, tz="America/New_York").value


GRID = session_grid("5min", ns("2024-07-01"), ns("2024-07-10"))


class Day(Table):
    """Bars of five minutes on 3 July 2024, which ends at 13:00."""

    def __init__(self, risk: object = CLOSING) -> None:
        super().__init__()
        specs = self.desk.specs
        gate = Gate(self.books, RISK.pretrade, grid=GRID)
        self.desk = Desk(self.books, Sender(self.broker, lambda: False), risk, bars_per_day=78.0, live_run="account", gate=gate)
        self.desk.specs = specs

    def at(self, clock: str, *forecasts: object, market: tuple[MarketState, ...] = ()) -> None:
        at_ns = ns(f"2024-07-03 {clock}")
        found = batch(at_ns, *(replace(f, bar_index=at_ns // (300 * S)) for f in forecasts), market=market)
        self.desk.trade(Decidable(replay_id="r1", bar_close_ns=at_ns, lockstep=True, end_of_stream=False, batches=(found,)), 0)
        self.books.flush_if_due()

    def filled(self, clock: str, *symbols: str) -> None:
        for symbol in symbols:
            self.books.book_fill(self.broker.fill(symbol, ns(f"2024-07-03 {clock}") - S))

    def alarms(self) -> list[str]:
        return [event.code for changes in (*self.store.written, self.books.changes) for event in changes.risk_events.values()]

    def held(self) -> "Day":
        self.at("12:00", forecast())
        self.filled("12:15", KO, PEP)
        self.at("12:15", forecast(z=-1.5))
        assert self.state() is PairState.HEDGED
        return self


def test_a_held_pair_is_closed_in_time_on_a_half_day_and_the_next_one_opens_no_more() -> None:
    day = Day().held()
    day.at("12:30", forecast(z=-1.5))
    assert day.state() is PairState.CLOSING
    assert day.books.trades[PAIR].exit_reason == "session_end"

    day.filled("12:45", KO, PEP)
    day.at("12:45", forecast())
    assert day.state() is PairState.FLAT
    assert day.desk.reasons[PAIR] == "session_end"
    day.at("13:00", forecast())
    assert day.broker.posts == 4
    assert day.alarms() == []


def test_a_pair_that_is_kept_does_as_its_signal_says() -> None:
    day = Day(RISK).held()
    day.at("12:45", forecast(z=-1.5))

    assert day.state() is PairState.HEDGED
    assert day.desk.reasons[PAIR] == "holding"


def test_a_pair_whose_leg_has_not_traded_is_closed_all_the_same() -> None:
    """No forecast comes of it; another pair's says that the bar is there."""
    day = Day().held()
    day.at("12:30", forecast(pair=OTHER, leg_b=PG))

    assert day.state() is PairState.CLOSING
    assert day.books.trades[PAIR].exit_reason == "session_end"


def test_nothing_is_decided_between_bars() -> None:
    day = Day().held()
    day.at("12:37")

    assert day.state() is PairState.HEDGED
    day.at("12:45")
    assert day.state() is PairState.CLOSING


def test_what_cannot_be_closed_before_the_end_goes_as_soon_as_it_can() -> None:
    """A halt over the close: the order waits for the market, and then for the next open."""
    day, halted = Day().held(), (MarketState(symbol=KO, halted=True), MarketState(symbol=PEP))
    for clock in ("12:30", "12:45"):
        day.at(clock, forecast(z=-1.5), market=halted)
        assert day.state() is PairState.HEDGED
        assert day.desk.reasons[PAIR] == "symbol_halted"

    day.at("13:00", forecast(z=-1.5), market=(MarketState(symbol=KO), MarketState(symbol=PEP)))
    assert day.state() is PairState.CLOSING
    assert day.alarms() == ["closing_waits", "held_over_night"]


@pytest.mark.parametrize("clock", ["12:30", "12:45"])
def test_a_person_who_has_stopped_all_orders_is_obeyed(clock: str) -> None:
    """With a forecast and without one."""
    day = Day().held()
    day.books.trading_state("global", TradingState(scope="global", mode=TradingMode.HALTED, reason="test"))
    day.at(clock, *([forecast(z=-1.5)] if clock == "12:30" else []))

    assert day.state() is PairState.HEDGED


def test_a_pair_that_was_closed_for_the_night_needs_no_rest() -> None:
    day = Day().held()
    day.at("12:30", forecast(z=-1.5))

    assert not day.desk.watch.outlook(forecast()).resting


def test_what_a_person_keeps_over_night_is_told_of() -> None:
    day = Day().held()
    day.desk.specs = {pair: replace(spec, frozen=True) for pair, spec in day.desk.specs.items()}
    for clock in ("12:30", "13:00"):
        day.at(clock, forecast(z=-1.5))

    assert day.state() is PairState.HEDGED
    assert day.alarms() == ["held_over_night"]
