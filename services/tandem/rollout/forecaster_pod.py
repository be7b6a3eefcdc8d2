"""The Deployment of one version of a sector's model, and its settings. Pure; manifests.py lists it among the version's objects.

A version is pinned for ever: its Deployment never changes to another one, promotion is the routing pointer's move.
"""

import hashlib
import json
from typing import Any

from tandem.domain.forecasts import ModelRef
from tandem.rollout.deployment import FIXED_VARIABLES, HTTP_PORT
from tandem.rollout.labels import ROLE, model_annotations, object_metadata, version_name, version_selector
from tandem.rollout.sector_shape import SectorShape

USER = 65532  # the images' user; it owns nothing but the writable volume
CONTAINER = "forecaster"
_SCRATCH = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  (a volume of the pod's own)
_SCRATCH_LIMIT = "512Mi"  # one bundle while it is read, BentoML's home and its series
# The bundle's download and the imports take 10 to 40 s on a slow core. Rebuilding the state is no part of it: /livez answers meanwhile.
_STARTUP = {"periodSeconds": 2, "failureThreshold": 150, "timeoutSeconds": 2}
_READINESS = {"periodSeconds": 2, "failureThreshold": 3, "timeoutSeconds": 2}
_LIVENESS = {"periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5}


def settings(model: ModelRef, shape: SectorShape) -> dict[str, str]:
    """What the operator sets, as variables. The template's come beside them and may not name the sector or the version."""
    return {
        **FIXED_VARIABLES,
        "TANDEM_SECTOR": shape.sector,
        "TANDEM_MODEL_VERSION": model.version,
        "TANDEM_SHARDS": str(shape.shards),
        "BENTOML_HOME": "/tmp/bentoml",  # noqa: S108  (the pod's own volume; BentoML wipes its folder of series at each start)
        "BENTOML_DO_NOT_TRACK": "True",
        # One process owns the state on one core; a BLAS with a thread for each core of the node only waits.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def settings_map(model: ModelRef, shape: SectorShape) -> dict[str, Any]:
    """The ConfigMap of these settings."""
    name = version_name(shape.sector, model.version)
    labels = shape.labels | version_selector(shape.template.instance, shape.sector, model.version)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_metadata(name, shape.namespace, labels, shape.owner),
        "data": settings(model, shape),
    }


def deployment(model: ModelRef, role: str, replicas: int, shape: SectorShape) -> dict[str, Any]:
    """The Deployment. The role stands on the Deployment alone: in the pods' template it would restart them at each promotion."""
    labels = version_selector(shape.template.instance, shape.sector, model.version)
    metadata = object_metadata(version_name(shape.sector, model.version), shape.namespace, shape.labels | labels, shape.owner)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | {"annotations": {ROLE: role, **model_annotations(model)}},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            # The new pod is ready before the old one goes: a sector is never without a forecaster.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": _pod_metadata(model, labels, shape), "spec": _pod_spec(model, labels, shape)},
        },
    }


def _pod_metadata(model: ModelRef, labels: dict[str, str], shape: SectorShape) -> dict[str, Any]:
    own = {**model_annotations(model), "checksum/settings": _digest(settings(model, shape))}
    if shape.template.config_checksum:
        own["checksum/config"] = shape.template.config_checksum
    return {"labels": shape.labels | labels, "annotations": {**shape.template.pod_annotations, **shape.pod_annotations, **own}}


def _pod_spec(model: ModelRef, labels: dict[str, str], shape: SectorShape) -> dict[str, Any]:
    template = shape.template
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # A Service called `tandem` would otherwise set TANDEM_PORT=tcp://... in every pod.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": template.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(model, shape)],
        "volumes": [{"name": _SCRATCH["name"], "emptyDir": {"sizeLimit": _SCRATCH_LIMIT}}],
    }
    optional = {
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [{"name": secret.name} for secret in template.image_pull_secrets],
        "nodeSelector": {**template.node_selector, **shape.node_selector},
        "tolerations": [*template.tolerations, *(dict(item) for item in shape.tolerations)],
        "priorityClassName": shape.priority_class_name or template.priority_class_name,
        "topologySpreadConstraints": [_spread(labels)] if template.topology_spread else [],
    }
    return spec | {key: value for key, value in optional.items() if value}


def _container(model: ModelRef, shape: SectorShape) -> dict[str, Any]:
    template = shape.template
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": ["python", "-m", "tandem.forecaster.main"],
        "envFrom": [*template.env_from, {"configMapRef": {"name": version_name(shape.sector, model.version)}}],
        "env": [variable.model_dump(by_alias=True, exclude_none=True) for variable in template.env],
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/livez", _STARTUP),
        "readinessProbe": _probe("/readyz", _READINESS),
        "livenessProbe": _probe("/livez", _LIVENESS),
        "resources": _resources(shape),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [_SCRATCH],
        # The end of the log of a process that ended with an error, so that the sector's condition can say why.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if template.pre_stop_seconds:
        # It goes on serving while the cluster takes it out of the Services: BentoML refuses connections at once after SIGTERM.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": template.pre_stop_seconds}}}
    return container


def _probe(path: str, times: dict[str, int]) -> dict[str, Any]:
    """By HTTP: the port accepts connections before anybody answers them."""
    return {"httpGet": {"path": path, "port": "http"}, **times}


def _resources(shape: SectorShape) -> dict[str, Any]:
    merged = {
        "limits": {**shape.template.resources.limits, **shape.limits},
        "requests": {**shape.template.resources.requests, **shape.requests},
    }
    return {key: value for key, value in merged.items() if value}


def _spread(labels: dict[str, str]) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }


def _digest(values: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
