"""What a stage notes of its seed: deaths and recoveries, rollouts. Judged by run.py."""

from dataclasses import dataclass


class Stuck(AssertionError):
    """The platform did not get where it had to within its time."""


@dataclass(slots=True)
class Recovery:
    """How long it took from a death until the process was ready again."""

    name: str
    asked: bool  # by a fault; else the process ended by itself
    died_s: float
    started: bool = False
    ready_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A time in which another version was to decide: after a bar, up to another."""

    sector: str
    digest: str
    from_ns: int
    to_ns: int
