"""Carries rollouts out without Kubernetes: the control topic is the memory, the planner says what to do, this does it.

For each sector at each look: read the topic to its end, gather, plan, store the state, do the actions, tell people; in this order, so that
a kill between any two is made good by the next look. Forecasters are the supervisor's child processes. Called by supervisor.py and by
`tandem rollout run`. In Kubernetes the operator does the same with the same planner.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tandem.adapters.registry_rest import Registry
from tandem.adapters.score_evidence import read_losses
from tandem.domain.control import RolloutRecord, RolloutRequest, RoutingPointer
from tandem.domain.errors import TandemError, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.local.control import ControlTopic
from tandem.local.endpoints import Endpoints
from tandem.local.forecasters import Fleet, Version, named
from tandem.operator.replays import ReplayRuns, replay_command
from tandem.quant.bundle import model_name
from tandem.rollout.answers import refused
from tandem.rollout.candidates import QUIET, Hold, Wanted, choose
from tandem.rollout.observed import (
    Action,
    Announce,
    EnsureForecaster,
    Evidence,
    MovePointer,
    Observed,
    RegisteredVersion,
    Request,
    RunReplay,
    SetAlias,
    TagVersion,
)
from tandem.rollout.plan import Plan, begin, give_way, plan
from tandem.rollout.promotion import judge
from tandem.rollout.registry_names import CANDIDATE
from tandem.rollout.sector_model import SectorModelSpec
from tandem.rollout.state import Outcome, RolloutState, Step, from_document, to_document

_REGISTRY_EVERY_S = 5.0  # between questions about a sector's versions; a supervisor of many sectors asks all of them
_LOOKS_MAX = 8  # in one go: a step leads to the next at once where nothing is to be waited for
_REST = 9.0  # times what a look at the evidence took: with many bars and pairs it takes a second, and other sectors wait
_COMPARED = (Step.SHADOW, Step.CANARY, Step.WATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the registry said, or why it said nothing, and when."""

    versions: tuple[RegisteredVersion, ...] | None
    trouble: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The newest look at the evidence of a rollout, and until when it is new enough."""

    evidence: Evidence
    of: tuple[ModelRef, ModelRef]
    until_s: float


class Rollouts:
    """The rollouts of some sectors. For one thread, besides the replay gate's runs."""

    def __init__(
        self,
        control: ControlTopic,
        fleet: Fleet,
        endpoints: Endpoints,
        models: Mapping[SectorId, SectorModelSpec],
        say: Callable[[str], None],
        *,
        source: str,
    ) -> None:
        """models: of every sector that is looked after. source: whose forecasts are compared: live, paper or recycled."""
        self._control, self._fleet, self._endpoints, self._models, self._say = control, fleet, endpoints, models, say
        self._source = source
        self._policies = {sector: model.rollout.to_policy() for sector, model in models.items()}
        self._registry = Registry(endpoints.mlflow)
        self._replays = ReplayRuns(lambda _model: None, command=self._replay_command)
        self._asked: dict[SectorId, _Asked] = {}
        self._held: dict[SectorId, Hold] = {}
        self._needed: dict[SectorId, frozenset[Version]] = {}
        self._troubles: dict[SectorId, str] = {}
        self._seen: dict[SectorId, _Seen] = {}
        self._waits: dict[SectorId, str] = {}

    def close(self) -> None:
        """End what runs besides."""
        self._replays.stop()
        self._registry.close()

    @property
    def holds(self) -> Mapping[SectorId, Hold]:
        """Why a sector tries no other version, as of its newest look."""
        return self._held

    def look(self) -> None:
        """One look at every sector; what goes wrong in one stops that one only, and is told once. Raises Transient when Kafka is away."""
        table = self._control.catch_up()
        for sector in self._models:
            if sector not in self._needed and sector in table.pointers:
                self._needed[sector] = frozenset(named(table.pointers[sector]))
            try:
                self._look(sector)
                self._troubles.pop(sector, None)
            except TandemError as error:
                if self._troubles.get(sector) != str(error):
                    self._troubles[sector] = str(error)
                    self._say(f"{sector}: warning: {error}")
        self._fleet.follow({version for needed in self._needed.values() for version in needed})

    def _look(self, sector: SectorId) -> None:
        for _ in range(_LOOKS_MAX):
            before = self._state(sector)
            after = self._step(sector, before)
            if after == before:
                return

    def _step(self, sector: SectorId, state: RolloutState | None) -> RolloutState | None:
        """Plan what runs, then see whether another version's turn has come."""
        request = self._request(sector, state)
        if state is not None and (state.step is not Step.DONE or (request is not None and request.action != "start")):
            planned = plan(self._policies[sector], state, self._observed(sector, state, request))
            self._carry_out(sector, state, planned)
            if planned.state != state:
                return planned.state
        else:
            self._keep(sector, ())
        return self._next(sector, state, request if request is not None and request.action == "start" else None)

    def _next(self, sector: SectorId, state: RolloutState | None, asked: Request | None) -> RolloutState | None:
        """Begin the rollout of another version, let the present one give way, or remember why not."""
        found = self._choice(sector, state, asked)
        self._hold(sector, found if isinstance(found, Hold) else None)
        if isinstance(found, Hold):
            return self._answered(sector, state, asked, found.message)
        if state is not None and state.step is not Step.DONE:
            if found.version == state.candidate.version:
                return self._answered(sector, state, asked, "its rollout runs already")
            given = give_way(state, found.version, time.time())
            self._store(given)
            return given
        if self._models[sector].suspend and asked is None:
            self._hold(sector, Hold(reason="Suspended", message=f"version {found.version} is not tried while spec.suspend is true"))
            return state
        # The last request stays answered: it must not be carried out again once this rollout is over.
        request_id = asked.request_id if asked is not None else state.request_id if state is not None else ""
        begun = begin(sector, found, self._stable(sector), self._versions(sector).versions or (), now_s=time.time(), request_id=request_id)
        self._carry_out(sector, state, begun)
        return begun.state

    def _choice(self, sector: SectorId, state: RolloutState | None, asked: Request | None) -> ModelRef | Hold:
        model = self._models[sector].model
        wanted = Wanted(alias=model.alias or CANDIDATE, version=model.version or "")
        if asked is not None and asked.version:
            wanted = Wanted(version=asked.version)
        ended = state is not None and state.step is Step.DONE and state.outcome is not Outcome.SUCCEEDED
        return choose(
            wanted,
            self._versions(sector).versions,
            name=model_name(sector),
            stable=self._stable(sector),
            current=state,
            refused={state.candidate.version} if state is not None and ended and asked is None else (),
        )

    def _observed(self, sector: SectorId, state: RolloutState, request: Request | None) -> Observed:
        table, registry = self._control.table, self._versions(sector)
        evidence, unseen = self._evidence(sector, state)
        replay = self._replays.result(state.candidate) if state.step is Step.REPLAY else None
        trouble = (registry.trouble, unseen, self._replays.trouble(state.candidate) if state.step is Step.REPLAY else "")
        return Observed(
            now_s=time.time(),
            versions=registry.versions,
            pointer=table.pointers.get(sector),
            pairs=tuple(spec.pair for spec in table.pairs.values() if spec.sector == sector),
            forecasters=self._fleet.states(sector),
            replay=replay,
            evidence=evidence,
            request=request,
            trouble=tuple(filter(None, trouble)),
        )

    def _evidence(self, sector: SectorId, state: RolloutState) -> tuple[Evidence | None, str]:
        """The gates' newest look, while there is something to compare; or why they could not look."""
        if state.stable is None or state.step not in _COMPARED or state.outcome is not Outcome.RUNNING:
            return None, ""
        seen, started_s = self._seen.get(sector), time.monotonic()
        if seen is not None and seen.of == (state.candidate, state.stable) and started_s < seen.until_s:
            return seen.evidence, ""
        try:
            losses = read_losses(self._endpoints.postgres, self._source, state)
        except TandemError as error:
            return None, str(error)
        candidate, stable = (self._fleet.health(model, sector) for model in (state.candidate, state.stable))
        evidence = judge(losses, self._policies[sector], candidate=candidate, stable=stable)
        ended_s = time.monotonic()
        until_s = ended_s + _REST * (ended_s - started_s)
        self._seen[sector] = _Seen(evidence=evidence, of=(state.candidate, state.stable), until_s=until_s)
        return evidence, ""

    def _carry_out(self, sector: SectorId, before: RolloutState | None, planned: Plan) -> None:
        if planned.state != before or planned.wait != self._waits.get(sector):
            self._store(planned.state, planned.wait)
        self._keep(sector, planned.actions)
        for action in planned.actions:
            self._do(sector, action)

    def _keep(self, sector: SectorId, actions: Sequence[Action]) -> None:
        """The forecasters of a sector: those that the pointer names, and those that the planner asks for; no others."""
        pointer = self._control.table.pointers.get(sector)
        asked = {Version(sector, action.model.version) for action in actions if isinstance(action, EnsureForecaster)}
        self._needed[sector] = frozenset(asked | (named(pointer) if pointer is not None else set()))

    def _do(self, sector: SectorId, action: Action) -> None:
        match action:
            case RunReplay(model=model):
                self._replays.start(model)
            case MovePointer(pointer=pointer):
                self._control.publish(pointer)
                self._say(_told(pointer))
            case SetAlias(alias=alias, version=version):
                self._write(sector, lambda: self._registry.set_alias(model_name(sector), alias, version))
            case TagVersion(model=model, key=key, value=value):
                self._write(sector, lambda: self._registry.set_tag(model.name, model.version, key, value))
            case Announce(reason=reason, message=message):
                self._say(f"{sector}: {reason}: {message}")
            case _:
                pass  # forecasters follow what _keep has noted

    def _write(self, sector: SectorId, write: Callable[[], None]) -> None:
        """A write to the registry; when it is away the planner asks for it again."""
        try:
            write()
        except Transient as error:
            self._asked[sector] = _Asked(versions=None, trouble=str(error), at_s=time.monotonic())
        else:
            self._asked.pop(sector, None)  # what was known is older than what was written

    def _versions(self, sector: SectorId) -> _Asked:
        known = self._asked.get(sector)
        if known is not None and time.monotonic() - known.at_s < _REGISTRY_EVERY_S:
            return known
        try:
            found = _Asked(versions=self._registry.versions(model_name(sector)), trouble="", at_s=time.monotonic())
        except TandemError as error:
            found = _Asked(versions=None, trouble=str(error), at_s=time.monotonic())
        self._asked[sector] = found
        return found

    def _stable(self, sector: SectorId) -> ModelRef | None:
        pointer = self._control.table.pointers.get(sector)
        return None if pointer is None else ModelRef(name=model_name(sector), version=pointer.version, digest=pointer.digest)

    def _state(self, sector: SectorId) -> RolloutState | None:
        record = self._control.table.records.get(f"rollout/{sector}")
        if not isinstance(record, RolloutRecord):
            return None
        try:
            return from_document(record.document)
        except ValueError as error:
            raise Transient(f"the rollout record of {sector} cannot be read by this version: {error}") from error

    def _store(self, state: RolloutState, wait: str = "") -> None:
        """wait: what it waits for, beside the state: for people, and no part of the planner's memory."""
        self._control.publish(RolloutRecord(sector=state.sector, document=to_document(state) | {"wait": wait}))
        self._waits[state.sector] = wait

    def _request(self, sector: SectorId, state: RolloutState | None) -> Request | None:
        """What a person asks and was not answered yet."""
        record = self._control.table.records.get(f"rollout-request/{sector}")
        if not isinstance(record, RolloutRequest) or (state is not None and state.request_id == record.request_id):
            return None
        return Request(request_id=record.request_id, action=record.action, version=record.version, reason=record.reason)

    def _answered(self, sector: SectorId, state: RolloutState | None, asked: Request | None, why: str) -> RolloutState | None:
        """A start that cannot be: noted where there is a state to note it in."""
        if asked is None or state is None:
            return state
        found = refused(replace(state, request_id=asked.request_id), asked, why, now_s=time.time())
        self._carry_out(sector, state, Plan(state=found.state, actions=found.told))
        return found.state

    def _hold(self, sector: SectorId, hold: Hold | None) -> None:
        """Remember why nothing is tried, and tell it once where something is wrong."""
        before = self._held.pop(sector, None)
        if hold is None:
            return
        self._held[sector] = hold
        if hold.reason not in QUIET and hold != before:
            self._say(f"{sector}: {hold.reason}: {hold.message}")

    def _replay_command(self, model: ModelRef) -> tuple[str, ...]:
        return ("env", f"MLFLOW_TRACKING_URI={self._endpoints.mlflow}", *replay_command(model))


def _told(pointer: RoutingPointer) -> str:
    canary = f", {', '.join(pointer.canary.pairs)} by version {pointer.canary.version}" if pointer.canary is not None else ""
    return f"{pointer.sector} is served by version {pointer.version}{canary} (epoch {pointer.epoch})"
