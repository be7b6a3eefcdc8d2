"""Values that make no sense are refused, with what is wrong in the message."""

from typing import Any

import helm_python
import pytest

from chart_renders import CHART, RELEASE, one, pods, render, scenario
from tandem.adapters.companies_file import COMPANIES_FILE
from tandem.operator.cleanup import FORCED_S, ORDER

LIVE = scenario("live")

REFUSED_BY_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"kafak": {}}, "'kafak' not allowed"),
    ({"kafka": {"enabld": True}}, "'enabld' not allowed"),
    ({"kafka": {"persistence": {"whenDeleted": "Keep"}}}, "/kafka/persistence/whenDeleted"),
    ({"pod": {"nodeSelector": {"gpu": 1}}}, "/pod/nodeSelector/gpu"),
    ({"ingestor": {"replicas": 2}}, "'replicas' not allowed"),
    ({"ingestor": {"resources": {"limits": {"memory": "lots"}}}}, "/ingestor/resources/limits/memory"),
    ({"market": {"source": "alpaca"}}, "/market/source"),
    ({"market": {"bar": "1h"}}, "/market/bar"),
    ({"market": {"latenessMs": "2s"}}, "/market/latenessMs"),
    ({"market": {"historyUrl": "data.example"}}, "/market/historyUrl"),
    ({"ingestor": {"quotes": ["Consumer Goods"]}}, "/ingestor/quotes/0"),
    ({"ingestor": {"muteSeconds": 0}}, "/ingestor/muteSeconds"),
    ({"ingestor": {"auditSeconds": -1}}, "/ingestor/auditSeconds"),
    ({"ingestor": {"verifyBars": "yes"}}, "/ingestor/verifyBars"),
    ({"ingestor": {"keepTicksDays": -1}}, "/ingestor/keepTicksDays"),
    ({"portfolio": {"leaseSeconds": 2}}, "/portfolio/leaseSeconds"),
    ({"portfolio": {"reconcileSeconds": 900}}, "/portfolio/reconcileSeconds"),
    ({"recorder": {"keep": {"days": 1}}}, "'days' not allowed"),
    ({"recycler": {"options": ["borrow-bps=50"]}}, "/recycler/options/0"),
    ({"mlflow": {"publicUrl": "mlflow.example"}}, "/mlflow/publicUrl"),
    ({"accounts": [{"capitalUsd": "1"}]}, "missing property 'name'"),
    ({"accounts": [{"name": "Main"}]}, "/accounts/0/name"),
    ({"accounts": [{"name": "main", "capitalUsd": 1000000}]}, "/accounts/0/capitalUsd"),
    ({"accounts": [{"name": "main", "password": "x"}]}, "'password' not allowed"),
    ({"config": {"files": {"risks.yaml": ""}}}, "risks.yaml"),
    ({"images": {"kafka": {"repository": "kafka", "digest": "sha256:1"}}}, "/images/kafka/digest"),
    ({"images": {"kafka": {"repository": ""}}}, "/images/kafka/repository"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"recycler": {"speed": "fast"}}, "/recycler/speed"),
    ({"recycler": {"start": "later"}}, "/recycler/start"),
    ({"trainer": {"schedule": "daily"}}, "/trainer/schedule"),
    ({"trainer": {"bootstrap": {"sectors": []}}}, "/trainer/bootstrap/sectors"),
    ({"kafka": {"external": {"bootstrapServers": "kafka"}}}, "/kafka/external/bootstrapServers"),
    ({"mlflow": {"external": {"url": "mlflow:5000"}}}, "/mlflow/external/url"),
    ({"networkPolicy": {"externalPorts": {"kafka": 0}}}, "/networkPolicy/externalPorts/kafka"),
    ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "/metrics/serviceMonitor/interval"),
    ({"logLevel": "debug"}, "/logLevel"),
]

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"kafka": {"enabled": False}}, "set kafka.external.bootstrapServers"),
    ({"postgres": {"enabled": False}}, "set postgres.external.existingSecret"),
    ({"redis": {"enabled": False}}, "set redis.external.existingSecret"),
    ({"mlflow": {"enabled": False}}, "set mlflow.external.url"),
    ({"market": {"source": "paper"}}, "set market.existingSecret"),
    ({"market": {"source": "live", "existingSecret": "data"}}, "account paper: set existingSecret"),
    ({"recycler": {"enabled": False}}, "it would be Alpaca itself"),
    ({"accounts": [{"name": "a"}, {"name": "b"}]}, "paper exchange has one account"),
    ({"accounts": []}, "accounts is empty"),
    ({**LIVE, "accounts": [*LIVE["accounts"], LIVE["accounts"][0]]}, "accounts has main twice"),
    ({"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "every series would be there twice"),
    ({"forecaster": {"preStopSeconds": 30}}, "must be at least 20 above preStopSeconds, 30"),
    ({"kafka": {"external": {"strimziTopics": {"enabled": True}}}}, "kafka.enabled is true"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED_BY_SCHEMA, ids=lambda value: str(value)[:60])
def test_the_schema_refuses(values: dict[str, Any], message: str) -> None:
    """Where it is wrong stands in the message."""
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmValuesError) as refused:
        chart.validate_schema(values)
    assert message in str(refused.value)


@pytest.mark.parametrize(("values", "message"), CONTRADICTIONS, ids=lambda value: str(value)[:60])
def test_contradictions_are_told(values: dict[str, Any], message: str) -> None:
    """What to set instead stands in the message."""
    with pytest.raises(helm_python.HelmRenderError) as refused:
        render(values)
    assert message in str(refused.value)


def test_all_contradictions_are_told_at_once() -> None:
    """So that nobody needs five attempts."""
    with pytest.raises(helm_python.HelmRenderError) as refused:
        render({name: {"enabled": False} for name in ("kafka", "postgres", "redis", "mlflow")})
    assert str(refused.value).count("is false: set") == 4


@pytest.mark.parametrize("values", [{"global": {"anything": {"at": "all"}}}, {"enabled": True}])
def test_a_parent_chart_may_set(values: dict[str, Any]) -> None:
    """What belongs to it, not to us."""
    assert render(values) == render({}) or len(render(values)) == len(render({}))


def test_images_by_registry_tag_and_digest() -> None:
    """A digest wins over a tag; a role's registry over the global one, that over ours; ours is for our images only."""
    values = {
        "image": {"registry": "ours.example", "tag": "7"},
        "images": {
            "operator": {"repository": "tandem-operator", "tag": "8", "registry": "own.example"},
            "forecaster": {"repository": "tandem-forecaster", "digest": f"sha256:{'0' * 64}"},
        },
    }
    assert image_of(values, "Deployment", "tandem-ingestor") == "ours.example/tandem-services:7"
    assert image_of(values, "Deployment", "tandem-operator") == "own.example/tandem-operator:8"
    assert image_of(values, "StatefulSet", "tandem-kafka") == "apache/kafka:4.1.1"
    assert (
        image_of(values | {"global": {"imageRegistry": "all.example"}}, "StatefulSet", "tandem-kafka") == "all.example/apache/kafka:4.1.1"
    )
    template = one(render(values), "ConfigMap", "tandem-forecaster")["data"]["forecaster.yaml"]
    assert f'image: "ours.example/tandem-forecaster@sha256:{"0" * 64}"' in template


def image_of(values: dict[str, Any], kind: str, name: str) -> str:
    """The image of a workload's own container."""
    document = one(render(values), kind, name)
    image: str = document["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def test_names_fit_under_the_longest_prefix() -> None:
    """63 characters are the limit of a Service's name, and of a label."""
    long = "a" * 60
    values = {"fullnameOverride": long, "accounts": [{"name": "b" * 20}], "trainer": {"replayId": "r", "bootstrap": {"enabled": True}}}
    assert max(len(rendered.name) for rendered in render(values) if rendered.kind != "CustomResourceDefinition") <= 63


@pytest.mark.parametrize(
    ("release", "values", "prefix"),
    [
        (RELEASE, {}, "tandem"),
        ("my", {}, "my-tandem"),
        ("my", {"nameOverride": "desk"}, "my-desk"),
        ("my-tandem", {}, "my-tandem"),
        ("my", {"fullnameOverride": "desk"}, "desk"),
    ],
)
def test_the_prefix_of_names(release: str, values: dict[str, Any], prefix: str) -> None:
    """As Helm's users expect it."""
    assert f"{prefix}-ingestor" in {rendered.name for rendered in render(values, release=release)}


def test_options_of_pods_are_merged() -> None:
    """A component's maps are laid over those of all pods, its lists are added to theirs."""
    values = {
        "pod": {"nodeSelector": {"a": "1"}, "extraEnv": [{"name": "A", "value": "1"}], "priorityClassName": "low"},
        "recorder": {"nodeSelector": {"b": "2"}, "extraEnv": [{"name": "B", "value": "2"}], "priorityClassName": "high"},
    }
    objects = dict(pods(render(values)))
    recorder, ingestor = objects["Deployment/tandem-recorder"]["spec"], objects["Deployment/tandem-ingestor"]["spec"]
    assert recorder["nodeSelector"] == {"a": "1", "b": "2"}
    assert ingestor["nodeSelector"] == {"a": "1"}
    assert [item["name"] for item in recorder["containers"][0]["env"]][-2:] == ["A", "B"]
    assert (recorder["priorityClassName"], ingestor["priorityClassName"]) == ("high", "low")


def test_a_changed_file_starts_its_readers_anew() -> None:
    """And nobody else: a restarted ingestor misses ticks."""

    def checksums(values: dict[str, Any]) -> dict[str, str]:
        return {maker: pod["metadata"].get("annotations", {}).get("checksum/config", "") for maker, pod in pods(render(values))}

    before = checksums({})
    for file, readers in (("risk.yaml", {"Deployment/tandem-portfolio-paper"}), ("fees.yaml", {"Deployment/tandem-recycler"})):
        after = checksums({"config": {"files": {file: "changed: true\n"}}})
        assert {maker for maker, checksum in after.items() if checksum != before[maker]} == readers
    assert checksums({"config": {"files": {"training.yaml": "changed: true\n"}}}) == before


def test_companies_reach_the_page() -> None:
    """As a file of its configuration's folder, of nobody else's; another text makes a new pod of it."""
    objects = render({"config": {"files": {"companies.csv": "symbol,name\nKO,Coca-Cola\n"}}})
    assert one(objects, "ConfigMap", "tandem-config")["data"]["companies.csv"] == "symbol,name\nKO,Coca-Cola\n"
    readers = {
        maker
        for maker, pod in pods(objects)
        for volume in pod["spec"]["volumes"]
        if {"key": COMPANIES_FILE, "path": COMPANIES_FILE} in volume.get("configMap", {}).get("items", ())
    }
    assert readers == {"Deployment/tandem-dashboard-paper"}


def test_pages_of_mlflow_may_be_read_through_what_stands_before_it() -> None:
    """By its hosts, which are believed with http and https; of publicUrl, which may have a path, the origin as it is."""
    values = {"mlflow": {"publicUrl": "https://a.example:8443/mlflow", "allowedHosts": ["b.example"]}}
    (server,) = one(render(values), "StatefulSet", "tandem-mlflow")["spec"]["template"]["spec"]["containers"]
    environ = {item["name"]: item.get("value", "") for item in server["env"]}
    assert environ["MLFLOW_SERVER_ALLOWED_HOSTS"].endswith(",b.example,a.example:8443")
    assert environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://b.example,http://b.example,https://a.example:8443"


def test_ticks_are_kept_as_long_by_strimzi() -> None:
    """Its operator would set the topic back to what its object says."""
    kept = {
        found.name: found.document["spec"]["config"]["retention.ms"]
        for found in render({**LIVE, "ingestor": {"keepTicksDays": 0.5}})
        if found.kind == "KafkaTopic"
    }
    assert kept.pop("tandem.ticks.consumer") == kept.pop("tandem.ticks.financial") == 43_200_000
    assert set(kept.values()) == {-1}


def test_pairs_of_the_trainer_can_be_replaced() -> None:
    """All of them, not one by one."""
    values = {"config": {"pairs": {"a-b.yaml": "x\n"}}, "trainer": {"replayId": "r"}}
    objects = render(values)
    assert [key for key in one(objects, "ConfigMap", "tandem-config")["data"] if key.startswith("pair-")] == ["pair-a-b.yaml"]
    trainer = dict(pods(objects))["CronJob/tandem-trainer"]
    (volume,) = [volume for volume in trainer["spec"]["volumes"] if volume["name"] == "config"]
    assert {"key": "pair-a-b.yaml", "path": "pairs/a-b.yaml"} in volume["configMap"]["items"]


def test_the_hook_before_an_uninstall_ends_by_itself() -> None:
    """Its deadline lies behind all that it may wait for: killed in the middle it would leave objects that nobody lets go."""
    job = one(render({"crds": {"keep": False}, "uninstall": {"waitSeconds": 100}}), "Job", "tandem-uninstall")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--wait-s=100"]
    assert job["spec"]["activeDeadlineSeconds"] > len(ORDER) * (100 + 2 * FORCED_S)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"


@pytest.mark.parametrize(
    ("values", "there"), [({}, False), ({"uninstall": {"removeObjects": True}}, True), ({"crds": {"keep": False}}, True)]
)
def test_objects_are_removed_before_their_definitions(values: dict[str, Any], there: bool) -> None:
    """Always then; and by wish."""
    assert ("Job/tandem-uninstall" in dict(pods(render(values)))) is there
