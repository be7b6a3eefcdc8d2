"""A namespace of a real API server with a release of the chart in it; and the definitions of foreign kinds that a dry run needs."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python

from chart_renders import CHART, RELEASE
from cluster import control_plane

TIMEOUT_S = 300
# Kinds of others' operators, which a dry run needs to be known: any fields.
FOREIGN = (
    ("monitoring.coreos.com", "v1", "ServiceMonitor"),
    ("monitoring.coreos.com", "v1", "PodMonitor"),
    ("monitoring.coreos.com", "v1", "PrometheusRule"),
    ("kafka.strimzi.io", "v1beta2", "KafkaTopic"),
)
# Named by a scenario.
PRIORITY_CLASS = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "trading"}, "value": 1}


@dataclass(frozen=True, slots=True)
class Desk:
    """A namespace with at most one release of the chart in it."""

    api: control_plane.KubeApi
    helm: helm_python.Config
    namespace: str

    def install(self, values: dict[str, Any] | None = None, chart: Path = CHART) -> None:
        """`helm install`, without waiting for pods that nobody runs."""
        self.helm.install(chart, RELEASE, values or {}, namespace=self.namespace, timeout=TIMEOUT_S)

    def upgrade(self, values: dict[str, Any] | None = None) -> None:
        """`helm upgrade` to the chart of the repository."""
        self.helm.upgrade(CHART, RELEASE, values or {}, namespace=self.namespace, timeout=TIMEOUT_S)

    def uninstall(self) -> None:
        """`helm uninstall`."""
        self.helm.uninstall(RELEASE, timeout=TIMEOUT_S)

    def kubectl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """In the namespace."""
        return self.api.kubectl(*arguments, "--namespace", self.namespace)

    def get(self, *arguments: str) -> Any:
        """`kubectl get -o json` in the namespace."""
        return self.api.get(*arguments, "--namespace", self.namespace)

    def names(self, kinds: str) -> set[str]:
        """Names of all objects of some kinds."""
        return {item["metadata"]["name"] for item in self.get(kinds)["items"]}

    def patch(self, kind: str, name: str, changes: dict[str, Any], *options: str) -> None:
        """A merge patch."""
        done = self.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(changes), *options)
        assert done.returncode == 0, done.stderr

    def secrets(self) -> dict[str, dict[str, str]]:
        """What the Secrets hold that the chart makes."""
        names = {name: f"{RELEASE}-{name}" for name in ("postgres", "redis", "api")}
        return {
            name: {key: base64.b64decode(value).decode() for key, value in self.get("secret", full)["data"].items()}
            for name, full in names.items()
        }


def open_definition(group: str, version: str, kind: str) -> dict[str, Any]:
    """A definition of a kind that takes any fields."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
