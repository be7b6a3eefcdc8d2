"""Which registered version a sector should try next, or why it tries none. Pure: the caller has asked the registry.

A rollout that compares forecasts keeps its place until it has ended: with a new candidate each day none would ever see enough bars.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tandem.domain.forecasts import ModelRef
from tandem.rollout.observed import RegisteredVersion
from tandem.rollout.registry_names import CANDIDATE, CHAMPION
from tandem.rollout.state import Outcome, RolloutState, Step

_REPLACEABLE = (Step.REPLAY, Step.WARM)  # nothing has been compared yet
UP_TO_DATE, NO_CANDIDATE = "UpToDate", "NoCandidate"  # reasons of a Hold in which nothing is wrong
QUIET = (UP_TO_DATE, NO_CANDIDATE, "RolloutRunning", "AlreadyTried")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a sector follows: an alias of its registered model or, pinned, one version."""

    alias: str = CANDIDATE
    version: str = ""  # wins over the alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """No other version is tried now. reason: CamelCase, one of plan.REASONS or of QUIET, where nothing is wrong."""

    reason: str
    message: str


def choose(
    wanted: Wanted,
    versions: Sequence[RegisteredVersion] | None,
    *,
    name: str,
    stable: ModelRef | None,
    current: RolloutState | None = None,
    refused: Collection[str] = (),
) -> ModelRef | Hold:
    """The version whose rollout should run: that of `current` while it keeps its place, a new one, or a Hold.

    versions: None when the registry is away. name: of the registered model. stable: what the routing pointer names, None without one.
    refused: versions whose rollout has ended without success; a person's request to start one leaves it out. A Hold never stops `current`.
    """
    running = current if current is not None and current.step is not Step.DONE else None
    if versions is None:
        return running.candidate if running else Hold(reason="RegistryUnreachable", message="the model registry does not answer")
    found = named(wanted, versions, stable)
    if isinstance(found, Hold):
        return running.candidate if running and found.reason == NO_CANDIDATE else found
    if running is not None and not _gives_way(running, found.version):
        if found.version in {running.candidate.version, stable.version if stable else ""}:
            return running.candidate
        message = f"version {found.version} waits until the rollout of version {running.candidate.version} has ended"
        return Hold(reason="RolloutRunning", message=message)
    return _usable(found, name, stable, refused)


def _gives_way(running: RolloutState, version: str) -> bool:
    return running.outcome is Outcome.RUNNING and running.step in _REPLACEABLE and version != running.candidate.version


def named(wanted: Wanted, versions: Sequence[RegisteredVersion], stable: ModelRef | None) -> RegisteredVersion | Hold:
    """The version that a sector's alias or pin names, whether it can be used or not; a Hold where it names none."""
    if wanted.version:
        for version in versions:
            if version.version == wanted.version:
                return version
        known = ", ".join(v.version for v in versions) or "none"
        return Hold(reason="VersionUnusable", message=f"version {wanted.version} is not registered; registered: {known}")
    # A sector without a pointer begins with the champion: the candidate is then compared with it.
    aliases = (CHAMPION, wanted.alias) if stable is None and wanted.alias == CANDIDATE else (wanted.alias,)
    for alias in aliases:
        for version in versions:
            if alias in version.aliases:
                return version
    what = f"none of {len(versions)} versions has alias {' or '.join(aliases)}" if versions else "no version is registered"
    return Hold(reason=NO_CANDIDATE, message=f"{what}; `tandem train` registers one")


def _usable(found: RegisteredVersion, name: str, stable: ModelRef | None, refused: Collection[str]) -> ModelRef | Hold:
    number = found.version
    if not found.digest:
        return Hold(reason="VersionUnusable", message=f"version {number} has no bundle of ours: register it by `tandem train`")
    if stable is not None and stable.version == number:
        if stable.digest == found.digest:
            return Hold(reason=UP_TO_DATE, message=f"version {number} is the one that is acted on")
        message = f"version {number} has digest {found.digest[:12]} in the registry, {stable.digest[:12]} in the routing pointer"
        return Hold(reason="VersionUnusable", message=f"{message}: register the other content as a new version")
    if found.quarantined:
        message = f"version {number} is quarantined ({found.quarantined}): move the alias, or remove the version's tag to try it again"
        return Hold(reason="AliasQuarantined", message=message)
    if number in refused:
        message = f"the rollout of version {number} has ended; `tandem rollout start` tries it again"
        return Hold(reason="AlreadyTried", message=message)
    return ModelRef(name=name, version=number, digest=found.digest)
