"""The recorder's view of a tick topic: a restart at any point loses no bar, adds none twice and reports nothing twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.history_store import Position
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Bar, Heartbeat, SessionGrid, Source, TickFrame
from tandem.recorder.topic import initial_topic, step

GRID = SessionGrid(open_ns=np.array([0, 100]), close_ns=np.array([60, 160]), bar_ns=20)
SECTOR = SectorId("staples")
SYMBOLS = (Symbol("KO"), Symbol("PEP"))
Event = TickFrame | Heartbeat | None


def frame(*ticks: tuple[int, int], replay_id: str = "r") -> TickFrame:
    """A frame of (event_ns, symbol)."""
    rows = [(ns, i, 10.0 + ns + symbol / 2, 1, symbol, KIND_TRADE, 0) for i, (ns, symbol) in enumerate(ticks)]
    return TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, symbols=SYMBOLS, ticks=np.array(rows, TICK_DTYPE))


def heartbeat(watermark_ns: int, replay_id: str = "r") -> Heartbeat:
    return Heartbeat(sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, watermark_ns=watermark_ns)


class Log:
    """A topic and what a recorder made of it: the rows by key as the database keeps them, and every report of late ticks."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.rows: dict[tuple[str, str, int], Bar] = {}
        self.late: list[tuple[int, ...]] = []
        self.stored: Position | None = None

    def live(self, upto: int, save_every: int) -> None:
        """Start from what is stored, read the records before `upto`, and die: what was not saved is gone."""
        topic = initial_topic(GRID, SECTOR, self.stored)
        rows: dict[tuple[str, str, int], Bar] = {}
        late: list[tuple[int, ...]] = []
        for offset in range(topic.next_offset, upto):
            event = self.events[offset]
            topic, closed, late_frames = step(topic, offset, event)
            for bar_set in closed:
                assert event is not None
                rows |= {(event.replay_id, symbol, bar.close_ns): bar for symbol, bar in bar_set.bars.items()}
            late += [tuple(f.ticks["event_ns"].tolist()) for f in late_frames]
            if (offset + 1) % save_every == 0 or offset + 1 == len(self.events):
                self.rows = rows | self.rows  # ON CONFLICT DO NOTHING
                self.late += late
                rows, late = {}, []
                self.stored = topic.position


def test_a_position_waits_for_the_first_record_of_an_open_bar():
    topic = initial_topic(GRID, SECTOR, None)
    for offset, event in enumerate([frame((5, 0)), heartbeat(20), frame((25, 0)), frame((45, 1)), heartbeat(40)]):
        topic, _, _ = step(topic, offset, event)
    assert topic.position == Position(next_offset=5, restart_offset=3, source="recycled", replay_id="r", watermark_ns=40)


def test_a_record_that_cannot_be_read_only_moves_the_offset():
    topic, closed, late = step(initial_topic(GRID, SECTOR, None), 0, None)
    assert (topic.next_offset, closed, late) == (1, (), ())


def test_late_ticks_are_handed_out_once():
    events: list[Event] = [frame((5, 0)), frame((25, 0)), heartbeat(20), frame((6, 1)), heartbeat(30)]
    log = Log(events)
    log.live(5, save_every=1)
    assert log.late == [(6,)]
    log.live(5, save_every=1)
    assert log.late == [(6,)]
    assert set(log.rows) == {("r", "KO", 20)}


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Frames and heartbeats that mostly move forward in time, with late ticks, unreadable records and now and then another replay."""
    events: list[Event] = []
    now, replay_id = 0, "r"
    for _ in range(draw(st.integers(1, 20))):
        kind = draw(st.sampled_from(["frame", "frame", "frame", "beat", "beat", "unreadable", "replay"]))
        if kind == "replay":
            now, replay_id = 0, replay_id + "s"
        now = min(160, now + draw(st.integers(0, 15)))
        if kind == "frame":
            ticks = draw(st.lists(st.tuples(st.integers(max(0, now - 30), now), st.integers(0, 1)), min_size=1, max_size=3))
            events.append(frame(*sorted(ticks), replay_id=replay_id))
        else:
            events.append(None if kind == "unreadable" else heartbeat(now, replay_id))
    return events


@given(logs(), st.lists(st.tuples(st.integers(1, 20), st.integers(1, 4)), min_size=1, max_size=4))
def test_dying_at_any_point_changes_nothing(events, lives):
    """Rows and reports after any deaths equal those of one undisturbed life."""
    undisturbed = Log(events)
    undisturbed.live(len(events), save_every=1)
    disturbed = Log(events)
    for upto, save_every in lives:
        disturbed.live(min(upto, len(events)), save_every)
    disturbed.live(len(events), save_every=1)
    assert disturbed.rows == undisturbed.rows
    assert disturbed.late == undisturbed.late
    assert disturbed.stored == undisturbed.stored
