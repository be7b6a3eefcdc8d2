"""The adapter to the Kubernetes API against an API server in memory: which requests it makes, and what it makes of every answer.

The server only answers as it is told; that a real one takes these requests is shown in tests/integration/test_operator_pairs.py.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from kmock import RawHandler, Response
from kubernetes.client import ApiClient, Configuration

from tandem.adapters.kubernetes_cluster import PLACES, KubernetesCluster
from tandem.domain.errors import Permanent, TandemError, Transient
from tandem.ports import Conflict, Manifest

# Only answers: what a real API server makes of these requests is the integration tests' business.
pytestmark = [pytest.mark.asyncio, pytest.mark.kmock(cls=RawHandler)]
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
PODS, PAIR = "/api/v1/namespaces/trading/pods", "/apis/tandem.trading/v1alpha1/namespaces/trading/tradingpairs/ko-pep"


def at(url: str) -> KubernetesCluster:
    """The adapter on this server."""
    configuration = Configuration(host=url.rstrip("/"))
    configuration.retries = False
    return KubernetesCluster(ApiClient(configuration), "trading")


async def calls(server: RawHandler, call: Callable[[KubernetesCluster], Any]) -> Any:
    """The adapter's answer; it blocks, so not on the server's loop."""
    return await asyncio.to_thread(call, at(str(server.url)))


def status(code: int, message: str, **details: str) -> dict[str, Any]:
    """An API server's refusal."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, "details": details}


@pytest.mark.parametrize(
    ("call", "line", "content", "body"),
    [
        (lambda c: c.get("Pod", "a"), f"GET {PODS}/a", None, None),
        (lambda c: c.create(POD), f"POST {PODS}?fieldManager=tandem-operator", "application/json", POD),
        (
            lambda c: c.apply(POD),
            f"PATCH {PODS}/a?fieldManager=tandem-operator&force=true&fieldValidation=Strict",
            "application/apply-patch+yaml",
            POD,
        ),
        (
            lambda c: c.patch("Pod", "a", {"metadata": {"finalizers": []}}, version="7"),
            f"PATCH {PODS}/a?fieldManager=tandem-operator&fieldValidation=Strict",
            "application/merge-patch+json",
            {"metadata": {"finalizers": [], "resourceVersion": "7"}},
        ),
        (
            lambda c: c.patch_status("TradingPair", "ko-pep", {"phase": None}, version="7"),
            f"PATCH {PAIR}/status?fieldManager=tandem-operator&fieldValidation=Strict",
            "application/merge-patch+json",
            {"status": {"phase": None}, "metadata": {"resourceVersion": "7"}},
        ),
        (
            lambda c: c.delete("Pod", "a", uid="u"),
            f"DELETE {PODS}/a",
            "application/json",
            {"propagationPolicy": "Background", "preconditions": {"uid": "u"}},
        ),
    ],
)
async def test_requests(
    kmock: RawHandler, call: Callable[[KubernetesCluster], Any], line: str, content: str | None, body: Manifest | None
) -> None:
    """Verb, path, query, content and body of each operation."""
    kmock << POD
    assert await calls(kmock, call) in (POD, True)
    (request,) = kmock
    assert f"{request.method.value.upper()} {request.url.path_qs}" == line
    if body is not None:
        assert request.headers["Content-Type"] == content
        assert request.data == body


async def test_a_list_is_read_page_by_page_and_its_items_know_their_kind(kmock: RawHandler) -> None:
    """In order of name; the labels are the server's work."""
    pages = [
        {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "b"}}, {"metadata": {"name": "c"}}]},
        {"metadata": {}, "items": [{"metadata": {"name": "a"}}]},
    ]
    kmock << (lambda request: pages[1] if request.params.get("continue") else pages[0])
    found = await calls(kmock, lambda cluster: cluster.list("Deployment", {"a/b": "c", "d": "e"}))
    assert [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found] == [
        ("apps/v1", "Deployment", name) for name in ("a", "b", "c")
    ]
    assert [request.params for request in kmock] == [
        {"limit": "500", "labelSelector": "a/b=c,d=e"},
        {"limit": "500", "labelSelector": "a/b=c,d=e", "continue": "next"},
    ]


NOT_FOUND = status(404, 'pods "a" not found', name="a", kind="pods")


@pytest.mark.parametrize(
    ("code", "answer", "error"),
    [
        (400, status(400, "bad"), Permanent),
        (401, status(401, "Unauthorized"), Transient),
        (403, status(403, "pods is forbidden", kind="pods"), Permanent),
        (404, b"404 page not found", Permanent),
        (404, status(404, "the server could not find the requested resource"), Permanent),
        (409, status(409, "the object has been modified"), Conflict),
        (410, status(410, "too old"), Transient),
        (422, status(422, "spec.legs: Invalid value"), Permanent),
        (429, status(429, "slow down"), Transient),
        (500, b"oops", Transient),
        (503, b"<html>a proxy's page</html>", Transient),
        (200, b"<html>a proxy's page</html>", Transient),
    ],
)
async def test_refusals(kmock: RawHandler, code: int, answer: Any, error: type[TandemError]) -> None:
    """What may be tried again, what has changed meanwhile, what is refused for good; each says what was asked."""
    kmock << Response(status=code, payload=answer)
    for call in (
        lambda cluster: cluster.get("Pod", "a"),
        lambda cluster: cluster.patch("Pod", "a", {}),
        lambda cluster: cluster.list("Pod"),
        lambda cluster: cluster.create(POD),
    ):
        with pytest.raises(error, match="/api/v1/namespaces/trading/pods") as raised:
            await calls(kmock, call)
        assert type(raised.value) is error


async def test_an_object_that_is_not_there(kmock: RawHandler) -> None:
    """None when it is read, False when it is deleted; changing it is a conflict with what was read."""
    kmock << Response(status=404, payload=NOT_FOUND)
    assert await calls(kmock, lambda cluster: cluster.get("Pod", "a")) is None
    assert await calls(kmock, lambda cluster: cluster.delete("Pod", "a")) is False
    for call in (lambda cluster: cluster.patch("Pod", "a", {}), lambda cluster: cluster.patch_status("Pod", "a", {})):
        with pytest.raises(Conflict, match="is gone"):
            await calls(kmock, call)


async def test_a_server_that_is_away_is_named_with_the_cause() -> None:
    """Refused at once here; the time limit is REQUEST_TIMEOUT_S."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(Transient, match=r"127\.0\.0\.1:\d+ does not answer: .*refused"):
            await asyncio.to_thread(lambda: at(url).get("Pod", "a"))


async def test_every_kind_has_a_place_of_its_own() -> None:
    """Plurals are small letters; no two kinds share a path."""
    assert len(set(PLACES.values())) == len(PLACES)
    assert all(plural.isalpha() and plural == plural.lower() and plural.endswith("s") for _, plural in PLACES.values())
