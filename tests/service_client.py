"""A client of a sector's forecasters that asks all the time, as one within the cluster does: by Service, to a Ready pod, and once again.

There is no network between the API server's pods here: which forecaster a request reaches is what the Service's selector and the pods'
readiness say, looked at for every attempt, as kube-proxy would know it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from kubernetes.client import CoreV1Api

from cluster.control_plane import KubeApi

VERSION = "tandem.trading/model-version"
_PAUSE_S = 0.02
_RETRY_S = 0.05
_ANSWER_S = 60.0  # late is not lost


@dataclass
class Asked:
    """What a client has seen."""

    answers: Counter[str] = field(default_factory=Counter)  # by the version that answered
    retries: int = 0
    errors: list[str] = field(default_factory=list)  # of requests whose second attempt failed, too


@dataclass(frozen=True)
class Target:
    """A sector's Service, and where the forecasters behind it really listen, by version."""

    namespace: str
    service: str
    urls: Mapping[str, str]
    pair: str


@contextmanager
def asking(api: KubeApi, target: Target) -> Iterator[Asked]:
    """Ask for the pair's forecast while this lasts."""
    asked, stop = Asked(), threading.Event()
    thread = threading.Thread(target=_ask, args=(api, target, asked, stop.is_set), daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join(timeout=2 * _ANSWER_S)


def _ask(api: KubeApi, target: Target, asked: Asked, stopped: Callable[[], bool]) -> None:
    with api.client() as client, httpx.Client(timeout=_ANSWER_S) as http:
        core = CoreV1Api(client)
        while not stopped():
            if _attempt(core, http, target, asked):
                asked.retries += 1
                time.sleep(_RETRY_S)
                if why := _attempt(core, http, target, asked):
                    asked.errors.append(why)
            time.sleep(_PAUSE_S)


def _attempt(core: CoreV1Api, http: httpx.Client, target: Target, asked: Asked) -> str:
    """One request; why it failed, "" when it did not."""
    selector = core.read_namespaced_service(target.service, target.namespace).spec.selector
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = core.list_namespaced_pod(target.namespace, label_selector=labels).items
    version = selector[VERSION]
    if not any(c.type == "Ready" and c.status == "True" for pod in pods for c in (pod.status.conditions or [])):
        return f"no ready pod of version {version}"
    try:
        answer = http.post(f"{target.urls[version]}/forecast", json={"pair": target.pair})
    except httpx.HTTPError as error:
        return f"version {version}: {error!r}"
    if answer.status_code != 200:
        return f"version {version}: {answer.status_code} {answer.text[:100]}"
    asked.answers[answer.json()["model"]["version"]] += 1
    return ""
