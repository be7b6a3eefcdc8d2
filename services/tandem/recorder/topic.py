"""One tick topic as the recorder follows it: its bars, and from which record a restart must read again.

A bar that is open holds ticks of records that had no effect in Postgres yet. A restart therefore reads from the first record that an open
bar still needs (`restart_offset`), closes nothing twice (the stored watermark is restored), and reports nothing twice (records before
`next_offset` have been reported). Called by recorder/pump.py.
"""

from dataclasses import dataclass, replace

from tandem.adapters.history_store import Position
from tandem.domain.ids import SectorId
from tandem.domain.market import BarSet, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow import bars


@dataclass(frozen=True, slots=True, kw_only=True)
class TickTopic:
    """State after some record. first_offsets: for each open bar, by its close, the first record that held a tick of it."""

    bars: bars.BarState
    next_offset: int
    reported_offset: int
    first_offsets: dict[int, int]

    @property
    def position(self) -> Position:
        """What to store with the rows that the records up to here led to."""
        source, replay_id = self.bars.stream or ("", "")
        return Position(
            next_offset=max(self.next_offset, self.reported_offset),
            restart_offset=min(self.first_offsets.values(), default=self.next_offset),
            source=str(source),
            replay_id=replay_id,
            watermark_ns=self.bars.watermark_ns if self.bars.has_watermark else None,
        )


def initial_topic(grid: SessionGrid, sector: SectorId, stored: Position | None) -> TickTopic:
    """The state to read on from `next_offset`, which is the stored restart offset, or 0."""
    state = bars.initial_bars(grid)
    if stored is None:
        return TickTopic(bars=state, next_offset=0, reported_offset=0, first_offsets={})
    if stored.watermark_ns is not None:
        beat = Heartbeat(sector=sector, source=Source(stored.source), replay_id=stored.replay_id, watermark_ns=stored.watermark_ns)
        state, _ = bars.step(state, beat)
    return TickTopic(bars=state, next_offset=stored.restart_offset, reported_offset=stored.next_offset, first_offsets={})


def step(topic: TickTopic, offset: int, event: TickFrame | Heartbeat | None) -> tuple[TickTopic, tuple[BarSet, ...], tuple[TickFrame, ...]]:
    """Take in the record at `offset`; the bars that it closes, and its late ticks unless they were reported in an earlier life.

    event: None for a record that could not be read: it only moves the offset.
    """
    if event is None:
        return replace(topic, next_offset=offset + 1), (), ()
    state, closed = bars.step(topic.bars, event)
    first_offsets = {close_ns: topic.first_offsets.get(close_ns, offset) for close_ns in state.open_closes}
    late = state.late if offset >= topic.reported_offset else ()
    return replace(topic, bars=state, next_offset=offset + 1, first_offsets=first_offsets), closed, late
