"""What a look at a sector says to people: the conditions of its SectorModel, its columns, and which Events go with them. Pure.

Called by sectors.py with what was found and decided.
"""

from dataclasses import dataclass

from tandem.operator.decide import CONFLICT, KAFKA_AWAY, SUSPENDED, Continue, Decision, Rest
from tandem.operator.gather import COMPARED
from tandem.operator.view import View
from tandem.rollout.candidates import NO_CANDIDATE, QUIET, Hold
from tandem.rollout.conditions import READY, Finding, condition_of, updated
from tandem.rollout.labels import selector_text, version_selector
from tandem.rollout.observed import Announce
from tandem.rollout.sector_model import MODEL_RESOLVED, PROGRESSING, REGISTRY_REACHABLE, SectorModelStatus
from tandem.rollout.state import RolloutState, Step

# Conditions that everything which is wanted in the cluster could be made, and that the scores which a rollout compares could be read.
OBJECTS_APPLIED, SCORES_READABLE = "ObjectsApplied", "ScoresReadable"
REGISTRY_AWAY, NOT_APPLIED, POSTGRES_AWAY = "RegistryUnreachable", "ObjectsNotApplied", "PostgresUnreachable"
# Which reasons are told as Events, by condition; of one trouble one condition tells.
TOLD = {
    READY: {CONFLICT, KAFKA_AWAY},
    MODEL_RESOLVED: {"VersionUnusable", "AliasQuarantined"},
    REGISTRY_REACHABLE: {REGISTRY_AWAY},
    SCORES_READABLE: {POSTGRES_AWAY},
    OBJECTS_APPLIED: {NOT_APPLIED},
}
REASONS = frozenset().union(*TOLD.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look came to. state: of the rollout that was looked at, as it is now; None without one."""

    decision: Decision
    rollout: str = ""  # the name of that rollout
    state: RolloutState | None = None
    wait: str = ""
    scores_trouble: str = ""  # why the scores could not be read that it compares
    not_applied: tuple[str, ...] = ()  # what could not be made in the cluster, and why

    @property
    def runs(self) -> bool:
        """Whether a rollout is under way."""
        return self.state is not None and self.state.step is not Step.DONE

    @property
    def hold(self) -> Hold | None:
        """Why no other version is tried; None while one is."""
        return self.decision.hold if isinstance(self.decision, Continue | Rest) else None


def status_of(view: View, look: Look, instance: str) -> SectorModelStatus:
    """The whole status. instance: the release, for the selector of the acted-on version's pods."""
    known, acted_on = view.status, view.acted_on
    status = SectorModelStatus(
        observed_generation=view.generation,
        phase=_phase(view, look),
        candidate_version=look.state.candidate.version if look.state is not None and look.runs else None,
        rollout=look.rollout or known.rollout,
        conditions=updated(known.conditions, findings(view, look), generation=view.generation, now_s=view.now_s),
    )
    if view.control_trouble:  # what was known of the routing stays
        kept = ("stable_version", "stable_digest", "previous_version", "epoch", "replicas", "ready_replicas", "selector")
        return status.model_copy(update={field: getattr(known, field) for field in kept})
    if acted_on is None or view.pointer is None:
        return status.model_copy(update={"replicas": 0, "ready_replicas": 0})
    deployed = (view.deployments.get(acted_on.version) or {}).get("status") or {}
    routed = {
        "stable_version": acted_on.version,
        "stable_digest": acted_on.digest,
        "previous_version": view.before.version if view.before else None,
        "epoch": view.pointer.epoch,
        "replicas": deployed.get("replicas") or 0,
        "ready_replicas": deployed.get("readyReplicas") or 0,
        "selector": selector_text(version_selector(instance, view.sector, acted_on.version)),
    }
    return status.model_copy(update=routed)


def findings(view: View, look: Look) -> tuple[Finding, ...]:
    """The conditions, Ready first. Ready says that the version which is acted on serves: a candidate in trouble does not change it."""
    return _ready(view, look), _resolved(view, look), _progressing(look), _reachable(view), _scores(look), _applied(look)


def news(view: View, look: Look) -> tuple[Announce, ...]:
    """The Events for conditions that have just turned bad, or are bad for another reason than before."""
    told = []
    for finding in findings(view, look):
        before = condition_of(view.status.conditions, finding.type)
        same = before is not None and (before.status, before.reason, before.message) == (finding.status, finding.reason, finding.message)
        if finding.status != "True" and finding.reason in TOLD.get(finding.type, ()) and not same:
            told.append(Announce(kind="Warning", reason=finding.reason, message=finding.message))
    return tuple(told)


def _ready(view: View, look: Look) -> Finding:
    acted_on = view.acted_on
    if view.conflict:
        hold = look.hold
        return Finding(type=READY, status="False", reason=CONFLICT, message=hold.message if hold else "")
    if view.control_trouble:
        return Finding(type=READY, status="Unknown", reason=KAFKA_AWAY, message=f"{view.control_trouble}; what runs goes on")
    if acted_on is None:
        why = look.wait or (look.hold.message if look.hold else "")
        return Finding(type=READY, status="False", reason="NoModel", message=why or "no version is acted on yet")
    forecaster = view.forecasters.get(acted_on.version)
    if forecaster is None or not forecaster.ready:
        why = forecaster.reason if forecaster else "it is being made"
        return Finding(type=READY, status="False", reason="ForecasterNotReady", message=f"forecaster of version {acted_on.version}: {why}")
    epoch = view.pointer.epoch if view.pointer else 0
    return Finding(type=READY, status="True", reason="Serving", message=f"version {acted_on.version} at epoch {epoch}")


def _resolved(view: View, look: Look) -> Finding:
    hold = look.hold
    if hold is not None and hold.reason in {"VersionUnusable", "AliasQuarantined"}:
        goes_on = f"; version {view.acted_on.version} goes on" if view.acted_on else ""
        return Finding(type=MODEL_RESOLVED, status="False", reason=hold.reason, message=hold.message + goes_on)
    if hold is not None and hold.reason not in {*QUIET, SUSPENDED}:
        return Finding(type=MODEL_RESOLVED, status="Unknown", reason=hold.reason, message=hold.message)
    if hold is not None and hold.reason == NO_CANDIDATE and view.acted_on is None:
        return Finding(type=MODEL_RESOLVED, status="False", reason=hold.reason, message=hold.message)
    if view.versions is None:
        return Finding(type=MODEL_RESOLVED, status="Unknown", reason=REGISTRY_AWAY, message=view.registry_trouble)
    return Finding(type=MODEL_RESOLVED, status="True", reason=hold.reason if hold else "Resolved", message=hold.message if hold else "")


def _progressing(look: Look) -> Finding:
    if look.runs and look.state is not None:
        message = f"version {look.state.candidate.version}: {look.wait or look.state.message}"
        return Finding(type=PROGRESSING, status="True", reason=look.state.step.value, message=message)
    hold = look.hold
    if hold is not None and hold.reason == SUSPENDED:
        return Finding(type=PROGRESSING, status="False", reason=SUSPENDED, message=hold.message)
    return Finding(type=PROGRESSING, status="False", reason="NoRollout", message=hold.message if hold else "")


def _reachable(view: View) -> Finding:
    if view.versions is None:
        message = f"{view.registry_trouble}; no new version is tried until it answers, what runs goes on"
        return Finding(type=REGISTRY_REACHABLE, status="False", reason=REGISTRY_AWAY, message=message)
    return Finding(type=REGISTRY_REACHABLE, status="True", reason="Reachable")


def _scores(look: Look) -> Finding:
    if look.scores_trouble:
        message = f"{look.scores_trouble}; the rollout waits, what is acted on goes on"
        return Finding(type=SCORES_READABLE, status="False", reason=POSTGRES_AWAY, message=message)
    compares = look.runs and look.state is not None and look.state.step in COMPARED
    return Finding(type=SCORES_READABLE, status="True" if compares else "Unknown", reason="Read" if compares else "NothingToCompare")


def _applied(look: Look) -> Finding:
    if look.not_applied:
        return Finding(type=OBJECTS_APPLIED, status="False", reason=NOT_APPLIED, message="; ".join(look.not_applied))
    return Finding(type=OBJECTS_APPLIED, status="True", reason="Applied")


def _phase(view: View, look: Look) -> str:
    """All of it in one word."""
    if view.conflict:
        return "Conflict"
    if look.runs and look.state is not None:
        return look.state.step.value if look.state.stable is not None else "Adopting"
    if view.control_trouble:
        return "Unknown"
    if view.acted_on is None:
        return "Waiting"
    forecaster = view.forecasters.get(view.acted_on.version)
    if forecaster is None or not forecaster.ready:
        return "Degraded"
    return SUSPENDED if view.spec.suspend else "Stable"
