"""A real Prometheus with the shipped configuration over a platform that trades: every rule and every panel has something to show."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboard_platform import TradingPlatform, trading_platform
from metrics_page import missing, unbounded
from prometheus_server import evaluated, has_data, questions, running_prometheus, table_series_in, until
from tandem.adapters.series import SERVICES
from tandem.cli.rules import build as rules
from tandem.cli.silent_series import EVENTUAL, SILENT
from tandem.local.endpoints import PORT_BASE, Ports

CONFIG = Path(__file__).parents[2] / "config/prometheus"
_START_S, _SHOWN_S = 240, 800
pytestmark = pytest.mark.timeout(1_800)


@pytest.fixture(scope="module")
def platform() -> Iterator[TradingPlatform]:
    """The demo's, its market held while a pair is open."""
    with trading_platform() as made:
        yield made


@pytest.fixture(scope="module")
def prometheus(platform: TradingPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, when every target is up. Nothing of the configuration is changed but the base of the ports."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    moved = base(platform) - PORT_BASE
    text = re.sub(r"(127\.0\.0\.1:)(28\d{3})", lambda found: f"{found[1]}{int(found[2]) + moved}", (CONFIG / "prometheus.yaml").read_text())
    (folder / "prometheus.yaml").write_text(text)
    with running_prometheus(folder) as address:
        yield address


def base(platform: TradingPlatform) -> int:
    """The port base that the platform was started with."""
    port = httpx.URL(platform.replay).port
    assert port is not None
    return port - Ports(0).recycler


def is_excused(question: str) -> bool:
    """Whether it reads a series that the table gives a reason for."""
    return bool(table_series_in(question) & {*SILENT, *EVENTUAL})


def test_every_rule_and_every_panel_has_something_to_show(platform: TradingPlatform, prometheus: str) -> None:
    """Or reads a series that the table of silent ones gives a reason for; a series of that table is silent."""
    wanted = {question for question in questions() if not is_excused(question)}
    shown, spoken = set[str](), set[str]()

    def look() -> bool:
        platform.api("/v1/account")  # somebody looks at the book: reads through the cache
        shown.update(need for need in wanted - shown if has_data(prometheus, need))
        spoken.update(name for name in set(SILENT) - spoken if has_data(prometheus, f'{{__name__=~"{name}(_count)?"}}'))
        return shown == wanted

    platform.press("/resume")
    until(look, _SHOWN_S, lambda: f"nothing to show after {platform.status()}:\n" + "\n".join(sorted(wanted - shown)))
    assert not spoken, "the table of silent series gives a reason that is not needed"


def test_prometheus_evaluates_every_rule(prometheus: str) -> None:
    """None fails on what the services serve, and the watchdog fires."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = evaluated(prometheus)
        return bool(found) and all(rule["health"] != "unknown" for rule in found)

    until(look, _START_S, lambda: str(found))
    assert [rule["name"] for rule in found if rule["health"] != "ok"] == []
    assert {rule["name"] for rule in found} >= {alert.name for alert in rules.alerts()}
    assert next(rule["state"] for rule in found if rule["name"] == "TandemWatchdog") == "firing"


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "operator"])
def test_a_service_serves_its_table_and_keeps_its_labels_bounded(platform: TradingPlatform, service: str) -> None:
    """At /metrics of the process itself, after it has traded."""
    ports = Ports(base(platform))
    port = ports.forecaster(0) if service == "forecaster" else getattr(ports, service)
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20, trust_env=False).text
    assert missing(service, page) == []
    assert unbounded(page) == []
