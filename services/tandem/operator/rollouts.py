"""Carries a sector's rollout out in Kubernetes: its ModelRollout is the memory, the planner says what to do, this does it.

In this order, so that a kill between any two lines is made good by the next look: the state is written, then the actions are done, then
people are told. What a look finds half done, the planner asks for again. Called by sectors.py.
"""

from dataclasses import dataclass, replace

from tandem.adapters import telemetry
from tandem.domain.control import RoutingPointer
from tandem.domain.errors import Transient
from tandem.domain.forecasts import ModelRef
from tandem.operator.context import Context
from tandem.operator.decide import rollout_name
from tandem.operator.gather import REQUEST, Sources, observe
from tandem.operator.replays import ReplayRuns
from tandem.operator.sector_measures import tell_divergence
from tandem.operator.upkeep import Upkeep
from tandem.operator.view import Rollout, View
from tandem.ports import Manifest
from tandem.quant.bundle import model_name
from tandem.rollout.manifests import ObjectKey, Running, version_keys, version_objects
from tandem.rollout.model_rollout import MODEL_ROLLOUT, ModelRolloutSpec, ModelRolloutStatus, document_of, status_of
from tandem.rollout.observed import (
    Action,
    Announce,
    EnsureForecaster,
    MovePointer,
    RemoveForecaster,
    RunReplay,
    SetAlias,
    TagVersion,
)
from tandem.rollout.plan import Plan, begin, give_way, plan
from tandem.rollout.sector_shape import SectorShape
from tandem.rollout.state import RolloutState, Step

REQUESTS = ("promote", "rollback", "abort")
ENDED_MAX = 50  # ModelRollouts of a sector that are kept as its history


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at a rollout came to: the rollout as it is then, what it waits for, and why its scores could not be read."""

    rollout: Rollout | None = None
    wait: str = ""
    scores_trouble: str = ""


class Rollouts:
    """One for the operator."""

    def __init__(self, sources: Sources, upkeep: Upkeep, replays: ReplayRuns) -> None:
        self._sources, self._upkeep, self._replays = sources, upkeep, replays

    @property
    def _context(self) -> Context:
        return self._sources.context

    def begin(self, view: View, candidate: ModelRef) -> Rollout:
        """A new ModelRollout for this version, with its first state."""
        started = begin(view.sector, candidate, view.acted_on, view.versions or (), now_s=view.now_s)
        document = document_of(started.state, view.spec.rollout, namespace=self._context.namespace, owner=view.owner())
        taken = frozenset(rollout.name for rollout in view.rollouts)
        document["metadata"]["name"] = rollout_name(document["metadata"]["name"], taken)
        created = self._context.cluster.create(document)
        self._context.objects.put(created)
        self._prune(view)
        return self._begun(view, created, started)

    def look(self, view: View, rollout: Rollout, shape: SectorShape, *, by: ModelRef | None = None) -> Looked:
        """One look at a rollout. by: the version that it gives way to."""
        if rollout.state is None:
            if view.versions is None:
                raise Transient(view.registry_trouble)
            started = begin(view.sector, rollout.candidate, rollout.stable, view.versions, now_s=view.now_s)
            return Looked(rollout=self._begun(view, rollout.document, started))
        state = rollout.state if by is None else give_way(rollout.state, by.version, view.now_s)
        replay = self._replays.result(state.candidate) if state.step is Step.REPLAY else None
        observed = observe(self._sources, view, rollout, state, replay=replay)
        tell_divergence(state, observed.evidence)
        planned = plan(rollout.policy, state, observed)
        after = self._written(rollout, planned.state)
        for action in planned.actions:
            self._do(action, view, after, shape)
        after = self._answered(view, after)
        trouble = self._replays.trouble(state.candidate) if planned.state.step is Step.REPLAY else ""
        wait = f"{planned.wait} ({trouble})" if trouble else planned.wait
        return Looked(rollout=after, wait=wait, scores_trouble="; ".join(observed.trouble[len(view.trouble) :]))

    def refuse_requests(self, view: View, looked_at: Rollout | None) -> None:
        """Requests on rollouts that are not the sector's newest: there is nothing of theirs left to change."""
        for rollout in view.rollouts:
            if rollout.request is not None and (looked_at is None or rollout.name != looked_at.name):
                message = f"{rollout.request.action} is refused: it is not the newest rollout of its sector"
                self._tell(view, rollout, Announce(kind="Warning", reason="RequestRefused", message=message))
                self._clear_request(rollout)

    def _begun(self, view: View, document: Manifest, started: Plan) -> Rollout:
        rollout = _read(document)
        after = self._written(rollout, started.state)
        for action in started.actions:
            if isinstance(action, Announce):
                self._tell(view, after, action)
        return after

    def _written(self, rollout: Rollout, state: RolloutState) -> Rollout:
        """The rollout with this state in its status. Raises Conflict when it is not the one that was read."""
        generation = int(rollout.document["metadata"].get("generation") or 0)
        status = status_of(state, conditions=rollout.status.conditions, generation=generation, now_s=self._context.now_s())
        if rollout.state == state and rollout.status == status:
            return rollout
        document = self._context.write_status(rollout.document, status.to_document())
        _count(rollout.state, state)
        return replace(rollout, document=document, state=state, status=status)

    def _do(self, action: Action, view: View, rollout: Rollout, shape: SectorShape) -> None:
        registry = self._sources.registry
        match action:
            case RunReplay(model=model):
                self._replays.start(model)
            case EnsureForecaster(model=model, role=role):
                self.keep_version(view, shape, model, role)
            case RemoveForecaster(model=model):
                self.remove_version(shape, model.version)
            case MovePointer(pointer=pointer):
                self._move(pointer)
            case SetAlias(sector=sector, alias=alias, version=version):
                registry.set_alias(model_name(sector), alias, version)
            case TagVersion(model=model, key=key, value=value):
                registry.set_tag(model.name, model.version, key, value)
            case Announce():
                self._tell(view, rollout, action)

    def keep_version(self, view: View, shape: SectorShape, model: ModelRef, role: str) -> None:
        """The objects of a version. What is acted on has the sector's replicas, whatever is planned with it; others have one."""
        acted_on = role == "stable" or model.version == view.status.stable_version
        running = Running(model=model, role=role, replicas=shape.replicas if acted_on else min(1, shape.replicas))
        self._upkeep.keep(version_objects(shape, running), found_deployments(view))

    def remove_version(self, shape: SectorShape, version: str) -> None:
        """Take a version's objects away."""
        self._upkeep.remove(version_keys(shape, version))

    def _move(self, pointer: RoutingPointer) -> None:
        self._context.control.publish(pointer)
        for pair in self._context.objects.all("TradingPair"):  # whether their model holds them may be another thing now
            if (pair.get("spec") or {}).get("sector") == pointer.sector:
                self._context.wake("TradingPair", pair["metadata"]["name"])

    def _tell(self, view: View, rollout: Rollout, announced: Announce) -> None:
        """On the rollout, and on the sector, where people look first."""
        kind = "Warning" if announced.kind == "Warning" else "Normal"
        for about in (rollout.document, view.document):
            self._context.events.tell(about, kind, announced.reason, announced.message)  # type: ignore[arg-type]  # of two literals

    def _answered(self, view: View, rollout: Rollout) -> Rollout:
        """The rollout without the request that was answered: the same word written again is then a new one."""
        request = rollout.request
        if request is None:
            return rollout
        if request.action not in REQUESTS:
            message = f"request {request.action!r}: allowed are {', '.join(REQUESTS)}"
            self._tell(view, rollout, Announce(kind="Warning", reason="RequestRefused", message=message))
        elif rollout.state is None or rollout.state.request_id != request.request_id:
            return rollout
        return self._clear_request(rollout)

    def _clear_request(self, rollout: Rollout) -> Rollout:
        document = self._context.patch(rollout.document, {"metadata": {"annotations": {REQUEST: None}}})
        return replace(rollout, document=document, request=None)

    def _prune(self, view: View) -> None:
        """Delete the oldest records; not of a version that an alias names, or it would be tried again."""
        named = {version.version for version in view.versions or () if version.aliases}
        ended = [rollout for rollout in view.rollouts if not rollout.runs and rollout.candidate.version not in named]
        for rollout in ended[: max(0, len(view.rollouts) - ENDED_MAX)]:
            self._context.cluster.delete(MODEL_ROLLOUT, rollout.name, uid=rollout.document["metadata"]["uid"])


def found_deployments(view: View) -> dict[ObjectKey, Manifest]:
    """The cluster's copies of the sector's Deployments, as upkeep compares them."""
    return {ObjectKey(kind="Deployment", name=document["metadata"]["name"]): document for document in view.deployments.values()}


def _count(before: RolloutState | None, after: RolloutState) -> None:
    """A rollout that has ended with this write."""
    if after.step is Step.DONE and (before is None or before.step is not Step.DONE):
        telemetry.counter("operator_rollouts_total").labels(outcome=after.outcome.value).inc()


def _read(document: Manifest) -> Rollout:
    """A rollout that was made a moment ago."""
    spec = ModelRolloutSpec.model_validate(document["spec"])
    return Rollout(document=document, spec=spec, status=ModelRolloutStatus.read(document), state=None, request=None)
