"""A seed's way through its replay: the market goes from fault to fault, and on to its end when the last fault is over. Called by run.py.

A fault lasts for wall time, and how many bars pass meanwhile is the machine's choice. Were the market not held, the last bars might all
pass before the fault is over, and nobody could trade out of it any more: whatever was half way then would rightly be so for ever.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from chaos.happened import Stuck
from chaos.schedule import Fault, rest_bar

_OVER_S_MAX = 150.0  # for all faults of a seed to end, beyond which something does not come back

End = Callable[[], None]


class Market(Protocol):
    """Who lets the market run."""

    def run_to(self, bar: int, meanwhile: Callable[[], None]) -> None:
        """Until the bar has been reached, and no further."""
        ...

    def let_go(self, bar: int | None) -> None:
        """Up to a bar, to its end when None, without waiting."""
        ...

    def until(self, what: str, reached: Callable[[], bool], limit_s: float) -> float:
        """Wait. Raises Stuck."""
        ...


class Clock(Protocol):
    """The module `time`, or a test's."""

    def monotonic(self) -> float:
        """Seconds."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


class Play:
    """What has begun and is still to be ended. begin: does a fault and returns what ends it."""

    def __init__(self, market: Market, begin: Callable[[Fault], End | None], *, clock: Clock = time) -> None:
        self._market, self._begin, self._clock = market, begin, clock
        self._ends: list[tuple[float, End]] = []  # with the time of each

    def through(self, faults: Sequence[Fault], bars: int) -> None:
        """All faults, from the first bar until the market may run to its end. Raises Stuck."""
        for place, fault in enumerate(faults):
            if place == 0 or faults[place - 1].bar != fault.bar:
                self._market.run_to(fault.bar, self._end_due)
            self._market.let_go(next((other.bar for other in faults[place + 1 :] if other.bar > fault.bar), rest_bar(bars)))
            self._clock.sleep(fault.delay_ms / 1_000)
            end = self._begin(fault)
            if end is not None:
                self._ends.append((self._clock.monotonic() + fault.lasts_ms / 1_000, end))
        self._market.until("the end of all faults", self._is_over, _OVER_S_MAX)
        self._market.let_go(None)

    def lift(self) -> None:
        """End what has not ended, whatever stands in the way: a seed that got stuck may leave nothing behind."""
        while self._ends:
            _, end = self._ends.pop()
            with suppress(Stuck):
                end()

    def _is_over(self) -> bool:
        self._end_due()
        return not self._ends

    def _end_due(self) -> None:
        for due in [due for due in self._ends if due[0] <= self._clock.monotonic()]:
            self._ends.remove(due)
            due[1]()
