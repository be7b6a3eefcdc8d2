"""Plays the kubelet on an API server without nodes: the pods of forecasters become Ready, or do not, as a test wants it.

Deployments and ReplicaSets are the real controllers': they count what the pods say.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from cluster.control_plane import KubeApi

VERSION = "tandem.trading/model-version"
_PAUSE_S = 0.2
_BUSY = {429, 500, 503, 504}


class Pods:
    """Every pod of a namespace becomes Ready, but those of the versions in `held`, which say `why`."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self.held: dict[str, str] = {}  # version -> the last words of its container
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)

    def _run(self) -> None:
        with self._api.client() as client:
            core = CoreV1Api(client)
            while not self._stop.wait(_PAUSE_S):
                try:
                    self._look(core)
                except HTTPError:
                    continue  # the server is busy: a kubelet asks again
                except ApiException as error:
                    if error.status not in _BUSY:
                        raise

    def _look(self, core: CoreV1Api) -> None:
        for pod in core.list_namespaced_pod(self._namespace).items:
            wanted = self._status((pod.metadata.labels or {}).get(VERSION, ""))
            ready = [c.status for c in (pod.status.conditions or []) if c.type == "Ready"]
            if ready != [wanted["conditions"][0]["status"]]:
                self._tell(core, pod.metadata.name, wanted)

    def _tell(self, core: CoreV1Api, name: str, status: Mapping[str, Any]) -> None:
        try:
            core.patch_namespaced_pod_status(name, self._namespace, {"status": dict(status)})
        except ApiException as error:
            if error.status not in {404, 409}:  # gone, or changed meanwhile: the next round sees it
                raise

    def _status(self, version: str) -> dict[str, Any]:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        why = self.held.get(version)
        ready = {"type": "Ready", "status": "True" if why is None else "False", "lastTransitionTime": now}
        container: dict[str, Any] = {"name": "forecaster", "image": "x", "imageID": "", "restartCount": 0, "ready": why is None}
        if why is None:
            container["state"] = {"running": {"startedAt": now}}
        else:
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
            container["lastState"] = {"terminated": {"exitCode": 2, "reason": "Error", "message": why}}
        return {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(timeout=60)


@contextmanager
def ready_pods(api: KubeApi, namespace: str) -> Iterator[Pods]:
    """While this lasts."""
    pods = Pods(api, namespace)
    pods.start()
    try:
        yield pods
    finally:
        pods.stop()
