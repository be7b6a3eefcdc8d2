"""The pump of a live feed: its heartbeats follow the clock, and never overtake what the socket brought before them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tandem.adapters import topics
from tandem.adapters.alpaca_market import Connected, Disconnected, Payload, StreamEvent
from tandem.adapters.codec import decode_tick_record
from tandem.adapters.control_log import ControlTable
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Heartbeat, Source, TickFrame
from tandem.ingestor import pump as module
from tandem.ingestor.condition import Condition
from tandem.ingestor.intake import Intake
from tandem.ingestor.pump import Pump

SUBSCRIBED = {"T": "subscription", "trades": ["KO"], "quotes": []}
PAYLOADS_MAX = 4
MINUTE_NS = 60_000_000_000


class Kafka:
    """Takes what it is given. unacknowledged: records that it has not confirmed."""

    def __init__(self) -> None:
        self.events: list[TickFrame | Heartbeat] = []
        self.unacknowledged = 0

    def publish(self, topic: str, value: bytes, **_: Any) -> None:
        if topic == topics.ticks("staples"):
            self.events.append(decode_tick_record(value))

    @property
    def beats(self) -> list[int]:
        return [event.watermark_ns for event in self.events if isinstance(event, Heartbeat)]

    @property
    def trades(self) -> list[int]:
        return [number for event in self.events if isinstance(event, TickFrame) for number in event.ticks["trade_id"].tolist()]


class Feed:
    """A pump whose socket is this test."""

    def __init__(self) -> None:
        self.kafka, self.condition = Kafka(), Condition()
        self.events: asyncio.Queue[StreamEvent] = asyncio.Queue(PAYLOADS_MAX)
        intake = Intake(Source.LIVE)
        intake.route({SectorId("staples"): (Symbol("KO"),)})
        self.condition.want(frozenset({Symbol("KO")}))
        self.pump = Pump(
            servers="",
            intake=intake,
            stream=None,  # type: ignore[arg-type]
            events=self.events,
            writer=self.kafka,  # type: ignore[arg-type]
            control=(ControlTable(), None),  # type: ignore[arg-type]
            condition=self.condition,
            lateness_ms=0,
            overlap_ns=0,
            quotes=frozenset(),
        )

    async def __aenter__(self) -> "Feed":
        self._tasks = [asyncio.create_task(work) for work in (self.pump._consume(), self.pump._beat())]
        await self.events.put(Connected())
        await self.events.put(Payload(messages=[SUBSCRIBED], received_ns=time.time_ns()))
        await self.until(lambda: len(self.kafka.beats) > 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it, not for ever."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)

    async def trades(self, count: int, *, first: int = 0, age_ns: int = 0, **more: Any) -> None:
        """Trades of this moment, or of some time ago, as the socket brings them."""
        for number in range(first, first + count):
            now_ns = time.time_ns()
            row = {"T": "t", "S": "KO", "i": number, "p": 60.0, "s": 1, "t": now_ns - age_ns} | more
            await self.events.put(Payload(messages=[row], received_ns=now_ns))
            await asyncio.sleep(0)

    def check(self, count: int) -> None:
        """Every trade is there once, and none after a heartbeat that says that it had been sent."""
        assert self.kafka.trades == list(range(count))
        watermark_ns = 0
        for event in self.kafka.events:
            if isinstance(event, Heartbeat):
                watermark_ns = event.watermark_ns
            else:
                assert event.ticks["event_ns"].min() >= watermark_ns


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_EVERY_S", 0.002)


@pytest.mark.parametrize("waiting", [1, PAYLOADS_MAX - 1, 5 * PAYLOADS_MAX], ids=["one waits", "some wait", "the socket waits"])
def test_while_kafka_is_behind_no_heartbeat_overtakes_a_trade(waiting: int) -> None:
    async def play() -> Feed:
        async with Feed() as feed:
            feed.kafka.unacknowledged = module._UNACKNOWLEDGED_MAX + 1
            before = len(feed.kafka.beats)
            socket = asyncio.create_task(feed.trades(waiting))
            began_ns = time.time_ns()
            await feed.until(lambda: time.time_ns() - began_ns > 30_000_000)  # many heartbeats are due
            assert len(feed.kafka.beats) <= before + 1
            feed.kafka.unacknowledged = 0
            await socket
            await feed.until(lambda: len(feed.kafka.trades) == waiting and feed.kafka.beats[-1] > began_ns)
            return feed

    asyncio.run(play()).check(waiting)


def test_a_steady_feed_has_its_heartbeats_and_they_keep_their_promise() -> None:
    async def play() -> Feed:
        async with Feed() as feed:
            before = len(feed.kafka.beats)
            await feed.trades(300)
            await feed.until(lambda: len(feed.kafka.trades) == 300 and len(feed.kafka.beats) > before + 3)
            return feed

    asyncio.run(play()).check(300)


def test_heartbeats_of_a_feed_that_is_behind_are_as_far_behind() -> None:
    """The sender has kept a minute of ticks while we did not read; or our clock is a minute ahead of the exchange's."""

    async def play() -> Feed:
        async with Feed() as feed:
            await feed.trades(1, age_ns=MINUTE_NS)
            await feed.until(lambda: feed.pump._behind_ns >= MINUTE_NS)
            quiet = len(feed.kafka.events)
            await feed.trades(1, age_ns=MINUTE_NS, first=1)
            await feed.until(lambda: len(feed.kafka.trades) == 2)
            assert all(isinstance(event, TickFrame) for event in feed.kafka.events[quiet:])  # time does not go on without them
            await feed.trades(1, first=2)
            fresh_ns = time.time_ns()
            await feed.until(lambda: len(feed.kafka.trades) == 3 and feed.kafka.beats[-1] >= fresh_ns)
            return feed

    assert asyncio.run(play()).kafka.trades == [0, 1, 2]


class Clocks:
    """The wall clock and the steady one, of which somebody sets the first."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self._time = time

    def time_ns(self) -> int:
        return self._time.time_ns() + self.ahead_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._time, name)


def test_a_clock_that_is_set_hours_ahead_in_a_quiet_market_closes_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    monkeypatch.setattr(module, "time", clocks)

    async def play() -> Feed:
        async with Feed() as feed:
            clocks.ahead_ns = 180 * MINUTE_NS
            before, began_ns = len(feed.kafka.beats), time.time_ns()
            await feed.until(lambda: len(feed.kafka.beats) > before + 5)
            assert began_ns - MINUTE_NS < feed.kafka.beats[-1] < began_ns + MINUTE_NS  # and they go on
            clocks.ahead_ns = 0
            await feed.trades(1)
            fresh_ns = time.time_ns()
            await feed.until(lambda: len(feed.kafka.trades) == 1 and feed.kafka.beats[-1] >= fresh_ns)
            return feed

    asyncio.run(play()).check(1)


def test_without_a_connection_there_is_no_heartbeat() -> None:
    async def play() -> None:
        async with Feed() as feed:
            await feed.events.put(Disconnected(reason="cut"))
            await feed.until(lambda: not feed.condition.connected)
            before, began_ns = len(feed.kafka.beats), time.time_ns()
            await feed.until(lambda: time.time_ns() - began_ns > 30_000_000)  # many heartbeats are due
            assert len(feed.kafka.beats) == before

    asyncio.run(play())


def test_a_sale_condition_that_no_table_has_is_counted_for_the_alert() -> None:
    """And a known one that sets no price under its own reason; both are in the topic."""

    def counted(reason: str) -> float:
        labels = {"sector": "staples", "reason": reason}
        return REGISTRY.get_sample_value("tandem_ingestor_unpriced_trades_total", labels) or 0.0

    async def play() -> Feed:
        async with Feed() as feed:
            await feed.trades(2, c=["@", "?"], z="C")
            await feed.trades(3, first=2, c=["@", "I"], z="C")
            await feed.until(lambda: len(feed.kafka.trades) == 5)
            return feed

    before = [counted(reason) for reason in ("unknown_code", "odd_lot")]
    asyncio.run(play()).check(5)
    assert [counted(reason) for reason in ("unknown_code", "odd_lot")] == [before[0] + 2, before[1] + 3]
