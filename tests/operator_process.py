"""The operator as a child process, as its image runs it: kopf over operators/handlers.py, with settings from the environment.

Besides: the definitions of our kinds on a cluster, and manifests as a person writes them.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.control_plane import KubeApi
from definitions import install_definitions
from free_ports import free_port
from service_process import wait_until

__all__ = [
    "OperatorProcess",
    "account_manifest",
    "condition",
    "events",
    "install_definitions",
    "pair_manifest",
    "running_operator",
    "wait_condition",
]
ROOT = Path(__file__).parents[1]
HANDLERS = ROOT / "operators/handlers.py"
API_VERSION = "tandem.trading/v1alpha1"
_STOP_S = 60.0
_ANSWER_S = 30.0  # of a process that gets its turn late


@dataclass
class OperatorProcess:
    """A running operator."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def page(self) -> str:
        """/metrics."""
        return httpx.get(f"{self.url}/metrics", timeout=_ANSWER_S).text

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics; 0 when it is not there yet."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.page().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and wanted <= set(series.partition("{")[2].rstrip("}").split(",")):
                return float(value)
        return 0.0

    def why_not_ready(self) -> str | None:
        """What /readyz says; None when ready."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=_ANSWER_S).json()["reason"]
        except httpx.TransportError as error:
            return f"no answer: {error}"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)

    def tail(self) -> str:
        """The newest lines of its log."""
        return self.log.read_text()[-4000:]


@contextmanager
def running_operator(api: KubeApi, environ: Mapping[str, str], folder: Path, name: str = "operator") -> Iterator[OperatorProcess]:
    """The operator, killed in the end if the test has not stopped it. environ: its settings, TANDEM_NAMESPACE among them."""
    port = free_port()
    own = {"KUBECONFIG": str(api.kubeconfig), "POD_NAME": name, "TANDEM_PORT": str(port), "OMP_NUM_THREADS": "1"}
    argv = (sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", environ["TANDEM_NAMESPACE"], str(HANDLERS))
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(argv, env={**os.environ, **environ, **own}, stdout=out, stderr=out)
    try:
        yield OperatorProcess(process=process, url=f"http://127.0.0.1:{port}", log=log)
    finally:
        process.kill()
        process.wait()


def pair_manifest(name: str, a: str, b: str, **spec: Any) -> dict[str, Any]:
    """A TradingPair."""
    return _manifest("TradingPair", name, {"sector": "consumer", "legs": [a, b], **spec})


def account_manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A TradingAccount."""
    return _manifest("TradingAccount", name, {"source": "recycled", **spec})


def _manifest(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def condition(document: Mapping[str, Any] | None, kind: str) -> tuple[str, str] | None:
    """Status and reason of a condition."""
    found = (c for c in ((document or {}).get("status") or {}).get("conditions") or () if c["type"] == kind)
    return next(((c["status"], c["reason"]) for c in found), None)


def events(api: KubeApi, namespace: str, name: str) -> dict[str, str]:
    """The Events about an object of this name: message by reason."""
    found = api.get("events", "--namespace", namespace)["items"]
    return {event["reason"]: event["message"] for event in found if event["involvedObject"]["name"] == name}


def wait_condition(api: KubeApi, namespace: str, kind: str, name: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Wait until the object's conditions say this; the object."""
    found: dict[str, Any] = {}

    def holds() -> bool:
        done = api.kubectl("get", kind, name, "--namespace", namespace, "-o", "json")
        if done.returncode != 0:
            return False
        found.clear()
        found.update(json.loads(done.stdout))
        return all(condition(found, key) == value for key, value in wanted.items())

    wait_until(holds, f"{kind} {name} to say {dict(wanted)}")
    return found
