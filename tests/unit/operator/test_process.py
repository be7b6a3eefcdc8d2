"""The operator's own thread that lists everything anew: what has failed of it is made good soon, and nothing of it is forgotten."""

import threading
import time
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration

from operator_world import operator_environ
from polling import LIMIT_S, until
from sector_world import Faults, MemoryCluster
from tandem import settings
from tandem.domain.errors import Transient
from tandem.operator import process
from tandem.operator.lease import NAME
from tandem.operator.process import Operator


class Away(MemoryCluster):
    """The Lease cannot be read as often as this."""

    failures = 1

    def get(self, kind: str, name: str) -> dict[str, object] | None:
        if kind == "Lease" and self.failures:
            self.failures -= 1
            raise Transient("the API server does not answer")
        return super().get(kind, name)


def test_what_a_resync_could_not_do_the_next_one_does_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Event of an outage, when the API server fails once more just then, and what the parts look for afterwards."""
    monkeypatch.setattr(process, "_RESYNC_AGAIN_S", 0.01)
    environ = operator_environ(
        tmp_path, namespace="trading", kafka="127.0.0.1:1", postgres_url="postgresql://u@127.0.0.1:1/x", mlflow="http://127.0.0.1:1"
    )
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    operator = Operator(settings.load(), client=ApiClient(Configuration(host="http://127.0.0.1:1")))
    cluster, told, swept = Away(Faults()), list[str](), list[int]()
    cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": {}})
    operator._cluster = cluster
    operator._events.tell = lambda *_: told.append(_[2])  # type: ignore[method-assign]
    operator._control._trouble = None
    operator._control.settled.set()
    operator._parts[0].resync = lambda: swept.append(1)  # type: ignore[method-assign]
    operator.lease._renewed_s = time.monotonic() + 3_600.0
    operator._away_from_s = time.time()
    operator._resync_wanted.set()
    resyncs = threading.Thread(target=operator._resyncs)
    resyncs.start()
    try:
        until(lambda: told == ["ApiServerWasAway"] and swept == [1])
    finally:
        operator._stopping.set()
        operator._resync_wanted.set()
        resyncs.join(LIMIT_S)
    operator._cleanup.close()
