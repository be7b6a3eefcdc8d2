"""Asks history for what the stream may have missed, and hands it to the intake, slice by slice. Called by ingestor/pump.py.

Tries until it is answered: as long as a hole is open no heartbeat goes out, so nothing downstream decides on half of a market.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from tandem.adapters import telemetry
from tandem.adapters.alpaca_history import MarketHistory, Slice
from tandem.domain.errors import Permanent, Transient
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor.condition import Condition
from tandem.ingestor.gap import FillWanted
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Output

log = structlog.get_logger()
_PAUSES_S = (0.2, 1.0, 3.0, 10.0)  # between tries; the last one for ever
_SYMBOLS_MAX = 200  # names in one request: 2 kB of address
_HOUR_NS = 3_600 * NS_PER_S


@dataclass(slots=True)
class _Part:
    """Some symbols of a question, and from when on they are still to be asked for."""

    symbols: tuple[str, ...]
    from_ns: int
    trades: int = 0


class Filler:
    """One question at a time; a newer one replaces it. settle_ms: how long a trade may take until history knows it. now_ns: the clock."""

    def __init__(
        self,
        history: MarketHistory,
        intake: Intake,
        condition: Condition,
        publish: Callable[[tuple[Output, ...]], None],
        *,
        settle_ms: int,
        hours_max: float,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._history, self._intake, self._condition, self._publish = history, intake, condition, publish
        self._settle_ms, self._span_ns_max = settle_ms, int(hours_max * _HOUR_NS)
        self._now_ns = now_ns
        self._task: asyncio.Task[None] | None = None

    def ask(self, wanted: FillWanted) -> None:
        """Begin with this question; an older one is not pursued."""
        if self._task is not None:
            self._task.cancel()
        self._condition.hole = f"asking history for what came after {wanted.from_ns} ns"
        self._task = asyncio.create_task(self._fill(wanted))

    def failure(self) -> BaseException | None:
        """What ended the newest question, if it was no answer."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def stop(self) -> None:
        """Give the question up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._history.close()

    async def _fill(self, wanted: FillWanted) -> None:
        tries, began_s = 0, time.monotonic()
        if wanted.until_ns is None:
            await asyncio.sleep(self._settle_ms / 1000)
        parts = [_Part(wanted.symbols[n : n + _SYMBOLS_MAX], wanted.from_ns) for n in range(0, len(wanted.symbols), _SYMBOLS_MAX)]
        while True:
            before = sum(part.from_ns for part in parts)
            try:
                await self._answer(parts, wanted.until_ns)
                break
            except (Transient, Permanent) as error:
                tries = 0 if sum(part.from_ns for part in parts) > before else tries
                pause_s = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                tries += 1
                self._condition.hole = f"history does not answer: {error}"
                telemetry.counter("ingestor_history_failures_total").inc()
                log.warning("history_retries", error=str(error), pause_s=pause_s)
                await asyncio.sleep(pause_s)
        self._condition.hole = None
        trades, seconds = sum(part.trades for part in parts), round(time.monotonic() - began_s, 3)
        log.info("filled", from_ns=wanted.from_ns, until_ns=wanted.until_ns, trades=trades, seconds=seconds)
        self._publish(self._intake.filled(wanted.number))

    async def _answer(self, parts: list[_Part], until_ns: int | None) -> None:
        """All slices of the question; each part remembers how far it came, so that a second try goes on there."""
        newest_ns = until_ns or 0
        if until_ns is None:
            known = [await asyncio.to_thread(self._history.present_ns, part.symbols) for part in parts]
            newest_ns = max((each + 1 for each in known if each is not None), default=0)
            # Alpaca's latest trade may be months older than its newest one (alpacahq/Alpaca-API#267): what came after it is asked for, too.
            until_ns = newest_ns if self._intake.source is Source.RECYCLED else max(newest_ns, self._now_ns())
        for part in parts:
            if newest_ns - part.from_ns > self._span_ns_max:
                log.error("hole_too_long", from_ns=part.from_ns, until_ns=newest_ns, hours_max=self._span_ns_max / _HOUR_NS)
                telemetry.counter("ingestor_holes_left_total").inc()
                part.from_ns = newest_ns - self._span_ns_max
            slices = self._history.trades(part.symbols, part.from_ns, until_ns)
            while (each := await asyncio.to_thread(next_slice, slices)) is not None:
                self._publish(self._intake.fill(each.messages, time.time_ns()))
                part.from_ns, part.trades = each.until_ns, part.trades + len(each.messages)
                self._condition.hole = f"asking history for what came after {part.from_ns} ns"


def settle_of(lateness_ms: int) -> int:
    """How long to wait for history after a live subscription: what was under way then has arrived by now."""
    return lateness_ms + 1_000


def next_slice(slices: Iterator[Slice]) -> Slice | None:
    """The next slice, None after the last: StopIteration cannot come out of a thread."""
    return next(slices, None)
