"""The chart as a release on the node, by Helm's own engine; and what the cluster tells of its pods."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

from cluster.control_plane import KubeApi
from cluster.isolation import NAMESPACE
from cluster.steps import Unmet, check, eventually
from tandem.domain.errors import Permanent

NAME = "tandem"
CHART = Path(__file__).parents[2] / "charts" / "tandem"
VALUES = CHART / "ci" / "cluster-values.yaml"
_HOOKS_S_MAX = 600
_READY_S = 600.0  # two cores start four servers and five services at once
_WORKLOADS = ("deployments", "statefulsets")
_LOG_LINES = 15


class Release:
    """The release of one namespace."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api
        helm_python.enable_logging(logging.WARNING)  # else it tells on our standard output which of the chart's files is a link
        self.values: dict[str, Any] = merged(yaml.safe_load(VALUES.read_text()), _SMALL)

    def install(self) -> None:
        """Install and wait until all pods are Ready. Raises Unmet, Permanent."""
        self._act(lambda helm: helm.install(CHART, NAME, self.values, namespace=NAMESPACE, wait="hookOnly", timeout=_HOOKS_S_MAX))
        self.wait_ready()

    def upgrade(self, values: Mapping[str, Any]) -> None:
        """Upgrade to these values on top of the present ones, and wait until all pods are Ready. Raises Unmet, Permanent."""
        self.values = merged(self.values, values)
        self._act(lambda helm: helm.upgrade(CHART, NAME, self.values, namespace=NAMESPACE, wait="hookOnly", timeout=_HOOKS_S_MAX))
        self.wait_ready()

    def test(self) -> str:
        """`helm test`; what the tests printed. Raises Permanent when one fails."""
        return str(self._act(lambda helm: helm.test(NAME, timeout=_HOOKS_S_MAX, logs=True)).get("logs", ""))

    def uninstall(self) -> None:
        """Uninstall, hooks included. Raises Permanent."""
        self._act(lambda helm: helm.uninstall(NAME, timeout=_HOOKS_S_MAX, wait="watcher"))

    def wait_ready(self, timeout_s: float = _READY_S) -> None:
        """Wait until every Deployment and StatefulSet has rolled out. Raises Unmet, telling of the pods that are not Ready."""
        eventually(lambda: not self.unready(), "all pods to be Ready", timeout_s, self.told)

    def unready(self) -> list[str]:
        """Workloads whose wanted pods are not all of the newest kind and Ready."""
        found = [item for kind in _WORKLOADS for item in self.api.get(kind, "--namespace", NAMESPACE)["items"]]
        return [item["metadata"]["name"] for item in found if not rolled_out_fully(item)]

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods with these labels that are not being deleted, oldest first."""
        found = self.api.get("pods", "--namespace", NAMESPACE, "--selector", selector)["items"]
        living = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def kubectl(self, *arguments: str, timeout_s: float = 120.0, text: str | None = None) -> str:
        """What kubectl prints, in the release's namespace. Raises Unmet when it fails."""
        done = self.api.kubectl("--namespace", NAMESPACE, *arguments, timeout_s=timeout_s, text=text)
        check(done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def secret(self, name: str, key: str) -> str:
        """A value of a Secret."""
        return self.kubectl("get", "secret", name, f"--output=go-template={{{{index .data {json.dumps(key)} | base64decode}}}}")

    def told(self) -> str:
        """For a failure: the pods, and of each that is not Ready its newest events and log."""
        lines = [self.kubectl("get", "pods", "--output=wide")]
        for pod in self.api.get("pods", "--namespace", NAMESPACE)["items"]:
            if all(status["ready"] for status in pod["status"].get("containerStatuses", ())) and pod["status"]["phase"] == "Running":
                continue
            if pod["status"]["phase"] == "Succeeded":
                continue
            name = pod["metadata"]["name"]
            lines.append(self._tried("get", "events", f"--field-selector=involvedObject.name={name}", "--sort-by=.lastTimestamp"))
            for previous in ((), ("--previous",)):
                lines.append(self._tried("logs", name, "--all-containers", "--prefix", f"--tail={_LOG_LINES}", *previous))
        return "\n".join(lines)

    def _tried(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except Unmet as error:
            return str(error)

    def _act(self, action: Callable[[helm_python.Config], dict[str, Any]]) -> dict[str, Any]:
        try:
            with helm_python.Config(kubeconfig_path=self.api.kubeconfig, namespace=NAMESPACE) as helm:
                return action(helm)
        except helm_python.HelmError as error:
            raise Permanent(f"helm: {error}\n{self.told()}") from error


# What the scenario adds to the values for a small node: nothing stays behind, and the market moves when it is told to.
_SMALL: Mapping[str, Any] = {
    "recycler": {"start": "hold", "from": "2014-01-01"},
    "kafka": {"persistence": {"whenDeleted": "Delete"}},
    "postgres": {"persistence": {"whenDeleted": "Delete"}},
    "mlflow": {"persistence": {"whenDeleted": "Delete"}},
    "crds": {"keep": False},
}


def rolled_out_fully(item: Mapping[str, Any]) -> bool:
    """Whether a Deployment or StatefulSet has all wanted pods, Ready and of the newest kind, and no others."""
    wanted, status = item["spec"].get("replicas", 1), item["status"]
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0), status.get("replicas", 0))
    return bool(seen and counts == (wanted, wanted, wanted))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: maps key by key, everything else replaced."""
    found = dict(base)
    for key, value in over.items():
        below = found.get(key)
        found[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found
