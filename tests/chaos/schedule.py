"""What breaks when, from the seed alone: the same seed and the same kinds of fault give the same schedule, whatever the machine does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

_FIRST_BAR = 2  # before it there is nothing to lose
_LAST_BARS = 6  # no fault begins in them, and but for the first of them none lasts: what broke must have occasion to come back


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One way to break something. Ranges are from least to most; number: of the fault in the reliability page's list of 26."""

    name: str
    number: int
    targets: tuple[str, ...]
    lasts_ms: tuple[int, int] = (0, 0)
    amount: tuple[int, int] = (1, 1)
    neutral: bool = True  # decisions must be those of a run without it
    renames: bool = False  # but for the ids of orders and executions, which hold the version that decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that breaks: `delay_ms` after the market was let go from bar number `bar`, for `lasts_ms` of wall time."""

    kind: str
    number: int
    bar: int
    target: str
    delay_ms: int
    lasts_ms: int
    amount: int
    neutral: bool
    renames: bool = False

    def text(self) -> str:
        """For people."""
        lasts = f" for {self.lasts_ms} ms" if self.lasts_ms else ""
        return f"bar {self.bar} +{self.delay_ms} ms: {self.kind} of {self.target} (fault {self.number}, amount {self.amount}){lasts}"

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def schedule(seed: int, bars: int, kinds: Sequence[FaultKind], *, count: tuple[int, int] = (3, 5)) -> tuple[Fault, ...]:
    """A seed's faults in order of their bars. count: from least to most.

    Each of a seed's places has the kinds in an order of its own and takes them in turn, seed by seed, so that of as many seeds in a row as
    there are kinds, each kind comes at least as often as a seed has faults at least.
    """
    random = Random(f"chaos {seed}")  # text: neighbouring numbers give schedules that have nothing in common
    chosen = [_in_turn(kinds, place)[seed % len(kinds)] for place in range(random.randint(*count))]
    return tuple(sorted((_fault(kind, bars, random) for kind in chosen), key=lambda fault: (fault.bar, fault.delay_ms, fault.kind)))


def _in_turn(kinds: Sequence[FaultKind], place: int) -> list[FaultKind]:
    """The order in which a place takes the kinds; the first place goes by the table."""
    found = list(kinds)
    if place:
        Random(f"chaos place {place}").shuffle(found)
    return found


def rest_bar(bars: int) -> int:
    """Where the market waits until all faults are over: a bar at least passes under the last of them, and five are left to settle in."""
    return min(bars, max(_FIRST_BAR, bars - _LAST_BARS) + 1)


def _fault(kind: FaultKind, bars: int, random: Random) -> Fault:
    return Fault(
        kind=kind.name,
        number=kind.number,
        bar=random.randint(_FIRST_BAR, max(_FIRST_BAR, bars - _LAST_BARS)),
        target=random.choice(kind.targets),
        delay_ms=random.randint(0, 120),
        lasts_ms=random.randint(*kind.lasts_ms),
        amount=random.randint(*kind.amount),
        neutral=kind.neutral,
        renames=kind.renames,
    )
