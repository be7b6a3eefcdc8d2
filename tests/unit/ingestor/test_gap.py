"""Holes: whatever is cut or killed, each sector's log holds every tick once, and a heartbeat only after all ticks before it."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Heartbeat, Source, TickFrame
from tandem.domain.units import NS_PER_S
from tandem.ingestor import gap
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.gap import FillWanted
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Conflated, Duplicates, Recovered, StampedHeartbeat
from tandem.ingestor.past import past_of

START_NS = 1_764_000_000 * NS_PER_S
BAR = 100
ROUTES = {SectorId("energy"): (Symbol("XOM"), Symbol("KO")), SectorId("staples"): (Symbol("KO"), Symbol("PEP"))}


def trade(number: int, symbol: str, event_ns: int) -> dict[str, object]:
    return {"T": "t", "S": symbol, "i": number, "p": 60.0, "s": 1, "t": event_ns}


def beat(watermark_ns: int) -> dict[str, object]:
    return {"T": "tandem.heartbeat", "replay_id": "r", "watermark_ns": watermark_ns, "lockstep": True, "end_of_stream": False}


HELLO = {"T": "tandem.replay", "replay_id": "r", "source": "recycled", "lockstep": True, "start_ns": START_NS}


@dataclass
class World:
    """A replay, an ingestor before it that may be cut off or killed, and a log for each sector."""

    script: list[dict[str, object]]  # what the replay sends, in order
    sent: int = 0
    intake: Intake = field(init=False)
    logs: dict[str, list[TickFrame | Heartbeat]] = field(default_factory=lambda: {sector: [] for sector in ROUTES})
    safe: dict[str, int] = field(default_factory=dict)  # records of earlier lives: what was read at a start is in Kafka
    question: FillWanted | None = None
    recovered: int = 0

    def __post_init__(self) -> None:
        self.live()

    def live(self) -> None:
        """A life of the ingestor: it reads the topics, then connects."""
        self.safe = {sector: len(log) for sector, log in self.logs.items()}
        self.intake = Intake(Source.RECYCLED, fills=True)
        pasts = {s: past_of(log, overlap_ns=0, flags={}, is_all=True) for s, log in self.logs.items()}
        self.publish(self.intake.route(ROUTES, {s: past for s, past in pasts.items() if past is not None}))
        self.connect()

    def connect(self) -> None:
        """The greeting: which replay, and the last heartbeat."""
        self.question = None
        self.intake.connected()
        beats = [m for m in self.script[: self.sent] if m["T"] == "tandem.heartbeat"]
        self.publish(self.intake.take([{"T": "subscription", "trades": ["KO", "PEP", "XOM"]}, HELLO, *beats[-1:]], START_NS))

    def cut(self, lost: int) -> None:
        """The connection breaks; the replay goes on for a while before somebody subscribes again."""
        self.intake.lost()
        self.sent = min(self.sent + lost, len(self.script))
        self.connect()

    def kill(self, unacknowledged: list[int]) -> None:
        """As by kill -9: of each sector's newest records some never reached Kafka. Lockstep: no heartbeat of a bar that is not the last."""
        for (sector, log), count in zip(self.logs.items(), unacknowledged, strict=True):
            del log[max(self.safe[sector], len(log) - count) :]
        self.live()

    def play(self, count: int) -> None:
        part = self.script[self.sent : self.sent + count]
        self.sent += len(part)
        self.publish(self.intake.take(part, START_NS))

    def answer(self) -> None:
        """History knows what the replay has sent, on whatever connection."""
        while (wanted := self.question) is not None:
            self.question = None
            until_ns = wanted.until_ns if wanted.until_ns is not None else 2**62
            known = [m for m in self.script[: self.sent] if m["T"] == "t" and wanted.from_ns <= m["t"] < until_ns]
            self.publish(self.intake.fill(known, START_NS))
            self.publish(self.intake.filled(wanted.number))

    def publish(self, outputs) -> None:
        for out in outputs:
            match out:
                case StampedFrame():
                    self.logs[out.frame.sector].append(out.frame)
                case StampedHeartbeat():
                    self.logs[out.heartbeat.sector].append(out.heartbeat)
                case FillWanted():
                    self.question = out
                case Recovered():
                    self.recovered += out.count

    def end(self) -> None:
        self.play(len(self.script))
        self.answer()
        self.publish(self.intake.drain())


def ids(event: TickFrame) -> list[tuple[str, int]]:
    return [(event.symbols[s], i) for s, i in zip(event.ticks["symbol"], event.ticks["trade_id"].tolist(), strict=True)]


def check(world: World) -> None:
    """Each sector: every tick once; before each heartbeat all that is older than it; heartbeats only go up."""
    ticks = [m for m in world.script if m["T"] == "t"]
    for sector, symbols in ROUTES.items():
        published: Counter[tuple[str, int]] = Counter()
        watermarks = []
        for event in world.logs[sector]:
            if isinstance(event, TickFrame):
                published.update(ids(event))
            else:
                watermarks.append(event.watermark_ns)
                older = {(m["S"], m["i"]) for m in ticks if m["S"] in symbols and m["t"] < event.watermark_ns}
                assert older <= set(published), f"{sector}: a heartbeat at {event.watermark_ns - START_NS} came before its ticks"
        assert published == Counter({(m["S"], m["i"]): 1 for m in ticks if m["S"] in symbols})
        assert watermarks == sorted(set(watermarks))


def script(times: list[tuple[int, str]]) -> list[dict[str, object]]:
    """Ticks at these offsets, a heartbeat at the end of each bar."""
    rows: list[dict[str, object]] = []
    due = BAR
    for number, (offset, symbol) in enumerate(sorted(times)):
        while offset >= due:
            rows.append(beat(START_NS + due))
            due += BAR
        rows.append(trade(number, symbol, START_NS + offset))
    return [*rows, beat(START_NS + due)]


_TIMES = st.lists(st.tuples(st.integers(0, 5 * BAR), st.sampled_from(["KO", "PEP", "XOM"])), min_size=1, max_size=30)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.integers(1, 8)),
        st.tuples(st.just("cut"), st.integers(0, 6)),
        st.tuples(st.just("kill"), st.lists(st.integers(0, 3), min_size=2, max_size=2)),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("drain"), st.none()),
    ),
    max_size=15,
)


@settings(max_examples=400, deadline=None)
@given(_TIMES, _STEPS)
def test_cut_and_killed_at_any_point_nothing_is_lost_or_doubled(times, steps):
    """Two sectors share KO and may be killed at different places; history may answer late, or not before the next cut."""
    world = World(script(times))
    for name, value in steps:
        match name:
            case "play":
                world.play(value)
            case "cut":
                world.cut(value)
            case "kill":
                world.kill(value)
            case "answer":
                world.answer()
            case "drain":
                world.publish(world.intake.drain())
    world.end()
    check(world)


class Refused(Exception):
    """Kafka does not take a record."""


@dataclass
class Broker:
    """Takes records until the k-th."""

    failing: int
    taken: int = 0


class Topic(list[TickFrame | Heartbeat]):
    """A log whose broker refuses one record."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker

    def append(self, event: TickFrame | Heartbeat) -> None:
        self._broker.taken += 1
        if self._broker.taken == self._broker.failing:
            raise Refused
        super().append(event)


def test_a_failure_at_the_kth_record_for_every_k_loses_and_doubles_nothing():
    """The process ends at a record that Kafka does not take, wherever that is; its next life goes on."""
    times = [(at, symbol) for at in range(0, 5 * BAR, 37) for symbol in ("KO", "PEP", "XOM")]
    for k in range(1, 1_000):
        world, broker = World(script(times)), Broker(failing=k)
        world.logs = {sector: Topic(broker) for sector in ROUTES}
        _lived_through(world)
        check(world)
        if broker.taken < k:
            break
    assert k > 20


def _lived_through(world: World) -> None:
    """To the end of the script, in as many lives as it takes."""
    while True:
        try:
            while world.sent < len(world.script):
                world.play(4)
                world.answer()
                world.publish(world.intake.drain())
            world.end()
            return
        except Refused:
            world.live()


def test_what_comes_while_history_is_asked_stays_behind_what_history_brings():
    """The log has the order of the market, so that ties and digests are those of a run without a cut."""
    world = World(script([(1, "KO"), (2, "KO"), (3, "KO"), (4, "KO")]))
    world.answer()
    world.play(1)
    world.cut(lost=2)
    world.play(1)
    world.end()
    assert [i for event in world.logs["staples"] if isinstance(event, TickFrame) for _, i in ids(event)] == [0, 1, 2, 3]


def test_a_live_stream_asks_for_what_came_after_its_last_heartbeat_minus_the_overlap():
    intake = Intake(Source.LIVE, overlap_ns=10, fills=True)
    intake.route(ROUTES)
    intake.connected()
    confirmed = {"T": "subscription", "trades": ["KO"]}
    assert not any(isinstance(out, FillWanted) for out in intake.take([confirmed], START_NS))  # there was nothing before
    intake.take([trade(1, "KO", START_NS)], START_NS)
    intake.beat(START_NS + 100, START_NS + 100)
    intake.lost()
    intake.connected()
    (_, wanted) = intake.take([confirmed], START_NS + 500)
    assert isinstance(wanted, FillWanted)
    assert (wanted.from_ns, wanted.until_ns, wanted.symbols) == (START_NS + 90, None, ("KO", "PEP", "XOM"))
    assert not intake.is_whole
    assert intake.take([trade(3, "PEP", START_NS + 400)], START_NS + 500) == ()
    assert intake.fill([trade(1, "KO", START_NS), trade(2, "PEP", START_NS + 300)], START_NS) == (Recovered(count=1),)
    intake.filled(wanted.number)
    frames = [out.frame for out in intake.drain() if out.frame.sector == "staples"]
    assert [ids(frame) for frame in frames] == [[("PEP", 2), ("PEP", 3)]]


def test_an_answer_to_a_question_of_a_lost_connection_ends_nothing():
    world = World(script([(1, "KO"), (2, "KO")]))
    old = world.question
    assert old is not None
    world.cut(lost=1)
    world.intake.filled(old.number)
    assert not world.intake.is_whole


def test_a_trade_that_history_has_taken_back_is_a_cancel_once():
    intake = Intake(Source.LIVE, overlap_ns=10, fills=True)
    intake.route(ROUTES)
    gone = trade(1, "PEP", START_NS) | {"T": "x", "u": "canceled"}
    intake.fill([gone], START_NS)
    intake.fill([gone], START_NS)
    (out,) = intake.drain()
    assert out.frame.ticks["kind"].tolist() == [5]


def test_history_and_stream_decide_the_same_of_a_trade():
    """The same trade from both is one tick, and one that only history has bears what its conditions forbid."""
    intake = Intake(Source.LIVE, fills=True)
    intake.route(ROUTES)
    odd = trade(1, "PEP", START_NS) | {"c": ["@", "I"], "z": "C"}
    sold = trade(2, "PEP", START_NS + 1) | {"c": ["@", "Z"], "z": "C"}
    intake.take([odd], START_NS)
    intake.fill([odd, sold], START_NS)
    (frame,) = intake.drain()
    assert frame.frame.ticks[["trade_id", "flags"]].tolist() == [(1, 6), (2, 14)]


def test_repetitions_of_the_stream_are_counted_as_duplicates():
    world = World(script([(1, "PEP"), (2, "PEP")]))
    world.answer()
    world.play(1)
    out = world.intake.take([world.script[0]], START_NS)
    assert out == (Duplicates(count=1),)


def test_too_much_to_hold_makes_the_socket_wait(monkeypatch):
    monkeypatch.setattr(gap, "HELD_TICKS_MAX", 1_000)
    world = World(script([(1, "KO")]))
    for first in range(0, 1_000, 100):
        assert not world.intake.is_full
        world.intake.take([trade(i, "KO", START_NS + i) for i in range(first, first + 100)], START_NS)
    assert world.intake.is_full
    world.answer()
    assert not world.intake.is_full


def test_verifying_every_bar_finds_what_the_connection_swallowed():
    world = World(script([(1, "KO"), (50, "KO"), (150, "KO"), (250, "KO"), (350, "KO"), (450, "KO")]))
    world.intake = Intake(Source.RECYCLED, fills=True, verifies=True)
    world.intake.route(ROUTES)
    world.connect()
    world.answer()
    for message in world.script:
        world.sent += 1
        if message.get("t") not in {START_NS + 350, START_NS + 450}:
            world.publish(world.intake.take([message], START_NS))
        world.answer()
    check(world)
    assert world.recovered == 2 * 2  # in both sectors


def test_what_could_not_be_read_is_asked_of_history_before_the_bar_closes():
    """A frame that was cut, or a trade with a broken price: what it should have been is there."""
    world = World(script([(at, "PEP") for at in (10, 110, 210, 310, 320)]))
    world.answer()
    while world.sent < len(world.script) - 3:
        world.play(1)
        world.answer()
    broken, lost, last = world.script[world.sent :]
    world.sent += 3
    world.publish(world.intake.take([{**broken, "p": -1.0}], START_NS))
    assert lost["T"] == "t"
    world.publish(world.intake.take([last], START_NS))
    world.answer()
    world.publish(world.intake.drain())
    check(world)
    assert world.recovered == 2


def test_quotes_are_conflated_on_a_live_feed_that_is_behind_and_trades_never():
    quotes = [{"T": "q", "S": "PEP", "bp": 60.0, "bs": i, "ap": 60.1, "as": 1, "t": START_NS + i} for i in range(1, 6)]
    for source, kept in ((Source.LIVE, 2), (Source.RECYCLED, 10)):
        intake = Intake(source)
        intake.route(ROUTES)
        if source is Source.RECYCLED:
            intake.take([HELLO], START_NS)
        intake.conflates = True
        out = intake.take([*quotes, *(trade(i, "PEP", START_NS + 10 + i) for i in range(5))], START_NS)
        (frame,) = [each.frame for each in intake.drain() if each.frame.sector == "staples"]
        assert np.count_nonzero(frame.ticks["kind"] != 1) == kept
        assert np.count_nonzero(frame.ticks["kind"] == 1) == 5
        assert [each.count for each in out if isinstance(each, Conflated)] == ([4] if kept == 2 else [])


@pytest.mark.parametrize("chunk", [1, 2, 5, 50])
def test_the_past_is_read_as_far_back_as_needed_and_no_further(chunk):
    """However much of the topic is read at first, the past is the same."""
    world = World(script([(i * 7, "PEP") for i in range(60)]))
    world.answer()
    while world.sent < len(world.script):
        world.play(1)
        world.answer()
        world.publish(world.intake.drain())
    log = world.logs["staples"]
    whole = past_of(log, overlap_ns=30, flags={}, is_all=True)
    count = chunk
    while (found := past_of(log[-count:], overlap_ns=30, flags={}, is_all=count >= len(log))) is None:
        count *= 2
    assert whole is not None
    assert count < len(log) or chunk > 50
    assert (found.watermark_ns, found.covered_from_ns) == (whole.watermark_ns, whole.covered_from_ns)
    assert np.array_equal(found.ticks["trade_id"], whole.ticks["trade_id"])
