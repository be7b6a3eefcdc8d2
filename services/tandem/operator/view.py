"""What the operator sees of one sector at one look: the resource, its rollouts, its forecasters, the registry, the routing. Values only.

Read by gather.py, decided on by decide.py, told by sector_status.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tandem.domain.control import RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.ports import Manifest
from tandem.quant.bundle import model_name
from tandem.rollout.candidates import Wanted
from tandem.rollout.deployment import ForecasterTemplate
from tandem.rollout.labels import Owner
from tandem.rollout.model_rollout import ModelRolloutSpec, ModelRolloutStatus
from tandem.rollout.observed import ForecasterState, RegisteredVersion, Request
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.registry_names import CANDIDATE
from tandem.rollout.sector_model import SectorModelSpec, SectorModelStatus
from tandem.rollout.sector_shape import Autoscaling, ScalerKind, SectorShape
from tandem.rollout.state import Outcome, RolloutState, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One ModelRollout as it stands in the cluster. state: None when it was made and not begun."""

    document: Manifest
    spec: ModelRolloutSpec
    status: ModelRolloutStatus
    state: RolloutState | None
    request: Request | None  # what a person has written on it

    @property
    def name(self) -> str:
        """Of the resource; the version's, with a number where it was tried before."""
        return str(self.document["metadata"]["name"])

    @property
    def candidate(self) -> ModelRef:
        """What is to take over."""
        return ModelRef(name=self.spec.model, version=self.spec.candidate.version, digest=self.spec.candidate.digest)

    @property
    def stable(self) -> ModelRef | None:
        """What was acted on when it began."""
        pinned = self.spec.stable
        return ModelRef(name=self.spec.model, version=pinned.version, digest=pinned.digest) if pinned else None

    @property
    def policy(self) -> RolloutPolicy:
        """As it was when the rollout began."""
        return self.spec.policy.to_policy()

    @property
    def runs(self) -> bool:
        """Whether there is still something to do for it."""
        return self.state is None or self.state.step is not Step.DONE

    @property
    def refused(self) -> bool:
        """Whether it ended without success: its version is not tried again by itself."""
        return not self.runs and self.state is not None and self.state.outcome is not Outcome.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One look at a sector. versions, pointer: None when there is none, or when it could not be looked at: then trouble names it."""

    document: Manifest
    spec: SectorModelSpec
    status: SectorModelStatus
    rollouts: tuple[Rollout, ...]  # oldest first
    deployments: Mapping[str, Manifest]  # by model version
    forecasters: Mapping[str, ForecasterState]  # by model version
    versions: tuple[RegisteredVersion, ...] | None
    pointer: RoutingPointer | None
    pairs: tuple[PairId, ...]
    now_s: float
    registry_trouble: str = ""
    control_trouble: str = ""
    conflict: str = ""  # the name of an older SectorModel of the same sector

    @property
    def name(self) -> str:
        """Of the resource."""
        return str(self.document["metadata"]["name"])

    @property
    def generation(self) -> int:
        """Of the resource's spec."""
        return int(self.document["metadata"].get("generation") or 0)

    @property
    def sector(self) -> SectorId:
        """The sector that it is about."""
        return SectorId(self.spec.sector)

    @property
    def model(self) -> str:
        """The registered model's name."""
        return model_name(self.spec.sector)

    @property
    def wanted(self) -> Wanted:
        """What the sector follows."""
        return Wanted(alias=self.spec.model.alias or CANDIDATE, version=self.spec.model.version or "")

    @property
    def acted_on(self) -> ModelRef | None:
        """What the routing pointer names."""
        pointer = self.pointer
        return ModelRef(name=self.model, version=pointer.version, digest=pointer.digest) if pointer else None

    @property
    def before(self) -> ModelRef | None:
        """What the routing pointer keeps hot to return to."""
        previous = self.pointer.previous if self.pointer else None
        return ModelRef(name=self.model, version=previous.version, digest=previous.digest) if previous else None

    @property
    def newest(self) -> Rollout | None:
        """The rollout that runs, else the one that began last."""
        running = [rollout for rollout in self.rollouts if rollout.runs]
        return next(iter(running or reversed(self.rollouts)), None)

    @property
    def trouble(self) -> tuple[str, ...]:
        """What could not be looked at, and why."""
        return tuple(filter(None, (self.control_trouble, self.registry_trouble)))

    def owner(self) -> Owner:
        """The resource as the owner of what is made for it."""
        document = self.document
        return Owner(api_version=document["apiVersion"], kind=document["kind"], name=self.name, uid=document["metadata"]["uid"])


def shape_of(view: View, template: ForecasterTemplate) -> SectorShape:
    """The sector's forecasters as its resource and the release want them."""
    spec, scaling, pod = view.spec, view.spec.autoscaling, view.spec.pod_template
    autoscaling = None
    if scaling.enabled:
        autoscaling = Autoscaling(
            kind=ScalerKind(scaling.kind),
            replicas_min=scaling.min_replicas,
            replicas_max=scaling.max_replicas,
            cpu_percent=scaling.target_cpu_utilization,
            lag_records=scaling.lag_threshold,
        )
    return SectorShape(
        namespace=view.document["metadata"]["namespace"],
        sector=view.sector,
        owner=view.owner(),
        template=template,
        replicas=replicas_of(spec),
        autoscaling=autoscaling,
        limits=spec.resources.limits,
        requests=spec.resources.requests,
        node_selector=pod.node_selector,
        tolerations=tuple(_toleration(item.model_dump(by_alias=True, exclude_none=True)) for item in pod.tolerations),
        pod_annotations=pod.annotations,
        priority_class_name=pod.priority_class_name or "",
    )


def replicas_of(spec: SectorModelSpec) -> int:
    """Of the version that is acted on. An autoscaler sets spec.replicas by the scale subresource; until it has, its bounds hold."""
    scaling = spec.autoscaling
    return min(max(spec.replicas, scaling.min_replicas), scaling.max_replicas) if scaling.enabled else spec.replicas


def _toleration(item: dict[str, Any]) -> dict[str, Any]:
    """As Kubernetes takes it: a value beside Exists is refused there."""
    return {key: value for key, value in item.items() if not (key == "value" and item.get("operator") == "Exists")}
