"""Ticks to bars by event time: which bar a tick belongs to, when a bar closes, and which ticks came too late.

Rules. A tick belongs to the bar whose [open, close) holds its event time; outside every session it belongs to none and is only counted.
A bar closes when a heartbeat's watermark reaches its close; nothing else closes it, so the wall clock and the cut of the log into frames
do not matter. Open and close are the prices of the first and last event time, ties in order of arrival. A bar in which no symbol traded
yields nothing. A tick whose bar has closed is late: it is handed back and changes nothing. When source or replay id changes, event time
starts anew and bars left open are dropped: their watermark never came, so they may be incomplete.

Called by forecaster, recorder (step) and trainer (bars_of). Does not know where a grid comes from: adapters/calendar.py makes them.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import Symbol
from tandem.domain.market import Bar, BarSet, Heartbeat, SessionGrid, Source, TickArray, TickFrame

# One open bar of one symbol. close_ns identifies the bar: sessions are disjoint, so no two bars close together.
_OPEN_BAR = np.dtype(
    [
        ("close_ns", "<i8"),
        ("symbol", "<i8"),  # index into BarState.symbols
        ("first_ns", "<i8"),
        ("last_ns", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<i8"),
        ("trades", "<i8"),
    ]
)
_Table = NDArray[np.void]
_Longs = NDArray[np.int64]
_WATERMARK_START_NS = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarState:
    """Bars that are still open in one sector's stream.

    late: the late ticks of the last step only, so that a caller who ignores them leaks nothing.
    outside_ticks: ticks since the stream began that fell outside every session.
    """

    grid: SessionGrid
    stream: tuple[Source, str] | None  # source and replay id; None before the first event
    symbols: tuple[Symbol, ...]
    open_bars: _Table  # (n,) of _OPEN_BAR, ascending by (close_ns, symbol)
    watermark_ns: int
    late: tuple[TickFrame, ...]
    outside_ticks: int

    @property
    def has_watermark(self) -> bool:
        """Whether a heartbeat came since the stream began."""
        return self.watermark_ns > _WATERMARK_START_NS


def initial_bars(grid: SessionGrid) -> BarState:
    """The state before the first event."""
    return BarState(
        grid=grid,
        stream=None,
        symbols=(),
        open_bars=np.empty(0, _OPEN_BAR),
        watermark_ns=_WATERMARK_START_NS,
        late=(),
        outside_ticks=0,
    )


def step(state: BarState, event: TickFrame | Heartbeat) -> tuple[BarState, tuple[BarSet, ...]]:
    """Take in a frame or a heartbeat; the bars that it closes, in order of time.

    Raises InvariantBroken for an event after the grid's last close, and for a tick before its first open: a grid that is used up must
    stop its service, whose restart makes a new one, rather than let every later tick look like one outside the sessions.
    """
    if state.stream != (event.source, event.replay_id):
        state = replace(initial_bars(state.grid), stream=(event.source, event.replay_id))
    if isinstance(event, Heartbeat):
        return _close(state, event.watermark_ns)
    return _add(state, event), ()


def bars_of(grid: SessionGrid, frame: TickFrame) -> tuple[BarSet, ...]:
    """All bars of a whole recording at once: what stepping through it in any pieces and a last heartbeat would give."""
    if len(frame.ticks) == 0:
        return ()
    state, _ = step(initial_bars(grid), frame)
    return _close(state, int(grid.close_ns[-1]))[1]


def bar_closes(grid: SessionGrid, event_ns: _Longs) -> _Longs:
    """The close of the bar that holds each event time, 0 where it is outside the sessions. event_ns: (n,), any order.

    Raises InvariantBroken beyond the grid's ends.
    """
    if len(event_ns) == 0:
        return np.empty(0, np.int64)
    first_ns, last_ns = int(event_ns.min()), int(event_ns.max())
    if len(grid.open_ns) == 0 or first_ns < grid.open_ns[0] or last_ns > _last_ns(grid):
        raise _used_up(grid, last_ns if last_ns > _last_ns(grid) else first_ns)
    session = np.searchsorted(grid.open_ns, event_ns, side="right") - 1
    opens, closes = grid.open_ns[session], grid.close_ns[session]
    ends = opens + ((event_ns - opens) // grid.bar_ns + 1) * grid.bar_ns
    return np.where(event_ns < closes, np.minimum(ends, closes), 0)


def _last_ns(grid: SessionGrid) -> int:
    return int(grid.close_ns[-1]) if len(grid.close_ns) else _WATERMARK_START_NS


def _used_up(grid: SessionGrid, event_ns: int) -> InvariantBroken:
    span = f"{grid.open_ns[0]} to {grid.close_ns[-1]}" if len(grid.open_ns) else "nothing"
    return InvariantBroken(f"event time {event_ns} ns, the session grid covers {span}: restart with a grid that holds it")


def _add(state: BarState, frame: TickFrame) -> BarState:
    ticks = frame.ticks
    closes = bar_closes(state.grid, ticks["event_ns"])
    inside = closes > 0
    late = inside & (closes <= state.watermark_ns)
    kept = inside & ~late
    symbols, index = _symbol_index(state.symbols, frame.symbols)
    if not kept.all():
        ticks_kept, closes = ticks[kept], closes[kept]
    else:
        ticks_kept = ticks
    return replace(
        state,
        symbols=symbols,
        open_bars=_merged(state.open_bars, _tabulated(ticks_kept, closes, index)),
        late=(replace(frame, ticks=ticks[late]),) if late.any() else (),
        outside_ticks=state.outside_ticks + len(ticks) - int(np.count_nonzero(inside)),
    )


def _symbol_index(known: tuple[Symbol, ...], named: tuple[Symbol, ...]) -> tuple[tuple[Symbol, ...], _Longs]:
    """All symbols, and for each that the frame names its place among them."""
    if named == known:
        return known, np.arange(len(known))
    symbols = known + tuple(s for s in dict.fromkeys(named) if s not in known)
    place = {s: i for i, s in enumerate(symbols)}
    return symbols, np.array([place[s] for s in named], np.int64)


def _tabulated(ticks: TickArray, closes: _Longs, index: _Longs) -> _Table:
    """Ticks (n,) of open bars, each with its bar's close, as one row per bar and symbol."""
    if len(ticks) == 0:
        return np.empty(0, _OPEN_BAR)
    symbol, event_ns = index[ticks["symbol"]], ticks["event_ns"]
    order = np.lexsort((event_ns, symbol, closes))  # stable: ties of event time keep their order of arrival
    symbol, event_ns, closes = symbol[order], event_ns[order], closes[order]
    price, size = ticks["price"][order], ticks["size"][order].astype(np.int64)
    start, last = _groups(closes, symbol)
    table = np.empty(len(start), _OPEN_BAR)
    table["close_ns"], table["symbol"] = closes[start], symbol[start]
    table["first_ns"], table["last_ns"] = event_ns[start], event_ns[last]
    table["open"], table["close"] = price[start], price[last]
    table["high"], table["low"] = np.maximum.reduceat(price, start), np.minimum.reduceat(price, start)
    table["volume"], table["trades"] = np.add.reduceat(size, start), last - start + 1
    return table


def _merged(earlier: _Table, later: _Table) -> _Table:
    """Two tables as one with a row per bar and symbol. Associative, which is why the cut into frames does not matter."""
    if len(later) == 0 or len(earlier) == 0:
        return later if len(earlier) == 0 else earlier
    both = np.concatenate((earlier, later))
    by_first = both[np.lexsort((both["first_ns"], both["symbol"], both["close_ns"]))]
    by_last = both[np.lexsort((both["last_ns"], both["symbol"], both["close_ns"]))]
    start, last = _groups(by_first["close_ns"], by_first["symbol"])
    table = by_first[start]
    table["last_ns"], table["close"] = by_last["last_ns"][last], by_last["close"][last]
    table["high"] = np.maximum.reduceat(by_first["high"], start)
    table["low"] = np.minimum.reduceat(by_first["low"], start)
    table["volume"] = np.add.reduceat(by_first["volume"], start)
    table["trades"] = np.add.reduceat(by_first["trades"], start)
    return table


def _groups(closes: _Longs, symbol: _Longs) -> tuple[_Longs, _Longs]:
    """First and last place of each run of equal (close, symbol)."""
    new = np.flatnonzero((closes[1:] != closes[:-1]) | (symbol[1:] != symbol[:-1])) + 1
    return np.concatenate(([0], new)), np.concatenate((new - 1, [len(closes) - 1]))


def _close(state: BarState, watermark_ns: int) -> tuple[BarState, tuple[BarSet, ...]]:
    """Move event time on; a watermark that is not above the last one changes nothing."""
    state = replace(state, late=())
    if watermark_ns <= state.watermark_ns:
        return state, ()
    if watermark_ns > _last_ns(state.grid):
        raise _used_up(state.grid, watermark_ns)
    count = int(np.searchsorted(state.open_bars["close_ns"], watermark_ns, side="right"))
    closed, still_open = state.open_bars[:count], state.open_bars[count:]
    return replace(state, watermark_ns=watermark_ns, open_bars=still_open), _bar_sets(state.grid, state.symbols, closed)


def _bar_sets(grid: SessionGrid, symbols: tuple[Symbol, ...], closed: _Table) -> tuple[BarSet, ...]:
    places = grid.places(closed["close_ns"])
    columns = (places.session_ns, places.slot, places.number, places.next_slot)
    sets: list[BarSet] = []
    bars: dict[Symbol, Bar] = {}
    rows: list[tuple[Any, ...]] = closed.tolist()
    for i, (row, *place) in enumerate(zip(rows, *(column.tolist() for column in columns), strict=True)):
        session_ns, slot, number, next_slot = place
        close_ns, symbol, _, _, open_, high, low, close, volume, trades = row
        bars[symbols[symbol]] = Bar(
            symbol=symbols[symbol],
            open_ns=session_ns + slot * grid.bar_ns,
            close_ns=close_ns,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=trades,
        )
        if i + 1 == len(rows) or rows[i + 1][0] != close_ns:
            # By name, because the numbering of symbols depends on which frame came first.
            sets.append(
                BarSet(
                    close_ns=close_ns,
                    bars=dict(sorted(bars.items())),
                    session_ns=session_ns,
                    slot=slot,
                    number=number,
                    next_slot=next_slot,
                )
            )
            bars = {}
    return tuple(sets)
