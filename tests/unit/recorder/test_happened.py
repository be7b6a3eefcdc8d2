"""What happened to symbols: every event has its row, and a bar that was corrected late is the bar that it should have been."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.adapters.calendar import session_grid
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    TICK_DTYPE,
    Bar,
    Heartbeat,
    Source,
    TickFrame,
)
from tandem.domain.units import NS_PER_S, ns_of
from tandem.flow import bars
from tandem.flow.recorded_bars import bars_of
from tandem.recorder.happened import amendments_of, event_of, events_of, revised

MINUTE_NS = 60 * NS_PER_S
OPEN_NS = ns_of(datetime(2025, 7, 3, 13, 30, tzinfo=UTC))
GRID = session_grid("1min", OPEN_NS - 60 * MINUTE_NS, OPEN_NS + 60 * MINUTE_NS)
KO, PEP = Symbol("KO"), Symbol("PEP")
STREAM = {"sector": SectorId("staples"), "source": Source.RECYCLED, "replay_id": "r"}
Row = tuple[int, int, float, int, int, int, int]


def frame(*rows: Row) -> TickFrame:
    return TickFrame(**STREAM, symbols=(KO, PEP), ticks=np.array(list(rows), TICK_DTYPE))


def beat(minute: int) -> Heartbeat:
    return Heartbeat(**STREAM, watermark_ns=OPEN_NS + minute * MINUTE_NS)


def trade(number: int, at_s: float, price: float, size: int = 10, symbol: int = 0) -> Row:
    return (OPEN_NS + int(at_s * NS_PER_S), number, price, size, symbol, KIND_TRADE, 0)


def late_outcome(log: list[TickFrame | Heartbeat]) -> tuple[str, Bar | None, int | None]:
    """What becomes of the amendment in the log's last record."""
    last = log[-1]
    assert isinstance(last, TickFrame)
    state = bars.initial_bars(GRID)
    for event in log:
        state, _ = bars.step(state, event)
    (amendment,) = amendments_of(state.late)
    row = event_of(amendment.frame, amendment.frame.ticks[amendment.place], "t", len(log) - 1, outcome="")
    outcome, revision = revised(
        amendment,
        len(log) - 1,
        grid=GRID,
        timeframe="1min",
        read_back=lambda start, stop: log[start:stop],
        event=row,
    )
    return outcome, revision.bar if revision else None, revision.close_ns if revision else None


def test_a_cancel_after_the_close_takes_the_bad_print_out_of_the_stored_bar():
    log = [frame(trade(1, 1, 60.0), trade(2, 2, 600.0), trade(3, 3, 61.0)), beat(1), frame(trade(4, 70, 62.0))]
    log.append(frame((OPEN_NS + 80 * NS_PER_S, 2, 600.0, 10, 0, KIND_CANCEL, 0)))
    outcome, bar, close_ns = late_outcome(log)
    assert (outcome, close_ns) == ("bar_revised", OPEN_NS + MINUTE_NS)
    assert bar is not None
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades) == (60.0, 61.0, 60.0, 61.0, 20, 2)


def test_a_bar_whose_only_trade_never_was_is_none():
    log = [frame(trade(1, 1, 60.0)), beat(1), frame((OPEN_NS + 80 * NS_PER_S, 1, 60.0, 10, 0, KIND_CANCEL, 0))]
    assert late_outcome(log) == ("bar_revised", None, OPEN_NS + MINUTE_NS)


@pytest.mark.parametrize(
    ("first", "outcome"),
    [(trade(7, 1, 60.0), "trade_unknown"), (trade(1, -120, 60.0), "trade_outside"), (trade(1, 1, 60.0, symbol=1), "trade_unknown")],
    ids=["another trade", "before the open", "another symbol"],
)
def test_what_no_stored_bar_holds_changes_none(first, outcome):
    grid_begins = frame(trade(0, -180, 1.0))
    log = [grid_begins, frame(first), beat(1), frame((OPEN_NS + 80 * NS_PER_S, 1, 61.0, 10, 0, KIND_CORRECTION, 0))]
    assert late_outcome(log)[0] == outcome


_TRADES = st.lists(st.tuples(st.integers(0, 3 * 60 - 1), st.integers(1, 99), st.integers(0, 1)), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(_TRADES, st.data())
def test_a_revised_bar_is_the_bar_of_a_market_without_the_mistake(times, data):
    """Whichever trade of whichever bar is corrected or cancelled, however the log is cut into frames."""
    rows = [trade(i, at_s, float(price), symbol=symbol) for i, (at_s, price, symbol) in enumerate(sorted(times))]
    wrong = data.draw(st.sampled_from(rows))
    kind, price = data.draw(st.sampled_from([(KIND_CANCEL, wrong[2]), (KIND_CORRECTION, 500.0)]))
    log: list[TickFrame | Heartbeat] = []
    for minute in range(3):
        mine = [row for row in rows if minute * 60 <= (row[0] - OPEN_NS) / NS_PER_S < (minute + 1) * 60]
        cut = data.draw(st.integers(0, len(mine)))
        log += [frame(*part) for part in (mine[:cut], mine[cut:]) if part]
        log.append(beat(minute + 1))
    log.append(frame((OPEN_NS + 200 * NS_PER_S, wrong[1], price, 10, wrong[4], kind, 0)))
    outcome, bar, close_ns = late_outcome(log)
    right = [row if row is not wrong else replace_price(row, price) for row in rows if row is not wrong or kind == KIND_CORRECTION]
    expected = {(s.close_ns, name): b for s in (bars_of(GRID, frame(*right)) if right else ()) for name, b in s.bars.items()}
    assert outcome == "bar_revised"
    assert bar == expected.get((close_ns, (KO, PEP)[wrong[4]]))


def replace_price(row: Row, price: float) -> Row:
    return (*row[:2], price, *row[3:])


def test_every_event_has_its_row_and_quotes_have_none():
    rows = frame(
        trade(1, 1, 60.0),
        (OPEN_NS, 0, 59.0, 1, 0, KIND_BID, 0),
        (OPEN_NS, 0, 61.0, 1, 0, KIND_ASK, 0),
        (OPEN_NS, 0, 0.0, 0, 1, KIND_STATUS, 1),
        (OPEN_NS, 0, 54.0, 0, 1, KIND_BAND_LOW, 0),
        (OPEN_NS + 5, 1, 60.5, 10, 0, KIND_CORRECTION, 0),
        (OPEN_NS + 6, 9, 60.5, 10, 0, KIND_CANCEL, 0),
    )
    late = replace(rows, ticks=rows.ticks[-1:])
    found = events_of(rows, "t", 4, (late,))
    assert [(e.kind, e.symbol, e.outcome, e.record_offset) for e in found] == [
        ("status", PEP, "noted", 4),
        ("band_low", PEP, "noted", 4),
        ("correction", KO, "bar_open", 4),
    ]
