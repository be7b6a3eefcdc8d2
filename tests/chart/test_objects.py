"""Every rendered object is valid by the OpenAPI schemas of three releases of Kubernetes, unknown fields refused."""

import functools

import kubernetes_validate
import kubernetes_validate.utils
import pytest

from chart_renders import SCENARIOS, Rendered, of_scenario

RELEASES = ("1.32", "1.34", "1.37")
FOREIGN = {  # not of Kubernetes: their operators' own definitions tell what is valid
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "KafkaTopic": "kafka.strimzi.io/v1beta2",
}


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> None:
    """The library reads megabytes of JSON for each object."""
    utils = kubernetes_validate.utils
    utils.schema_contents = functools.cache(utils.schema_contents)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_objects_are_valid(name: str, release: str) -> None:
    """By the schema of their kind."""
    faults = [fault for rendered in of_scenario(name) if (fault := fault_of(rendered, release))]
    assert faults == []


def fault_of(rendered: Rendered, release: str) -> str:
    """What is wrong with an object; "" for nothing."""
    if rendered.kind in FOREIGN:
        return "" if rendered.document["apiVersion"] == FOREIGN[rendered.kind] else f"{rendered}: {rendered.document['apiVersion']}"
    try:
        kubernetes_validate.validate(rendered.document, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{rendered}: {'.'.join(map(str, error.path))}: {error.message}"
    return ""


def test_an_invalid_object_is_found() -> None:
    """The check can fail: an unknown field, a wrong type."""
    good = next(rendered for rendered in of_scenario("default") if rendered.kind == "Service")
    assert fault_of(good, "1.34") == ""
    for change in ({"ports": "80"}, {"portz": []}):
        bad = Rendered(good.template, {**good.document, "spec": {**good.document["spec"], **change}})
        assert fault_of(bad, "1.34")


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_object_is_made_once(name: str) -> None:
    """No two templates make the same one."""
    names = [str(rendered) for rendered in of_scenario(name)]
    assert sorted(set(names)) == names
