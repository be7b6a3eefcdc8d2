"""Alerts and dashboard name only series that our code exports, with labels that these have; and both survive Helm's templating."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart_renders import CHART, of_scenario, one, render
from tandem.adapters.telemetry import METRICS
from tandem.cli.dashboards import dashboard

RULES: list[dict[str, Any]] = yaml.safe_load((CHART / "files/rules/tandem.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads(dashboard())
# Put there by Prometheus and its operator, not by us.
_TARGET_LABELS = {"namespace", "pod", "job", "instance", "le", "tandem_trading_account"}
_SERIES = re.compile(r"tandem_([a-z_]+)")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_ACCOUNT = "tandem_trading_account"


def metrics_in(expression: str) -> set[str]:
    """Names of METRICS that an expression reads."""
    return {_SUFFIX.sub("", name) for name in _SERIES.findall(expression.replace(_ACCOUNT, ""))}


def labels_in(expression: str) -> set[str]:
    """Labels that an expression matches or groups by."""
    grouped = {label.strip() for part in re.findall(r"(?:by|without) \(([^)]*)\)", expression) for label in part.split(",")}
    matched = {label for part in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", part)}
    return grouped | matched


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of everything that we ship."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_every_series_and_label_exists(where: str, expression: str) -> None:
    """A panel over a series that nobody exports would say that all is well."""
    names = metrics_in(expression)
    assert names, where
    assert names <= set(METRICS), where
    known = {label for name in names for label in METRICS[name].labels} | _TARGET_LABELS
    assert labels_in(expression) <= known, where
    for open_, close in ("()", "{}", "[]"):
        assert expression.count(open_) == expression.count(close), where


def test_every_alert_says_what_and_what_next() -> None:
    """A severity, a summary, a description; labels in braces are those that its expression leaves."""
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        known = {label for name in metrics_in(rule["expr"]) for label in METRICS[name].labels} | _TARGET_LABELS
        used = set(re.findall(r"\$labels\.([a-z_]+)", " ".join(rule["annotations"].values())))
        assert used <= known, rule["alert"]


def test_no_data_raises_no_alert_but_the_one_for_it() -> None:
    """An absent series is silent: a market that is closed, a service that is not installed."""
    assert [rule["alert"] for rule in RULES if "absent" in rule["expr"]] == ["TandemOperatorMissing"]


def test_rules_and_dashboard_are_rendered_as_they_lie() -> None:
    """Helm fills in nothing between their braces."""
    objects = of_scenario("everything")
    groups = one(objects, "PrometheusRule", "trading")["spec"]["groups"]
    assert groups[0]["rules"] == RULES
    assert groups[1] == {"name": "tandem.additional", "rules": [{"alert": "Mine", "expr": "vector(1)"}]}
    shipped = one(objects, "ConfigMap", "trading-dashboard-tandem")
    assert json.loads(shipped["data"]["tandem.json"]) == DASHBOARD
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Its uid is short, ids are unique, panels lie within 24 columns and not on each other."""
    assert len(DASHBOARD["uid"]) <= 40
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule"])
def test_monitoring_follows_the_value_alone(kind: str) -> None:
    """Without asking a cluster: a rendered manifest for GitOps must hold it, too. Nothing by default."""
    key = kind[0].lower() + kind[1:]
    assert kind not in {rendered.kind for rendered in of_scenario("default")}
    assert kind in {rendered.kind for rendered in render({"metrics": {key: {"enabled": True}}})}


def test_monitors_choose_every_pod_that_has_series() -> None:
    """By labels that the Services and pods have; forecasters by the PodMonitor only, they have the operator's ServiceMonitors."""
    monitor = one(of_scenario("everything"), "ServiceMonitor", "trading")["spec"]
    components = monitor["selector"]["matchExpressions"][2]["values"]
    services = [r.document for r in of_scenario("everything") if r.kind == "Service"]
    with_http = {
        service["metadata"]["labels"]["app.kubernetes.io/component"]
        for service in services
        if monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    }
    assert set(components) == with_http
    assert set(one(of_scenario("live"), "PodMonitor", "tandem")["spec"]["selector"]["matchExpressions"][2]["values"]) == {
        *components,
        "forecaster",
    }
