"""A real Prometheus over a folder of its configuration, and what it is asked by tests."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from compose_files import command
from free_ports import free_port
from prometheus_programs import program
from tandem.cli.dashboards import build
from tandem.cli.rules import build as rules
from tandem.cli.rules import levels

_START_S, _BETWEEN_S = 180, 5
_SERIES = re.compile(r"(?<![a-z_])tandem[_:][a-z0-9_:]+(?=[^a-z0-9_:]|$)")
_GROUPED = re.compile(r"(?:by|without|on) \([^)]*\)")  # labels, which may be named like series


@contextmanager
def running_prometheus(folder: Path) -> Iterator[str]:
    """Its address, when every target is up. folder: holds prometheus.yaml and what that names."""
    port = free_port()
    argv = (program("prometheus"), *command("prometheus", {"/etc/prometheus": folder, "/prometheus": folder / "data"}, port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: _all_up(address), _START_S, lambda: f"{_targets(address)}\n{(folder / 'log').read_text()[-2_000:]}")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def until(look: Callable[[], bool], limit_s: float, what: Callable[[], str]) -> None:
    """Poll, with a limit."""
    deadline_s = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < deadline_s, what()
        time.sleep(_BETWEEN_S)


def asked(address: str, path: str, **query: str) -> Any:
    """What Prometheus answers; None while it starts."""
    try:
        answer = httpx.get(f"{address}/api/v1/{path}", params=query, timeout=20, trust_env=False)
    except httpx.TransportError:
        return None
    return answer.raise_for_status().json()["data"] if answer.status_code != 503 else None


def _targets(address: str) -> Mapping[str, str]:
    """Each target's health."""
    found = asked(address, "targets") or {"activeTargets": []}
    return {one["scrapeUrl"]: one["health"] for one in found["activeTargets"]}


def _all_up(address: str) -> bool:
    """Whether every service is scraped."""
    return bool(_targets(address)) and set(_targets(address).values()) == {"up"}


def has_data(address: str, expression: str) -> bool:
    """Whether there is a number: the quantile of no events is none."""
    found = asked(address, "query", query=expression)
    return bool(found) and any(sample["value"][1] != "NaN" for sample in found["result"])


def questions() -> set[str]:
    """What must have data: each panel's query, each recorded series, and what an alert reads, as that is silent where all is well."""
    read = {name for alert in rules.alerts() for name in series_in(alert.expr)}
    return {expression for _, expression in build.expressions()} | {rule["record"] for rule in levels.records()} | read


def series_in(expression: str) -> set[str]:
    """Names of series that it reads."""
    return set(_SERIES.findall(_GROUPED.sub("", expression)))


def table_series_in(question: str) -> set[str]:
    """Names of the table's series that it reads, buckets and counts under the name of their histogram."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in series_in(question)}


def evaluated(address: str) -> list[dict[str, Any]]:
    """Every rule with what came of its newest evaluation; none while it does not answer."""
    found = asked(address, "rules") or {"groups": []}
    return [rule for group in found["groups"] for rule in group["rules"]]
