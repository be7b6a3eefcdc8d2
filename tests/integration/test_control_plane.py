"""The tests' API server is a real one: what the tests of operator and chart lean on holds."""

from uuid import uuid4

import pytest
from kubernetes.client import CoreV1Api, VersionApi

from cluster.control_plane import KubeApi
from service_process import wait_until


def deployment(replicas: int) -> dict[str, object]:
    """A Deployment whose pods nobody will run."""
    labels = {"app": "idle"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "idle", "image": "nowhere/idle:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "idle"}, "spec": spec}


def test_the_server_tells_the_version_that_charts_ask_for(kube_api: KubeApi) -> None:
    """A program without its version calls itself v0.0.0, and every chart's kubeVersion refuses it."""
    with kube_api.client() as client:
        assert VersionApi(client).get_code().git_version.startswith("v1.34.")


def test_controllers_make_pods_and_collect_them(kube_api: KubeApi, kube_namespace: str) -> None:
    """A Deployment becomes as many Pods, and its deletion takes them along."""
    kube_api.apply(deployment(2), namespace=kube_namespace)
    scope = ("pods", "--namespace", kube_namespace)
    wait_until(lambda: len(kube_api.get(*scope)["items"]) == 2, "two pods")
    assert kube_api.kubectl("delete", "deployment", "idle", "--namespace", kube_namespace).returncode == 0
    wait_until(lambda: not kube_api.get(*scope)["items"], "the garbage collector")


def test_unknown_fields_are_refused_by_apply(kube_api: KubeApi, kube_namespace: str) -> None:
    """kubectl's validation is the server's strict one."""
    with pytest.raises(AssertionError, match=r'unknown field "spec\.replica"'):
        kube_api.apply({**deployment(1), "spec": {**deployment(1)["spec"], "replica": 1}}, namespace=kube_namespace)  # type: ignore[dict-item]


def test_a_service_account_may_do_nothing_before_a_role_lets_it(kube_api: KubeApi, kube_namespace: str) -> None:
    """Roles count: the authoriser is RBAC, not one that allows all."""
    user = f"--as=system:serviceaccount:{kube_namespace}:default"
    question = ("auth", "can-i", "list", "pods", "--namespace", kube_namespace, user)
    assert kube_api.kubectl(*question).stdout.strip() == "no"
    grant = ("create", "rolebinding", "reader", "--clusterrole=view", f"--serviceaccount={kube_namespace}:default")
    assert kube_api.kubectl(*grant, "--namespace", kube_namespace).returncode == 0
    wait_until(lambda: kube_api.kubectl(*question).stdout.strip() == "yes", "the role to count")


def test_a_namespace_is_fresh_and_goes_with_the_test(kube_api: KubeApi) -> None:
    """What the fixture does, watched from outside: no objects of others, and removal by the namespace controller."""
    name = f"test-{uuid4().hex[:12]}"
    kube_api.create_namespace(name)
    with kube_api.client() as client:
        assert not CoreV1Api(client).list_namespaced_pod(name).items
    assert kube_api.kubectl("delete", "namespace", name, "--wait=false").returncode == 0
    wait_until(lambda: kube_api.kubectl("get", "namespace", name).returncode != 0, "the namespace to go")
