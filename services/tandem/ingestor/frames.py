"""Ticks collected into frames, a buffer for each sector; a symbol in several sectors goes to each. Called by ingestor/intake.py.

Each sector has its own window of seen keys and its own watermark: a process that dies between two topics leaves them at different places,
and what is missing in one is a repetition in the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source, TickArray, TickFrame
from tandem.ingestor.dedupe import Window
from tandem.ingestor.past import Past

FRAME_TICKS = 2_048  # 64 KiB a record: large enough that records cost nothing, small enough to leave at once


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedFrame:
    """A frame, and when the first of its ticks reached us (wall time)."""

    frame: TickFrame
    ingested_ns: int


@dataclass(slots=True, kw_only=True)
class _Buffer:
    sector: SectorId
    symbols: tuple[Symbol, ...]
    local: NDArray[np.int32]  # by number in `numbers`: place within this sector, -1 if not in it
    window: Window = field(default_factory=Window)
    watermark_ns: int | None = None  # of the last heartbeat of this stream that went out
    waiting: list[tuple[TickArray, int]] = field(default_factory=list)  # with the time of receipt
    count: int = 0


class FrameBuffers:
    """Buffers by sector. `followed` numbers the symbols that are routed now; a symbol keeps its number for ever."""

    def __init__(self) -> None:
        self.followed: dict[str, int] = {}
        self.numbers: dict[str, int] = {}  # of every symbol that was ever routed
        self._buffers: dict[SectorId, _Buffer] = {}
        self._pasts: dict[SectorId, Past] = {}

    @property
    def sectors(self) -> tuple[SectorId, ...]:
        """The sectors that ticks and heartbeats go to."""
        return tuple(self._buffers)

    @property
    def names(self) -> list[str]:
        """Symbols by number."""
        return list(self.numbers)

    def watermark(self, sector: SectorId) -> int | None:
        """The last heartbeat of the sector in this stream, None before the first."""
        return self._buffers[sector].watermark_ns

    def reached(self, sector: SectorId, watermark_ns: int, keep_from_ns: int) -> None:
        """A heartbeat goes out to the sector; keys before `keep_from_ns` may be forgotten."""
        buffer = self._buffers[sector]
        buffer.watermark_ns = watermark_ns
        buffer.window.prune(keep_from_ns)

    def complete_until_ns(self, begin_ns: int | None, overlap_ns: int) -> int | None:
        """Up to when every sector has everything; None if nobody can say. begin_ns: where a sector without a heartbeat began."""
        ends = []
        for buffer in self._buffers.values():
            mark_ns = buffer.watermark_ns if buffer.watermark_ns is not None else begin_ns
            if mark_ns is not None:
                ends.append(max(mark_ns - overlap_ns, buffer.window.covered_from_ns))
        return min(ends, default=None)

    def covered_from_ns(self) -> int:
        """From when on a repetition is recognised in every sector."""
        return max((buffer.window.covered_from_ns for buffer in self._buffers.values()), default=-(2**63))

    def stale(self, before_ns: int) -> dict[str, tuple[str, ...]]:
        """By sector, the symbols whose newest trade is older than a time, or that have none."""
        names = self.names
        return {
            sector: tuple(
                names[number] for number in np.flatnonzero(buffer.local >= 0).tolist() if buffer.window.newest_trade_ns(number) < before_ns
            )
            for sector, buffer in self._buffers.items()
        }

    def route(self, routes: Mapping[SectorId, tuple[Symbol, ...]], pasts: Mapping[SectorId, Past] | None = None) -> None:
        """Take over which symbols go to which sector. Drain first: what waits would be lost. pasts: what new sectors' topics hold."""
        assert not any(buffer.count for buffer in self._buffers.values()), "drain before the routes change"
        for symbols in (*routes.values(), *(past.symbols for past in (pasts or {}).values())):
            for symbol in symbols:
                self.numbers.setdefault(symbol, len(self.numbers))
        self.followed = {symbol: self.numbers[symbol] for symbols in routes.values() for symbol in symbols}
        earlier, self._buffers = self._buffers, {}
        for sector, symbols in sorted(routes.items()):
            local = np.full(len(self.numbers), -1, np.int32)
            local[[self.numbers[symbol] for symbol in symbols]] = np.arange(len(symbols))
            old = earlier.get(sector)
            self._buffers[sector] = _Buffer(sector=sector, symbols=symbols, local=local)
            if old is not None:
                self._buffers[sector].window, self._buffers[sector].watermark_ns = old.window, old.watermark_ns
        self._pasts |= pasts or {}

    def begin(self, source: Source, replay_id: str) -> dict[str, int]:
        """A stream begins: nothing of it was seen, except what a topic holds of this very stream. The flags that symbols had there."""
        flags: dict[str, int] = {}
        for sector in self._buffers:
            flags |= self.resume(sector, source, replay_id)
        return flags

    def resume(self, sector: SectorId, source: Source, replay_id: str) -> dict[str, int]:
        """The same for one sector that joins a running stream."""
        buffer, past = self._buffers[sector], self._pasts.get(sector)
        buffer.window, buffer.watermark_ns = Window(), None
        if past is None or not past.is_of(source, replay_id):
            return {}
        self._remember(buffer, past)
        return dict(past.flags)

    def pasts(self, source: Source, replay_id: str) -> list[Past]:
        """What the topics hold of this stream from an earlier life."""
        return [past for past in self._pasts.values() if past.is_of(source, replay_id)]

    def _remember(self, buffer: _Buffer, past: Past) -> None:
        numbers = np.array([self.numbers[symbol] for symbol in past.symbols], np.int64)
        if len(past.ticks):
            ticks = past.ticks.copy()
            ticks["symbol"] = numbers[ticks["symbol"]]
            buffer.window.fresh(ticks)
        buffer.window.covered_from_ns = max(buffer.window.covered_from_ns, past.covered_from_ns)
        buffer.watermark_ns = past.watermark_ns

    def add(self, ticks: TickArray, received_ns: int, *, is_history: bool = False) -> tuple[int, int]:
        """Collect ticks whose `symbol` is a number in `numbers`; those that a sector has seen are left out there.

        is_history: they were asked for; what is so old that a sector cannot know whether it has them, it has, and another asked for them.
        Returns how many were new and how many were not, each counted once for each of its sectors.
        """
        added = repeated = 0
        for buffer in self._buffers.values():
            local = buffer.local[ticks["symbol"]]
            inside = local >= 0
            if is_history:
                inside &= ticks["event_ns"] >= buffer.window.covered_from_ns
            whole = bool(inside.all())
            if not whole and not inside.any():
                continue
            mine = ticks.copy() if whole else ticks[inside]
            fresh = buffer.window.fresh(mine)
            mine["symbol"] = local if whole else local[inside]
            if not fresh.all():
                repeated += len(fresh) - int(np.count_nonzero(fresh))
                mine = mine[fresh]
            if len(mine):
                buffer.waiting.append((mine, received_ns))
                buffer.count += len(mine)
                added += len(mine)
        return added, repeated

    def full(self, source: Source, replay_id: str) -> list[StampedFrame]:
        """Frames of exactly FRAME_TICKS from the buffers that hold at least as many; the rest stays."""
        full = [buffer for buffer in self._buffers.values() if buffer.count >= FRAME_TICKS]
        return [frame for buffer in full for frame in _frames(buffer, source, replay_id, keep_rest=True)]

    def drain(self, source: Source, replay_id: str) -> list[StampedFrame]:
        """All that waits, in frames of at most FRAME_TICKS."""
        waiting = [buffer for buffer in self._buffers.values() if buffer.count]
        return [frame for buffer in waiting for frame in _frames(buffer, source, replay_id, keep_rest=False)]


def _frames(buffer: _Buffer, source: Source, replay_id: str, *, keep_rest: bool) -> list[StampedFrame]:
    ticks = np.concatenate([part for part, _ in buffer.waiting])
    oldest_ns, newest_ns = buffer.waiting[0][1], buffer.waiting[-1][1]
    upto = len(ticks) - len(ticks) % FRAME_TICKS if keep_rest else len(ticks)
    # What stays came with the last payload, as buffers are emptied to below one frame after each.
    buffer.waiting = [(ticks[upto:], newest_ns)] if upto < len(ticks) else []
    buffer.count = len(ticks) - upto
    return [
        StampedFrame(
            frame=TickFrame(
                sector=buffer.sector,
                source=source,
                replay_id=replay_id,
                symbols=buffer.symbols,
                ticks=_ordered(ticks[start : min(start + FRAME_TICKS, upto)]),
            ),
            ingested_ns=oldest_ns,
        )
        for start in range(0, upto, FRAME_TICKS)
    ]


def _ordered(ticks: TickArray) -> TickArray:
    """By event time, ties as received. Feeds are nearly sorted, so mostly there is nothing to do."""
    event_ns = ticks["event_ns"]
    if (event_ns[1:] >= event_ns[:-1]).all():
        return ticks
    return ticks[np.argsort(event_ns, kind="stable")]
