"""What guards a sector's forecasters and lets Prometheus see them: PodDisruptionBudget, NetworkPolicy, ServiceMonitor.

Pure; manifests.py lists them among the objects of a version and of a sector.
"""

from typing import Any

from tandem.rollout.deployment import HTTP_PORT
from tandem.rollout.labels import (
    COMPONENT,
    FORECASTER,
    INSTANCE,
    MODEL_VERSION,
    SECTOR,
    object_metadata,
    sector_name,
    sector_selector,
    version_name,
    version_selector,
)
from tandem.rollout.sector_shape import SectorShape

_DNS_PORT = 53
_SERVER_PORTS = (9092, 5432, 5000)  # Kafka, Postgres, MLflow, at their usual ports


def disruption_budget(shape: SectorShape, version: str) -> dict[str, Any] | None:
    """At most one pod of a version at a time. A budget that asked for one pod to stay would forbid every drain of a single replica."""
    if not shape.template.pod_disruption_budget.enabled:
        return None
    labels = version_selector(shape.template.instance, shape.sector, version)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": object_metadata(version_name(shape.sector, version), shape.namespace, shape.labels | labels, shape.owner),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    }


def network_policy(shape: SectorShape) -> dict[str, Any] | None:
    """Who may ask the sector's forecasters, and whom they may ask."""
    wanted = shape.template.network_policy
    if not wanted.enabled:
        return None
    selector = sector_selector(shape.template.instance, shape.sector)
    peers = wanted.ingress if wanted.ingress is not None else [{"podSelector": {"matchLabels": {INSTANCE: shape.template.instance}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": object_metadata(sector_name(shape.sector), shape.namespace, shape.labels | selector, shape.owner),
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", "Egress"],
            # A rule without peers would open the port to everybody; no rule at all opens it to nobody.
            "ingress": [{"from": peers, "ports": [{"port": HTTP_PORT, "protocol": "TCP"}]}] if peers else [],
            "egress": wanted.egress if wanted.egress is not None else _usual_egress(),
        },
    }


def _usual_egress() -> list[dict[str, Any]]:
    return [
        {"ports": [{"port": _DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]},
        {"ports": [{"port": port, "protocol": "TCP"} for port in _SERVER_PORTS]},
    ]


def service_monitor(shape: SectorShape) -> dict[str, Any] | None:
    """Scrapes each version by its own Service: the sector's Service selects the same pods and would count them twice."""
    wanted = shape.template.service_monitor
    if not wanted.enabled:
        return None
    selector = sector_selector(shape.template.instance, shape.sector)
    labels = shape.labels | selector | wanted.labels
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": object_metadata(sector_name(shape.sector), shape.namespace, labels, shape.owner),
        "spec": {
            "selector": {
                "matchLabels": {INSTANCE: shape.template.instance, COMPONENT: FORECASTER, SECTOR: shape.sector},
                "matchExpressions": [{"key": MODEL_VERSION, "operator": "Exists"}],
            },
            "namespaceSelector": {"matchNames": [shape.namespace]},
            "targetLabels": [SECTOR, MODEL_VERSION],
            "endpoints": [{"port": "http", "path": "/metrics", "interval": wanted.interval}],
        },
    }
