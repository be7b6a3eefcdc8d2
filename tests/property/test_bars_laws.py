"""Laws of bars: volume is conserved, the cut into frames does not matter, stepping equals the batch, and a naive reference agrees."""

from collections import defaultdict
from itertools import pairwise
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import (
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_TRADE,
    TICK_DTYPE,
    Bar,
    BarSet,
    Heartbeat,
    SessionGrid,
    Source,
    TickFrame,
)
from tandem.flow import open_bars
from tandem.flow.bars import initial_bars, step
from tandem.flow.recorded_bars import bars_of

GRID = SessionGrid(open_ns=np.array([0, 100, 200]), close_ns=np.array([50, 163, 240]), bar_ns=20)
_SESSIONS = tuple(zip(GRID.open_ns.tolist(), GRID.close_ns.tolist(), strict=True))
SYMBOLS = (Symbol("KO"), Symbol("PEP"), Symbol("PG"))
_TICK = st.tuples(
    st.integers(0, 240),
    st.floats(0.01, 1e6),
    st.integers(0, 2**32 - 1),
    st.integers(0, len(SYMBOLS) - 1),
)


@st.composite
def recordings(draw: st.DrawFn, ordered: bool = True) -> list[tuple[int, float, int, int]]:
    """Ticks (event_ns, price, size, symbol) in order of arrival."""
    ticks = draw(st.lists(_TICK, max_size=60))
    return sorted(ticks, key=lambda tick: tick[0]) if ordered else ticks


def frame(ticks: list[tuple[int, float, int, int]]) -> TickFrame:
    rows = [(ns, i, price, size, symbol, KIND_TRADE, 0) for i, (ns, price, size, symbol) in enumerate(ticks)]
    return TickFrame(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=np.array(rows, TICK_DTYPE))


def heartbeat(watermark_ns: int) -> Heartbeat:
    return Heartbeat(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id="r", watermark_ns=watermark_ns)


def pieces(items: list, cuts: list[int]) -> list[list]:
    edges = sorted({0, len(items), *(cut % (len(items) + 1) for cut in cuts)})
    return [items[a:b] for a, b in pairwise(edges)]


def bars_in(open_ns: int, close_ns: int) -> int:
    return len(range(open_ns, close_ns, GRID.bar_ns))


def naive_bars(ticks: list[tuple[int, float, int, int]]) -> list[BarSet]:
    """The definition, one tick at a time, in plain Python."""
    held: dict[tuple[int, int, int, int], dict[Symbol, list]] = defaultdict(lambda: defaultdict(list))
    for ns, price, size, symbol in sorted(ticks, key=lambda tick: tick[0]):
        for opens, closes in zip(GRID.open_ns.tolist(), GRID.close_ns.tolist(), strict=True):
            if opens <= ns < closes:
                slot = (ns - opens) // GRID.bar_ns
                start = opens + slot * GRID.bar_ns
                held[min(start + GRID.bar_ns, closes), start, opens, slot][SYMBOLS[symbol]].append((price, size))
    sets = []
    for (close_ns, open_ns, session_ns, slot), by_symbol in sorted(held.items()):
        bars = {}
        for symbol, trades in by_symbol.items():
            prices = [price for price, _ in trades]
            bars[symbol] = Bar(
                symbol=symbol,
                open_ns=open_ns,
                close_ns=close_ns,
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                volume=sum(size for _, size in trades),
                trades=len(trades),
            )
        every = [
            (opens, k)
            for opens, closes in zip(GRID.open_ns.tolist(), GRID.close_ns.tolist(), strict=True)
            for k in range(bars_in(opens, closes))
        ]
        number = every.index((session_ns, slot))
        next_slot = every[number + 1][1] if number + 1 < len(every) else 0
        sets.append(BarSet(close_ns=close_ns, bars=bars, session_ns=session_ns, slot=slot, number=number, next_slot=next_slot))
    return sets


@given(recordings(ordered=False))
def test_the_batch_equals_the_definition(ticks):
    """Every bar of every symbol agrees with a tick-by-tick reading of the rules."""
    assert list(bars_of(GRID, frame(ticks))) == naive_bars(ticks)


@given(recordings(ordered=False), st.lists(st.integers(0, 1000), max_size=8))
def test_the_cut_into_frames_does_not_matter(ticks, cuts):
    """Any split of the same arrivals, followed by one heartbeat, gives the batch's bars."""
    state = initial_bars(GRID)
    for piece in pieces(ticks, cuts):
        state, out = step(state, frame(piece))
        assert out == ()
    assert step(state, heartbeat(240))[1] == bars_of(GRID, frame(ticks))


@given(recordings(), st.lists(st.integers(0, 1000), max_size=8), st.lists(st.integers(0, 240), max_size=8))
def test_stepping_with_true_watermarks_equals_the_batch(ticks, cuts, watermarks):
    """Heartbeats that keep their promise (all ticks before them were sent) never change a bar and never make a tick late."""
    state, sets = initial_bars(GRID), []
    sent = 0
    for watermark_ns in [*sorted(watermarks), 240]:
        upto = sum(1 for tick in ticks if tick[0] < watermark_ns)
        for piece in pieces(ticks[sent:upto], cuts):
            state, _ = step(state, frame(piece))
            assert state.late == ()
        sent = upto
        state, out = step(state, heartbeat(watermark_ns))
        sets.extend(out)
        assert all(s.close_ns <= watermark_ns for s in out)
    assert tuple(sets) == bars_of(GRID, frame(ticks))


@given(st.lists(st.one_of(st.integers(0, 240), st.lists(_TICK, max_size=10)), max_size=20))
def test_volume_is_conserved(events):
    """Whatever comes in whatever order: a tick is in exactly one bar, or late, or outside, and no bar closes twice."""
    state, seen, sizes, late, outside = initial_bars(GRID), [], 0, 0, 0
    for event in [*events, 240]:
        ticks = event if isinstance(event, list) else []
        sizes += sum(size for _, _, size, _ in ticks)
        outside += sum(size for ns, _, size, _ in ticks if not any(a <= ns < b for a, b in zip(GRID.open_ns, GRID.close_ns, strict=True)))
        state, out = step(state, heartbeat(event) if isinstance(event, int) else frame(event))
        late += sum(int(f.ticks["size"].astype(np.int64).sum()) for f in state.late)
        seen.extend(out)
    assert sum(bar.volume for s in seen for bar in s.bars.values()) + late + outside == sizes
    keys = [(s.close_ns, symbol) for s in seen for symbol in s.bars]
    assert len(keys) == len(set(keys))
    assert [s.close_ns for s in seen] == sorted({s.close_ns for s in seen})


_TRADE = st.tuples(st.integers(0, 239), st.floats(0.01, 1e6), st.integers(1, 2**31), st.integers(0, len(SYMBOLS) - 1))


@st.composite
def amended_recordings(draw: st.DrawFn) -> tuple[list[tuple], list[tuple], int]:
    """Rows of trades with corrections and cancels after them in any place; the trades as they should have been; a size of frames.

    A row is (event_ns, trade id, price, size, symbol, kind). Trade ids are places in the list: unique.
    """
    trades = draw(st.lists(_TRADE, min_size=1, max_size=40))
    rows = [(ns, i, price, size, symbol, KIND_TRADE) for i, (ns, price, size, symbol) in enumerate(trades)]
    right: dict[int, tuple | None] = dict(enumerate(trades))
    for _ in range(draw(st.integers(0, 6))):
        i = draw(st.integers(0, len(trades) - 1))
        ns, _, _, symbol = trades[i]
        price, size = draw(st.floats(0.01, 1e6)), draw(st.integers(1, 2**31))
        cancelled = draw(st.booleans())
        kind = KIND_CANCEL if cancelled else KIND_CORRECTION
        last = max(place for place, row in enumerate(rows) if row[1] == i)
        rows.insert(draw(st.integers(last + 1, len(rows))), (ns, i, price, size, symbol, kind))
        right[i] = None if cancelled else (ns, price, size, symbol)
    return rows, [trade for trade in right.values() if trade is not None], draw(st.integers(1, 50))


def _rows_frame(rows: list[tuple]) -> TickFrame:
    array = np.array([(ns, i, price, size, symbol, kind, 0) for ns, i, price, size, symbol, kind in rows], TICK_DTYPE)
    return TickFrame(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=array)


@given(amended_recordings())
def test_a_bar_after_its_corrections_is_the_bar_without_the_mistakes(case):
    """Any corrections and cancels of open bars, in whatever frames they come, leave exactly the bars of the right trades."""
    rows, right, size = case
    state = initial_bars(GRID)
    unused = 0
    for start in range(0, len(rows), size):
        state, _ = step(state, _rows_frame(rows[start : start + size]))
        unused += sum(len(frame.ticks) for frame in state.late)
    assert list(step(state, heartbeat(240))[1]) == naive_bars(right)
    outside = {i for i, row in enumerate(rows) if row[5] != KIND_TRADE and not any(a <= row[0] < b for a, b in _SESSIONS)}
    assert unused == len(outside)  # the trade was in no bar: its amendment is handed back


@given(amended_recordings(), st.integers(2, 8))
def test_few_kept_trades_bound_what_can_be_amended_and_change_nothing_else(case, most):
    """With a small bound an amendment either has its exact effect or is handed back as late; trades are never lost."""
    rows, _, size = case
    with patch.object(open_bars, "AMENDABLE_TRADES_MAX", most):
        state, refused = initial_bars(GRID), set()
        for start in range(0, len(rows), size):
            state, _ = step(state, _rows_frame(rows[start : start + size]))
            refused |= {tuple(tick) for frame in state.late for tick in frame.ticks.tolist()}
        bars = step(state, heartbeat(240))[1]
    taken = [row for row in rows if (*row, 0) not in refused]
    state = initial_bars(GRID)
    state, _ = step(state, _rows_frame(taken))
    assert bars == step(state, heartbeat(240))[1]


@given(amended_recordings(), st.integers(0, 3))
def test_how_kept_trades_are_gathered_does_not_matter(case, small):
    """Whether a frame's trades are kept alone or with those of others, an amendment finds them."""
    rows, right, _ = case
    with patch.object(open_bars, "_SMALL_CHUNKS", small):
        state = initial_bars(GRID)
        for row in rows:
            state, _ = step(state, _rows_frame([row]))
        assert list(step(state, heartbeat(240))[1]) == naive_bars(right)


_FLAGGED = st.tuples(_TRADE, st.sampled_from([0, 0, 6, 15, 135]))  # sets prices; counts only (two reasons); neither


def _flagged_frame(trades: list[tuple[tuple, int]]) -> TickFrame:
    made = frame([trade for trade, _ in trades])
    made.ticks["flags"] = [flags for _, flags in trades]
    return made


def _naive_conditions(trades: list[tuple[tuple, int]]) -> dict[tuple[int, Symbol], tuple]:
    """By close and symbol: the prices of the trades that may set them, and the counts of all that count; nothing without a price."""
    priced = {(s.close_ns, name): bar for s in naive_bars([t for t, f in trades if f == 0]) for name, bar in s.bars.items()}
    counted = {(s.close_ns, name): bar for s in naive_bars([t for t, f in trades if f < 128]) for name, bar in s.bars.items()}
    return {key: (bar.open, bar.high, bar.low, bar.close, counted[key].volume, counted[key].trades) for key, bar in priced.items()}


def _figures(sets) -> dict[tuple[int, Symbol], tuple]:
    return {(s.close_ns, n): (b.open, b.high, b.low, b.close, b.volume, b.trades) for s in sets for n, b in s.bars.items()}


@given(st.lists(_FLAGGED, max_size=60), st.integers(1, 20))
def test_trades_that_set_no_price_count_and_move_nothing(trades, size):
    """Stepping in any frames and the batch agree with the definition: prices of the ones, counts of the others."""
    state = initial_bars(GRID)
    for start in range(0, len(trades), size):
        state, _ = step(state, _flagged_frame(trades[start : start + size]))
    closed = step(state, heartbeat(240))[1]
    assert _figures(closed) == _naive_conditions(trades)
    assert _figures(bars_of(GRID, _flagged_frame(trades))) == _naive_conditions(trades)


@given(st.lists(_FLAGGED, min_size=1, max_size=30), st.data())
def test_an_amendment_of_such_a_trade_leaves_what_would_have_been_without_the_mistake(trades, data):
    """A correction may change what the trade is allowed to do, both ways."""
    place = data.draw(st.integers(0, len(trades) - 1))
    (ns, _, _, symbol), _ = trades[place]
    instead = data.draw(st.none() | st.tuples(st.floats(0.01, 1e6), st.integers(1, 2**31), st.sampled_from([0, 6, 135])))
    price, shares, flags = instead or (1.0, 1, 0)
    amendment = _rows_frame([(ns, place, price, shares, symbol, KIND_CANCEL if instead is None else KIND_CORRECTION)])
    amendment.ticks["flags"] = flags
    state, _ = step(initial_bars(GRID), _flagged_frame(trades))
    state, _ = step(state, amendment)
    right = [*trades[:place], *([] if instead is None else [((ns, price, shares, symbol), flags)]), *trades[place + 1 :]]
    assert _figures(step(state, heartbeat(240))[1]) == _naive_conditions(right)
