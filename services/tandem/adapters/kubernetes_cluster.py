"""The Kubernetes API, through the library kubernetes: objects of one namespace as plain JSON.

Decides which request an operation is and which failures may be tried again. Knows every kind that Tandem touches, by its plural. The
client is blocking and safe to share between threads; every request has a time limit. Called by operator/.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes.client
import kubernetes.config
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from tandem.adapters import telemetry
from tandem.domain.errors import BadSetting, Permanent, Transient
from tandem.ports import Conflict, Manifest

FIELD_MANAGER = "tandem-operator"
# (connect, read). Both together stay below the time between the lease's renewal deadline and its end, see operator/lease.py.
REQUEST_TIMEOUT_S = (2.0, 3.0)
_PAGE_OBJECTS = 500  # of a list, at a time
_CONNECTIONS = 16  # as many as threads may call at once

_TANDEM = "apis/tandem.trading/v1alpha1"
PLACES: Mapping[str, tuple[str, str]] = {  # kind -> path of its API, plural
    "TradingPair": (_TANDEM, "tradingpairs"),
    "SectorModel": (_TANDEM, "sectormodels"),
    "TradingAccount": (_TANDEM, "tradingaccounts"),
    "ModelRollout": (_TANDEM, "modelrollouts"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "ServiceMonitor": ("apis/monitoring.coreos.com/v1", "servicemonitors"),
}
_JSON, _MERGE, _APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


def connect() -> kubernetes.client.ApiClient:
    """A client for the cluster that this process runs in, else for the one that KUBECONFIG names. Raises BadSetting."""
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except ConfigException:
        try:
            kubernetes.config.load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise BadSetting(f"KUBECONFIG: not within a cluster, and no cluster is configured: {error}") from error
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.retries = urllib3.Retry(total=0)  # who calls knows when to try again
    return kubernetes.client.ApiClient(configuration)


class KubernetesCluster:
    """The port Cluster on one namespace."""

    def __init__(self, client: kubernetes.client.ApiClient, namespace: str) -> None:
        self._client, self.namespace = client, namespace

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object; None if there is none."""
        return self._ask("GET", self._path(kind, name))

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        """All objects of a kind, in order of name, page by page."""
        query = {"limit": str(_PAGE_OBJECTS), "labelSelector": ",".join(f"{key}={value}" for key, value in (labels or {}).items())}
        api, _ = PLACES[kind]
        found: list[Manifest] = []
        while True:
            page = self._tell("GET", self._path(kind), query)
            # The items of a list carry neither kind nor apiVersion.
            found += [{"apiVersion": api.partition("/")[2], "kind": kind, **item} for item in page["items"]]
            if not (token := page["metadata"].get("continue")):
                return tuple(sorted(found, key=lambda item: str(item["metadata"]["name"])))
            query["continue"] = token

    def create(self, manifest: Manifest) -> Manifest:
        """Make an object that must be new."""
        return self._tell("POST", self._path(manifest["kind"]), {"fieldManager": FIELD_MANAGER}, manifest, _JSON)

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply, taking over fields that others have set: drift is what they then are."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self._tell("PATCH", self._path(manifest["kind"], manifest["metadata"]["name"]), query, manifest, _APPLY)

    def patch(self, kind: str, name: str, changes: Manifest, *, version: str = "") -> Manifest:
        """JSON merge patch of anything but status."""
        return self._merge(self._path(kind, name), changes, version)

    def patch_status(self, kind: str, name: str, status: Manifest, *, version: str = "") -> Manifest:
        """JSON merge patch of the status subresource."""
        return self._merge(f"{self._path(kind, name)}/status", {"status": status}, version)

    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        """Ask for deletion; dependents follow in the background."""
        options: Manifest = {"propagationPolicy": "Background"} | ({"preconditions": {"uid": uid}} if uid else {})
        return self._ask("DELETE", self._path(kind, name), {}, options, _JSON) is not None

    def _merge(self, path: str, changes: Manifest, version: str) -> Manifest:
        if version:
            changes = {**changes, "metadata": {**changes.get("metadata", {}), "resourceVersion": version}}
        changed = self._ask("PATCH", path, {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}, changes, _MERGE)
        if changed is None:
            raise Conflict(f"{path}: is gone")
        return changed

    def _path(self, kind: str, name: str = "") -> str:
        api, plural = PLACES[kind]
        return f"/{api}/namespaces/{quote(self.namespace, safe='')}/{plural}" + (f"/{quote(name, safe='')}" if name else "")

    def _tell(self, method: str, path: str, query: Mapping[str, str], body: Manifest | None = None, content: str = _JSON) -> Manifest:
        """A request whose object must be there."""
        answer = self._ask(method, path, query, body, content)
        if answer is None:
            raise Permanent(f"{method} {path}: the API server knows no such object")
        return answer

    def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Manifest | None = None, content: str = _JSON
    ) -> Manifest | None:
        """One request; None for an object that is not there."""
        text = urlencode({key: value for key, value in (query or {}).items() if value})
        try:
            request = self._client.param_serialize(
                method,
                f"{path}?{text}" if text else path,
                header_params={"Accept": _JSON, "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_S)
            status, answer = response.status, response.read()
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            telemetry.counter("operator_api_requests_total").labels(verb=method, code="none").inc()
            raise Transient(f"the API server at {self._client.configuration.host} does not answer: {_cause(error)}") from error
        telemetry.counter("operator_api_requests_total").labels(verb=method, code=str(status)).inc()
        return _outcome(f"{method} {path}", status, answer)


def _outcome(request: str, status: int, answer: bytes) -> Manifest | None:
    """The object in an answer, None where it says that the object is not there. Raises what the port promises."""
    try:
        document: Any = json.loads(answer)
    except ValueError:  # a proxy's page, or a path that the API server does not know
        document = None
    if 200 <= status < 300 and isinstance(document, dict):
        return document
    message = document.get("message", "") if isinstance(document, dict) else answer[:200].decode(errors="replace").strip()
    if status == 404 and isinstance(document, dict) and (document.get("details") or {}).get("name"):
        return None
    if status == 404:
        raise Permanent(f"{request}: the cluster does not know this kind: {message}")
    if status == 409:
        raise Conflict(f"{request}: {message}")
    # 401: the token is read again before the next request. 410: a list took too long. 429 and 5xx: the server is overloaded or starting.
    kind = Transient if status in {401, 408, 410, 429} or status >= 500 or 200 <= status < 300 else Permanent
    raise kind(f"{request}: status {status}: {message}")


def _cause(error: BaseException) -> str:
    """The innermost reason: urllib3 wraps the one that helps in two that do not."""
    reason = getattr(error, "reason", None)
    return _cause(reason) if isinstance(reason, BaseException) else f"{type(error).__name__}: {error}"
