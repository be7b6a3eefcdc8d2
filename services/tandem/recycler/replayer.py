"""The loop that plays a schedule: ticks to the feed, the same ticks to the exchange, then the watermark to everybody, then the waiting.

Owns the replay's state and its one clock. In lockstep with participants the exchange takes orders only between two steps, so that each is
accepted at a watermark, at any speed. Without participants nobody is waited for. Decides nothing about orders; asks flow/lockstep.py whom
to wait for and flow/replay.py what comes next. The HTTP API (replay_api.py) pushes its buttons.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from enum import StrEnum
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from tandem.adapters.telemetry import gauge
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.flow import lockstep
from tandem.flow.replay import Mode, Schedule, Step, market_time_ns, position, replay_id, schedule
from tandem.recycler.exchange_setup import Announcer
from tandem.recycler.feed import Feed
from tandem.recycler.market import Market
from tandem.recycler.options import MAX_SPEED, RecyclerOptions
from tandem.recycler.updates import Updates

# Ticks between two looks at orders, pauses and other clients: at full speed a few milliseconds.
_BLOCK_TICKS = 4_096
_NAP_S_MAX = 0.05  # a paced replay looks up at least this often

log = structlog.get_logger()


class State(StrEnum):
    """What the replay is doing."""

    HELD = "held"  # not started
    RUNNING = "running"
    WAITING = "waiting"  # for acknowledgements
    PAUSED = "paused"
    ENDED = "ended"


class Replayer:
    """One replay after another over one recording."""

    def __init__(self, market: Market, feed: Feed, options: RecyclerOptions, announcer: Announcer) -> None:
        self.market, self.feed, self.options = market, feed, options
        self._announcer = announcer
        self.updates: Updates | None = None
        self.gate = asyncio.Lock()  # held while a step is played in lockstep with participants
        self.speed = options.speed
        self.plan: Schedule = schedule(market.tape.event_ns, market.grid, from_ns=options.from_ns, to_ns=options.to_ns)
        self.start_ns = 0  # event time of this pass's first tick: what is older, its stream never held
        self.watermark_ns = 0  # 0: none yet in this pass
        self.bars = 0
        self.lockstep = lockstep.lockstep(options.participants)
        self.late: tuple[str, ...] = ()
        self._doing = State.HELD
        self._started = not (options.hold or options.start_on_subscribe)
        self._steps_left: int | None = 1 if options.mode is Mode.STEP else None  # None: any number
        self._seek_number: int | None = None
        self._pass_number = 0
        self._changed = asyncio.Event()
        self._anchor: tuple[float, float] | None = None  # wall seconds, market nanoseconds: the pace counts from here
        self._first = self._go_on()  # the step to play first

    # What it says

    @property
    def replay_id(self) -> str:
        """The id of this pass."""
        return self.market.state.replay_id

    @property
    def state(self) -> State:
        """What it is doing, as seen from outside."""
        return State.PAUSED if self._doing is State.RUNNING and self._steps_left == 0 else self._doing

    def greeting(self) -> list[Mapping[str, Any]]:
        """What a subscriber of market data is told: which replay this is, and where it is."""
        start = {
            "T": "tandem.replay",
            "replay_id": self.replay_id,
            "source": Source.RECYCLED.value,
            "lockstep": self.options.lockstep,
            "start_ns": self.start_ns,
            **({"synthetic": dict(self.feed.synthetic)} if self.feed.synthetic else {}),
        }
        return [start, *([{"T": "tandem.heartbeat", **self._heartbeat()}] if self.watermark_ns else [])]

    def stream_heartbeat(self) -> Mapping[str, Any] | None:
        """The last heartbeat as the trade_updates stream words it, None before the first.

        charges: how many there have been; a participant that knows as many need not ask for them.
        """
        data = {**self._heartbeat(), "charges": self.market.book.charges}
        return {"stream": "tandem.heartbeat", "data": data} if self.watermark_ns else None

    def _heartbeat(self) -> dict[str, Any]:
        return {
            "replay_id": self.replay_id,
            "watermark_ns": self.watermark_ns,
            "lockstep": self.options.lockstep,
            "end_of_stream": self.watermark_ns == int(self.plan.watermark_ns[-1]),
        }

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Participants that the replay is waiting for now."""
        return self.lockstep.waiting_for(self.watermark_ns) if self._doing is State.WAITING else ()

    # What it is told

    def start(self) -> None:
        """Leave the held state; later calls change nothing."""
        self._started = True
        self._changed.set()

    def pause(self) -> None:
        """Stop after the ticks that are on their way, in lockstep after this step."""
        self._steps_left = 0
        self._changed.set()

    def resume(self) -> None:
        """Go on."""
        self._steps_left, self._anchor = None, None
        self._changed.set()

    def allow_steps(self, count: int) -> None:
        """Play this many steps, then pause."""
        self._steps_left, self._anchor = (self._steps_left or 0) + count, None
        self._changed.set()

    def set_speed(self, speed: float) -> None:
        """Times real time from now on; MAX_SPEED for no pacing."""
        self.speed, self._anchor = speed, None
        self._changed.set()

    def seek(self, event_ns: int) -> None:
        """Begin a new pass, with a new account, at the first bar that closes after a time; once the bar being decided is, in lockstep."""
        self._seek_number = position(self.plan, event_ns)
        self._changed.set()

    def register(self, name: str) -> None:
        """Wait for this participant from the next watermark on; for the one it is waiting at, too."""
        self.lockstep = lockstep.register(self.lockstep, name)

    def acknowledge(self, name: str, watermark_ns: int, replay_id: str = "") -> None:
        """A participant is done with everything before a watermark. replay_id: of which pass; one that was left counts for nothing."""
        is_of_this = replay_id in ("", self.replay_id)
        self.lockstep = lockstep.acknowledge(self.lockstep, name, watermark_ns if is_of_this else 0)
        self._changed.set()

    def remove(self, name: str) -> None:
        """Wait for this participant no more."""
        self.lockstep = lockstep.remove(self.lockstep, name)
        gauge("recycler_participant_late").labels(participant=name).set(0)
        self._changed.set()

    # What it does

    async def run(self) -> None:
        """Play until cancelled."""
        await self._until(lambda: self._started)
        first = self._first
        if self.watermark_ns and first < len(self.plan):  # of a recycler that ran before: who it was waiting for may not have decided
            await self._wait_for_acks()
        while True:
            if first < len(self.plan):
                await self._play_pass(first)
            else:
                self._doing = State.ENDED
            if self._seek_number is None and self.options.mode is not Mode.LOOP:
                await self._until(lambda: self._seek_number is not None)
            elif self._seek_number is None:
                await self._wait_for_acks()
            await self._let_finish()
            first, self._seek_number = self._seek_number or 0, None
            self._pass_number += 1
            self._begin(first)

    def _go_on(self) -> int:
        """Begin, or take up the replay that the exchange's log tells of; the step to play next. Raises BadSetting if it is another one."""
        found = self.market.paper.resumption
        if found is None:
            self._begin(0)
            return 0
        self._pass_number = found.number
        self._begin(found.first)
        self.market.recover()
        log.info("replay_resumed", replay_id=self.replay_id, watermark_ns=found.watermark_ns, bars=found.bars)
        if not found.watermark_ns:
            return found.first
        self._started = True
        self.watermark_ns, self.bars = found.watermark_ns, found.bars
        for name in found.participants:  # they are waited for from here on, as before
            self.register(name)
        number = int(np.searchsorted(self.plan.watermark_ns, found.watermark_ns, side="right"))
        place = self.plan.step(number).start if number < len(self.plan) else int(self.plan.stop[-1])
        self.feed.begin(place, found.watermark_ns)
        return number

    def _begin(self, first: int) -> None:
        step = self.plan.step(first)
        options = self.options
        name = replay_id(
            self.market.data.digest,
            options.from_ns,
            options.to_ns,
            options.bar,
            options.cash_usd,
            self.market.rules,
            options.label,
            *self.market.paper.id_parts,
            first,
            pass_number=self._pass_number,
        )
        event_ns = self.market.tape.event_ns
        now_ns = int(event_ns[step.start]) - 1 if step.start < len(event_ns) else int(event_ns[-1])
        self.start_ns = now_ns + 1
        header = {"number": self._pass_number, "first": first, "digest": self.market.data.digest}
        self.market.begin(name, place=step.start, now_ns=now_ns, header=header)
        self.feed.begin(step.start, now_ns)
        self.lockstep = lockstep.restart(self.lockstep)
        self.watermark_ns, self.bars, self._anchor = 0, 0, None

    async def _play_pass(self, first: int) -> None:
        """Play from a step to the end of the stream, or until somebody seeks."""
        self._doing = State.RUNNING
        log.info("replay_began", replay_id=self.replay_id, ticks=self.plan.ticks, steps=len(self.plan) - first)
        await self.feed.tell(self.greeting()[0])
        for number in range(first, len(self.plan)):
            await self._until(lambda: self._steps_left != 0 or self._seek_number is not None)
            step = self.plan.step(number)
            async with AsyncExitStack() as stack:
                if is_gated := self.options.lockstep and bool(self.lockstep.acked_ns):
                    await stack.enter_async_context(self.gate)
                if not await self._play_ticks(step, is_gated=is_gated):
                    return
                await self._reach(step)
            if self._steps_left:
                self._steps_left -= 1
            if step.end_of_stream:
                log.info("replay_ended", replay_id=self.replay_id, watermark_ns=self.watermark_ns)
                return
            await self._wait_for_acks()
            self._doing = State.RUNNING

    async def _play_ticks(self, step: Step, *, is_gated: bool) -> bool:
        """Send and match the ticks of a step, each when it is due; False if somebody seeks."""
        place = step.start
        while place < step.stop:
            if not is_gated:
                await self._until(lambda: self._steps_left != 0 or self._seek_number is not None)
            if self._seek_number is not None:
                return False
            stop = self.feed.whole(await self._due(place, min(place + _BLOCK_TICKS, step.stop)))
            if stop > place:
                until_ns = int(self.market.tape.event_ns[stop - 1])
                self._announcer.ahead(self.market.paper.agenda.waiting, until_ns)
                await self.feed.send(place, stop, until_ns)
                self.market.advance(stop)
                self.feed.release(stop)
                place = stop
                await self._let_others()
        while self.speed != MAX_SPEED and not step.end_of_stream and self._seek_number is None:
            if (rest_s := self._rest_s(self._market_ns_at(step.watermark_ns))) <= 0:
                break
            await asyncio.sleep(min(rest_s, _NAP_S_MAX))
        return self._seek_number is None

    async def _due(self, place: int, stop: int) -> int:
        """The place up to which ticks are due; naps when none is."""
        if self.speed == MAX_SPEED:
            return stop
        times = self._clock_ns(self.market.tape.event_ns[place:stop])
        rest_s = self._rest_s(float(times[0]))
        if rest_s > 0:
            await asyncio.sleep(min(rest_s, _NAP_S_MAX))
            return place
        assert self._anchor is not None
        reached = self._anchor[1] + (time.monotonic() - self._anchor[0]) * self.speed * NS_PER_S
        return place + max(int(np.searchsorted(times, reached, side="right")), 1)

    def _rest_s(self, market_ns: float) -> float:
        """Wall time until a moment of market time is due."""
        if self._anchor is None:
            self._anchor = (time.monotonic(), market_ns)
        wall_s, anchor_ns = self._anchor
        return wall_s + (market_ns - anchor_ns) / NS_PER_S / self.speed - time.monotonic()

    async def _reach(self, step: Step) -> None:
        """Everything before the watermark is out: say so, on both streams."""
        await self.feed.send(step.stop, step.stop, step.watermark_ns)
        self.market.reach(step.watermark_ns, end_of_stream=step.end_of_stream, participants=tuple(self.lockstep.acked_ns))
        await self.feed.flush()
        self.watermark_ns = step.watermark_ns
        self._doing = State.ENDED if step.end_of_stream else State.RUNNING
        self.bars += 0 if step.end_of_stream else 1
        gauge("recycler_watermark_seconds").set(step.watermark_ns / NS_PER_S)
        if self.updates is not None and (heartbeat := self.stream_heartbeat()) is not None:
            self.updates.tell(heartbeat)
        await self.feed.tell({"T": "tandem.heartbeat", **self._heartbeat()})
        await self._let_others()

    async def _let_others(self) -> None:
        """Orders and questions get their turn; a listener to trade updates that is far behind holds the replay up."""
        await asyncio.sleep(0)
        if self.updates is not None:
            await self.updates.drained()

    async def _wait_for_acks(self) -> None:
        """Wait until every participant has acknowledged the watermark; name the late ones after the limit."""
        if not self.options.lockstep:
            return
        if not self.lockstep.waiting_for(self.watermark_ns):
            return
        before, began_s = self._doing, time.monotonic()
        while (missing := self.lockstep.waiting_for(self.watermark_ns)) and self._seek_number is None:
            self._doing = State.WAITING
            if not self.late and time.monotonic() - began_s >= self.options.ack_limit_s:
                self._name_late(missing)
            await self._pause_until_changed(self.options.ack_limit_s / 4)
        self._name_late(())
        self._doing = before
        if self._anchor is not None:  # the clock stood still: nothing to catch up with
            self._anchor = (time.monotonic(), self._market_ns_at(self.watermark_ns))

    async def _let_finish(self) -> None:
        """Before another pass: who decides the last bar does so on the account of this one. Who is late is left behind."""
        deadline_s = time.monotonic() + self.options.ack_limit_s
        while self.options.lockstep and self.lockstep.waiting_for(self.watermark_ns):
            if (rest_s := deadline_s - time.monotonic()) <= 0:
                log.warning("participants_left", participants=self.lockstep.waiting_for(self.watermark_ns), replay_id=self.replay_id)
                return
            self._doing = State.WAITING
            await self._pause_until_changed(rest_s)

    def _name_late(self, names: tuple[str, ...]) -> None:
        for name in {*self.late, *names}:
            gauge("recycler_participant_late").labels(participant=name).set(1 if name in names else 0)
        if names:
            log.warning("participants_late", participants=names, watermark_ns=self.watermark_ns, limit_s=self.options.ack_limit_s)
        self.late = names

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()

    async def _pause_until_changed(self, limit_s: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):  # the caller looks at the clock
            await asyncio.wait_for(self._changed.wait(), limit_s)

    def _clock_ns(self, event_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The clock that a paced replay follows: time in sessions, or with gaps all time."""
        return event_ns if self.options.gaps else market_time_ns(self.market.grid, event_ns)

    def _market_ns_at(self, event_ns: int) -> float:
        return float(self._clock_ns(np.array([event_ns], np.int64))[0])
