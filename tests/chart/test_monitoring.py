"""Alerts and dashboards name only series that our code exports, with labels that these have; and both survive Helm's templating."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart_renders import CHART, of_scenario, one, render
from tandem.adapters.telemetry import METRICS
from tandem.cli.dashboards import build

GROUPS: list[dict[str, Any]] = yaml.safe_load((CHART / "files/rules/tandem.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
DASHBOARDS = {name: json.loads(text) for name, text in build.documents().items()}
# Put there by Prometheus and its operator, not by us.
_TARGET_LABELS = {"namespace", "pod", "job", "instance", "le", "tandem_trading_account"}
_SERIES = re.compile(r"tandem_([a-z_]+)")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_ACCOUNT = "tandem_trading_account"
_CLIENTS_OWN = {"process_resident_memory_bytes", "process_cpu_seconds_total"}  # which prometheus_client exports of every process


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
    for group in GROUPS:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    yield from build.expressions()


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_every_series_and_label_exists(where: str, expression: str) -> None:
    """A panel over a series that nobody exports would say that all is well."""
    names = metrics_in(expression)
    recorded = set(re.findall(r"tandem:[a-z0-9_:]+", expression))
    assert recorded <= RECORDED, where
    assert names or recorded or any(name in expression for name in _CLIENTS_OWN) or expression == "vector(1)", where
    assert names <= set(METRICS), where
    summed = [METRICS[name] for name in re.findall(r"tandem_([a-z_]+)_sum\b", expression)]
    assert all(metric.buckets[0] >= 0 for metric in summed), "the client exports no sum where observations may be below 0"
    known = {label for name in names for label in METRICS[name].labels} | _TARGET_LABELS
    assert labels_in(expression) <= known, where
    for open_, close in ("()", "{}", "[]"):
        assert expression.count(open_) == expression.count(close), where


def test_every_alert_says_what_and_what_next() -> None:
    """A severity, a summary, a description; labels in braces are those that its expression leaves."""
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "none"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        known = {label for name in metrics_in(rule["expr"]) for label in METRICS[name].labels} | _TARGET_LABELS
        used = set(re.findall(r"\$labels\.([a-z_]+)", " ".join(rule["annotations"].values())))
        assert used <= known, rule["alert"]


def test_no_data_raises_no_alert_but_the_one_for_it() -> None:
    """An absent series is silent: a market that is closed, a service that is not installed."""
    assert [rule["alert"] for rule in RULES if "absent" in rule["expr"]] == ["TandemNothingScraped"]


def test_rules_and_dashboards_are_rendered_as_they_lie() -> None:
    """Helm fills in nothing between their braces; each dashboard is a ConfigMap that Grafana's sidecar finds."""
    objects = of_scenario("everything")
    groups = one(objects, "PrometheusRule", "trading")["spec"]["groups"]
    assert groups[:-1] == GROUPS
    assert groups[-1] == {"name": "tandem.additional", "rules": [{"alert": "Mine", "expr": "vector(1)"}]}
    for name, document in DASHBOARDS.items():
        shipped = one(objects, "ConfigMap", f"trading-dashboard-{name.removesuffix('.json')}")
        assert json.loads(shipped["data"][name]) == document
        assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_runbooks_are_linked_where_people_read_them() -> None:
    """Each link leads to the same page and heading under the address that the value gives."""
    shown = "https://git.example.com/tandem/blob/main/docs/runbooks"
    values = {"metrics": {"prometheusRule": {"enabled": True, "runbooks": shown}}}
    (rule,) = (rendered.document for rendered in render(values) if rendered.kind == "PrometheusRule")
    links = [rule["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert links == [f"{shown}/{rule['annotations']['runbook_url'].removeprefix('docs/runbooks/')}" for rule in RULES]


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
    assert set(components) == with_http - {"dashboard"}, "the page has no series"
    assert set(one(of_scenario("live"), "PodMonitor", "tandem")["spec"]["selector"]["matchExpressions"][2]["values"]) == {
        *components,
        "forecaster",
    }
