"""What a SectorModel says of its forecasters' pods, laid over the release's template. Values only; the builders of objects read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tandem.domain.forecasts import SHARDS
from tandem.domain.ids import SectorId
from tandem.rollout.deployment import ForecasterTemplate
from tandem.rollout.labels import Owner

REPLICAS_MAX = SHARDS  # each replica reads all ticks of its sector and forecasts its shards; one more would have none


class ScalerKind(StrEnum):
    """Who scales."""

    HPA = "HPA"
    KEDA = "KEDA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    """Between how many replicas, and by what."""

    kind: ScalerKind = ScalerKind.HPA
    replicas_min: int = 1
    replicas_max: int = 2
    cpu_percent: int = 70  # of the requested CPU, on average
    lag_records: int = 1000  # of the tick topic, for a further replica

    def __post_init__(self) -> None:
        if not 1 <= self.replicas_min <= self.replicas_max <= REPLICAS_MAX:
            raise ValueError(f"replicas {self.replicas_min} to {self.replicas_max}: must be 1 <= min <= max <= {REPLICAS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorShape:
    """One sector's forecasters. Empty fields leave what the template says; mappings are laid over the template's, key by key."""

    namespace: str
    sector: SectorId
    owner: Owner
    template: ForecasterTemplate
    replicas: int = 1  # of the version that is acted on
    autoscaling: Autoscaling | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    priority_class_name: str = ""

    @property
    def shards(self) -> int:
        """In how many parts the replicas share the pairs. It does not follow their number, so that scaling restarts no pod."""
        replicas_max = self.autoscaling.replicas_max if self.autoscaling is not None else self.replicas
        return SHARDS if replicas_max > 1 else 1

    @property
    def labels(self) -> dict[str, str]:
        """The labels that every object of the release carries."""
        return dict(self.template.common_labels)
