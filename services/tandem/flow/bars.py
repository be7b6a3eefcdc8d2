"""Ticks to bars by event time: which bar a tick belongs to, when a bar closes, and which ticks came too late.

Rules. A tick belongs to the bar whose [open, close) holds its event time; outside every session it belongs to none and is only counted.
A bar closes when a heartbeat's watermark reaches its close; nothing else closes it, so the wall clock and the cut of the log into frames
do not matter. Open and close are the prices of the first and last event time, ties in order of arrival. A trade whose flags are not 0 sets
no price (domain/conditions.py); its shares count where the rule says so. A bar in which no symbol had a trade that sets prices yields
nothing. A tick whose bar has closed is late: it is handed back and changes nothing. A correction or cancel changes the open bar that
holds the trade it names, exactly; where none does, because the bar has closed or the trade is no longer kept, it is late, too. When source
or replay id changes, event time starts anew and bars left open are dropped: their watermark never came, so they may be incomplete.

Called by forecaster and recorder; recorded_bars.py does a whole recording at once. Does not know where a grid comes from:
adapters/calendar.py makes them.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_TRADE,
    BarColumns,
    BarSet,
    Heartbeat,
    SessionGrid,
    Source,
    TickArray,
    TickFrame,
)
from tandem.flow.open_bars import OpenBar, amended, figures, last_of, opened, traded, traded_places, widened

_Longs = NDArray[np.int64]
_WATERMARK_START_NS = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarState:
    """Bars that are still open in one sector's stream.

    late: what the last step could not use, ticks and amendments, so that a caller who ignores it leaks nothing.
    outside_ticks: trades since the stream began that fell outside every session.
    """

    grid: SessionGrid
    stream: tuple[Source, str] | None  # source and replay id; None before the first event
    symbols: tuple[Symbol, ...]
    open: tuple[OpenBar, ...]  # ascending by close
    watermark_ns: int
    late: tuple[TickFrame, ...]
    outside_ticks: int
    named: tuple[Symbol, ...] = ()  # of the last frame, and their places in `symbols`: frames of a stream name the same ones
    places: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def open_closes(self) -> tuple[int, ...]:
        """The closes of the bars that are open, ascending."""
        return tuple(bar.close_ns for bar in self.open)

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
        open=(),
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


def last_trade(state: BarState, symbol: Symbol) -> tuple[float, int] | None:
    """(price, event time) of a symbol's last trade that sets prices in the open bars, after all corrections; None without one."""
    place = state.symbols.index(symbol) if symbol in state.symbols else -1
    for bar in reversed(state.open):
        if 0 <= place < bar.columns.longs.shape[1] and (found := last_of(bar.columns, place)) is not None:
            return found
    return None


def _last_ns(grid: SessionGrid) -> int:
    return int(grid.close_ns[-1]) if len(grid.close_ns) else _WATERMARK_START_NS


def _used_up(grid: SessionGrid, event_ns: int) -> InvariantBroken:
    span = f"{grid.open_ns[0]} to {grid.close_ns[-1]}" if len(grid.open_ns) else "nothing"
    return InvariantBroken(f"event time {event_ns} ns, the session grid covers {span}: restart with a grid that holds it")


def _add(state: BarState, frame: TickFrame) -> BarState:
    state = _with_symbols(state, frame.symbols)
    kinds = frame.ticks["kind"]
    is_trade = kinds == KIND_TRADE
    late: list[TickArray] = []
    if is_trade.all():
        state = _traded(state, frame.ticks, late)
    else:
        state = _traded(state, frame.ticks[is_trade], late)
        amends = (kinds == KIND_CORRECTION) | (kinds == KIND_CANCEL)
        if amends.any():
            state = _amended(state, frame.ticks[amends], late)
    return replace(state, late=(replace(frame, ticks=np.concatenate(late)),) if late else ())


def _traded(state: BarState, ticks: TickArray, late: list[TickArray]) -> BarState:
    """With these trades, which may be of several bars; what comes too late is added to `late`."""
    if len(ticks) == 0:
        return state
    event_ns = ticks["event_ns"]
    first_ns, last_ns = event_ns.min(), event_ns.max()
    for bar in state.open:
        if bar.open_ns <= first_ns and last_ns < bar.close_ns:  # the usual case: one bar holds them all
            return replace(state, open=_into(state, bar.close_ns, ticks))
    closes = bar_closes(state.grid, event_ns)
    too_late = (closes > 0) & (closes <= state.watermark_ns)
    if too_late.any():
        late.append(ticks[too_late])
    for close_ns in np.unique(closes[closes > state.watermark_ns]).tolist():
        if close_ns > 0:
            state = replace(state, open=_into(state, close_ns, ticks[closes == close_ns]))
    return replace(state, outside_ticks=state.outside_ticks + int(np.count_nonzero(closes == 0)))


def _into(state: BarState, close_ns: int, ticks: TickArray) -> tuple[OpenBar, ...]:
    """The open bars after trades of one of them, which may be new."""
    index = bisect_left(state.open, close_ns, key=lambda bar: bar.close_ns)
    before, after = state.open[:index], state.open[index:]
    if after and after[0].close_ns == close_ns:
        bar, after = after[0], after[1:]
    else:
        bar = opened(_open_ns(state.grid, close_ns), close_ns, len(state.symbols))
    return (*before, traded(widened(bar, len(state.symbols)), ticks, state.places[ticks["symbol"]]), *after)


def _amended(state: BarState, amendments: TickArray, late: list[TickArray]) -> BarState:
    """With corrections and cancels, one by one: a trade may be corrected and then cancelled."""
    for row in amendments:
        place, cancelled = int(state.places[row["symbol"]]), int(row["kind"]) == KIND_CANCEL
        instead = None if cancelled else (float(row["price"]), int(row["size"]), int(row["flags"]))
        for index, bar in enumerate(state.open):
            made = amended(widened(bar, len(state.symbols)), place=place, trade_id=int(row["trade_id"]), instead=instead)
            if made is not None:
                state = replace(state, open=(*state.open[:index], made, *state.open[index + 1 :]))
                break
        else:
            late.append(row[np.newaxis])
    return state


def _open_ns(grid: SessionGrid, close_ns: int) -> int:
    places = grid.places(np.array([close_ns]))
    return int(places.session_ns[0] + places.slot[0] * grid.bar_ns)


def _with_symbols(state: BarState, named: tuple[Symbol, ...]) -> BarState:
    """All symbols, and for each that the frame names its place among them."""
    if named is state.named or named == state.named:
        return state
    symbols = state.symbols + tuple(s for s in dict.fromkeys(named) if s not in set(state.symbols))
    place = {s: i for i, s in enumerate(symbols)}
    return replace(state, symbols=symbols, named=named, places=np.array([place[s] for s in named], np.intp))


def _close(state: BarState, watermark_ns: int) -> tuple[BarState, tuple[BarSet, ...]]:
    """Move event time on; a watermark that is not above the last one changes nothing."""
    if watermark_ns <= state.watermark_ns:
        return replace(state, late=()), ()
    if watermark_ns > _last_ns(state.grid):
        raise _used_up(state.grid, watermark_ns)
    count = bisect_right(state.open, watermark_ns, key=lambda bar: bar.close_ns)
    sets = (_bar_set(state, bar) for bar in state.open[:count])
    return replace(state, watermark_ns=watermark_ns, open=state.open[count:], late=()), tuple(s for s in sets if s is not None)


def _bar_set(state: BarState, bar: OpenBar) -> BarSet | None:
    """None where no trade sets prices. By name, because the numbering of symbols depends on which frame came first."""
    traded_at = sorted(traded_places(bar.columns).tolist(), key=state.symbols.__getitem__)
    if not traded_at:
        return None
    prices, counts = figures(bar.columns, traded_at)
    return bar_set(state.grid, bar.close_ns, tuple(state.symbols[i] for i in traded_at), prices, counts)


def bar_set(
    grid: SessionGrid, close_ns: int, symbols: tuple[Symbol, ...], prices: NDArray[np.float64], counts: NDArray[np.int64]
) -> BarSet:
    """The bars that close then, with their place in the grid. See BarColumns for the arrays."""
    places = grid.places(np.array([close_ns]))
    session_ns, slot = int(places.session_ns[0]), int(places.slot[0])
    return BarSet(
        close_ns=close_ns,
        bars=BarColumns(symbols, open_ns=session_ns + slot * grid.bar_ns, close_ns=close_ns, prices=prices, counts=counts),
        session_ns=session_ns,
        slot=slot,
        number=int(places.number[0]),
        next_slot=int(places.next_slot[0]),
    )
