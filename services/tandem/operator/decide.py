"""What to do about a sector's version at one look: go on with its rollout, begin one, let one give way, or nothing and why. Pure.

The planner (rollout/plan.py) decides within a rollout; this decides which rollout there is. Called by sectors.py.
"""

from dataclasses import dataclass

from tandem.domain.forecasts import ModelRef
from tandem.operator.view import Rollout, View
from tandem.rollout.candidates import Hold, choose

SUSPENDED, CONFLICT, KAFKA_AWAY = "Suspended", "Conflict", "KafkaUnreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """Look at this rollout: it runs, or a person asks something of it. hold: why no other version is tried; None when it is its turn."""

    rollout: Rollout
    hold: Hold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveWay:
    """End this rollout, which has compared nothing yet: another version is wanted."""

    rollout: Rollout
    by: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A rollout of this version begins."""

    candidate: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """No rollout runs and none begins; the acted-on version goes on."""

    hold: Hold


Decision = Continue | GiveWay | Begin | Rest


def decide(view: View) -> Decision:
    """The decision of one look."""
    if view.conflict:
        message = f"SectorModel {view.conflict} is older and declares the same sector {view.sector}; delete one of them"
        return Rest(hold=Hold(reason=CONFLICT, message=message))
    newest = view.newest
    running = newest if newest is not None and newest.runs else None
    if view.control_trouble:
        hold = Hold(reason=KAFKA_AWAY, message=view.control_trouble)
        return Continue(rollout=running, hold=hold) if running else Rest(hold=hold)
    choice = _choice(view, running)
    if running is not None:
        if isinstance(choice, Hold):
            return Continue(rollout=running, hold=choice)
        if choice.version != running.candidate.version and running.state is not None:
            return GiveWay(rollout=running, by=choice)
        return Continue(rollout=running)
    if newest is not None and newest.request is not None:
        return Continue(rollout=newest, hold=choice if isinstance(choice, Hold) else None)
    if isinstance(choice, Hold):
        return Rest(hold=choice)
    if view.spec.suspend:
        return Rest(hold=Hold(reason=SUSPENDED, message=f"version {choice.version} is not tried while spec.suspend is true"))
    return Begin(candidate=choice)


def _choice(view: View, running: Rollout | None) -> ModelRef | Hold:
    return choose(
        view.wanted,
        view.versions,
        name=view.model,
        stable=view.acted_on,
        current=running.state if running else None,
        refused=refused_versions(view.rollouts),
    )


def refused_versions(rollouts: tuple[Rollout, ...]) -> frozenset[str]:
    """The versions whose newest rollout ended without success. Deleting its ModelRollout lets a version be tried again."""
    newest = {rollout.candidate.version: rollout for rollout in rollouts}  # oldest first: the newest one stays
    return frozenset(version for version, rollout in newest.items() if rollout.refused)


def rollout_name(wanted: str, taken: frozenset[str]) -> str:
    """The name of a new ModelRollout: the one that is wanted, or with the next number where a version is tried again."""
    if wanted not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}") not in taken)
