"""A sector's shape as the operator would build it from a SectorModel and the chart's template: input of the tests of manifests."""

from dataclasses import replace
from typing import Any

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import sector_id
from tandem.rollout.deployment import parse_template
from tandem.rollout.labels import Owner
from tandem.rollout.sector_shape import SectorShape

ENERGY = sector_id("energy")
V7 = ModelRef(name="pairs_trading_gru_garch_energy_v1", version="7", digest="d7" * 32)
V8 = ModelRef(name="pairs_trading_gru_garch_energy_v1", version="8", digest="d8" * 32)
OWNER = Owner(api_version="tandem.trading/v1alpha1", kind="SectorModel", name="energy", uid="11111111-2222-3333-4444-555555555555")
# What the chart renders when every value is set.
FULL: dict[str, Any] = {
    "image": "registry.example/tandem-forecaster@sha256:" + "0" * 64,
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "instance": "desk",
    "env": [
        {"name": "TANDEM_KAFKA_BOOTSTRAP_SERVERS", "value": "desk-kafka:9092"},
        {"name": "TANDEM_POSTGRES_URL", "valueFrom": {"secretKeyRef": {"name": "desk-postgres", "key": "url"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "desk-environment"}}],
    "serviceAccountName": "desk-forecaster",
    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "models", "effect": "NoSchedule"}],
    "priorityClassName": "trading",
    "podAnnotations": {"team": "quant"},
    "commonLabels": {"app.kubernetes.io/part-of": "desk"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"},
    "networkPolicy": {"enabled": True},
    "keda": {"bootstrapServers": "desk-kafka.trading.svc:9092"},
    "configChecksum": "abc",
}


def shape(changes: dict[str, Any] | None = None, **fields: Any) -> SectorShape:
    """The energy sector under the full template with these changes; fields: of SectorShape."""
    template = parse_template(FULL | (changes or {}))
    return replace(SectorShape(namespace="trading", sector=ENERGY, owner=OWNER, template=template), **fields)
