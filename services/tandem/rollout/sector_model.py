"""SectorModel (short name smod): which model serves a sector, on how many forecasters, and how a new version takes over.

Decides what a valid manifest is, and what its rollout part says in the words of rollout/policy.py, whose defaults it takes. What follows
from it is decided by plan.py and manifests.py.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tandem.domain.control import Handover
from tandem.rollout.conditions import Conditions
from tandem.rollout.faults import Fault, parse
from tandem.rollout.policy import CanaryStep, Claim, GatePolicy, OperationalPolicy, RolloutPolicy
from tandem.rollout.resources import ChangeRule, Metadata, Money, Quantity, Rule, SectorText, Status, Strict, VersionText
from tandem.rollout.sector_shape import REPLICAS_MAX, Autoscaling

SECTOR_MODEL = "SectorModel"
CANDIDATE_ALIAS = "candidate"  # followed when a manifest names neither alias nor version
# Conditions: the forecaster of the stable version serves; the wanted version is there; a rollout is under way; MLflow answers.
MODEL_RESOLVED, PROGRESSING, REGISTRY_REACHABLE = "ModelResolved", "Progressing", "RegistryReachable"
CANARY_STEPS_MAX = 10
_RESERVED_ALIAS = re.compile(r"^(latest|v[0-9]+)$")
_VERSIONED = re.compile(r"-v[0-9]+$")
_GATE = GatePolicy()
_OPERATIONS = OperationalPolicy()
_ROLLOUT = RolloutPolicy()
_SCALING = Autoscaling()
_CANARY_BARS: Any = next(field.default for field in fields(CanaryStep) if field.name == "bars")
_CLAIMS: Mapping[str, Claim] = {"NonInferior": Claim.NON_INFERIOR, "Superior": Claim.SUPERIOR}
_HANDOVERS: Mapping[str, Handover] = {"HandOver": Handover.HAND_OVER, "Hold": Handover.HOLD, "Flatten": Handover.FLATTEN}
_CLAIM_TEXTS: Mapping[Claim, Any] = {claim: text for text, claim in _CLAIMS.items()}
_HANDOVER_TEXTS: Mapping[Handover, Any] = {handover: text for text, handover in _HANDOVERS.items()}


class ModelSpec(Strict):
    """The version that is wanted: the one that an alias names, or one by number."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="alias_xor_version",
            message="only one of model.alias and model.version may be given",
            holds=lambda model: model.alias is None or model.version is None,
            cel="!(has(self.alias) && has(self.version))",
        ),
        Rule(
            name="alias_not_reserved",
            message="model.alias must not be latest or v<number>, which MLflow keeps for itself",
            holds=lambda model: model.alias is None or not _RESERVED_ALIAS.fullmatch(model.alias),
            cel=f"!has(self.alias) || !self.alias.matches('{_RESERVED_ALIAS.pattern}')",
        ),
    )

    alias: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,255}$",
        max_length=255,
        description=f"Follow the version that this alias names in the registry; {CANDIDATE_ALIAS} when neither alias nor version is given.",
    )
    version: VersionText | None = Field(default=None, description="Stay at this registered version.")


class AutoscalingSpec(Strict):
    """How many forecasters of a version run, decided by load instead of spec.replicas."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="min_within_max",
            message="autoscaling.minReplicas must not be above autoscaling.maxReplicas",
            holds=lambda scaling: scaling.min_replicas <= scaling.max_replicas,
            cel="self.minReplicas <= self.maxReplicas",
        ),
    )

    enabled: bool = Field(default=False, description="True: the number of forecasters follows the load.")
    kind: Literal["HPA", "KEDA"] = Field(
        default=_SCALING.kind.value, description="HPA: by CPU. KEDA: by the lag of the sector's tick topic; needs KEDA in the cluster."
    )
    min_replicas: int = Field(default=_SCALING.replicas_min, ge=1, le=REPLICAS_MAX, description="At least so many forecasters.")
    max_replicas: int = Field(default=_SCALING.replicas_max, ge=1, le=REPLICAS_MAX, description="At most so many forecasters.")
    target_cpu_utilization: int = Field(
        default=_SCALING.cpu_percent, ge=1, le=100, description="HPA: percent of the requested CPU to aim at."
    )
    lag_threshold: int = Field(
        default=_SCALING.lag_records, ge=1, le=1_000_000, description="KEDA: records behind, per forecaster, to aim at."
    )


class ResourcesSpec(Strict):
    """CPU and memory of one forecaster; what is not given comes from the chart."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=8, description="What is kept free for it, e.g. {cpu: 100m}.")
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=8, description="What it may take at most, e.g. {memory: 512Mi}.")


class GateSpec(Strict):
    """The statistical gate on QLIKE, paired bar by bar."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="bars_min_within_max",
            message="gate.barsMin must not be above gate.barsMax",
            holds=lambda gate: gate.bars_min <= gate.bars_max,
            cel="self.barsMin <= self.barsMax",
        ),
    )

    claim: Literal["NonInferior", "Superior"] = Field(
        default=_CLAIM_TEXTS[_GATE.claim],
        description="What must be shown of a candidate. NonInferior: not worse by more than the margin. Superior: better.",
    )
    level: float = Field(default=_GATE.level, gt=0, lt=0.5, description="Rate of false promotions, over all the times that anyone looks.")
    margin_qlike: float = Field(
        default=_GATE.margin_qlike, ge=0, le=10, description="NonInferior: a mean QLIKE that is worse by less is called not worse."
    )
    bars_min: int = Field(default=_GATE.bars_min, ge=1, le=1_000_000, description="Paired bars before any verdict.")
    sessions_min: int = Field(default=_GATE.sessions_min, ge=1, le=10_000, description="Trading sessions that they come from, at least.")
    bars_max: int = Field(
        default=_GATE.bars_max, ge=1, le=1_000_000, description="Without a verdict by then the rollout ends, and the stable version stays."
    )


class OperationsSpec(Strict):
    """The operational gates: how a candidate may behave as a program. They can fail a candidate, never pass one."""

    errors_max: int = Field(
        default=_OPERATIONS.errors_max, ge=0, le=1_000_000, description="Records that it could not use and the stable version could."
    )
    withheld_share_max: float = Field(
        default=_OPERATIONS.withheld_share_max, ge=0, le=1, description="Share of its forecasts that were not finite and not published."
    )
    latency_p99_seconds_max: float = Field(
        default=_OPERATIONS.latency_p99_s_max, gt=0, le=3600, description="From the ingestor's receipt to the forecast's publication."
    )
    divergence_max: float = Field(
        default=_OPERATIONS.divergence_max,
        gt=0,
        le=1000,
        description="Largest |log variance ratio| to the stable version that is ordinary.",
    )
    divergence_share_max: float = Field(
        default=_OPERATIONS.divergence_share_max, ge=0, le=1, description="Share of the paired forecasts that may lie beyond it."
    )


class CanarySpec(Strict):
    """One step of the canary."""

    pairs_share: float = Field(gt=0, le=1, description="The share of the sector's pairs that act on the candidate.")
    bars: int = Field(default=_CANARY_BARS, ge=1, le=1_000_000, description="For so many bars.")


class RolloutSpec(Strict):
    """How a new version takes over: RolloutPolicy, field by field."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="canary_shares_grow",
            message="rollout.canary: pairsShare must grow from step to step",
            holds=lambda rollout: all(a.pairs_share < b.pairs_share for a, b in zip(rollout.canary, rollout.canary[1:], strict=False)),
            cel="self.canary.map(s, s.pairsShare).isSorted()"
            " && self.canary.all(s, self.canary.exists_one(t, t.pairsShare == s.pairsShare))",
        ),
    )

    gate: GateSpec = Field(default=GateSpec(), description="The statistical gate on QLIKE, paired bar by bar.")
    operations: OperationsSpec = Field(
        default=OperationsSpec(), description="The operational gates; they can fail a candidate, never pass one."
    )
    canary: list[CanarySpec] = Field(
        default=[CanarySpec(pairsShare=step.pairs_share, bars=step.bars) for step in _ROLLOUT.canary],
        max_length=CANARY_STEPS_MAX,
        description="The steps between shadow and promotion; an empty list leaves them out.",
    )
    canary_notional_usd_max: Money = Field(
        default=_ROLLOUT.canary_notional_usd_max, description="Largest new position of a pair in the canary, both legs together."
    )
    handover: Literal["HandOver", "Hold", "Flatten"] = Field(
        default=_HANDOVER_TEXTS[_ROLLOUT.handover],
        description="What becomes of positions that the version before has opened. HandOver: the new version looks after them. "
        "Hold: the old one does until they are closed. Flatten: they are closed.",
    )
    watch_bars: int = Field(
        default=_ROLLOUT.watch_bars, ge=0, le=1_000_000, description="Bars after the promotion during which the version before stays hot."
    )
    warm_deadline_seconds: float = Field(
        default=_ROLLOUT.warm_deadline_s, gt=0, le=86_400, description="The longest that a candidate may take to become Ready."
    )
    auto_promote: bool = Field(default=_ROLLOUT.auto_promote, description="False: wait for a request once the gates have passed.")
    auto_rollback: bool = Field(default=_ROLLOUT.auto_rollback, description="True: return to the version before when a gate fails.")
    replay_required: bool = Field(
        default=_ROLLOUT.replay_required, description="True: a version without the recorded span of its training does not start."
    )

    def to_policy(self) -> RolloutPolicy:
        """The same in the words of the planner."""
        gate, operations = self.gate, self.operations
        return RolloutPolicy(
            gate=GatePolicy(
                claim=_CLAIMS[gate.claim],
                level=gate.level,
                margin_qlike=gate.margin_qlike,
                bars_min=gate.bars_min,
                sessions_min=gate.sessions_min,
                bars_max=gate.bars_max,
            ),
            operations=OperationalPolicy(
                errors_max=operations.errors_max,
                withheld_share_max=operations.withheld_share_max,
                latency_p99_s_max=operations.latency_p99_seconds_max,
                divergence_max=operations.divergence_max,
                divergence_share_max=operations.divergence_share_max,
            ),
            replay_required=self.replay_required,
            canary=tuple(CanaryStep(pairs_share=step.pairs_share, bars=step.bars) for step in self.canary),
            canary_notional_usd_max=Decimal(self.canary_notional_usd_max),
            handover=_HANDOVERS[self.handover],
            watch_bars=self.watch_bars,
            warm_deadline_s=self.warm_deadline_seconds,
            auto_promote=self.auto_promote,
            auto_rollback=self.auto_rollback,
        )


LabelValue = Annotated[str, Field(max_length=63)]  # Kubernetes' own limit
AnnotationValue = Annotated[str, Field(max_length=4096)]


class TolerationSpec(Strict):
    """A taint of nodes that forecasters put up with (core/v1 Toleration)."""

    key: str | None = Field(default=None, max_length=317, description="The taint's key; every key when it is not given.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Equal compares the value, Exists does not.")
    value: str | None = Field(default=None, max_length=63, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; every effect when it is not given."
    )
    toleration_seconds: int | None = Field(default=None, ge=0, description="NoExecute: how long it is put up with.")


class PodTemplateSpec(Strict):
    """Where forecasters run and what marks them; added to what the chart says."""

    node_selector: dict[str, LabelValue] = Field(default_factory=dict, max_length=16, description="Labels that a node must have.")
    tolerations: list[TolerationSpec] = Field(default=[], max_length=16, description="Taints of nodes that forecasters put up with.")
    annotations: dict[str, AnnotationValue] = Field(default_factory=dict, max_length=32, description="Annotations of the pods.")
    priority_class_name: str | None = Field(default=None, max_length=253, description="The pods' PriorityClass.")


class SectorModelSpec(Strict):
    """What is wanted of a sector's model."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="sector_not_versioned",
            message="the sector must not end in -v and a number, as the names of a version's objects do",
            holds=lambda spec: not _VERSIONED.search(spec.sector),
            cel=f"!self.sector.matches('{_VERSIONED.pattern}')",
        ),
    )
    CHANGE_RULES: ClassVar[tuple[ChangeRule, ...]] = (
        ChangeRule(
            name="sector_immutable",
            message="the sector cannot be changed; make another SectorModel",
            holds=lambda old, new: old.sector == new.sector,
            cel="self.sector == oldSelf.sector",
        ),
    )

    sector: SectorText = Field(description="The sector. One SectorModel for a sector.")
    model: ModelSpec = Field(default=ModelSpec(), description="The version that is wanted: by alias, or by number.")
    replicas: int = Field(
        default=1,
        ge=0,
        le=REPLICAS_MAX,
        description="Forecasters of the version that is acted on; they share its pairs and stand by for each other. An autoscaler sets it.",
    )
    autoscaling: AutoscalingSpec = Field(default=AutoscalingSpec(), description="The number of forecasters by load.")
    resources: ResourcesSpec = Field(default=ResourcesSpec(), description="CPU and memory of one forecaster.")
    rollout: RolloutSpec = Field(default=RolloutSpec(), description="How a new version takes over.")
    suspend: bool = Field(default=False, description="True: no new rollout begins; the stable version goes on.")
    pod_template: PodTemplateSpec = Field(default=PodTemplateSpec(), description="Where forecasters run and what marks them.")


class SectorModel(Strict):
    """A sector's model."""

    api_version: Literal["tandem.trading/v1alpha1"]
    kind: Literal["SectorModel"]
    metadata: Metadata
    spec: SectorModelSpec
    status: Any = Field(default=None, description="Written by the operator, ignored here.")


class SectorModelStatus(Status):
    """What serves the sector, and what is about to."""

    phase: str | None = Field(default=None, max_length=32, description="All of it in one word, for people; derived, never read back.")
    stable_version: VersionText | None = Field(default=None, description="The version that is acted on.")
    stable_digest: str | None = Field(default=None, max_length=128, description="Its content.")
    candidate_version: VersionText | None = Field(default=None, description="The version that is being rolled out.")
    previous_version: VersionText | None = Field(default=None, description="The version before, to which a roll-back returns.")
    epoch: int | None = Field(default=None, ge=0, description="Of the routing pointer; it grows with every move.")
    replicas: int | None = Field(default=None, ge=0, description="Forecasters of the stable version.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Those of them that are Ready.")
    selector: str | None = Field(default=None, max_length=1024, description="Their labels, for autoscalers.")
    rollout: str | None = Field(default=None, max_length=253, description="The newest ModelRollout of the sector.")
    conditions: Conditions = ()


def parse_sector_model(document: Mapping[str, Any]) -> SectorModel | tuple[Fault, ...]:
    """The manifest, or every fault in it."""
    return parse(SectorModel, document)
