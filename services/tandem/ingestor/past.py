"""What a sector's tick topic says of the time before this process: how far it is complete, and which ticks it holds since then.

Read from the topic's end (adapters/topic_tail.py), used by ingestor/frames.py, so that a restart is no different from a reconnect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tandem.domain.ids import Symbol
from tandem.domain.market import TICK_DTYPE, Heartbeat, Source, TickArray, TickFrame

_NEVER_NS = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """The last stream of a topic. Everything before `watermark_ns` is in it; None: no heartbeat of this stream came yet.

    ticks: all of event time from `covered_from_ns` on, `symbol` being the place in `symbols`. flags: STATUS_* of symbols that have any.
    """

    source: Source
    replay_id: str
    watermark_ns: int | None = None
    ended: bool = False
    symbols: tuple[Symbol, ...] = ()
    ticks: TickArray = field(default_factory=lambda: np.empty(0, TICK_DTYPE))
    covered_from_ns: int = _NEVER_NS
    flags: Mapping[str, int] = field(default_factory=dict)

    def is_of(self, source: Source, replay_id: str) -> bool:
        """Whether it is of this stream."""
        return (self.source, self.replay_id) == (source, replay_id)


def past_of(
    events: Sequence[TickFrame | Heartbeat], *, overlap_ns: int, flags: Mapping[str, int], is_all: bool, is_cut: bool = False
) -> Past | None:
    """The past that the last events of a topic tell; None if they do not reach far enough back, i.e. more of the topic must be read.

    overlap_ns: how far before the watermark ticks may still be asked for again. is_all: nothing stands before these events.
    is_cut: there is more, but no more is to be read; the past then says from when on it is complete.
    """
    if not events:
        return None
    stream = (events[-1].source, events[-1].replay_id)
    began = next((i for i in range(len(events), 0, -1) if (events[i - 1].source, events[i - 1].replay_id) != stream), 0)
    mine = events[began:]
    beats = [event for event in mine if isinstance(event, Heartbeat)]
    frames = [event for event in mine if isinstance(event, TickFrame)]
    watermark_ns = max((beat.watermark_ns for beat in beats), default=None)
    from_ns = _NEVER_NS if watermark_ns is None else watermark_ns - overlap_ns
    is_complete = is_all or began > 0 or (bool(beats) and beats[0].watermark_ns <= from_ns - overlap_ns)
    if not is_complete and not is_cut:
        return None
    if not is_complete and frames:
        from_ns = max(from_ns, int(frames[0].ticks["event_ns"].max()) + overlap_ns)
    symbols = tuple(dict.fromkeys(symbol for frame in frames for symbol in frame.symbols))
    return Past(
        source=stream[0],
        replay_id=stream[1],
        watermark_ns=watermark_ns,
        ended=bool(beats) and beats[-1].end_of_stream,
        symbols=symbols,
        ticks=_joined(frames, symbols, from_ns),
        covered_from_ns=from_ns,
        flags=flags,
    )


def _joined(frames: Sequence[TickFrame], symbols: tuple[Symbol, ...], from_ns: int) -> TickArray:
    """All ticks from a time on, with symbols numbered alike."""
    place = {symbol: i for i, symbol in enumerate(symbols)}
    parts = []
    for frame in frames:
        ticks = frame.ticks[frame.ticks["event_ns"] >= from_ns].copy()
        ticks["symbol"] = np.array([place[symbol] for symbol in frame.symbols], np.int64)[ticks["symbol"]]
        parts.append(ticks)
    return np.concatenate(parts) if parts else np.empty(0, TICK_DTYPE)
