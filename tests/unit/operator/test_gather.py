"""What the operator reads of pods, annotations and Deployments, and where nothing is concluded."""

from pathlib import Path
from typing import Any

import pytest

from sector_world import World
from tandem.domain.errors import BadSetting
from tandem.operator.gather import REQUEST, pod_trouble, request_of
from tandem.operator.sector_part import load_template
from tandem.operator.view import replicas_of
from tandem.operator.webhook import AGE_S_MAX, changed_model, verified
from tandem.rollout.sector_model import SectorModelSpec


def annotated(text: str, *times: str) -> dict[str, Any]:
    """A resource with a request that was written at these times."""
    fields = {"f:metadata": {"f:annotations": {f"f:{REQUEST}": {}}}}
    entries = [{"manager": "kubectl", "time": time, "fieldsV1": fields} for time in times]
    return {"metadata": {"uid": "u", "annotations": {REQUEST: text}, "managedFields": [{"manager": "other"}, *entries]}}


@pytest.mark.parametrize(
    ("text", "action", "reason"),
    [("promote", "promote", ""), (" rollback : loses money ", "rollback", "loses money"), ("abort:", "abort", "")],
)
def test_a_request_is_a_word_and_perhaps_a_reason(text: str, action: str, reason: str) -> None:
    """Separated by a colon."""
    request = request_of(annotated(text, "t1"))
    assert request is not None
    assert (request.action, request.reason) == (action, reason)


def test_the_same_word_at_another_time_is_another_request() -> None:
    """And read twice it is one; without the cluster's record of times it is known by the resource."""
    ids = [request.request_id for made in (("t1",), ("t1",), ("t2",), ()) if (request := request_of(annotated("promote", *made)))]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] == "promote@u"


@pytest.mark.parametrize("document", [{"metadata": {"uid": "u"}}, annotated(""), annotated("   ")])
def test_nothing_written_is_no_request(document: dict[str, Any]) -> None:
    """An empty annotation, too."""
    assert request_of(document) is None


CRASHED = {
    "containerStatuses": [
        {
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "Error", "message": "tandem forecaster: bundle_digest: differs\n"}},
        }
    ]
}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (CRASHED, "CrashLoopBackOff: Error: tandem forecaster: bundle_digest: differs"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, "ImagePullBackOff"),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "db" not found'}}}]},
            'CreateContainerConfigError: secret "db" not found',
        ),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]}, "OOMKilled"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]},
            "Unschedulable: 0/3 nodes",
        ),
        ({"containerStatuses": [{"state": {"running": {}}}]}, ""),
        ({}, ""),
    ],
)
def test_a_pod_says_why_it_is_not_ready(status: dict[str, Any], words: str) -> None:
    """The container's last words first: they name the cause."""
    assert pod_trouble({"status": status}) == words


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({}, 1),
        ({"replicas": 2}, 2),
        ({"replicas": 0}, 0),
        ({"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 3}}, 2),
        ({"replicas": 3, "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2}}, 2),
    ],
)
def test_an_autoscaler_sets_the_replicas_within_its_bounds(spec: dict[str, Any], replicas: int) -> None:
    """It writes spec.replicas by the scale subresource; before it has, and after its bounds have changed, they hold."""
    assert replicas_of(SectorModelSpec.model_validate({"sector": "energy", **spec})) == replicas


def test_the_resource_becomes_the_shape_of_its_forecasters() -> None:
    """Every field of the SectorModel that is about pods reaches the manifests."""
    world = World(
        spec={
            "autoscaling": {"enabled": True, "kind": "KEDA", "maxReplicas": 3, "lagThreshold": 50},
            "resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": 1}},
            "podTemplate": {
                "nodeSelector": {"pool": "models"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "annotations": {"team": "energy"},
                "priorityClassName": "high",
            },
        }
    )
    world.registry.register("1", "champion")
    world.run(until="Stable")
    template = world.cluster.objects["Deployment", "forecaster-energy-v1"]["spec"]["template"]
    pod = template["spec"]
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "1"
    assert pod["nodeSelector"]["pool"] == "models"
    assert {"key": "gpu", "operator": "Exists"} in pod["tolerations"]
    assert template["metadata"]["annotations"]["team"] == "energy"
    assert pod["priorityClassName"] == "high"
    scaler = world.cluster.objects["ScaledObject", "forecaster-energy"]["spec"]
    assert (scaler["maxReplicaCount"], scaler["triggers"][0]["metadata"]["lagThreshold"]) == (3, "50")
    assert scaler["scaleTargetRef"]["kind"] == "SectorModel"


TEMPLATE = """
image: tandem-forecaster:1
instance: tandem
resources: {requests: {cpu: 0.5, memory: 512Mi}}
env:
  - {name: TANDEM_BAR, value: "1min"}
  - name: TANDEM_POSTGRES_URL
    valueFrom: {secretKeyRef: {name: postgres, key: url}}
tolerations: [{key: a, operator: Exists, tolerationSeconds: 30}]
terminationGracePeriodSeconds: 45
"""


def test_the_template_is_read_from_yaml(tmp_path: Path) -> None:
    """As the chart renders it."""
    file = tmp_path / "forecaster.yaml"
    file.write_text(TEMPLATE)
    template = load_template(file)
    assert template.resources.requests == {"cpu": "0.5", "memory": "512Mi"}
    assert template.termination_grace_period_seconds == 45
    assert template.env[1].value_from == {"secretKeyRef": {"name": "postgres", "key": "url"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 documents"),
        ("a: 1\n---\nb: 2\n", "holds 2 documents"),
        ("image: [", "not readable as YAML"),
        ("image: x\n", "instance"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    """With the file and the fault."""
    file = tmp_path / "forecaster.yaml"
    file.write_text(text)
    with pytest.raises(BadSetting, match=words):
        load_template(file)


BODY = b'{"entity": "model_version_alias", "action": "created", "data": {"name": "a_model", "alias": "candidate"}}'


def signed(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """As MLflow does it: its own function."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    return _generate_hmac_signature(secret, delivery, timestamp, body.decode())


def test_a_delivery_that_mlflow_signed_is_taken() -> None:
    """With the secret, the id, the time and the body as they were."""
    assert verified("s", "id", "1000", BODY, signed("s", "id", "1000", BODY), now_s=1000 + AGE_S_MAX)


@pytest.mark.parametrize(
    ("secret", "delivery", "timestamp", "body", "now_s"),
    [
        ("other", "id", "1000", BODY, 1000.0),
        ("s", "another", "1000", BODY, 1000.0),
        ("s", "id", "1001", BODY, 1000.0),
        ("s", "id", "1000", BODY + b" ", 1000.0),
        ("s", "id", "1000", BODY, 1001.0 + AGE_S_MAX),
        ("s", "id", "1000", BODY, 999.0 - AGE_S_MAX),
        ("s", "id", "soon", BODY, 1000.0),
        ("s", "id", "", BODY, 1000.0),
    ],
)
def test_a_delivery_that_differs_in_anything_is_not(secret: str, delivery: str, timestamp: str, body: bytes, now_s: float) -> None:
    """Another secret, id, time or body; too old or from the future."""
    assert not verified(secret, delivery, timestamp, body, signed("s", "id", "1000", BODY), now_s=now_s)


@pytest.mark.parametrize(
    ("body", "name"), [(BODY, "a_model"), (b"{}", ""), (b"[]", ""), (b"not JSON", ""), (b'{"data": null}', ""), (b'{"data": {}}', "")]
)
def test_a_delivery_names_a_model_or_none(body: bytes, name: str) -> None:
    """Nothing else of it is believed."""
    assert changed_model(body) == name
