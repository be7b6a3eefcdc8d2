"""The sockets between the parts, through Toxiproxy: cut, slowed, torn, silenced. One proxy a connection's far end.

Speaks Toxiproxy's HTTP API. Clients of Kafka are sent to the proxy by the broker itself, which advertises it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tandem.local.processes import Command, StopPhase

HOST = "127.0.0.1"
_ANSWER_S = 60  # it answers at once, and no fault is done to it: what takes longer is a busy machine


@dataclass(frozen=True, slots=True)
class Toxic:
    """One thing that Toxiproxy does to a connection. stream: "downstream" is towards the client."""

    kind: str  # latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data
    attributes: Mapping[str, int] = field(default_factory=dict)
    stream: str = "downstream"


def command(program: Path, port: int) -> Command:
    """How to start it, without any proxy."""
    return Command(
        name="toxiproxy",
        argv=(str(program), "-host", HOST, "-port", str(port)),
        env={"LOG_LEVEL": "error"},
        port=port,
        ready_url=f"http://{HOST}:{port}/version",
        stop_phase=StopPhase.STORE,
    )


class Sockets:
    """The proxies of one world."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://{HOST}:{port}", timeout=_ANSWER_S, trust_env=False)
        self._number = 0

    def add(self, name: str, port: int, upstream_port: int) -> None:
        """Let a port lead to another."""
        body = {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{upstream_port}", "enabled": True}
        self._http.post("/proxies", json=body).raise_for_status()

    def poison(self, name: str, toxic: Toxic) -> str:
        """Do something to all connections of a proxy, those that are open included; what to call it when it is to end."""
        self._number += 1
        label = f"{toxic.kind}-{self._number}"
        body = {"name": label, "type": toxic.kind, "stream": toxic.stream, "toxicity": 1.0, "attributes": dict(toxic.attributes)}
        self._http.post(f"/proxies/{name}/toxics", json=body).raise_for_status()
        return label

    def cure(self, name: str, label: str) -> None:
        """Take a toxic away; nothing happens when it is gone."""
        self._http.delete(f"/proxies/{name}/toxics/{label}")

    def cut(self, name: str) -> None:
        """Close every connection and take no new one."""
        self._http.post(f"/proxies/{name}", json={"enabled": False}).raise_for_status()

    def join(self, name: str) -> None:
        """Take connections again."""
        self._http.post(f"/proxies/{name}", json={"enabled": True}).raise_for_status()

    def heal(self) -> None:
        """Every proxy open and without a toxic."""
        self._http.post("/reset").raise_for_status()

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()
