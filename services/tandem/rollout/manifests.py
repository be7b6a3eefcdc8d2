"""Every object that the operator keeps in the cluster for a sector, as a function of what is wanted. Pure: the same wish, the same objects.

Two lists: what each version that runs has, and what a sector has once. operator/sectors.py applies them (server-side, so that what
somebody else changed by hand comes back) and deletes what is listed as unwanted.
"""

from dataclasses import dataclass
from typing import Any

from tandem.domain.forecasts import ModelRef
from tandem.rollout.autoscaling import scaler
from tandem.rollout.deployment import HTTP_PORT
from tandem.rollout.forecaster_pod import deployment, settings_map
from tandem.rollout.labels import ROLE, model_annotations, object_metadata, sector_name, sector_selector, version_name, version_selector
from tandem.rollout.protection import disruption_budget, network_policy, service_monitor
from tandem.rollout.sector_shape import SectorShape

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKey:
    """One object of the sector's namespace."""

    kind: str
    name: str


def key_of(manifest: Manifest) -> ObjectKey:
    """The object that a manifest describes."""
    return ObjectKey(kind=manifest["kind"], name=manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One version that must run, and what for: stable, candidate or previous."""

    model: ModelRef
    role: str
    replicas: int


def version_objects(shape: SectorShape, running: Running) -> tuple[Manifest, ...]:
    """The objects of one version, in the order in which they are made: settings before the pods that read them."""
    model = running.model
    objects = (
        settings_map(model, shape),
        deployment(model, running.role, running.replicas, shape),
        version_service(shape, model),
        disruption_budget(shape, model.version),
    )
    return tuple(manifest for manifest in objects if manifest is not None)


def version_keys(shape: SectorShape, version: str) -> tuple[ObjectKey, ...]:
    """Everything that a version may have, in the order in which it is taken away.

    The Deployment last: as long as it is there the version counts as running, and what a kill has left is taken away with it.
    """
    name = version_name(shape.sector, version)
    return (
        ObjectKey(kind="Service", name=name),
        ObjectKey(kind="PodDisruptionBudget", name=name),
        ObjectKey(kind="ConfigMap", name=name),
        ObjectKey(kind="Deployment", name=name),
    )


def sector_objects(shape: SectorShape, acted_on: ModelRef | None) -> tuple[Manifest, ...]:
    """The objects that a sector has once; the Service names the version that is acted on.

    Before there is one, its pods must reach their servers all the same: where everything is denied, a first version without the policy
    would never be ready, and so never acted on.
    """
    always = (network_policy(shape), service_monitor(shape))
    of_version = () if acted_on is None else (sector_service(shape, acted_on), scaler(shape, acted_on.version))
    return tuple(manifest for manifest in (*of_version, *always) if manifest is not None)


def unwanted_objects(shape: SectorShape, wanted: tuple[Manifest, ...], versions: tuple[str, ...]) -> tuple[ObjectKey, ...]:
    """What an earlier wish may have made and this one does not want: e.g. an autoscaler that was switched off."""
    name = sector_name(shape.sector)
    optional = [
        ObjectKey(kind="HorizontalPodAutoscaler", name=name),
        ObjectKey(kind="ScaledObject", name=name),
        ObjectKey(kind="NetworkPolicy", name=name),
        ObjectKey(kind="ServiceMonitor", name=name),
        *(key for version in versions for key in version_keys(shape, version) if key.kind == "PodDisruptionBudget"),
    ]
    keys = {key_of(manifest) for manifest in wanted}
    return tuple(key for key in optional if key not in keys)


def version_service(shape: SectorShape, model: ModelRef) -> Manifest:
    """The Service of one version: how Prometheus and a person reach a candidate."""
    labels = version_selector(shape.template.instance, shape.sector, model.version)
    return _service(version_name(shape.sector, model.version), shape, labels, labels)


def sector_service(shape: SectorShape, acted_on: ModelRef) -> Manifest:
    """The Service under whose name clients ask; its selector moves at a promotion, when the new version's pods are ready already."""
    labels = sector_selector(shape.template.instance, shape.sector)
    service = _service(sector_name(shape.sector), shape, labels, version_selector(shape.template.instance, shape.sector, acted_on.version))
    service["metadata"]["annotations"] = {ROLE: "stable", **model_annotations(acted_on)}
    return service


def _service(name: str, shape: SectorShape, labels: dict[str, str], selector: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_metadata(name, shape.namespace, shape.labels | labels, shape.owner),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
