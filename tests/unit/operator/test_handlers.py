"""The handlers under kopf, against an API server in memory: everything watched is handed on, and nothing is written.

The operator that they feed is a list here; the real one runs in tests/integration.
"""

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import kopf
import pytest
from kmock import KubernetesEmulator
from kubernetes.client import ApiClient, Configuration

from operator_process import HANDLERS, pair_manifest
from tandem.adapters.kubernetes_cluster import KubernetesCluster
from tandem.rollout.crd import KINDS

pytestmark = pytest.mark.asyncio
_WAIT_S = 60.0
PAIRS = "tandem.trading/v1alpha1/tradingpairs"


class Seen:
    """What the handlers handed on."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, str, str]] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def seen(self, change: str | None, manifest: dict[str, Any]) -> None:
        assert manifest["apiVersion"]
        self.told.append((change, manifest["kind"], manifest["metadata"]["name"]))


@asynccontextmanager
async def watching(server: KubernetesEmulator) -> AsyncIterator[Seen]:
    """kopf with our handlers on this server."""
    kopf.set_default_registry(kopf.OperatorRegistry())
    spec = importlib.util.spec_from_file_location("handlers", HANDLERS)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))

    @kopf.on.login()
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=str(server.url).rstrip("/"))

    seen, stop = Seen(), asyncio.Event()
    run = kopf.operator(namespaces=["trading"], standalone=True, memo=kopf.Memo(operator=seen), stop_flag=stop)
    task = asyncio.create_task(run)
    try:
        yield seen
    finally:
        stop.set()
        await asyncio.wait_for(task, _WAIT_S)
        assert not seen.running


async def until(condition: Callable[[], bool]) -> None:
    """Poll."""
    async with asyncio.timeout(_WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def server(kmock: KubernetesEmulator) -> Iterator[KubernetesEmulator]:
    """One that knows our kinds, Deployments, and what kopf asks of every server."""
    kinds = {f"tandem.trading/v1alpha1/{kind.plural}": kind.name for kind in KINDS}
    kinds |= {
        "apps/v1/deployments": "Deployment",
        "v1/namespaces": "Namespace",
        "apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
    }
    for place, kind in kinds.items():
        kmock.resources[place] = {
            "namespaced": kind not in {"Namespace", "CustomResourceDefinition"},
            "kind": kind,
            "singular": kind.lower(),
            "verbs": ["list", "watch", "patch", "get"],
            "shortnames": [],
            "categories": [],
            "subresources": ["status"],
        }
    level = logging.getLogger().level
    yield kmock
    logging.getLogger().setLevel(level)


async def test_objects_are_handed_on_as_they_come_change_and_go(server: KubernetesEmulator) -> None:
    """Those that are there at the start, too; of Deployments only ours."""
    server.objects[PAIRS, "trading", "first"] = _in(pair_manifest("first", "KO", "PEP"))
    for name, manager in (("ours", "tandem-operator"), ("theirs", "Helm")):
        labels = {"app.kubernetes.io/managed-by": manager}
        server.objects["apps/v1/deployments", "trading", name] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "trading", "labels": labels},
        }
    async with watching(server) as seen:
        await until(lambda: (None, "TradingPair", "first") in seen.told and (None, "Deployment", "ours") in seen.told)
        assert seen.running
        cluster = KubernetesCluster(ApiClient(Configuration(host=str(server.url).rstrip("/"))), "trading")
        await asyncio.to_thread(cluster.patch, "TradingPair", "first", {"metadata": {"labels": {"a": "b"}}})
        await until(lambda: ("MODIFIED", "TradingPair", "first") in seen.told)
        await asyncio.to_thread(cluster.delete, "TradingPair", "first")
        await until(lambda: ("DELETED", "TradingPair", "first") in seen.told)
    assert not [name for _, _, name in seen.told if name == "theirs"]
    writes = [request.method.value for request in server if request.method.value.upper() not in {"GET", "HEAD"}]
    assert len(writes) == 2, f"{writes}: the test's own two, and no finalizer, annotation, Event or status of kopf's"


def _in(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"] |= {"namespace": "trading", "uid": "u"}
    return document
