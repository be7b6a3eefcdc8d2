"""Which forecasters should run, and where: for each sector what its routing pointer names, and the candidate of its rollout.

Forecasters decides ports only and is pure; Fleet starts and stops the processes and asks them how they are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tandem.adapters.forecaster_http import read_report
from tandem.domain.control import RoutingPointer
from tandem.domain.errors import Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.local.endpoints import Service
from tandem.local.platform import Platform
from tandem.local.probes import HOST
from tandem.local.services import Services
from tandem.rollout.observed import ForecasterState
from tandem.rollout.promotion import UNKNOWN, Health


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version of one sector's model."""

    sector: str
    version: str


def named(pointer: RoutingPointer) -> set[Version]:
    """What a pointer keeps running: the version that it routes to, the one that a roll-back returns to, and the canary."""
    versions = {pointer.version}
    versions |= {pinned.version for pinned in (pointer.previous, pointer.canary) if pinned is not None}
    return {Version(pointer.sector, version) for version in versions}


@dataclass(kw_only=True)
class Forecasters:
    """The versions that run, each with the number of its port."""

    running: dict[Version, int] = field(default_factory=dict)

    def follow(self, wanted: Iterable[Version]) -> tuple[list[tuple[Version, int]], list[Version]]:
        """Let these run. Returns what to start, with the number of its port, and what to stop."""
        needed = set(wanted)
        stop = sorted(set(self.running) - needed)
        for version in stop:
            del self.running[version]
        start = []
        for version in sorted(needed - set(self.running)):
            free = next(number for number in range(len(self.running) + 1) if number not in self.running.values())
            self.running[version] = free
            start.append((version, free))
        return start, stop


class Fleet:
    """The forecasters of one platform as its child processes."""

    def __init__(self, platform: Platform, services: Services, say: Callable[[str], None]) -> None:
        self._platform, self._services, self._say = platform, services, say
        self._forecasters = Forecasters()

    def follow(self, wanted: Iterable[Version]) -> None:
        """Start and stop what is missing and what is too many."""
        start, stop = self._forecasters.follow(wanted)
        for version in stop:
            name = self._service(version, 0).name
            self._platform.children.stop(name)
            self._say(f"{name} is stopped: nothing names its version any more")
        for version, number in start:
            service = self._service(version, number)
            self._platform.start(service)
            self._say(f"{service.name} starts on port {service.port}")

    @property
    def running(self) -> frozenset[Version]:
        """The versions that were started and not stopped."""
        return frozenset(self._forecasters.running)

    def states(self, sector: SectorId) -> dict[str, ForecasterState]:
        """The forecasters of a sector by version."""
        return {v.version: self._state(v, number) for v, number in self._forecasters.running.items() if v.sector == sector}

    def health(self, model: ModelRef, sector: SectorId) -> Health:
        """What a version's forecaster counts of itself; unknown when it does not answer, which is no verdict on it."""
        number = self._forecasters.running.get(Version(sector, model.version))
        if number is None:
            return UNKNOWN
        try:
            return read_report(f"http://{HOST}:{self._platform.ports.forecaster(number)}").health
        except Transient:
            return UNKNOWN

    def _state(self, version: Version, number: int) -> ForecasterState:
        child = self._platform.children.get(self._service(version, number).name)
        if child.exit_code is not None:
            return ForecasterState(exists=True, reason=f"its process has ended with exit code {child.exit_code}, see {child.log}")
        reason = child.command.why_not_ready()
        return ForecasterState(exists=True, ready=reason is None, reason=reason or "")

    def _service(self, version: Version, number: int) -> Service:
        return self._services.forecaster(version.sector, version.version, number)
