"""What the chart tells the operator about forecasters is what the operator takes."""

from typing import Any

import pytest
import yaml

from chart_renders import SCENARIOS, of_scenario, one, render
from tandem.rollout.deployment import ForecasterTemplate, parse_template


def template(values: dict[str, Any]) -> ForecasterTemplate:
    """The template of a release."""
    return parse_template(yaml.safe_load(one(render(values), "ConfigMap", "tandem-forecaster")["data"]["forecaster.yaml"]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_operator_takes_the_template(name: str) -> None:
    """With the values of any scenario; and a forecaster finds all servers in it."""
    (found,) = [r for r in of_scenario(name) if r.kind == "ConfigMap" and r.name.endswith("-forecaster")]
    parsed = parse_template(yaml.safe_load(found.document["data"]["forecaster.yaml"]))
    names = {variable.name for variable in parsed.env}
    assert {"TANDEM_KAFKA_BOOTSTRAP_SERVERS", "TANDEM_POSTGRES_URL", "MLFLOW_TRACKING_URI", "TANDEM_SOURCE", "TANDEM_BAR"} <= names
    assert parsed.instance == "tandem"
    assert parsed.keda.bootstrap_servers


def test_values_reach_the_template() -> None:
    """Options of pods, resources, grace, budget, monitor and edges."""
    found = template(
        {
            "pod": {"tolerations": [{"operator": "Exists"}], "annotations": {"a": "b"}},
            "forecaster": {
                "nodeSelector": {"kind": "fast"},
                "priorityClassName": "high",
                "extraEnv": [{"name": "X", "value": "1"}],
                "resources": {"requests": {"cpu": 2}, "limits": {"memory": "2Gi"}},
                "terminationGracePeriodSeconds": 60,
                "preStopSeconds": 7,
            },
            "commonLabels": {"team": "desk"},
            "imagePullSecrets": ["ours"],
            "podDisruptionBudget": {"enabled": False},
            "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "5s"}},
        }
    )
    assert found.node_selector == {"kind": "fast"}
    assert found.tolerations == [{"operator": "Exists"}]
    assert found.pod_annotations == {"a": "b"}
    assert found.priority_class_name == "high"
    assert found.env[-1].name == "X"
    assert found.resources.requests == {"cpu": "2", "memory": "384Mi"}
    assert (found.termination_grace_period_seconds, found.pre_stop_seconds) == (60, 7)
    assert found.common_labels == {"team": "desk"}
    assert [secret.name for secret in found.image_pull_secrets] == ["ours"]
    assert not found.pod_disruption_budget.enabled
    assert (found.service_monitor.enabled, found.service_monitor.labels, found.service_monitor.interval) == (True, {"release": "p"}, "5s")


def test_the_forecasters_edges() -> None:
    """To Kafka, Postgres, MLflow and names; from the operator, the tests and whoever scrapes."""
    policy = template({}).network_policy
    assert policy.enabled
    assert policy.egress is not None
    assert policy.ingress is not None
    to = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for rule in policy.egress for peer in rule.get("to", ())]
    assert sorted(to) == ["kafka", "mlflow", "postgres"]
    selectors = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in policy.ingress if "podSelector" in peer]
    assert sorted(selectors) == ["operator", "test"]
    assert {"namespaceSelector": {}} in policy.ingress
    assert not template({"networkPolicy": {"enabled": False}}).network_policy.enabled


def test_the_operator_is_started_anew_when_the_template_changes() -> None:
    """It reads it at its start only."""

    def checksum(values: dict[str, Any]) -> str:
        annotations = one(render(values), "Deployment", "tandem-operator")["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum({}) == checksum({"recorder": {"annotations": {"a": "b"}}})
    assert checksum({}) != checksum({"forecaster": {"preStopSeconds": 6}})
