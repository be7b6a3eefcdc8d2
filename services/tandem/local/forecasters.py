"""Which forecasters should run: for each sector the version that its routing pointer names, and the one before it, still hot.

Decides only; supervisor.py starts and stops. Pure but for the control table, which its caller polls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem.domain.control import RoutingPointer

_HOT = 2  # the version that is acted on, and the one that a roll-back would return to


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version of one sector's model."""

    sector: str
    version: str


@dataclass(kw_only=True)
class Forecasters:
    """The versions that run, each with the number of its port."""

    running: dict[Version, int] = field(default_factory=dict)
    _recent: dict[str, list[str]] = field(default_factory=dict)  # by sector, the one that the pointer names last

    def follow(self, pointers: Mapping[str, RoutingPointer]) -> tuple[list[tuple[Version, int]], list[Version]]:
        """Take over the pointers. Returns what to start, with the number of its port, and what to stop."""
        for sector, pointer in pointers.items():
            recent = [v for v in self._recent.get(sector, []) if v != pointer.version]
            self._recent[sector] = [*recent, pointer.version][-_HOT:]
        wanted = {Version(sector, version) for sector, versions in self._recent.items() for version in versions}
        stop = sorted(set(self.running) - wanted)
        for version in stop:
            del self.running[version]
        start = []
        for version in sorted(wanted - set(self.running)):
            free = next(number for number in range(len(self.running) + 1) if number not in self.running.values())
            self.running[version] = free
            start.append((version, free))
        return start, stop
