"""What is held back while the stream may have a hole, and what must be asked for before it goes on. Pure; owned by ingestor/intake.py.

Three states. Open: everything passes. Holding: history is being asked for, and what the stream sends waits, so that the log has the order
of the market. Checking: ticks pass, but the next heartbeats do not before history has confirmed what lies between them and the last one;
a heartbeat says that all before it was sent, and only the first ones after a subscription could be wrong about that.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tandem.domain.market import TickArray

HELD_TICKS_MAX = 1_048_576  # 32 MiB; then the socket is not read on until history has answered
CHECKS = 2  # the heartbeat that greets a subscriber may be old, the one after it covers the moment of the subscription
ALL = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class FillWanted:
    """Ask history for the trades of [from_ns, until_ns); None: up to now. Answer with Intake.fill, then Intake.filled(number)."""

    number: int
    from_ns: int
    until_ns: int | None
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTicks:
    """Ticks that came while holding."""

    ticks: TickArray
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBeat:
    """A heartbeat that came while holding, or that waits for its check."""

    watermark_ns: int
    received_ns: int
    lockstep: bool
    end_of_stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReplay:
    """Another replay began while holding."""

    message: dict[str, Any]


Held = HeldTicks | HeldBeat | HeldReplay


@dataclass(slots=True)
class Gap:
    """The state of the hole in one stream."""

    checks: int = CHECKS  # heartbeats after a subscription that history must confirm
    holding: bool = False
    checks_left: int = 0
    checked_ns: int = -(2**63)  # history has confirmed everything before
    number: int = 0  # of the newest question
    until_ns: int | None = None  # of the newest question
    held: deque[Held] = field(default_factory=deque)
    held_ticks: int = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be taken from the socket."""
        return self.held_ticks >= HELD_TICKS_MAX

    def hold(self, item: Held) -> None:
        """Keep something for later."""
        self.held.append(item)
        if isinstance(item, HeldTicks):
            self.held_ticks += len(item.ticks)

    def take(self) -> Held:
        """The oldest that waits."""
        item = self.held.popleft()
        if isinstance(item, HeldTicks):
            self.held_ticks -= len(item.ticks)
        return item

    def interrupt(self) -> None:
        """The connection is lost: ticks that wait are true still, heartbeats are not, as there will be a hole before them."""
        self.held = deque(item for item in self.held if isinstance(item, HeldTicks))
        self.number += 1  # the answer to an earlier question no longer ends the holding

    def ask(self, from_ns: int, until_ns: int | None, symbols: tuple[str, ...]) -> FillWanted:
        """Hold until history has answered this."""
        self.holding, self.until_ns = True, until_ns
        self.number += 1
        return FillWanted(number=self.number, from_ns=from_ns, until_ns=until_ns, symbols=symbols)

    def answered(self) -> None:
        """The newest question is answered."""
        self.holding = False
        if self.until_ns is not None:
            self.checked_ns = max(self.checked_ns, self.until_ns)
            self.checks_left -= 1

    def must_check(self, watermark_ns: int) -> bool:
        """Whether a heartbeat has to wait for history."""
        return self.checks_left > 0 and watermark_ns > self.checked_ns
