"""The objects that the operator keeps for a sector: valid for Kubernetes, and with the properties that serving hangs on."""

import json
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from rollout_shapes import ENERGY, OWNER, V7, V8, shape
from tandem.rollout.deployment import HTTP_PORT
from tandem.rollout.labels import MANAGED_BY, MODEL_VERSION, ROLE, selector_text, version_selector
from tandem.rollout.manifests import ObjectKey, Running, key_of, sector_objects, unwanted_objects, version_keys, version_objects
from tandem.rollout.sector_shape import Autoscaling, ScalerKind, SectorShape

RELEASES = ("1.31", "1.34", "1.37")
MINIMAL = shape(
    {
        "imagePullSecrets": [],
        "env": [],
        "envFrom": [],
        "serviceAccountName": "",
        "nodeSelector": {},
        "tolerations": [],
        "priorityClassName": "",
        "topologySpread": False,
        "preStopSeconds": 0,
        "resources": {},
        "networkPolicy": {"enabled": False},
        "serviceMonitor": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    }
)
SHAPES = {
    "full": shape(autoscaling=Autoscaling()),
    "keda": shape(autoscaling=Autoscaling(kind=ScalerKind.KEDA, replicas_max=3)),
    "closed": shape({"networkPolicy": {"enabled": True, "ingress": [], "egress": []}}),
    "minimal": MINIMAL,
}


def everything(of: SectorShape) -> dict[str, dict[str, Any]]:
    """All objects of the sector with version 7, by kind; the version's Service is not among them (the sector's is)."""
    running = Running(model=V7, role="stable", replicas=2)
    return {manifest["kind"]: manifest for manifest in (*version_objects(of, running), *sector_objects(of, V7))}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_object_is_valid_for_the_oldest_and_newest_kubernetes(name: str, release: str) -> None:
    """Strictly: a field that Kubernetes does not know would be dropped in silence. Foreign kinds (Prometheus, KEDA) have no schema here."""
    running = Running(model=V7, role="stable", replicas=2)
    checked = 0
    for manifest in (*version_objects(SHAPES[name], running), *sector_objects(SHAPES[name], V7)):
        if manifest["kind"] not in {"ServiceMonitor", "ScaledObject"}:
            kubernetes_validate.validate(json.loads(json.dumps(manifest)), release, strict=True)
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("name", SHAPES)
def test_every_object_is_labelled_and_owned(name: str) -> None:
    """So that one selector finds what the operator made, and the cluster collects it with its SectorModel."""
    for manifest in everything(SHAPES[name]).values():
        metadata = manifest["metadata"]
        assert metadata["namespace"] == "trading"
        assert metadata["labels"][MANAGED_BY] == "tandem-operator"
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "desk"
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == [OWNER.uid]


def test_a_first_version_may_reach_its_servers_before_it_is_acted_on() -> None:
    """Where a policy denies everything else, a forecaster without its own would wait for MLflow for ever."""
    kinds = [manifest["kind"] for manifest in sector_objects(SHAPES["full"], None)]
    assert kinds == ["NetworkPolicy", "ServiceMonitor"]


def test_a_pod_runs_unprivileged_on_a_read_only_root() -> None:
    """The restricted Pod Security Standard, and no token of the cluster."""
    pod = everything(SHAPES["full"])["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [(mount["mountPath"]) for mount in container["volumeMounts"]] == ["/tmp"]
    assert "emptyDir" in pod["volumes"][0]


def test_probes_ask_by_http_and_readiness_is_not_liveness() -> None:
    """A TCP probe would pass before anybody answers; a forecaster that rebuilds its state is alive and not ready."""
    (container,) = everything(SHAPES["full"])["Deployment"]["spec"]["template"]["spec"]["containers"]
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in paths} == {"http"}
    assert container["ports"] == [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}]


def test_a_pod_serves_on_before_it_drains_and_has_time_to() -> None:
    """preStop sleeps within the grace period, and the new pod is ready before the old one goes."""
    spec = everything(SHAPES["full"])["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < pause_s < pod["terminationGracePeriodSeconds"] - 18
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "lifecycle" not in everything(MINIMAL)["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_the_role_changes_nothing_in_the_pods() -> None:
    """A promotion must not restart the forecaster that it promotes."""
    made = [version_objects(SHAPES["full"], Running(model=V7, role=role, replicas=1)) for role in ("candidate", "stable", "previous")]
    assert len({json.dumps(objects[1]["spec"], sort_keys=True) for objects in made}) == 1
    assert [objects[1]["metadata"]["annotations"][ROLE] for objects in made] == ["candidate", "stable", "previous"]


def test_two_versions_share_no_pod_and_no_name() -> None:
    """Each version's selector finds its own pods only; the objects of both lie side by side."""
    seven, eight = (version_objects(SHAPES["full"], Running(model=model, role="stable", replicas=1)) for model in (V7, V8))
    assert not {key_of(manifest) for manifest in seven} & {key_of(manifest) for manifest in eight}
    selectors = [objects[1]["spec"]["selector"]["matchLabels"] for objects in (seven, eight)]
    assert [selector[MODEL_VERSION] for selector in selectors] == ["7", "8"]
    for objects, selector in zip((seven, eight), selectors, strict=True):
        labels = objects[1]["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        assert objects[2]["spec"]["selector"] == selector
        assert objects[3]["spec"]["selector"]["matchLabels"] == selector


@pytest.mark.parametrize(
    ("given", "shards"), [({}, "1"), ({"replicas": 2}, "12"), ({"replicas": 6}, "12"), ({"autoscaling": Autoscaling(replicas_max=2)}, "12")]
)
def test_replicas_share_a_number_of_shards_that_does_not_follow_theirs(given: dict[str, Any], shards: str) -> None:
    """Scaling must not restart the pods."""
    assert everything(replace(SHAPES["minimal"], **given))["ConfigMap"]["data"]["TANDEM_SHARDS"] == shards


def test_a_promotion_moves_the_sector_service_and_nothing_else_of_it() -> None:
    """Same name, same port; only the selector's version and the annotations differ."""
    before, after = (sector_objects(SHAPES["full"], model)[0] for model in (V7, V8))
    assert key_of(before) == key_of(after) == ObjectKey(kind="Service", name="forecaster-energy")
    assert before["spec"]["selector"] | {MODEL_VERSION: "8"} == after["spec"]["selector"]
    assert before["spec"]["ports"] == after["spec"]["ports"]


def test_the_settings_name_sector_and_version_and_roll_the_pods_when_they_change() -> None:
    """They come last, so that a map of the template cannot stand before them; another setting is another checksum."""
    objects = everything(SHAPES["full"])
    data = objects["ConfigMap"]["data"]
    assert (data["TANDEM_SECTOR"], data["TANDEM_MODEL_VERSION"], data["TANDEM_PORT"]) == ("energy", "7", "3000")
    template = objects["Deployment"]["spec"]["template"]
    assert template["spec"]["containers"][0]["envFrom"][-1] == {"configMapRef": {"name": "forecaster-energy-v7"}}
    other = version_objects(SHAPES["full"], Running(model=V8, role="stable", replicas=1))[1]["spec"]["template"]
    key = "checksum/settings"
    assert template["metadata"]["annotations"][key] != other["metadata"]["annotations"][key]
    changed = everything(shape({"configChecksum": "def"}))["Deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"]["checksum/config"] != changed["metadata"]["annotations"]["checksum/config"]


def test_a_sector_model_lays_its_wishes_over_the_template() -> None:
    """Key by key for mappings; tolerations are added; the name of a priority class replaces."""
    own = shape(
        limits={"memory": "2Gi"},
        requests={"cpu": "1"},
        node_selector={"pool": "models"},
        tolerations=({"operator": "Exists"},),
        pod_annotations={"team": "energy"},
        priority_class_name="first",
    )
    template = everything(own)["Deployment"]["spec"]["template"]
    pod = template["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1", "memory": "512Mi"}}
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "models"}
    assert [toleration.get("key") for toleration in pod["tolerations"]] == ["dedicated", None]
    assert template["metadata"]["annotations"]["team"] == "energy"
    assert pod["priorityClassName"] == "first"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("full", "HorizontalPodAutoscaler"), ("keda", "ScaledObject"), ("minimal", None)],
)
def test_the_scaler_scales_the_sector_model(name: str, kind: str | None) -> None:
    """Not a version's Deployment: a promotion keeps the number of replicas."""
    objects = everything(SHAPES[name])
    found = {"HorizontalPodAutoscaler", "ScaledObject"} & set(objects)
    assert found == ({kind} if kind else set())
    if kind:
        assert objects[kind]["spec"]["scaleTargetRef"] == {"apiVersion": OWNER.api_version, "kind": OWNER.kind, "name": OWNER.name}


def test_keda_watches_the_group_of_the_version_that_is_acted_on() -> None:
    """A candidate's lag while it rebuilds its state must not scale the sector."""
    (trigger,) = everything(SHAPES["keda"])["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == "tandem.forecaster.energy.7.0of12"
    assert trigger["metadata"]["topic"] == "tandem.ticks.energy"
    assert trigger["metadata"]["bootstrapServers"] == "desk-kafka.trading.svc:9092"
    assert trigger["metadata"]["allowIdleConsumers"] == "true"


@pytest.mark.parametrize(("replicas_min", "replicas_max"), [(0, 2), (3, 2), (1, 13)])
def test_autoscaling_is_bounded(replicas_min: int, replicas_max: int) -> None:
    """Each replica reads all of its sector: one more than there are shards has nothing to do."""
    with pytest.raises(ValueError, match="must be 1 <= min <= max <= 12"):
        Autoscaling(replicas_min=replicas_min, replicas_max=replicas_max)


def test_network_policy_opens_one_port_to_the_release_and_three_servers() -> None:
    """The default edges; an empty list of peers closes the port, it does not open it to everybody."""
    spec = everything(SHAPES["full"])["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": HTTP_PORT, "protocol": "TCP"}]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "desk"}}}]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 9092, 5432, 5000}
    closed = everything(SHAPES["closed"])["NetworkPolicy"]["spec"]
    assert (closed["ingress"], closed["egress"]) == ([], [])


def test_prometheus_sees_each_pod_once() -> None:
    """The monitor selects the Services of versions and not the sector's, which has no version label."""
    objects = everything(SHAPES["full"])
    monitor = objects["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchExpressions"] == [{"key": MODEL_VERSION, "operator": "Exists"}]
    assert MODEL_VERSION not in sector_objects(SHAPES["full"], V7)[0]["metadata"]["labels"]
    assert MODEL_VERSION in version_objects(SHAPES["full"], Running(model=V7, role="stable", replicas=1))[2]["metadata"]["labels"]
    assert monitor["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]


def test_a_budget_never_forbids_to_drain_a_single_replica() -> None:
    """maxUnavailable 1, at any number of replicas."""
    assert everything(SHAPES["full"])["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_what_was_switched_off_is_taken_away() -> None:
    """All that is optional and not wanted is named; nothing wanted is."""
    wanted = (*version_objects(MINIMAL, Running(model=V7, role="stable", replicas=1)), *sector_objects(MINIMAL, V7))
    unwanted = unwanted_objects(MINIMAL, wanted, ("7",))
    assert {key.kind for key in unwanted} == {
        "HorizontalPodAutoscaler",
        "ScaledObject",
        "NetworkPolicy",
        "ServiceMonitor",
        "PodDisruptionBudget",
    }
    keda = SHAPES["keda"]
    wanted = (*version_objects(keda, Running(model=V7, role="stable", replicas=1)), *sector_objects(keda, V7))
    assert [key.kind for key in unwanted_objects(keda, wanted, ("7",))] == ["HorizontalPodAutoscaler"]


def test_a_removed_version_loses_everything_it_was_given() -> None:
    """The keys to delete are those of the objects that were made, the Deployment last: while it is there, something is left to do."""
    made = {key_of(manifest) for manifest in version_objects(SHAPES["full"], Running(model=V7, role="stable", replicas=1))}
    keys = version_keys(SHAPES["full"], "7")
    assert set(keys) == made
    assert keys[-1].kind == "Deployment"


def test_the_selector_as_text_is_what_the_scale_subresource_shows() -> None:
    """kubectl get pods -l takes it."""
    text = selector_text(version_selector("desk", ENERGY, "7"))
    assert text.split(",")[-1] == "tandem.trading/model-version=7"
    assert "app.kubernetes.io/instance=desk" in text
