"""What `tandem top` shows, gathered once: processes, lag, account, pairs, positions, and what a person has to look at. Reads only.

A part that does not answer is said so in its place; what the others say is shown all the same.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tandem.cli.http import ask
from tandem.domain.errors import TandemError
from tandem.local.home import state, supervisor_pid
from tandem.local.probes import HOST, PROBE_TIMEOUT_S
from tandem.local.status import ProcessStatus, statuses

_LAG = ("_lag_records", "_lag_seconds")  # the endings of the series that tell how far a service is behind
_ANSWERS = ("summary", "pairs", "positions", "risk", "trading-state")
_SERVERS = frozenset({"postgres", "redis", "kafka", "mlflow"})  # without our series
_EVENTS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that a person has to look at."""

    what: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The platform at one moment. lag: by process, records and seconds behind. The answers are the portfolio's own, by their path."""

    home: Path
    phase: str
    processes: tuple[ProcessStatus, ...]
    lag: dict[str, dict[str, float]]
    answers: dict[str, Any]
    alerts: tuple[Alert, ...]

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "home": str(self.home),
            "state": self.phase,
            "processes": [
                {"name": p.name, "pid": p.pid, "port": p.port, "ready": p.why_not_ready is None, "why_not_ready": p.why_not_ready}
                | {"memory_bytes": p.memory_bytes, "uptime_s": p.uptime_s, "lag": self.lag.get(p.name, {})}
                for p in self.processes
            ],
            **{name.replace("-", "_"): self.answers.get(name) for name in _ANSWERS},
            "alerts": [{"what": alert.what, "detail": alert.detail} for alert in self.alerts],
        }


def look(home: Path) -> View:
    """Ask everything once, all at the same time."""
    phase = state(home)["state"] if supervisor_pid(home) is not None else "stopped"
    processes = tuple(statuses(home))
    portfolio = next((p for p in processes if p.name == "portfolio" and p.alive), None)
    with ThreadPoolExecutor(max_workers=16) as pool:
        lags = {p.name: pool.submit(_lag, p.port) for p in processes if p.alive and p.name not in _SERVERS}
        asked = {name: pool.submit(_ask, portfolio.port, name) for name in (*_ANSWERS, "risk/events") if portfolio is not None}
        lag = {name: found for name, future in lags.items() if (found := future.result())}
        answers = {name: future.result() for name, future in asked.items()}
    return View(home=home, phase=phase, processes=processes, lag=lag, answers=answers, alerts=tuple(alerts(processes, answers)))


def _ask(port: int, what: str) -> Any:
    """The portfolio's answer, None while it has none."""
    try:
        return ask("GET", f"http://{HOST}:{port}/v1/{what}")
    except TandemError:
        return None


def _lag(port: int) -> dict[str, float]:
    """How far a service says that it is behind: the most of all its topics and partitions."""
    try:
        with httpx.Client(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
            text = client.get(f"http://{HOST}:{port}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (httpx.HTTPError, ValueError):
        return {}
    found: dict[str, float] = {}
    for sample in samples:
        for ending in _LAG:
            if sample.name.endswith(ending):
                found[ending.removeprefix("_lag_")] = max(found.get(ending.removeprefix("_lag_"), 0.0), sample.value)
    return found


def alerts(processes: Iterable[ProcessStatus], answers: dict[str, Any]) -> Iterable[Alert]:
    """What is not as it should be, the most urgent first."""
    for row in answers.get("trading-state") or ():
        if row["mode"] != "active":
            yield Alert(what=f"{row['scope']} is {row['mode']}", detail=str(row["reason"]))
    risk = answers.get("risk") or {}
    for breaker in risk.get("breakers", ()):
        yield Alert(what=f"breaker {breaker['breaker']}: {breaker['mode']}", detail=f"{breaker['reason']}; ends by {breaker['ends']}")
    for pair in risk.get("quarantined", ()):
        yield Alert(what=f"{pair} is in quarantine", detail="a person has to release it: POST /v1/pairs/PAIR/release")
    for process in processes:
        if process.why_not_ready is not None:
            yield Alert(what=f"{process.name} is not ready", detail=f"{process.why_not_ready}; its log: {process.log}")
    for event in (answers.get("risk/events") or ())[:_EVENTS_SHOWN]:
        yield Alert(what=f"{event['scope']}: {event['code']}", detail=str(event["detail"]))


def money(value: Any) -> str:
    """An amount of USD as the API gives it, to the cent."""
    return "" if value is None else f"{Decimal(str(value)):,.2f}"
