"""What is known of a symbol after rows of each kind, when it is told, and that neither the cut into frames nor late rows change it."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.forecasts import MarketState, market_columns
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    KINDS,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TICK_DTYPE,
    Source,
    TickFrame,
)
from tandem.flow.market_view import MarketView, initial_view, see, told

SYMBOLS = (Symbol("PEP"), Symbol("KO"), Symbol("XOM"))  # as a frame names them; XOM is not followed
FOLLOWED = (Symbol("KO"), Symbol("PEP"))
Row = tuple[int, int, float, int, str, int, int]


def row(kind: int, event_ns: int, price: float = 0.0, *, symbol: str = "KO", trade_id: int = 0, flags: int = 0) -> Row:
    return event_ns, trade_id, price, 1, symbol, kind, flags


def frame(*rows: Row) -> TickFrame:
    ticks = np.array([(ns, i, p, n, SYMBOLS.index(Symbol(name)), k, f) for ns, i, p, n, name, k, f in rows], TICK_DTYPE)
    return TickFrame(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=ticks)


def seen(*rows: Row) -> MarketView:
    return see(initial_view(FOLLOWED), frame(*rows))


def known(view: MarketView) -> dict[str, dict[str, object]]:
    """By symbol what differs from a symbol of which nothing was said."""
    nothing = asdict(MarketState(symbol=Symbol("")))
    return {s.symbol: {k: v for k, v in asdict(s).items() if k != "symbol" and v != nothing[k]} for s in told(view, whole=True)[1]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((row(KIND_TRADE, 5, 60.0),), {"last_usd": 60.0, "last_ns": 5}),
        ((row(KIND_TRADE, 5, 60.0), row(KIND_TRADE, 5, 61.0)), {"last_usd": 61.0, "last_ns": 5}),
        ((row(KIND_TRADE, 5, 60.0), row(KIND_TRADE, 4, 61.0)), {"last_usd": 60.0, "last_ns": 5}),
        ((row(KIND_BID, 6, 59.9), row(KIND_ASK, 6, 60.1)), {"bid_usd": 59.9, "ask_usd": 60.1, "quote_ns": 6}),
        ((row(KIND_BID, 6, 59.9), row(KIND_ASK, 6, 60.1), row(KIND_BID, 7), row(KIND_ASK, 7, 60.2)), {"ask_usd": 60.2, "quote_ns": 7}),
        ((row(KIND_STATUS, 7, flags=STATUS_HALTED),), {"halted": True}),
        ((row(KIND_STATUS, 7, flags=STATUS_SHORT_RESTRICTED),), {"short_restricted": True}),
        ((row(KIND_STATUS, 7, flags=STATUS_HALTED), row(KIND_STATUS, 8)), {"resumed_ns": 8}),
        ((row(KIND_STATUS, 7, flags=STATUS_HALTED), row(KIND_STATUS, 8), row(KIND_STATUS, 9)), {"resumed_ns": 8}),
        (
            (row(KIND_STATUS, 7, flags=STATUS_HALTED), row(KIND_STATUS, 8), row(KIND_STATUS, 9, flags=STATUS_HALTED)),
            {"halted": True, "resumed_ns": 8},
        ),
        (
            (row(KIND_STATUS, 7, flags=STATUS_HALTED), row(KIND_STATUS, 8, flags=STATUS_SHORT_RESTRICTED)),
            {"short_restricted": True, "resumed_ns": 8},
        ),
        ((row(KIND_STATUS, 7),), {"resumed_ns": 7}),  # the log begins within a halt
        ((row(KIND_STATUS, 7, flags=STATUS_SHORT_RESTRICTED), row(KIND_STATUS, 8)), {}),
        ((row(KIND_STATUS, 7, flags=STATUS_HALTED), row(KIND_STATUS, 6)), {"halted": True, "resumed_ns": 6}),
        ((row(KIND_BAND_LOW, 8, 57.0), row(KIND_BAND_HIGH, 8, 63.0)), {"band_low_usd": 57.0, "band_high_usd": 63.0}),
        ((row(KIND_TRADE, 5, 60.0, trade_id=9), row(KIND_CORRECTION, 6, 59.0, trade_id=9)), {"last_usd": 59.0, "last_ns": 5}),
        ((row(KIND_TRADE, 5, 60.0, trade_id=9), row(KIND_CORRECTION, 6, 59.0, trade_id=8)), {"last_usd": 60.0, "last_ns": 5}),
        ((row(KIND_TRADE, 5, 60.0, trade_id=9), row(KIND_CANCEL, 6, 60.0, trade_id=9)), {}),
        ((row(KIND_TRADE, 5, 60.0, trade_id=0), row(KIND_CANCEL, 6, 60.0, trade_id=0)), {}),
        ((row(KIND_TRADE, 5, 60.0, flags=6),), None),
        ((row(KIND_TRADE, 5, 60.0), row(KIND_TRADE, 6, 70.0, flags=6)), {"last_usd": 60.0, "last_ns": 5}),
        ((row(KIND_TRADE, 5, 60.0, trade_id=9), row(KIND_CORRECTION, 6, 59.0, trade_id=9, flags=6)), {}),
    ],
)
def test_a_row_of_each_kind_leaves_what_it_says(rows, expected):
    """Trades and quotes by event time, ties by arrival; halts and bands as last said; an amendment only of the last trade."""
    assert known(seen(*rows)) == ({} if expected is None else {"KO": expected})


def test_a_last_trade_that_may_set_no_price_after_all_gives_way_to_the_one_before():
    view = see(seen(row(KIND_TRADE, 5, 60.0, trade_id=9)), frame(row(KIND_CORRECTION, 6, 60.0, trade_id=9, flags=6)), lambda _: (59.0, 4))
    assert known(view) == {"KO": {"last_usd": 59.0, "last_ns": 4}}


def test_symbols_that_no_pair_has_are_passed_over_and_the_rest_is_told_in_order():
    view = seen(row(KIND_TRADE, 1, 100.0, symbol="XOM"), row(KIND_TRADE, 1, 170.0, symbol="PEP"), row(KIND_TRADE, 2, 60.0))
    assert list(known(view)) == ["KO", "PEP"]


def test_nothing_is_told_of_a_symbol_of_which_nothing_was_said():
    assert told(initial_view(FOLLOWED), whole=True)[1] == ()
    assert list(known(seen(row(KIND_TRADE, 1, 60.0)))) == ["KO"]


def test_between_bars_only_what_turned_is_told_and_only_once():
    """A trade or a quote is no news; a halt, its end and a band are."""
    view = seen(row(KIND_TRADE, 1, 60.0), row(KIND_STATUS, 2, symbol="PEP", flags=STATUS_HALTED))
    view, states = told(view, whole=False)
    assert [(s.symbol, s.halted) for s in states] == [("PEP", True)]
    assert told(view, whole=False)[1] == ()
    view = see(view, frame(row(KIND_STATUS, 3, symbol="PEP", flags=STATUS_HALTED), row(KIND_BID, 3, 60.0)))
    assert told(view, whole=False)[1] == ()  # said again: nothing turned
    view = see(view, frame(row(KIND_STATUS, 4, symbol="PEP"), row(KIND_BAND_LOW, 4, 57.0)))
    assert [(s.symbol, s.halted, s.band_low_usd) for s in told(view, whole=False)[1]] == [("KO", False, 57.0), ("PEP", False, 0.0)]


def test_a_halt_that_is_over_when_it_is_told_is_news():
    """Five minutes of pause within a bar of fifteen: what opens at the bar's close must know."""
    view = see(seen(row(KIND_STATUS, 1, flags=STATUS_SHORT_RESTRICTED)), frame(row(KIND_TRADE, 1, 60.0)))
    view, _ = told(view, whole=False)
    restricted = STATUS_SHORT_RESTRICTED
    view = see(view, frame(row(KIND_STATUS, 2, flags=STATUS_HALTED | restricted), row(KIND_STATUS, 3, flags=restricted)))

    assert [(s.halted, s.short_restricted, s.resumed_ns) for s in told(view, whole=False)[1]] == [(False, True, 3)]


_ROWS = st.lists(
    st.builds(
        lambda kind, ns, price, symbol, trade_id, flags: row(
            kind, ns, price, symbol=symbol, trade_id=trade_id, flags=flags if kind in (KIND_STATUS, KIND_TRADE) else 0
        ),
        st.sampled_from(sorted(KINDS)),
        st.integers(1, 30),
        st.floats(0.01, 1e6),
        st.sampled_from(SYMBOLS),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(_ROWS, st.integers(1, 7))
def test_the_cut_into_frames_does_not_matter(rows, size):
    """In order of event time, one frame of all rows and frames of any size leave the same view, unless an amendment is cut off."""
    rows = sorted((r for r in rows if r[5] not in (KIND_CORRECTION, KIND_CANCEL)), key=lambda r: r[0])
    view = initial_view(FOLLOWED)
    for start in range(0, len(rows), size):
        view = see(view, frame(*rows[start : start + size]))
    assert told(view, whole=True)[1] == told(seen(*rows) if rows else initial_view(FOLLOWED), whole=True)[1]


@given(_ROWS)
def test_a_view_is_never_changed_in_place(rows):
    """What an earlier state says stays as it was, whatever is seen after it."""
    before = seen(row(KIND_TRADE, 1, 60.0), row(KIND_BID, 1, 59.9), row(KIND_STATUS, 1, flags=STATUS_HALTED))
    said = told(before, whole=True)[1]
    if rows:
        see(before, frame(*rows))
    assert told(before, whole=True)[1] == said


def test_columns_of_states_are_the_states():
    """Equal to the tuple both ways, with its hash, whole and in part."""
    columns = told(seen(row(KIND_TRADE, 1, 60.0), row(KIND_STATUS, 2, symbol="PEP", flags=STATUS_HALTED)), whole=True)[1]
    states = (MarketState(symbol=Symbol("KO"), last_usd=60.0, last_ns=1), MarketState(symbol=Symbol("PEP"), halted=True))
    assert columns == states
    assert states == columns
    assert hash(columns) == hash(states)
    assert market_columns(states) == columns
    assert columns[1:] == states[1:]
    assert columns.of({Symbol("PEP")}) == states[1:]
    assert columns != states[:1]


def test_columns_do_not_speak_of_halts_that_never_were():
    """Recordings without a halt give the bytes that they gave before there was such a column, in whole and in part."""
    halted = seen(row(KIND_TRADE, 1, 60.0), row(KIND_STATUS, 2, symbol="PEP", flags=STATUS_HALTED), row(KIND_STATUS, 3, symbol="PEP"))
    columns = market_columns(told(halted, whole=True)[1])
    assert columns.columns["resumed_ns"] == [0, 3]
    assert "resumed_ns" not in columns.of({Symbol("KO")}).columns
    assert columns.of({Symbol("PEP")}).columns == market_columns(tuple(columns)[1:]).columns
    assert "resumed_ns" not in market_columns((MarketState(symbol=Symbol("KO"), last_usd=60.0),)).columns
