"""Reads the world once for a look at a sector, into a View; and what the planner must know of a rollout, into an Observed.

Decides nothing. What cannot be looked at is named, so that nothing is concluded from it. Called by sectors.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from tandem.adapters import telemetry
from tandem.domain.control import RoutingPointer
from tandem.domain.errors import Permanent, TandemError
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.operator.context import Context
from tandem.operator.control import ControlTopic
from tandem.operator.objects import Objects
from tandem.operator.view import Rollout, View
from tandem.ports import Manifest
from tandem.quant.bundle import model_name
from tandem.rollout.labels import MODEL_VERSION, version_selector
from tandem.rollout.model_rollout import MODEL_ROLLOUT, ModelRolloutSpec, ModelRolloutStatus, state_of
from tandem.rollout.observed import Evidence, ForecasterState, Observed, RegisteredVersion, ReplayCheck, Request
from tandem.rollout.paired import PairedLosses
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.promotion import UNKNOWN, Health, judge
from tandem.rollout.sector_model import SECTOR_MODEL, SectorModelSpec, SectorModelStatus
from tandem.rollout.state import RolloutState, Step

REQUEST = "tandem.trading/request"  # the annotation by which a person asks something of a rollout: promote, rollback or abort
COMPARED = (Step.SHADOW, Step.CANARY, Step.WATCH)  # the steps in which two versions forecast side by side
_PODS_MAX = 5  # that a reason is looked for in
_WORDS_MAX = 600  # characters of it: the end of a log names the cause


class Registry(Protocol):
    """The model registry, by registered model."""

    def versions(self, name: str) -> tuple[RegisteredVersion, ...]:
        """All versions; none for a model that is not there. Raises Transient."""
        ...

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version; "" takes the alias away. Raises Transient, Permanent."""
        ...

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag on a version. Raises Transient, Permanent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a look at a sector looks, besides what all reconciles share."""

    context: Context
    registry: Registry
    losses: Callable[[RolloutState], PairedLosses]  # of the bars that count. Raises Transient
    health: Callable[[ModelRef, SectorId], Health]  # of a version's forecaster. Raises Transient
    instance: str  # of the release, for the labels of pods


def gather(sources: Sources, name: str) -> View | None:
    """The sector of the SectorModel of this name; None when it is gone or going. Raises Permanent when it cannot be read."""
    objects = sources.context.objects
    document = objects.get(SECTOR_MODEL, name)
    if document is None or document["metadata"].get("deletionTimestamp"):
        return None
    spec, status = _parsed(document)
    sector = SectorId(spec.sector)
    versions, registry_trouble = _versions(sources.registry, sector)
    telemetry.gauge("operator_dependency_up").labels(dependency="mlflow").set(not registry_trouble)
    pointer, pairs, control_trouble = _routing(sources.context.control, sector)
    rollouts = _rollouts(objects, sector)
    deployments = _deployments(objects, document["metadata"]["uid"])
    told = {pointer.version if pointer else "", *(rollout.candidate.version for rollout in rollouts if rollout.runs)}
    return View(
        document=document,
        spec=spec,
        status=status,
        rollouts=rollouts,
        deployments=deployments,
        forecasters={
            version: _forecaster(deployment, _reasons(sources, sector, version) if version in told else lambda: "")
            for version, deployment in deployments.items()
        },
        versions=versions,
        pointer=pointer,
        pairs=pairs,
        now_s=sources.context.now_s(),
        registry_trouble=registry_trouble,
        control_trouble=control_trouble,
        conflict=_older(objects, document, sector),
    )


def observe(sources: Sources, view: View, rollout: Rollout, state: RolloutState, *, replay: ReplayCheck | None) -> Observed:
    """What the planner must know for its next look at this rollout."""
    evidence, trouble = _evidence(sources, view, state, rollout.policy)
    return Observed(
        now_s=view.now_s,
        versions=view.versions,
        pointer=view.pointer,
        pairs=view.pairs,
        forecasters=view.forecasters,
        replay=replay,
        evidence=evidence,
        request=rollout.request,
        trouble=(*view.trouble, *([trouble] if trouble else [])),
    )


def _parsed(document: Manifest) -> tuple[SectorModelSpec, SectorModelStatus]:
    try:
        return SectorModelSpec.model_validate(document["spec"]), SectorModelStatus.read(document)
    except ValidationError as error:
        # The API server checks the same rules: only a resource that an older definition admitted comes here.
        raise Permanent(f"SectorModel {document['metadata']['name']}: {error.errors(include_url=False)[0]['msg']}") from error


def _older(objects: Objects, document: Manifest, sector: SectorId) -> str:
    """The name of an older SectorModel of the same sector; "" when this one is the oldest."""

    def age(other: Manifest) -> tuple[str, str]:
        return str(other["metadata"].get("creationTimestamp", "")), str(other["metadata"]["name"])

    rivals = [other for other in objects.all(SECTOR_MODEL) if (other.get("spec") or {}).get("sector") == sector]
    oldest = min(rivals, key=age, default=document)
    return "" if oldest["metadata"]["uid"] == document["metadata"]["uid"] else str(oldest["metadata"]["name"])


def _rollouts(objects: Objects, sector: SectorId) -> tuple[Rollout, ...]:
    """The sector's rollouts, oldest first; those of an earlier SectorModel of the sector are going and do not count."""
    found = []
    for document in objects.all(MODEL_ROLLOUT):
        if document["spec"].get("sector") != sector or document["metadata"].get("deletionTimestamp"):
            continue
        try:
            spec, status = ModelRolloutSpec.model_validate(document["spec"]), ModelRolloutStatus.read(document)
            state = state_of(spec, status)
        except ValueError as error:
            raise Permanent(f"ModelRollout {document['metadata']['name']} cannot be read, delete it: {error}") from error
        found.append(Rollout(document=document, spec=spec, status=status, state=state, request=request_of(document)))
    return tuple(sorted(found, key=lambda rollout: (str(rollout.document["metadata"].get("creationTimestamp", "")), _started(rollout))))


def _started(rollout: Rollout) -> tuple[float, int]:
    """For an order among those that were made in the same second."""
    state = rollout.state
    number = rollout.name.rpartition("-")[2]
    return (state.started_s if state is not None else float("inf"), int(number) if number.isdecimal() else 0)


def request_of(document: Manifest) -> Request | None:
    """What the annotation asks, e.g. `rollback` or `rollback: loses money`. The id holds the time at which it was written.

    The same word written again later is another request; the same annotation read twice is one.
    """
    metadata = document["metadata"]
    text = str((metadata.get("annotations") or {}).get(REQUEST, "")).strip()
    if not text:
        return None
    action, _, reason = text.partition(":")
    written = [
        str(entry.get("time", "")) for entry in metadata.get("managedFields") or () if f"f:{REQUEST}" in _annotations(entry.get("fieldsV1"))
    ]
    return Request(request_id=f"{text[:200]}@{max(written, default=metadata['uid'])}", action=action.strip(), reason=reason.strip())


def _annotations(fields: Any) -> Mapping[str, Any]:
    """The annotations that one entry of managedFields owns."""
    owned: Mapping[str, Any] = ((fields or {}).get("f:metadata") or {}).get("f:annotations") or {}
    return owned


def _deployments(objects: Objects, owner_uid: str) -> dict[str, Manifest]:
    """The sector's Deployments by model version, in order of version."""
    found = {}
    for document in objects.all("Deployment"):
        metadata = document["metadata"]
        version = (metadata.get("labels") or {}).get(MODEL_VERSION, "")
        if version and any(owner.get("uid") == owner_uid for owner in metadata.get("ownerReferences") or ()):
            found[version] = document
    return dict(sorted(found.items()))


def _forecaster(deployment: Manifest, why: Callable[[], str]) -> ForecasterState:
    """Ready when a pod is: a pod is when its forecaster says so. why: asked only where none is."""
    status = deployment.get("status") or {}
    if status.get("readyReplicas"):
        return ForecasterState(exists=True, ready=True)
    failed = [
        f"{condition.get('reason', '')}: {condition.get('message', '')}"
        for condition in status.get("conditions") or ()
        if (condition["type"], condition["status"]) in {("ReplicaFailure", "True"), ("Progressing", "False")}
    ]
    return ForecasterState(exists=True, reason=why() or "; ".join(failed) or "no pod is ready yet")


def _reasons(sources: Sources, sector: SectorId, version: str) -> Callable[[], str]:
    """Asks the version's pods why they are not ready."""

    def ask() -> str:
        try:
            pods = sources.context.cluster.list("Pod", version_selector(sources.instance, sector, version))
        except TandemError as error:
            return f"its pods cannot be looked at: {error}"
        return "; ".join(dict.fromkeys(filter(None, map(pod_trouble, pods[:_PODS_MAX]))))

    return ask


def pod_trouble(pod: Manifest) -> str:
    """Why a pod is not ready, in the words of its container's end, of the node, or of the scheduler; "" when nothing tells."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state, last = container.get("state") or {}, container.get("lastState") or {}
        ended = state.get("terminated") or last.get("terminated") or {}
        words = [str(part.get(key) or "").strip() for part in (state.get("waiting") or {}, ended) for key in ("reason", "message")]
        if any(words):
            return ": ".join(filter(None, dict.fromkeys(words)))[-_WORDS_MAX:]
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return ""


def _versions(registry: Registry, sector: SectorId) -> tuple[tuple[RegisteredVersion, ...] | None, str]:
    try:
        return registry.versions(model_name(sector)), ""
    except TandemError as error:
        return None, str(error)


def _routing(control: ControlTopic, sector: SectorId) -> tuple[RoutingPointer | None, tuple[PairId, ...], str]:
    try:
        pointer = control.pointer(sector)
        pairs = tuple(PairId(pair) for pair, spec in control.pairs().items() if spec.sector == sector)
    except TandemError as error:
        return None, (), str(error)
    return pointer, pairs, ""


def _evidence(sources: Sources, view: View, state: RolloutState, policy: RolloutPolicy) -> tuple[Evidence | None, str]:
    """The gates' newest look, while there is something to compare; or why they could not look."""
    if state.stable is None or state.step not in COMPARED:
        return None, ""
    try:
        losses = sources.losses(state)
    except TandemError as error:
        telemetry.gauge("operator_dependency_up").labels(dependency="postgres").set(0)
        return None, str(error)
    telemetry.gauge("operator_dependency_up").labels(dependency="postgres").set(1)
    candidate, stable = (_health(sources, view, model) for model in (state.candidate, state.stable))
    return judge(losses, policy, candidate=candidate, stable=stable), ""


def _health(sources: Sources, view: View, model: ModelRef) -> Health:
    """What a forecaster counts of itself; unknown when it does not answer, which is no verdict on it."""
    forecaster = view.forecasters.get(model.version)
    if forecaster is None or not forecaster.ready:
        return UNKNOWN
    try:
        return sources.health(model, view.sector)
    except TandemError:
        return UNKNOWN
