"""Does the node itself work? A pod runs, is ready when it says so and reachable behind its service, can be read, entered and killed.

It needs no image but the pause program's, and half a minute: what fails here is no fault of ours that a longer scenario should search for.
"""

import os
import signal
from typing import Any

from cluster.control_plane import KubeApi
from cluster.isolation import DNS_DOMAIN
from cluster.node import Node
from cluster.pause_image import NAME
from cluster.steps import check, eventually, step

_NAMESPACE = "smoke"
_LABELS = {"app": "server"}
_CLIENT = {"app": "client"}
_WAIT_S = 60.0


def run(node: Node) -> None:
    """All of it, in a namespace that is deleted in the end. Raises Unmet."""
    api = node.api
    api.create_namespace(_NAMESPACE)
    with step("a pod runs, and is not Ready before it says so"):
        api.apply(_deployment(), _service(), _claim(), _client(), namespace=_NAMESPACE)
        pod = eventually(lambda: _running(api), "a running pod", _WAIT_S, lambda: _told(api))
        check(not _endpoints(api), "a pod that is not Ready is behind the service already")
        _kubectl(api, "exec", pod, "--", "/pause", "ready")
        eventually(lambda: _endpoints(api), "a Ready pod behind the service", _WAIT_S, lambda: _told(api))
    with step("another pod reaches it by the service's name, and its log tells so"):
        eventually(lambda: _get(api) == pod, "an answer by way of the service", _WAIT_S, lambda: _told(api))
        check("asked for /hello" in _kubectl(api, "logs", pod), "the log does not show the request")
    with step("a policy keeps the other pod out, and another lets it in again"):
        api.apply(_policy("deny", ingress=[]), namespace=_NAMESPACE)
        eventually(lambda: _get(api) == "", "the policy to be in force", _WAIT_S)
        check(_endpoints(api), "the policy keeps the kubelet's probes out")
        peer = {"podSelector": {"matchLabels": _CLIENT}}
        api.apply(_policy("allow", ingress=[{"from": [peer], "ports": [{"port": 8080}]}]), namespace=_NAMESPACE)
        eventually(lambda: _get(api) == pod, "the second policy to be in force", _WAIT_S)
    with step("killed, it is started again, and what it wrote to its volume is still there"):
        [process] = node.processes(api.get("pod", pod, "--namespace", _NAMESPACE)["metadata"]["uid"])
        os.kill(process, signal.SIGKILL)
        eventually(lambda: _restarts(api, pod) == 1, "a restart", _WAIT_S, lambda: _told(api))
        eventually(lambda: _endpoints(api), "the restarted pod behind the service", _WAIT_S, lambda: _told(api))
    with step("deleted, it is replaced by a new one"):
        _kubectl(api, "delete", "pod", pod, "--grace-period=1")
        eventually(lambda: _running(api) not in ("", pod), "another pod", _WAIT_S, lambda: _told(api))
    with step("its namespace goes, and takes everything along"):
        done = api.kubectl("delete", "namespace", _NAMESPACE, "--timeout=60s")
        check(done.returncode == 0, done.stderr)


def _deployment() -> dict[str, Any]:
    container = {
        "name": "server",
        "image": NAME,
        "args": ["serve"],
        "imagePullPolicy": "Never",
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "securityContext": {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "kept", "mountPath": "/tmp"}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {
        "containers": [container],
        "securityContext": {"fsGroup": 65532},
        "terminationGracePeriodSeconds": 1,  # serving, it does not listen to SIGTERM
        "volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}],
    }
    template = {"metadata": {"labels": _LABELS}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server"},
        "spec": {"selector": {"matchLabels": _LABELS}, "template": template},
    }


def _client() -> dict[str, Any]:
    """A pod that does nothing by itself."""
    container = {"name": "client", "image": NAME, "imagePullPolicy": "Never"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "labels": _CLIENT}, "spec": spec}


def _policy(name: str, *, ingress: list[dict[str, Any]]) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": _LABELS}, "policyTypes": ["Ingress"], "ingress": ingress}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def _get(api: KubeApi) -> str:
    """What the service answers to the client; empty when it does not."""
    url = f"http://server.{_NAMESPACE}.svc.{DNS_DOMAIN}/hello"
    return api.kubectl("--namespace", _NAMESPACE, "exec", "client", "--", "/pause", "get", url).stdout.strip()


def _service() -> dict[str, Any]:
    spec = {"selector": _LABELS, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}, "spec": spec}


def _claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": spec}


def _kubectl(api: KubeApi, *arguments: str) -> str:
    """What kubectl prints. Raises Unmet when it fails."""
    done = api.kubectl("--namespace", _NAMESPACE, *arguments)
    check(done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _running(api: KubeApi) -> str:
    """The name of the pod that runs and is not being deleted; empty: none."""
    pods = api.get("pods", "--namespace", _NAMESPACE, "--selector=app=server")["items"]
    living = (pod for pod in pods if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"])
    return next((pod["metadata"]["name"] for pod in living), "")


def _endpoints(api: KubeApi) -> list[str]:
    slices = api.get("endpointslices", "--namespace", _NAMESPACE, "--selector=kubernetes.io/service-name=server")["items"]
    ready = (endpoint for one in slices for endpoint in one["endpoints"] or () if endpoint["conditions"]["ready"])
    return [address for endpoint in ready for address in endpoint["addresses"]]


def _restarts(api: KubeApi, pod: str) -> int:
    return int(api.get("pod", pod, "--namespace", _NAMESPACE)["status"]["containerStatuses"][0]["restartCount"])


def _told(api: KubeApi) -> str:
    return _kubectl(api, "describe", "pods")
