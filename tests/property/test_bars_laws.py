"""Laws of bars: volume is conserved, the cut into frames does not matter, stepping equals the batch, and a naive reference agrees."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Bar, BarSet, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow.bars import bars_of, initial_bars, step

GRID = SessionGrid(open_ns=np.array([0, 100, 200]), close_ns=np.array([50, 163, 240]), bar_ns=20)
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
