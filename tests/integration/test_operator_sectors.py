"""SectorModels on a real API server with its controllers, real MLflow, Kafka and Postgres; the operator is a process of its own."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.control_plane import KubeApi
from operated_sector import POLICY, OperatedSector, Place, place_of
from operator_process import OperatorProcess, condition, running_operator
from operator_world import Servers, call
from service_process import wait_until

pytestmark = pytest.mark.timeout(1800)  # five operators one after the other, each of which waits for the lease of the one before


@pytest.fixture(scope="module")
def servers(kafka_servers: str, postgres_url: str, mlflow_uri: str) -> Servers:
    """Those that the operator needs beside the API server."""
    return Servers(kafka=kafka_servers, postgres=postgres_url, mlflow=mlflow_uri)


@pytest.fixture(scope="module")
def operated(kube_api: KubeApi, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, OperatorProcess]]:
    """A namespace with a running operator, for all tests that do not kill it."""
    folder = tmp_path_factory.mktemp("operator")
    with place_of(kube_api, servers, folder) as place, running_operator(kube_api, place.environ, folder) as process:
        yield place, process


@contextmanager
def telling_operator(place: Place, folder: Path, name: str = "operator", **environ: str) -> Iterator[OperatorProcess]:
    """An operator of a test's own; pytest shows the end of its log when the test has failed."""
    with running_operator(place.api, place.environ | environ, folder, name=name) as process:
        try:
            yield process
        finally:
            print(process.tail())


@pytest.fixture
def world(operated: tuple[Place, OperatorProcess]) -> Iterator[OperatedSector]:
    """A sector of the test's own under the running operator."""
    place, operator = operated
    yield place.sector()
    print(operator.tail())  # pytest shows it when the test has failed
    place.pods.held.clear()


@pytest.fixture
def place(kube_api: KubeApi, servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """A namespace of the test's own, without an operator."""
    with place_of(kube_api, servers, tmp_path) as made:
        yield made


def test_a_first_version_is_adopted_with_all_its_objects(world: OperatedSector) -> None:
    """Deployment, Services, settings, budget; the pods' settings name sector and version; owned by the SectorModel."""
    first = world.adopt()
    name = f"forecaster-{world.sector}-v{first.version}"
    owner = world.get("sectormodel", world.sector)["metadata"]["uid"]
    for kind, of in (("deployment", name), ("service", name), ("configmap", name), ("poddisruptionbudget", name)):
        found = world.get(kind, of)
        assert [reference["uid"] for reference in found["metadata"]["ownerReferences"]] == [owner], kind
    assert world.get("configmap", name)["data"]["TANDEM_MODEL_VERSION"] == first.version
    assert world.get("service", f"forecaster-{world.sector}")["spec"]["selector"]["tandem.trading/model-version"] == first.version
    (pointer,) = world.pointers()
    assert (pointer.version, pointer.digest, pointer.epoch) == (first.version, first.digest, 1)
    status = world.get("sectormodel", world.sector)["status"]
    assert (status["stableVersion"], status["stableDigest"], status["epoch"]) == (first.version, first.digest, 1)
    row = world.kubectl("get", "smod", world.sector).splitlines()[1].split()
    assert row[:3] == [world.sector, world.sector, first.version]


def test_a_better_version_is_promoted_and_taken_back_by_a_word(world: OperatedSector) -> None:
    """The whole way on real servers, then `kubectl annotate mro ... tandem.trading/request=rollback`."""
    first = world.adopt()
    second = world.register("candidate")
    world.step(second.version, "Shadow")
    world.compare(first, second, bars=40)
    world.step(second.version, "Canary")
    bars = world.feed(first, second, 40, until=lambda: world.rollout(second.version).get("step") == "Watch")
    world.feed(first, second, bars, until=lambda: world.rollout(second.version).get("step") == "Done")
    status = world.ended(second.version, "Succeeded")
    assert [(p.version, p.epoch, p.canary is not None) for p in world.pointers()] == [
        (first.version, 1, False),
        (first.version, 2, True),
        (second.version, 3, False),
    ]
    canary = world.pointers()[1].canary
    assert canary is not None
    assert len(canary.pairs) == 1
    assert status["verdict"] == "Pass"
    champion = world.registry.champion(world.model)
    assert champion == second
    service = f"forecaster-{world.sector}"
    wait_until(
        lambda: world.get("service", service)["spec"]["selector"]["tandem.trading/model-version"] == second.version, "the sector's Service"
    )
    assert world.versions_running() == {first.version, second.version}
    name = f"{world.sector}-v{second.version}"
    news = {"NewVersionDetected", "ShadowStarted", "CanaryAdvanced", "Promoted", "RolloutSucceeded"}
    wait_until(lambda: news <= set(world.told(name)), "the Events")
    row = world.kubectl("get", "mro", name).splitlines()[1].split()
    assert row[1:5] == [world.sector, first.version, second.version, "Done"]

    world.kubectl("annotate", "mro", name, "tandem.trading/request=rollback: loses money")
    world.ended(second.version, "RolledBack")
    assert (world.pointers()[-1].version, world.pointers()[-1].epoch) == (first.version, 4)
    assert world.registry.champion(world.model) == first
    wait_until(lambda: world.versions_running() == {first.version}, "the bad version's forecaster to go")
    wait_until(lambda: "tandem.trading/request" not in world.get("mro", name)["metadata"].get("annotations", {}), "the request to be gone")
    found = world.says(ModelResolved=("False", "AliasQuarantined"), Ready=("True", "Serving"))
    assert "loses money" in next(c["message"] for c in found["status"]["conditions"] if c["type"] == "ModelResolved")


def test_a_worse_version_is_refused_and_the_stable_one_never_touched(world: OperatedSector) -> None:
    """GateFailed as an Event, quarantined in the registry, its forecaster gone."""
    first = world.adopt()
    deployment = f"forecaster-{world.sector}-v{first.version}"
    before = world.get("deployment", deployment)["metadata"]["generation"]
    second = world.register("candidate")
    world.step(second.version, "Shadow")
    world.compare(first, second, bars=60, worse=2.0)
    status = world.ended(second.version, "Refused")
    assert status["reason"] == "GateFailed"
    assert (status["verdict"], status["qlikeDelta"] > 1) == ("Fail", True)
    held = {version.version: version for version in world.registry.versions(world.model)}
    assert "qlike" in held[second.version].quarantined
    wait_until(lambda: {"GateFailed", "Quarantined"} <= set(world.told()), "the Events")
    wait_until(lambda: world.versions_running() == {first.version}, "the candidate's forecaster to go")
    assert [pointer.version for pointer in world.pointers()] == [first.version]
    assert world.get("deployment", deployment)["metadata"]["generation"] == before


def test_an_operator_killed_at_every_step_repeats_nothing(place: Place, tmp_path: Path) -> None:
    """kill -9 in each step of a rollout: each new process goes on; the pointers are those of an operator that lived."""
    world = place.sector()
    world.declare()
    first = world.register("champion")
    with telling_operator(place, tmp_path) as process:
        world.says(Ready=("True", "Serving"))
        process.kill()
    second = world.register("candidate")
    with telling_operator(place, tmp_path, "operator-shadow") as process:
        # No bar yet: fed while the operator still waits for the dead one's lease, they would carry the rollout past this step at once.
        world.step(second.version, "Shadow")
        process.kill()
    world.compare(first, second, bars=40)
    with telling_operator(place, tmp_path, "operator-canary") as process:
        world.step(second.version, "Canary")
        process.kill()
    with telling_operator(place, tmp_path, "operator-watch") as process:
        # Bars go on meanwhile: those that close before the pointer has moved do not count for a canary.
        bars = world.feed(first, second, 40, until=lambda: world.rollout(second.version).get("step") == "Watch")
        process.kill()
    with telling_operator(place, tmp_path, "operator-last"):
        world.feed(first, second, bars, until=lambda: world.rollout(second.version).get("step") == "Done")
    assert world.rollout(second.version)["outcome"] == "Succeeded"
    assert [(p.version, p.epoch, p.canary is not None) for p in world.pointers()] == [
        (first.version, 1, False),
        (first.version, 2, True),
        (second.version, 3, False),
    ]
    rollouts = world.api.get("mro", "--namespace", world.namespace)["items"]
    assert len(rollouts) == 2


def test_drift_is_repaired(world: OperatedSector) -> None:
    """Somebody scales, edits and deletes: what is wanted comes back, by itself."""
    first = world.adopt()
    deployment = f"forecaster-{world.sector}-v{first.version}"
    world.kubectl("scale", "deployment", deployment, "--replicas=0")
    wait_until(lambda: world.get("deployment", deployment)["spec"]["replicas"] == 1, "the replica to come back")
    world.kubectl("set", "image", f"deployment/{deployment}", "forecaster=evil:1")
    image = "registry.example/tandem-forecaster:1"
    wait_until(
        lambda: world.get("deployment", deployment)["spec"]["template"]["spec"]["containers"][0]["image"] == image, "the image to come back"
    )
    world.kubectl("delete", "deployment", deployment)
    wait_until(lambda: world.get("deployment", deployment), "the Deployment to come back")
    world.says(Ready=("True", "Serving"))


def test_the_scale_subresource_sets_the_replicas_of_the_stable_version(world: OperatedSector) -> None:
    """As `kubectl scale` and autoscalers do it; the autoscaler's object names the SectorModel, and the controller finds it."""
    first = world.adopt()
    deployment = f"forecaster-{world.sector}-v{first.version}"
    world.kubectl("scale", "smod", world.sector, "--replicas=2")
    wait_until(lambda: world.get("deployment", deployment)["spec"]["replicas"] == 2, "two replicas")
    wait_until(lambda: world.get("sectormodel", world.sector)["status"].get("readyReplicas") == 2, "two ready ones")
    world.kubectl("patch", "smod", world.sector, "--type=merge", "-p", json.dumps({"spec": {"autoscaling": {"enabled": True}}}))
    scaler = f"forecaster-{world.sector}"

    def found_target() -> bool:
        conditions = (world.get("hpa", scaler).get("status") or {}).get("conditions") or []
        return any(found["type"] == "AbleToScale" and found["status"] == "True" for found in conditions)

    wait_until(found_target, "the autoscaler to find the SectorModel")
    world.kubectl("patch", "smod", world.sector, "--type=merge", "-p", json.dumps({"spec": {"autoscaling": {"enabled": False}}}))
    wait_until(lambda: not world.get("hpa", scaler), "the autoscaler to go")


def test_mlflow_away_is_told_and_the_stable_version_goes_on(world: OperatedSector) -> None:
    """A condition, an Event, and recovery: the version that was registered meanwhile is found."""
    world.adopt()
    world.gate.close()
    world.says(RegistryReachable=("False", "RegistryUnreachable"), Ready=("True", "Serving"))
    wait_until(lambda: "RegistryUnreachable" in world.told(), "the Event")
    second = world.register("candidate")
    world.gate.open()
    world.says(RegistryReachable=("True", "Reachable"))
    world.step(second.version, "Warm", "Shadow")


def test_a_version_that_nobody_can_use_is_named(world: OperatedSector) -> None:
    """Without our digest; then one whose content changes while it is compared. The stable version goes on through both."""
    first = world.adopt()
    foreign = call(world.servers.mlflow, "model-versions/create", {"name": world.model, "source": "s3://nowhere/none"})["model_version"][
        "version"
    ]
    world.registry.set_alias(world.model, "candidate", str(foreign))
    world.says(ModelResolved=("False", "VersionUnusable"), Ready=("True", "Serving"))
    wait_until(lambda: "VersionUnusable" in world.told(), "the Event")
    second = world.register("candidate")
    world.step(second.version, "Shadow")
    world.registry.set_tag(world.model, second.version, "tandem.digest", "e" * 64)
    status = world.ended(second.version, "Refused")
    assert status["reason"] == "VersionUnusable"
    assert [pointer.version for pointer in world.pointers()] == [first.version]


def test_a_version_without_a_bundle_fails_the_replay(world: OperatedSector) -> None:
    """The gate's own process looks for the bundle and finds none: refused before any forecaster starts."""
    first = world.adopt()
    world.declare(rollout=POLICY | {"replayRequired": True})
    run = call(world.servers.mlflow, "runs/create", {"experiment_id": "0"})["run"]["info"]
    second = world.register("candidate", source=f"{run['artifact_uri']}/model", run_id=run["run_id"])
    status = world.ended(second.version, "Refused")
    assert status["reason"] == "ReplayFailed"
    assert condition(world.get("mro", f"{world.sector}-v{second.version}"), "ReplayPassed") == ("False", "ReplayFailed")
    assert world.versions_running() == {first.version}


def test_a_candidate_that_crashes_says_why(world: OperatedSector) -> None:
    """Its container's last words stand in the SectorModel's condition; after the deadline a rollout ends, the stable version goes on."""
    world.adopt()
    world.pods.held |= dict.fromkeys(("2", "3"), "tandem forecaster: bundle_digest: not what was registered")
    second = world.register("candidate")
    assert second.version == "2"

    def progress() -> str:
        conditions = (world.get("sectormodel", world.sector).get("status") or {}).get("conditions") or []
        return next((found["message"] for found in conditions if found["type"] == "Progressing"), "")

    wait_until(lambda: "bundle_digest: not what was registered" in progress(), "the pod's last words")
    world.declare(rollout=POLICY | {"warmDeadlineSeconds": 5})  # of the next rollout: this one has time, so that its words can be read
    wait_until(lambda: _is_seen(world.get("sectormodel", world.sector)), "the deadline to be seen")
    third = world.register("candidate")
    assert world.ended(third.version, "Aborted")["reason"] == "WarmTimedOut"
    assert world.ended(second.version, "Aborted")["reason"] == "Aborted", "it has given way"
    world.says(Ready=("True", "Serving"))


def _is_seen(read: dict[str, Any]) -> bool:
    """The operator has looked at what was declared last."""
    return bool(read["status"]["observedGeneration"] == read["metadata"]["generation"])


def test_a_signed_webhook_shortens_the_wait(place: Place, tmp_path: Path) -> None:
    """A delivery as MLflow signs it wakes the sector; one that is not signed is refused."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    world = place.sector()
    with telling_operator(place, tmp_path, TANDEM_WEBHOOK_SECRET="only for this test") as operator:
        world.adopt()
        body = json.dumps({"entity": "model_version", "action": "created", "data": {"name": world.model, "version": "2"}})
        stamp = str(int(time.time()))
        headers = {"x-mlflow-delivery-id": "1", "x-mlflow-timestamp": stamp}
        url = f"{operator.url}/webhooks/mlflow"
        assert httpx.post(url, content=body, headers=headers | {"x-mlflow-signature": "v1,forged"}, timeout=30).status_code == 401
        looks = operator.metric("tandem_operator_reconciles_total", kind="SectorModel", result="ok")
        signature = _generate_hmac_signature("only for this test", "1", stamp, body)
        assert httpx.post(url, content=body, headers=headers | {"x-mlflow-signature": signature}, timeout=30).status_code == 204
        wait_until(lambda: operator.metric("tandem_operator_reconciles_total", kind="SectorModel", result="ok") > looks, "a look")
