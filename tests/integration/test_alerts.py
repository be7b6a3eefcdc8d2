"""Alerts reach people: a real Prometheus scrapes a service's real /metrics, a real Alertmanager tells a local webhook."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml

from compose_files import command
from free_ports import free_port
from prometheus_programs import program
from tandem.adapters import telemetry
from tandem.adapters.series import METRICS, series_of

ROOT = Path(__file__).parents[2]
_LIMIT_S = 240
_ANSWER_S = 30


class Desk(BaseHTTPRequestHandler):
    """Whoever is told."""

    told: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        """One notification."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.extend((self.path, alert) for alert in body["alerts"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def until(look: Callable[[], bool], what: str) -> None:
    """Poll, with a limit."""
    limit_s = time.monotonic() + _LIMIT_S
    while not look():
        assert time.monotonic() < limit_s, what
        time.sleep(0.2)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes an ingestor's face, under the shipped rules and routes."""
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("ingestor", "desk", "alertmanager", "prometheus")}
        desk = ThreadingHTTPServer(("127.0.0.1", ports["desk"]), Desk)
        threading.Thread(target=desk.serve_forever, daemon=True).start()
        stack.callback(desk.server_close)
        stack.callback(desk.shutdown)
        face = telemetry.HttpThread(telemetry.health_app("ingestor", lambda: None), "127.0.0.1", ports["ingestor"])
        face.start()
        stack.callback(face.stop)

        routes = yaml.safe_load((ROOT / "config/alertmanager/alertmanager.yaml").read_text())
        for receiver in routes["receivers"]:
            path = receiver["name"]
            receiver.clear()
            receiver |= {"name": path, "webhook_configs": [{"url": f"http://127.0.0.1:{ports['desk']}/{path}"}]}
        for route in (routes["route"], *routes["route"]["routes"]):
            route["group_wait"] = "0s"
        (tmp_path / "alertmanager.yaml").write_text(yaml.safe_dump(routes))
        config = yaml.safe_load((ROOT / "config/prometheus/prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(ROOT / "config/prometheus/rules.yaml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports['ingestor']}"]}]
        config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))

        (tmp_path / "data").mkdir()
        for name, server, folder in (
            ("prometheus-alertmanager", "alertmanager", "/etc/alertmanager"),
            ("prometheus", "prometheus", "/etc/prometheus"),
        ):
            folders = {folder: tmp_path, f"/{server}": tmp_path / "data" / server}
            argv = (program(name), *command(server, folders, ports[server]))
            log = stack.enter_context((tmp_path / f"{Path(argv[0]).name}.log").open("wb"))
            process = subprocess.Popen(argv, stdout=log, stderr=log)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            # Prometheus tells an alert that could not be told only a minute later.
            until(partial(is_ready, f"http://127.0.0.1:{ports[server]}"), f"{server} is not ready")
        yield f"http://127.0.0.1:{ports['prometheus']}"


def is_ready(address: str) -> bool:
    """Whether a server can be asked and told."""
    try:
        return httpx.get(f"{address}/-/ready", timeout=_ANSWER_S, trust_env=False).is_success
    except httpx.TransportError:
        return False


def asked(prometheus: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=_ANSWER_S, trust_env=False)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found


def test_alerts_reach_the_receivers_of_their_severity(prometheus: str) -> None:
    """A stream error wakes Slack and e-mail with its runbook; the watchdog goes its own way; Prometheus holds the service's series."""
    Desk.told.clear()
    until(lambda: bool(asked(prometheus, "tandem_build_info")), "nothing is scraped")
    telemetry.counter("ingestor_stream_errors_total").labels(code="406").inc()  # the first of all

    def told() -> set[tuple[str, str]]:
        return {(path, alert["labels"]["alertname"]) for path, alert in Desk.told}

    wanted = {("/slack", "TandemMarketDataRefused"), ("/email", "TandemMarketDataRefused"), ("/watchdog", "TandemWatchdog")}
    until(lambda: wanted <= told(), f"told so far: {told()}")
    assert ("/slack", "TandemWatchdog") not in told()
    refused = next(alert for _, alert in Desk.told if alert["labels"]["alertname"] == "TandemMarketDataRefused")
    assert "406" in refused["annotations"]["summary"]
    assert refused["annotations"]["runbook_url"] == "docs/runbooks/market-data.md#tandemmarketdatarefused"

    unlabelled = [name for name in series_of("ingestor") if not METRICS[name].labels]
    assert [name for name in unlabelled if not asked(prometheus, f"tandem_{name}")] == []
    assert not [rule for rule in rules(prometheus) if rule["health"] != "ok"]


def rules(prometheus: str) -> list[dict[str, Any]]:
    """Every rule with what came of its newest evaluation."""
    groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=_ANSWER_S, trust_env=False).json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"] if rule["health"] != "unknown"]


def test_the_shipped_files_are_what_the_programs_take() -> None:
    """promtool and amtool read the files as they lie."""
    for argv in (
        (program("promtool"), "check", "config", "config/prometheus/prometheus.yaml"),
        (program("amtool"), "check-config", "config/alertmanager/alertmanager.yaml"),
    ):
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
