"""Ticks collected into frames, a buffer for each sector; a symbol in several sectors goes to each. Called by ingestor/intake.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source, TickArray, TickFrame

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
    local: NDArray[np.int32]  # by number in `followed`: place within this sector, -1 if not in it
    waiting: list[tuple[TickArray, int]] = field(default_factory=list)  # with the time of receipt
    count: int = 0


class FrameBuffers:
    """Buffers by sector. `followed` numbers the symbols that are routed now; a symbol keeps its number for ever."""

    def __init__(self) -> None:
        self.followed: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._buffers: list[_Buffer] = []

    @property
    def sectors(self) -> tuple[SectorId, ...]:
        """The sectors that ticks go to."""
        return tuple(buffer.sector for buffer in self._buffers)

    def route(self, routes: Mapping[SectorId, tuple[Symbol, ...]]) -> None:
        """Take over which symbols go to which sector. Drain first: what waits would be lost."""
        assert not any(buffer.count for buffer in self._buffers), "drain before the routes change"
        for symbols in routes.values():
            for symbol in symbols:
                self._places.setdefault(symbol, len(self._places))
        self.followed = {symbol: self._places[symbol] for symbols in routes.values() for symbol in symbols}
        self._buffers = []
        for sector, symbols in sorted(routes.items()):
            local = np.full(len(self._places), -1, np.int32)
            local[[self._places[symbol] for symbol in symbols]] = np.arange(len(symbols))
            self._buffers.append(_Buffer(sector=sector, symbols=symbols, local=local))

    def add(self, ticks: TickArray, received_ns: int) -> None:
        """Collect ticks whose `symbol` is a number in `followed`."""
        for buffer in self._buffers:
            local = buffer.local[ticks["symbol"]]
            inside = local >= 0
            mine = ticks.copy() if inside.all() else ticks[inside]
            if len(mine):
                mine["symbol"] = local if len(mine) == len(local) else local[inside]
                buffer.waiting.append((mine, received_ns))
                buffer.count += len(mine)

    def full(self, source: Source, replay_id: str) -> list[StampedFrame]:
        """Frames of exactly FRAME_TICKS from the buffers that hold at least as many; the rest stays."""
        return [f for b in self._buffers if b.count >= FRAME_TICKS for f in _frames(b, source, replay_id, keep_rest=True)]

    def drain(self, source: Source, replay_id: str) -> list[StampedFrame]:
        """All that waits, in frames of at most FRAME_TICKS."""
        return [f for b in self._buffers if b.count for f in _frames(b, source, replay_id, keep_rest=False)]


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
