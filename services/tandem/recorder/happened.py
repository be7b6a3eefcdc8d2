"""Corrections, cancels, halts and bands of a tick topic as rows, and what they do to bars that are stored already.

An amendment of an open bar is the bar's own affair (flow/bars.py). One that comes after its bar has closed changes the stored bar: the log
is read back to the begin of that bar, and the bar is made again by the same step, with the amendments before its close. The old bar is kept
as a revision. Called by recorder/pump.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.adapters.market_events import KIND_NAMES, MarketEvent, Revision
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE, Bar, Heartbeat, SessionGrid, TickFrame
from tandem.flow import bars

_AMENDMENTS = (KIND_CORRECTION, KIND_CANCEL)
_CHUNK_RECORDS = 1_000
BACK_RECORDS_MAX = 200_000  # a session of a busy sector; an amendment of something older is noted, and changes nothing
Event = TickFrame | Heartbeat
ReadBack = Callable[[int, int], Sequence[Event]]  # [from offset, to offset) -> what can be read there, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """One correction or cancel that no open bar could take. row: of TICK_DTYPE, as one-element array within `frame`."""

    frame: TickFrame
    place: int

    @property
    def symbol(self) -> Symbol:
        """Whose trade it is about."""
        return self.frame.symbols[int(self.frame.ticks["symbol"][self.place])]


def events_of(frame: TickFrame, topic: str, offset: int, late: Sequence[TickFrame]) -> list[MarketEvent]:
    """A row for each thing that happened; amendments in `late` have no outcome yet and are left out."""
    unusable = {row.tobytes() for part in late for row in part.ticks}
    rows = []
    for tick in frame.ticks[np.isin(frame.ticks["kind"], list(KIND_NAMES))]:
        is_amendment = int(tick["kind"]) in _AMENDMENTS
        if is_amendment and tick.tobytes() in unusable:
            continue
        rows.append(event_of(frame, tick, topic, offset, outcome="bar_open" if is_amendment else "noted"))
    return rows


def event_of(frame: TickFrame, tick: np.void, topic: str, offset: int, *, outcome: str) -> MarketEvent:
    """The row of one tick."""
    return MarketEvent(
        symbol=frame.symbols[int(tick["symbol"])],
        source=frame.source.value,
        replay_id=frame.replay_id,
        event_ns=int(tick["event_ns"]),
        kind=KIND_NAMES[int(tick["kind"])],
        trade_id=int(tick["trade_id"]),
        price=float(tick["price"]),
        size=int(tick["size"]),
        flags=int(tick["flags"]),
        topic=topic,
        record_offset=offset,
        outcome=outcome,
    )


def amendments_of(late: Sequence[TickFrame]) -> Iterator[Amendment]:
    """The corrections and cancels among what no bar could take."""
    for frame in late:
        for place in np.flatnonzero(np.isin(frame.ticks["kind"], _AMENDMENTS)).tolist():
            yield Amendment(frame=frame, place=place)


def revised(
    amendment: Amendment, offset: int, *, grid: SessionGrid, timeframe: str, read_back: ReadBack, event: MarketEvent
) -> tuple[str, Revision | None]:
    """What becomes of a late amendment in the record at `offset`: the outcome, and the revision of the stored bar if there is one."""
    found = _log_of_bar(amendment, offset, grid, read_back)
    if isinstance(found, str):
        return found, None
    close_ns, log = found
    bar = _made_again(amendment.symbol, close_ns, grid, log)
    return "bar_revised", Revision(event=event, timeframe=timeframe, close_ns=close_ns, bar=bar)


def _log_of_bar(amendment: Amendment, offset: int, grid: SessionGrid, read_back: ReadBack) -> tuple[int, list[Event]] | str:
    """The close of the bar that holds the amended trade, and the log from its begin to this record; else why there is none."""
    stream, tick = amendment.frame, amendment.frame.ticks[amendment.place]
    log: list[Event] = []
    close_ns: int | None = None
    stop, chunk = offset + 1, _CHUNK_RECORDS
    while stop > 0 and offset - stop < BACK_RECORDS_MAX:
        start = max(0, stop - chunk)
        part = [e for e in read_back(start, stop) if (e.source, e.replay_id) == (stream.source, stream.replay_id)]
        log = [*part, *log]
        if close_ns is None and (traded_ns := _time_of_trade(log, amendment.symbol, int(tick["trade_id"]))) is not None:
            close_ns = int(bars.bar_closes(grid, np.array([traded_ns]))[0])
            if close_ns == 0:
                return "trade_outside"
        if close_ns is not None and any(isinstance(e, Heartbeat) and e.watermark_ns <= close_ns - grid.bar_ns for e in log):
            break
        stop, chunk = start, 2 * chunk
    return "trade_unknown" if close_ns is None else (close_ns, log)


def _time_of_trade(log: Sequence[Event], symbol: Symbol, trade_id: int) -> int | None:
    """When the trade was, the newest of that id."""
    for event in reversed(log):
        if isinstance(event, TickFrame) and symbol in event.symbols:
            ticks = event.ticks
            mine = (ticks["kind"] == KIND_TRADE) & (ticks["trade_id"] == trade_id) & (ticks["symbol"] == event.symbols.index(symbol))
            if mine.any():
                return int(ticks["event_ns"][mine][-1])
    return None


def _made_again(symbol: Symbol, close_ns: int, grid: SessionGrid, log: Sequence[Event]) -> Bar | None:
    """The symbol's bar by the step that made it, with every amendment of the log before its close; None if no trade is left."""
    state, is_open = bars.initial_bars(grid), True
    last: Heartbeat | None = None
    for event in log:
        if isinstance(event, Heartbeat):
            last = event
            if event.watermark_ns >= close_ns:
                is_open = False
            elif is_open:
                state, _ = bars.step(state, event)
        elif (mine := _of_symbol(event, symbol, trades=is_open)) is not None:
            state, _ = bars.step(state, mine)
    if last is None:
        return None
    _, closed = bars.step(state, replace(last, watermark_ns=close_ns))
    return next((each.bars[symbol] for each in closed if each.close_ns == close_ns and symbol in each.bars), None)


def _of_symbol(frame: TickFrame, symbol: Symbol, *, trades: bool) -> TickFrame | None:
    """The symbol's amendments, and its trades while the bar was open: what came later was late, and the bar never held it."""
    if symbol not in frame.symbols:
        return None
    kinds = frame.ticks["kind"]
    wanted = np.isin(kinds, (KIND_TRADE, *_AMENDMENTS) if trades else _AMENDMENTS)
    kept = frame.ticks[wanted & (frame.ticks["symbol"] == frame.symbols.index(symbol))]
    return replace(frame, ticks=kept) if len(kept) else None
