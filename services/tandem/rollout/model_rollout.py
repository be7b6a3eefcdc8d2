"""ModelRollout (short name mro): the record of one candidate of one sector, from its detection to its end. Written by the operator only.

The spec says what was compared under which policy and never changes; the status is RolloutState, the planner's whole memory, so that an
operator that was killed reads here where it stood. Here: both, and the way between them and the planner's records.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.domain.units import NS_PER_S, ns_of_rfc3339, rfc3339
from tandem.rollout.conditions import Condition, Conditions, Finding, updated
from tandem.rollout.labels import MANAGED_BY, MANAGER, SECTOR, Owner
from tandem.rollout.promotion import overall
from tandem.rollout.resources import API_VERSION, ChangeRule, Metadata, SectorText, Status, Strict, VersionText, Written
from tandem.rollout.sector_model import RolloutSpec
from tandem.rollout.state import HISTORY_MAX, GateResult, Moment, Outcome, RolloutState, Step, Verdict

MODEL_ROLLOUT = "ModelRollout"
# Conditions: how far the candidate came; see findings_of.
REPLAY_PASSED, CANDIDATE_READY, GATE_PASSED = "ReplayPassed", "CandidateReady", "GatePassed"
PROMOTED, ROLLED_BACK = "Promoted", "RolledBack"
GATES_MAX = 16
_TEXT_MAX = 1024
_ORDER = tuple(Step)

Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class VersionRef(Written):
    """One registered version by number and content."""

    version: VersionText = Field(description="The number in the registry.")
    digest: str = Field(max_length=128, description="The digest of its bundle.")


class ModelRolloutSpec(Written):
    """What is compared with what, and how."""

    CHANGE_RULES: ClassVar[tuple[ChangeRule, ...]] = (
        ChangeRule(
            name="rollout_immutable",
            message="a rollout is a record, its spec cannot be changed",
            holds=lambda old, new: old == new,
            cel="self == oldSelf",
        ),
    )

    sector: SectorText = Field(description="The sector.")
    model: str = Field(max_length=253, description="The registered model.")
    candidate: VersionRef = Field(description="The version that is to take over.")
    stable: VersionRef | None = Field(default=None, description="The version that was acted on; none for a sector's first version.")
    policy: RolloutSpec = Field(default=RolloutSpec(), description="The SectorModel's rollout policy when the rollout began.")


class GateStatus(Written):
    """One gate at its newest look."""

    name: str = Field(max_length=64, description="The gate.")
    verdict: Literal["Pass", "Fail", "Inconclusive"] = Field(description="What it says; no data is never Fail.")
    reason: str = Field(default="", max_length=_TEXT_MAX, description="What was compared with what.")
    bars: int = Field(default=0, ge=0, description="Paired bars that it looked at.")
    sessions: int = Field(default=0, ge=0, description="Trading sessions that they come from.")
    effect: float | None = Field(
        default=None, description="Mean QLIKE of the candidate minus that of the stable version; below 0 is better."
    )
    statistic: float | None = Field(
        default=None, description="Diebold-Mariano statistic over all bars so far; for people, it decides nothing."
    )
    p_value: float | None = Field(default=None, description="Anytime-valid, of the claim.")


class MomentStatus(Written):
    """One entry of the history."""

    step: Literal["Replay", "Warm", "Shadow", "Canary", "Watch", "Done"] = Field(description="The step that was entered.")
    at: Time = Field(description="When.")
    reason: str = Field(max_length=64, description="Why, as one word for programs.")
    message: str = Field(default="", max_length=_TEXT_MAX, description="Why, for people.")


Gates = Annotated[
    tuple[GateStatus, ...],
    Field(
        strict=False,
        max_length=GATES_MAX,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The newest look of each gate.",
    ),
]
History = Annotated[
    tuple[MomentStatus, ...],
    Field(
        strict=False,
        max_length=HISTORY_MAX,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Steps that were entered and the end, newest last.",
    ),
]


class ModelRolloutStatus(Status):
    """Where the rollout stands."""

    step: Literal["Replay", "Warm", "Shadow", "Canary", "Watch", "Done"] | None = Field(default=None, description="What is being done.")
    outcome: Literal["Running", "Succeeded", "Refused", "Inconclusive", "RolledBack", "Aborted"] | None = Field(
        default=None, description="How it ended; Running before."
    )
    verdict: Literal["Pass", "Fail", "Inconclusive"] | None = Field(default=None, description="Of all gates together.")
    bars: int | None = Field(default=None, ge=0, description="Paired bars so far.")
    qlike_delta: float | None = Field(default=None, description="Mean QLIKE of the candidate minus that of the stable version, rounded.")
    p_value: float | None = Field(default=None, description="Anytime-valid, of the claim, rounded.")
    started_at: Time | None = Field(default=None, description="When the rollout began.")
    step_entered_at: Time | None = Field(default=None, description="When the step began.")
    step_entered_bar: Time | None = Field(default=None, description="Event time of the newest paired bar when the step began.")
    canary_index: int = Field(default=0, ge=0, description="The step of the canary, counting from 0.")
    evidence_from: Time | None = Field(default=None, description="Bars that close after this count: both versions were trained before.")
    gates: Gates = ()
    history: History = ()
    replay_digest: str = Field(default="", max_length=128, description="The digest of the decisions that the replay gate made.")
    promoted_epoch: int = Field(default=0, ge=0, description="Of the routing pointer that promoted it; 0 before.")
    request_id: str = Field(default="", max_length=512, description="The last request that was carried out.")
    reason: str = Field(default="", max_length=64, description="The newest change, as one word for programs.")
    message: str = Field(default="", max_length=_TEXT_MAX, description="The newest change, for people.")
    conditions: Conditions = ()


class ModelRollout(Strict):
    """The record of one candidate."""

    api_version: Literal["tandem.trading/v1alpha1"]
    kind: Literal["ModelRollout"]
    metadata: Metadata
    spec: ModelRolloutSpec
    status: Any = Field(default=None, description="Where the rollout stands; see ModelRolloutStatus.read.")


def document_of(state: RolloutState, policy: RolloutSpec, *, namespace: str, owner: Owner) -> dict[str, Any]:
    """The ModelRollout to create for a new state, without its status. owner: the SectorModel."""
    spec = ModelRolloutSpec(
        sector=state.sector,
        model=state.candidate.name,
        candidate=VersionRef(version=state.candidate.version, digest=state.candidate.digest),
        stable=VersionRef(version=state.stable.version, digest=state.stable.digest) if state.stable else None,
        policy=policy,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": MODEL_ROLLOUT,
        "metadata": {
            "name": state.name,
            "namespace": namespace,
            "labels": {SECTOR: state.sector, MANAGED_BY: MANAGER},
            "ownerReferences": [owner.reference()],
        },
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def status_of(state: RolloutState, *, conditions: Sequence[Condition] = (), generation: int, now_s: float) -> ModelRolloutStatus:
    """The status that holds a state. conditions: those that stand there, whose times go on."""
    measured = next((gate for gate in state.gates if gate.effect is not None), None)
    return ModelRolloutStatus(
        observed_generation=generation,
        step=state.step.value,
        outcome=state.outcome.value,
        verdict=_verdict(state.gates),
        bars=max((gate.bars for gate in state.gates), default=0),
        qlike_delta=_rounded(measured.effect) if measured else None,
        p_value=_rounded(measured.p_value) if measured else None,
        started_at=_time(state.started_s),
        step_entered_at=_time(state.step_entered_s),
        step_entered_bar=_event_time(state.step_entered_ns),
        canary_index=state.canary_index,
        evidence_from=_event_time(state.evidence_from_ns),
        gates=tuple(map(_gate_status, state.gates[:GATES_MAX])),
        history=tuple(map(_moment_status, state.history[-HISTORY_MAX:])),
        replay_digest=state.replay_digest,
        promoted_epoch=state.promoted_epoch,
        request_id=state.request_id,
        reason=state.reason,
        message=state.message[:_TEXT_MAX],
        conditions=updated(conditions, findings_of(state), generation=generation, now_s=now_s),
    )


def state_of(spec: ModelRolloutSpec, status: ModelRolloutStatus) -> RolloutState | None:
    """The state that spec and status hold. None: the status was never written, so that the rollout is still to begin."""
    if status.step is None or status.outcome is None:
        return None
    return RolloutState(
        sector=SectorId(spec.sector),
        candidate=_model_ref(spec.model, spec.candidate),
        stable=_model_ref(spec.model, spec.stable) if spec.stable else None,
        step=Step(status.step),
        outcome=Outcome(status.outcome),
        started_s=_unix_s(status.started_at),
        step_entered_s=_unix_s(status.step_entered_at),
        step_entered_ns=_ns(status.step_entered_bar),
        canary_index=status.canary_index,
        evidence_from_ns=_ns(status.evidence_from),
        gates=tuple(map(_gate_result, status.gates)),
        replay_digest=status.replay_digest,
        promoted_epoch=status.promoted_epoch,
        request_id=status.request_id,
        reason=status.reason,
        message=status.message,
        history=tuple(map(_moment, status.history)),
    )


def findings_of(state: RolloutState) -> tuple[Finding, ...]:
    """How far the candidate came, as conditions. What was not looked at is Unknown."""
    return _replay_passed(state), _candidate_ready(state), _gate_passed(state), _promoted(state), _rolled_back(state)


def _reached(state: RolloutState) -> int:
    """The furthest step that was entered before Done, as its place in the order of steps."""
    entered = (state.step, *(moment.step for moment in state.history))
    return max((_ORDER.index(step) for step in entered if step is not Step.DONE), default=0)


def _replay_passed(state: RolloutState) -> Finding:
    if state.stable is None:
        return Finding(type=REPLAY_PASSED, status="Unknown", reason="NotRequired", message="a sector's first version is not replayed")
    if _reached(state) > _ORDER.index(Step.REPLAY):
        if state.replay_digest:
            return Finding(type=REPLAY_PASSED, status="True", reason="ReplayPassed", message=f"digest {state.replay_digest}")
        return Finding(type=REPLAY_PASSED, status="Unknown", reason="NotRequired", message="nothing was recorded at its training")
    if state.outcome is Outcome.REFUSED:
        return Finding(type=REPLAY_PASSED, status="False", reason=state.reason, message=state.message)
    return Finding(type=REPLAY_PASSED, status="Unknown", reason="Pending")


def _candidate_ready(state: RolloutState) -> Finding:
    if state.promoted_epoch or _reached(state) > _ORDER.index(Step.WARM):
        return Finding(type=CANDIDATE_READY, status="True", reason="Ready")
    reason = "Pending" if state.outcome is Outcome.RUNNING else state.reason
    return Finding(type=CANDIDATE_READY, status="False", reason=reason, message=state.message)


def _gate_passed(state: RolloutState) -> Finding:
    found = _verdict(state.gates)
    if found is None:
        return Finding(type=GATE_PASSED, status="Unknown", reason="NoData")
    telling = "; ".join(f"{gate.name}: {gate.reason}" for gate in state.gates if gate.verdict.value == found)
    match found:
        case "Pass":
            return Finding(type=GATE_PASSED, status="True", reason="GatesPassed", message=telling)
        case "Fail":
            return Finding(type=GATE_PASSED, status="False", reason="GateFailed", message=telling)
        case _:
            return Finding(type=GATE_PASSED, status="Unknown", reason="GateInconclusive", message=telling)


def _promoted(state: RolloutState) -> Finding:
    if state.promoted_epoch and state.outcome is not Outcome.ROLLED_BACK:
        return Finding(type=PROMOTED, status="True", reason="Promoted", message=f"epoch {state.promoted_epoch}")
    reason = "Pending" if state.outcome is Outcome.RUNNING else state.outcome.value
    return Finding(type=PROMOTED, status="False", reason=reason, message=state.message)


def _rolled_back(state: RolloutState) -> Finding:
    if state.outcome is Outcome.ROLLED_BACK:
        return Finding(type=ROLLED_BACK, status="True", reason=state.reason, message=state.message)
    return Finding(type=ROLLED_BACK, status="False", reason="NotRolledBack")


def _verdict(gates: tuple[GateResult, ...]) -> Literal["Pass", "Fail", "Inconclusive"] | None:
    """Of all gates together, as the planner takes it. None without any."""
    return overall(gates).value if gates else None


def _gate_status(gate: GateResult) -> GateStatus:
    return GateStatus(
        name=gate.name,
        verdict=gate.verdict.value,
        reason=gate.reason[:_TEXT_MAX],
        bars=gate.bars,
        sessions=gate.sessions,
        effect=_finite(gate.effect),
        statistic=_finite(gate.statistic),
        p_value=_finite(gate.p_value),
    )


def _gate_result(gate: GateStatus) -> GateResult:
    return GateResult(
        name=gate.name,
        verdict=Verdict(gate.verdict),
        reason=gate.reason,
        bars=gate.bars,
        sessions=gate.sessions,
        effect=gate.effect,
        statistic=gate.statistic,
        p_value=gate.p_value,
    )


def _moment_status(moment: Moment) -> MomentStatus:
    return MomentStatus(step=moment.step.value, at=_time(moment.at_s), reason=moment.reason, message=moment.message[:_TEXT_MAX])


def _moment(moment: MomentStatus) -> Moment:
    return Moment(step=Step(moment.step), at_s=_unix_s(moment.at), reason=moment.reason, message=moment.message)


def _model_ref(name: str, ref: VersionRef) -> ModelRef:
    return ModelRef(name=name, version=ref.version, digest=ref.digest)


def _finite(value: float | None) -> float | None:
    """JSON has no word for a number that is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    """Four digits, for a column; the gate has them all."""
    return None if (finite := _finite(value)) is None else _finite(float(f"{finite:.4g}"))  # the largest numbers round to infinity


def _time(unix_s: float) -> str:
    """To the nanosecond: a float of today's Unix seconds has steps of 240 ns, and comes back as it was."""
    return rfc3339(int((Decimal(unix_s) * NS_PER_S).to_integral_value()))


def _unix_s(text: str | None) -> float:
    return ns_of_rfc3339(text) / NS_PER_S if text else 0.0


def _event_time(ns: int) -> str | None:
    return rfc3339(ns) if ns else None


def _ns(text: str | None) -> int:
    return ns_of_rfc3339(text) if text else 0
