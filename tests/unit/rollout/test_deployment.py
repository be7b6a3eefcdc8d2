"""The forecaster template: what the chart may say, and what is refused with which words."""

from typing import Any

import pytest

from tandem.domain.errors import BadSetting
from tandem.rollout.deployment import parse_template

MINIMAL: dict[str, Any] = {"image": "tandem-forecaster:1", "instance": "tandem"}


def test_a_minimal_template_has_the_documented_defaults() -> None:
    """Image and release are enough; the rest has defaults that a small cluster can run."""
    template = parse_template(MINIMAL)
    assert (template.termination_grace_period_seconds, template.pre_stop_seconds) == (40, 5)
    assert template.pod_disruption_budget.enabled
    assert not template.service_monitor.enabled
    assert not template.network_policy.enabled


def test_numbers_that_yaml_reads_are_quantities() -> None:
    """`cpu: 1` and `cpu: "1"` mean the same."""
    template = parse_template(MINIMAL | {"resources": {"requests": {"cpu": 1, "memory": "512Mi"}, "limits": {"cpu": 1.5}}})
    assert template.resources.requests == {"cpu": "1", "memory": "512Mi"}
    assert template.resources.limits == {"cpu": "1.5"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": ""}, "image"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy"),
        ({"replicas": 3}, "replicas"),
        ({"instance": "Not A Name"}, "instance"),
        ({"resources": {"requests": {"cpu": "much"}}}, "resources.requests.cpu"),
        ({"resources": {"requests": {"cpu": True}}}, "resources.requests.cpu"),
        ({"preStopSeconds": 30}, "terminationGracePeriodSeconds is 40, must be at least 50"),
        ({"env": [{"name": "TANDEM_SECTOR", "value": "energy"}]}, "which the operator sets"),
        ({"env": [{"name": "TANDEM_PORT", "value": "8080"}]}, "must be '3000' or left out"),
        ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "env names A more than once"),
        ({"env": [{"name": "A"}]}, "either value or valueFrom"),
        ({"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, "either value or valueFrom"),
        ({"serviceMonitor": {"interval": "often"}}, "serviceMonitor.interval"),
    ],
)
def test_a_bad_template_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    """The error names the field and what is allowed."""
    with pytest.raises(BadSetting) as caught:
        parse_template(MINIMAL | change)
    assert words in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    """A person who mends the template sees all that is wrong with it."""
    with pytest.raises(BadSetting) as caught:
        parse_template({"image": "", "keda": {"servers": "x"}})
    assert all(words in str(caught.value) for words in ("image", "instance", "keda.servers"))
