"""Who scales a sector: a HorizontalPodAutoscaler or KEDA's ScaledObject. Pure; manifests.py lists it among the sector's objects.

Both scale the SectorModel (its scale subresource), not a version's Deployment, so that a promotion keeps the number of replicas.
"""

from typing import Any

from tandem.rollout.labels import object_metadata, sector_name, sector_selector
from tandem.rollout.sector_shape import ScalerKind, SectorShape

# A replica that has gone must rebuild its state to come back: scale in slowly.
_SCALE_IN_WAIT_S = 1800


def scaler(shape: SectorShape, version: str) -> dict[str, Any] | None:
    """The object that scales, None without autoscaling. version: acted on; KEDA watches the lag of its consumer group."""
    if shape.autoscaling is None:
        return None
    if shape.autoscaling.kind is ScalerKind.KEDA:
        return _scaled_object(shape, version)
    return _autoscaler(shape)


def _target(shape: SectorShape) -> dict[str, str]:
    return {"apiVersion": shape.owner.api_version, "kind": shape.owner.kind, "name": shape.owner.name}


def _metadata(shape: SectorShape) -> dict[str, Any]:
    labels = shape.labels | sector_selector(shape.template.instance, shape.sector)
    return object_metadata(sector_name(shape.sector), shape.namespace, labels, shape.owner)


def _autoscaler(shape: SectorShape) -> dict[str, Any]:
    scaling = shape.autoscaling
    assert scaling is not None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(shape),
        "spec": {
            "scaleTargetRef": _target(shape),
            "minReplicas": scaling.replicas_min,
            "maxReplicas": scaling.replicas_max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent}},
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": _SCALE_IN_WAIT_S}},
        },
    }


def _first_shard(shape: SectorShape) -> str:
    """Each shard has a group of its own for how far it got (forecaster/shares.py); all of them wait for the same ticks."""
    return f".0of{shape.shards}" if shape.shards > 1 else ""


def _scaled_object(shape: SectorShape, version: str) -> dict[str, Any]:
    scaling = shape.autoscaling
    assert scaling is not None
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(shape),
        "spec": {
            "scaleTargetRef": _target(shape),
            "minReplicaCount": scaling.replicas_min,
            "maxReplicaCount": scaling.replicas_max,
            "cooldownPeriod": _SCALE_IN_WAIT_S,
            "triggers": [
                {
                    "type": "kafka",
                    "metadata": {
                        "bootstrapServers": shape.template.keda.bootstrap_servers,
                        "consumerGroup": f"tandem.forecaster.{shape.sector}.{version}{_first_shard(shape)}",
                        "topic": f"tandem.ticks.{shape.sector}",
                        "lagThreshold": str(scaling.lag_records),
                        "activationLagThreshold": "0",
                        # A sector's topic has one partition and each replica reads it by itself: KEDA must not cap replicas by partitions.
                        "allowIdleConsumers": "true",
                        "offsetResetPolicy": "earliest",
                    },
                }
            ],
        },
    }
