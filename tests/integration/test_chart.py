"""The chart on a real API server: dry runs, installs, upgrades with live objects, removal. Nobody runs the pods here; see tests/cluster.

It has a control plane of its own: Helm owns the definitions, which other tests install without Helm.
"""

import json
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import helm_python
import httpx
import kubernetes.client
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config

from chart_desk import FOREIGN, PRIORITY_CLASS, TIMEOUT_S, Desk, open_definition
from chart_renders import CHART, RELEASE, SCENARIOS, of_scenario
from cluster import binaries, control_plane
from free_ports import free_port
from manifest_table import account, pair, sector_model
from tandem.adapters.kubernetes_cluster import PLACES
from tandem.local.processes import Children

PREVIOUS = Path(__file__).parents[1] / "chart" / "previous"
PLURALS = ("tradingpairs", "sectormodels", "tradingaccounts", "modelrollouts")


@pytest.fixture(scope="module")
def api(home: Path) -> Iterator[control_plane.KubeApi]:
    """A control plane whose only definitions are those of foreign kinds."""
    folder = home / "chart"
    children = Children(folder)
    place = control_plane.Place(folder=folder / "kubernetes", port=free_port(), etcd_port=free_port(), etcd_peer_port=free_port())
    try:
        started = control_plane.start(place, binaries.locate(binaries.CONTROL_PLANE), children)
        started.apply(*(open_definition(*kind) for kind in FOREIGN), PRIORITY_CLASS)
        yield started
    finally:
        children.stop_all()


@pytest.fixture
def desk(api: control_plane.KubeApi) -> Iterator[Desk]:
    """A new namespace, which goes afterwards. Definitions that an earlier release has kept are made its release's own."""
    namespace = f"chart-{uuid4().hex[:8]}"
    api.create_namespace(namespace)
    for plural in PLURALS:
        api.kubectl("annotate", "--overwrite", f"crd/{plural}.tandem.trading", f"meta.helm.sh/release-namespace={namespace}")
    with helm_python.Config(kubeconfig_path=api.kubeconfig, namespace=namespace) as helm:
        yield Desk(api, helm, namespace)
    api.kubectl("delete", "namespace", namespace, "--wait=false")


def eventually(check: Callable[[], bool], what: str, limit_s: float = 180.0) -> None:
    """Return when it is so. Raises AssertionError after the limit."""
    deadline_s = monotonic() + limit_s
    while not check():
        assert monotonic() < deadline_s, f"not within {limit_s:.0f} s: {what}"
        sleep(0.2)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_server_takes_every_object(desk: Desk, name: str) -> None:
    """By a dry run on the server, with unknown fields refused."""
    documents = [rendered.document for rendered in of_scenario(name)]
    accounts = [document for document in documents if document["kind"] == "ServiceAccount"]
    desk.api.apply(*accounts, namespace=desk.namespace)  # a pod must have one
    text = "---\n".join(f"{json.dumps(document)}\n" for document in documents)
    done = desk.api.kubectl("apply", "--dry-run=server", "--validate=strict", "--namespace", desk.namespace, "-f", "-", text=text)
    assert done.returncode == 0, done.stderr
    assert "unknown field" not in done.stderr
    assert done.stdout.count("(server dry run)") == len(documents)


def test_install_upgrade_remove_install(desk: Desk) -> None:
    """Passwords are random once and then stay: over upgrades, and over a removal that leaves the database's volume."""
    desk.install()
    before = desk.secrets()
    password = before["postgres"]["password"]
    assert len(password) == 32
    assert before["postgres"]["url"] == f"postgresql://tandem:{password}@tandem-postgres.{desk.namespace}.svc:5432/tandem"
    assert before["redis"]["url"].startswith(f"redis://:{before['redis']['password']}@")
    eventually(lambda: bool(desk.names("pods")), "the controllers make pods")

    desk.upgrade({"logLevel": "DEBUG"})
    assert desk.secrets() == before
    desk.upgrade({"logLevel": "DEBUG"})
    assert desk.secrets() == before

    desk.uninstall()
    assert desk.names("secrets") == {"tandem-postgres"}
    assert all(desk.kubectl("get", plural).returncode == 0 for plural in PLURALS), "the definitions are kept"
    assert not desk.names("deployments,statefulsets,services,roles,networkpolicies,cronjobs,jobs,serviceaccounts") - {"default"}
    assert not desk.names("configmaps") - {"kube-root-ca.crt"}

    desk.install()
    assert desk.secrets()["postgres"] == before["postgres"]
    assert desk.secrets()["api"] != before["api"]


def test_a_volume_that_goes_takes_its_secret_along(desk: Desk) -> None:
    """Nothing is left where volumes are deleted with the release."""
    desk.install({"postgres": {"persistence": {"whenDeleted": "Delete"}}})
    desk.uninstall()
    assert desk.names("secrets") == set()


def test_an_unchanged_upgrade_starts_nothing_anew(desk: Desk) -> None:
    """The pods' templates stay as they were; a changed value moves those that it concerns."""

    def generations() -> dict[str, int]:
        there = desk.get("deployments,statefulsets")["items"]
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in there}

    desk.install()
    before = generations()
    desk.upgrade()
    assert generations() == before
    desk.upgrade({"recorder": {"annotations": {"example.com/why": "test"}}})
    assert {name for name, number in generations().items() if number != before[name]} == {"tandem-recorder"}


@pytest.mark.parametrize("archive", sorted(PREVIOUS.glob("tandem-*.tgz")), ids=lambda path: path.stem)
def test_upgrade_from_an_earlier_chart(desk: Desk, archive: Path) -> None:
    """Live objects keep their spec, status and finalizers, passwords and volumes stay, definitions become the new ones."""
    desk.install(chart=archive)
    objects = (pair(), sector_model(), account())
    desk.api.apply(*objects, namespace=desk.namespace)
    desk.patch("tradingpair", "ko-pep", {"metadata": {"finalizers": ["tandem.trading/withdraw"]}})
    desk.patch("tradingpair", "ko-pep", {"status": {"observedGeneration": 1, "pair": "KO-PEP"}}, "--subresource=status")
    before, claims = desk.secrets(), claim_templates(desk)
    live = [desk.get(document["kind"], document["metadata"]["name"]) for document in objects]

    desk.upgrade()

    assert desk.secrets() == before
    assert claim_templates(desk) == claims
    for then in live:
        now = desk.get(then["kind"], then["metadata"]["name"])
        assert now["metadata"]["uid"] == then["metadata"]["uid"]
        assert now["spec"].items() >= then["spec"].items()
        assert now.get("status") == then.get("status")
        assert now["metadata"].get("finalizers") == then["metadata"].get("finalizers")
    for rendered in of_scenario("default"):
        if rendered.kind == "CustomResourceDefinition":
            stored = desk.get("customresourcedefinition", rendered.name)
            assert stored["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
            assert [version["schema"] for version in stored["spec"]["versions"]] == [
                version["schema"] for version in rendered.document["spec"]["versions"]
            ]
    desk.patch("tradingpair", "ko-pep", {"metadata": {"finalizers": None}})


def claim_templates(desk: Desk) -> dict[str, Any]:
    """What the volumes are asked for by."""
    return {item["metadata"]["name"]: item["spec"].get("volumeClaimTemplates") for item in desk.get("statefulsets")["items"]}


def test_rollback_to_the_revision_before(desk: Desk) -> None:
    """Helm's own rollback works: nothing in the chart is immutable from one revision to the next."""
    values = {"trainer": {"bootstrap": {"enabled": True}}}
    desk.install(values)
    jobs = desk.names("jobs")
    desk.upgrade({**values, "image": {"tag": "other"}})
    assert len(jobs) == len(desk.names("jobs")) == len(jobs ^ desk.names("jobs")) / 2
    desk.helm.rollback(RELEASE, version=1, timeout=TIMEOUT_S)
    (container,) = desk.get("deployment", "tandem-recorder")["spec"]["template"]["spec"]["containers"]
    assert not container["image"].endswith(":other")
    assert desk.names("jobs") == jobs


def test_a_portfolio_that_stands_by_comes_and_goes(desk: Desk) -> None:
    """The server takes the change of the strategy in both directions; one pod is replaced as before, two one by one."""

    def strategy() -> tuple[int, str, dict[str, Any]]:
        spec = desk.get("deployment", "tandem-portfolio-paper")["spec"]
        return spec["replicas"], spec["strategy"]["type"], spec["strategy"].get("rollingUpdate", {})

    desk.install()
    alone = (1, "Recreate", {})
    assert strategy() == alone
    desk.upgrade({"portfolio": {"replicas": 2}})
    assert strategy() == (2, "RollingUpdate", {"maxSurge": 0, "maxUnavailable": 1})
    desk.upgrade({"portfolio": {"replicas": 1}})
    assert strategy() == alone


def may(desk: Desk, account_name: str, verb: str, kind: str, *, name: str = "", subresource: str = "", namespace: str = "") -> bool:
    """Whether a service account of the namespace has a right on a kind."""
    path, plural = PLACES[kind]
    attributes = {
        "group": path.split("/")[1] if path.startswith("apis/") else "",
        "resource": plural,
        "subresource": subresource,
        "name": name,
        "verb": verb,
        "namespace": namespace or desk.namespace,
    }
    user = f"system:serviceaccount:{desk.namespace}:{account_name}"
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    with desk.api.client() as client:
        answer = kubernetes.client.AuthorizationV1Api(client).create_subject_access_review(review)
    return bool(answer.status.allowed)


def test_the_operators_rights(desk: Desk) -> None:
    """What its adapter does, it may; in its own namespace only, and no Secret but those that accounts name."""
    desk.install({"operator": {"accountSecrets": ["alpaca"]}})
    who = "tandem-operator"
    # A role counts a moment after it was made: the server hears of it as any client does.
    for kind, (path, _) in PLACES.items():
        if kind == "Secret":
            continue
        verbs = {"Pod": ("get", "list", "watch"), "Event": ("create", "patch")}.get(kind, ("get", "list", "create", "patch"))
        eventually(lambda k=kind, v=verbs: all(may(desk, who, verb, k) for verb in v), f"the operator may {verbs} {kind}")
        assert not may(desk, who, "create", kind, namespace="default"), kind
        if "tandem.trading" in path:
            eventually(lambda k=kind: may(desk, who, "patch", k, subresource="status"), f"the operator may write the status of {kind}")
            eventually(lambda k=kind: may(desk, who, "update", k, subresource="finalizers"), f"the operator may set finalizers of {kind}")
        if kind not in {"Pod", "Event", "Lease"}:
            eventually(lambda k=kind: may(desk, who, "delete", k), f"the operator may delete {kind}")
    eventually(lambda: may(desk, who, "get", "Secret", name="alpaca"), "the operator may read an account's Secret")
    assert not may(desk, who, "get", "Secret", name="tandem-postgres")
    assert not may(desk, who, "list", "Secret")
    assert not may(desk, who, "create", "Pod")


def operator_as_installed(desk: Desk, folder: Path, port: int, health_port: int) -> tuple[list[str], dict[str, str]]:
    """Command and variables of the operator's container, with its own account's token, on this machine; its servers are away."""
    (container,) = desk.get("deployment", "tandem-operator")["spec"]["template"]["spec"]["containers"]
    template = folder / "forecaster.yaml"
    template.write_text(desk.get("configmap", "tandem-forecaster")["data"]["forecaster.yaml"])
    token = desk.kubectl("create", "token", "tandem-operator").stdout.strip()
    kubeconfig = yaml.safe_load(desk.api.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    environ = {item["name"]: item.get("value", "") for item in container["env"]} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(folder / "kubeconfig"),
        "POD_NAME": "tandem-operator-0",
        "TANDEM_HOST": "127.0.0.1",
        "TANDEM_PORT": str(port),
        "TANDEM_FORECASTER_TEMPLATE": str(template),
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "TANDEM_POSTGRES_URL": "postgresql://nobody:x@127.0.0.1:1/tandem",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    }
    here = {
        "$(TANDEM_NAMESPACE)": environ["TANDEM_NAMESPACE"],
        "0.0.0.0:8081": f"127.0.0.1:{health_port}",
        "/app/operators": str(CHART.parents[1] / "operators"),
    }
    command = [*container["command"], *container["args"]]
    for old, new in here.items():
        command = [part.replace(old, new) for part in command]
    return command, environ


def test_the_operator_starts_with_its_own_rights(desk: Desk, tmp_path: Path) -> None:
    """As the chart starts it and as who the chart lets it be: it becomes ready, leads, and tells of a pair that its servers are away."""
    desk.install()
    port, health_port = free_port(), free_port()
    command, environ = operator_as_installed(desk, tmp_path, port, health_port)
    log = tmp_path / "operator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out, cwd=tmp_path)
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the operator is ready")
        eventually(lambda: answers(f"http://127.0.0.1:{health_port}/healthz"), "kopf says that it lives")
        lease = desk.get("lease", "tandem-operator")["spec"]
        assert lease["holderIdentity"].startswith("tandem-operator-0")
        desk.api.apply(pair(), sector_model(), account(), namespace=desk.namespace)
        for kind, name in (("tradingpair", "ko-pep"), ("sectormodel", "energy"), ("tradingaccount", "paper")):
            eventually(lambda k=kind, n=name: bool(desk.get(k, n).get("status", {}).get("conditions")), f"{kind} has conditions")
        desk.patch("tradingpair", "ko-pep", {"metadata": {"annotations": {"tandem.trading/force-delete": "true"}}})
        assert desk.kubectl("delete", "tradingpair", "ko-pep", "--timeout=110s").returncode == 0
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    refused = [line for line in log.read_text().splitlines() if "forbidden" in line.lower() and "customresourcedefinitions" not in line]
    assert refused == []


def answers(url: str) -> bool:
    """Whether it says 200."""
    try:
        return httpx.get(url, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_services_have_no_rights(desk: Desk) -> None:
    """The account of every other pod may do nothing."""
    desk.install()
    assert [kind for kind in PLACES if may(desk, "tandem-services", "get", kind)] == []


def test_the_release_tests_its_objects(desk: Desk) -> None:
    """The script of `helm test`: a good pair would be taken, a bad one is refused, and it notices that nobody holds the Lease."""
    desk.install()
    check: dict[str, Any] = runpy.run_path(str(CHART / "files/scripts/check_objects.py"))
    load_kube_config(config_file=str(desk.api.kubeconfig))
    try:
        assert check["accepted"](desk.namespace)
        assert "refused" in check["refused"](desk.namespace)
        with pytest.raises(ApiException, match="404"):
            check["led"](desk.namespace)
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tandem-operator"}}
        for age, holds in ((3600, False), (0, True)):
            renewed = (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="microseconds").replace("+00:00", "Z")
            desk.api.apply({**lease, "spec": {"holderIdentity": "operator-1", "renewTime": renewed}}, namespace=desk.namespace)
            if holds:
                assert check["led"](desk.namespace) == "operator-1 holds the Lease"
            else:
                with pytest.raises(RuntimeError, match="at most"):
                    check["led"](desk.namespace)
    finally:
        kubernetes.client.Configuration.set_default(None)
    assert desk.names("tradingpairs") == set(), "nothing was stored"


def test_removal_with_the_definitions(desk: Desk) -> None:
    """With crds.keep false the objects are removed first, while the operator is still there, and then everything else."""
    desk.install({"crds": {"keep": False}})
    desk.api.apply(pair(), namespace=desk.namespace)
    order: list[str] = []

    def kubelet() -> None:
        """What a node would do with the hook's pod: run it to its good end, the objects being gone then."""
        deadline_s = monotonic() + TIMEOUT_S
        while monotonic() < deadline_s:
            pods = [name for name in desk.names("pods") if name.startswith("tandem-uninstall-")]
            if pods:
                order.append("operator there" if "tandem-operator" in desk.names("deployments") else "operator gone")
                desk.kubectl("delete", "tradingpair", "ko-pep")
                desk.patch("pod", pods[0], {"status": {"phase": "Succeeded"}}, "--subresource=status")
                return
            sleep(0.2)

    node = threading.Thread(target=kubelet, name="kubelet")
    node.start()
    desk.uninstall()
    node.join(timeout=TIMEOUT_S)
    assert order == ["operator there"]
    eventually(lambda: desk.kubectl("get", "tradingpairs").returncode != 0, "the definitions are gone")
    assert desk.names("deployments") == set()
