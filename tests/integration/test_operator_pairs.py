"""TradingPairs on a real API server, with real Kafka, Postgres and MLflow: declared, repaired, refused, withdrawn."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cluster.control_plane import KubeApi
from metrics_page import missing, unbounded
from operator_process import (
    OperatorProcess,
    condition,
    events,
    install_definitions,
    pair_manifest,
    running_operator,
    wait_condition,
)
from operator_world import Book, Control, Servers, register_version
from service_process import wait_until
from tandem.domain.control import PairSpec, TradingState
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import TradingMode

SECTOR, LIVE = "operated", "operated-live"  # one without a model, one with
TOLD = ("Unknown", "NoModel")  # what Ready says of a pair that was told to the services, while its sector has no model
ANNOTATE_FORCE = "tandem.trading/force-delete=true"


@dataclass
class World:
    """The servers, and how the operator is told of them."""

    api: KubeApi
    namespace: str
    environ: dict[str, str]
    control: Control
    servers: Servers

    def apply(self, *documents: dict[str, Any]) -> None:
        """As `kubectl apply`."""
        self.api.apply(*documents, namespace=self.namespace)

    def pair(self, name: str, **wanted: tuple[str, str]) -> dict[str, Any]:
        """Wait until the TradingPair says this."""
        return wait_condition(self.api, self.namespace, "tradingpair", name, wanted)

    def delete(self, name: str) -> None:
        """As `kubectl delete`, without waiting."""
        done = self.api.kubectl("delete", "tradingpair", name, "--namespace", self.namespace, "--wait=false")
        assert done.returncode == 0, done.stderr

    def is_gone(self, name: str) -> bool:
        """Whether the object is gone."""
        return "NotFound" in self.api.kubectl("get", "tradingpair", name, "--namespace", self.namespace).stderr

    def record(self, pair: str) -> PairSpec | None:
        """What the services are told of the pair."""
        return self.control.table().pairs.get(pair)

    def events(self, name: str) -> dict[str, str]:
        """The Events about an object."""
        return events(self.api, self.namespace, name)


@pytest.fixture(scope="module")
def servers(kafka_servers: str, postgres_url: str, mlflow_uri: str) -> Servers:
    """Those that the operator needs beside the API server."""
    return Servers(kafka=kafka_servers, postgres=postgres_url, mlflow=mlflow_uri)


@pytest.fixture(scope="module")
def world(kube_api: KubeApi, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The servers without an operator, and one namespace. Each test has pairs of its own."""
    install_definitions(kube_api)
    namespace = f"pairs-{uuid4().hex[:12]}"
    kube_api.create_namespace(namespace)
    control = Control(servers.kafka)
    yield World(kube_api, namespace, servers.environ(tmp_path_factory.mktemp("settings"), namespace), control, servers)
    control.close()
    kube_api.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def operator(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """A running operator."""
    with running_operator(world.api, world.environ, tmp_path_factory.mktemp("operator")) as process:
        yield process


def pair(name: str, a: str, b: str, **spec: Any) -> dict[str, Any]:
    """A TradingPair of the tests' sector."""
    return pair_manifest(name, a, b, **{"sector": SECTOR, **spec})


def test_a_pair_is_declared_and_says_whether_the_live_version_holds_it(world: World, operator: OperatorProcess) -> None:
    """No model: the pair waits. A model that holds it: Ready. One that does not: PairNotInModel, and still declared."""
    world.apply(pair("ko-pep", "KO", "PEP", signal={"entryZ": 1.5}, risk={"notionalUsd": "2500.50"}, sector=LIVE))
    found = world.pair("ko-pep", Accepted=("True", "Accepted"), InModel=("Unknown", "NoModel"), Ready=("Unknown", "NoModel"))
    assert found["metadata"]["finalizers"] == ["tandem.trading/withdraw"]
    assert "annotations" not in found["metadata"] or set(found["metadata"]["annotations"]) == {
        "kubectl.kubernetes.io/last-applied-configuration"
    }
    assert found["status"]["pair"] == "KO-PEP"
    record = world.record("KO-PEP")
    assert record is not None
    assert (record.entry_z, str(record.notional_usd), record.sector) == (1.5, "2500.50", LIVE)
    world.control.route(LIVE, register_version(world.servers.mlflow, LIVE, ["KO-PEP"]), epoch=1)
    ready = world.pair("ko-pep", InModel=("True", "InModel"), Ready=("True", "Declared"))
    world.control.route(LIVE, register_version(world.servers.mlflow, LIVE, ["GS-MS"]), epoch=2)
    lost = world.pair("ko-pep", InModel=("False", "PairNotInModel"), Ready=("False", "PairNotInModel"))
    assert ready["status"]["declaredAt"] == lost["status"]["declaredAt"] == found["status"]["declaredAt"]
    assert world.record("KO-PEP") == record
    wait_until(lambda: "PairNotInModel" in world.events("ko-pep"), "the Event")


def test_a_changed_spec_is_told_and_a_changed_record_is_put_back(world: World, operator: OperatorProcess) -> None:
    """The object is what counts: it is followed, and what others write over its record or remove is repaired, with an Event."""
    world.apply(pair("cvx-xom", "CVX", "XOM"))
    world.pair("cvx-xom", Ready=TOLD)
    world.apply(pair("cvx-xom", "CVX", "XOM", suspend=True))
    wait_until(lambda: (record := world.record("CVX-XOM")) is not None and record.suspended, "the new spec")
    assert "DriftRepaired" not in world.events("cvx-xom")
    declared = world.record("CVX-XOM")
    assert declared is not None
    world.control.write(replace(declared, suspended=False, entry_z=3.0))
    wait_until(lambda: world.record("CVX-XOM") == declared, "the record to come back")
    wait_until(lambda: "DriftRepaired" in world.events("cvx-xom"), "the Event")
    world.control.remove("pair/CVX-XOM")
    wait_until(lambda: world.record("CVX-XOM") == declared, "the removed record to come back")


def test_the_older_object_declares_a_pair_and_the_other_says_conflict(world: World, operator: OperatorProcess) -> None:
    """Either way round; when the older one goes, the other takes over."""
    world.apply(pair("first", "BAC", "JPM"))
    world.pair("first", Ready=TOLD)
    wait_until(lambda: _later(world, "first"), "another second")
    world.apply(pair("second", "JPM", "BAC"))
    found = world.pair("second", Accepted=("False", "Conflict"), Ready=("False", "Conflict"))
    assert "first" in next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Accepted")
    assert world.record("JPM-BAC") is None
    wait_until(lambda: "Conflict" in world.events("second"), "the Event")
    world.delete("first")
    wait_until(lambda: world.is_gone("first"), "the older object to go")
    world.pair("second", Ready=TOLD)
    wait_until(lambda: world.record("JPM-BAC") is not None, "the other to be declared")
    assert world.record("BAC-JPM") is None


def _later(world: World, name: str) -> bool:
    """The API server's clock shows another second than when the object was made: only then is one object the older one."""
    made = world.api.get("tradingpair", name, "--namespace", world.namespace)["metadata"]["creationTimestamp"]
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "clock-"}}
    done = world.api.kubectl("create", "--namespace", world.namespace, "-o", "json", "-f", "-", text=json.dumps(probe))
    return bool(json.loads(done.stdout)["metadata"]["creationTimestamp"] > made)


def test_a_mirror_image_that_nobody_declares_is_a_conflict(world: World, operator: OperatorProcess) -> None:
    """A record of another hand's with the legs the other way round would hold the same bet twice."""
    world.control.write(PairSpec(pair=PairId("MSFT-AAPL"), sector=SectorId(SECTOR), leg_a=Symbol("MSFT"), leg_b=Symbol("AAPL")))
    world.apply(pair("aapl-msft", "AAPL", "MSFT"))
    found = world.pair("aapl-msft", Accepted=("False", "Conflict"))
    assert "tandem delete pair MSFT-AAPL" in found["status"]["conditions"][0]["message"]
    world.control.remove("pair/MSFT-AAPL")
    world.pair("aapl-msft", Ready=TOLD)


@pytest.mark.parametrize("policy", ["Flatten", "Stop"])
def test_a_deletion_waits_until_the_pair_is_flat(world: World, operator: OperatorProcess, policy: str) -> None:
    """Flatten suspends the pair, Stop lets it close on its own signals; then record, mode and object go."""
    book = Book(world.servers.postgres)
    book.set("HD-WMT", "hedged")
    world.apply(pair("hd-wmt", "HD", "WMT", deletionPolicy=policy))
    world.pair("hd-wmt", Ready=TOLD)
    world.delete("hd-wmt")
    found = world.pair("hd-wmt", Ready=("False", "Withdrawing"))
    assert "open in broker-1" in next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Ready")
    record = world.record("HD-WMT")
    assert record is not None
    assert record.suspended is (policy == "Flatten")
    assert ("pair/HD-WMT" in world.control.table().trading) is (policy == "Stop")
    book.set("HD-WMT", "flat")
    wait_until(lambda: world.is_gone("hd-wmt"), "the object to go")
    assert world.record("HD-WMT") is None
    assert "pair/HD-WMT" not in world.control.table().trading
    wait_until(lambda: "Withdrawn" in world.events("hd-wmt"), "the Event")


def test_hold_leaves_an_open_pair_frozen_until_it_is_declared_again(world: World, operator: OperatorProcess) -> None:
    """The object goes at once; no order is sent for what is open."""
    Book(world.servers.postgres).set("LLY-MRK", "hedged")
    world.apply(pair("lly-mrk", "LLY", "MRK", deletionPolicy="Hold"))
    world.pair("lly-mrk", Ready=TOLD)
    world.delete("lly-mrk")
    wait_until(lambda: world.is_gone("lly-mrk"), "the object to go")
    record = world.record("LLY-MRK")
    assert record is not None
    assert record.frozen
    assert not record.suspended
    world.apply(pair("lly-mrk", "LLY", "MRK"))
    wait_until(lambda: (now := world.record("LLY-MRK")) is not None and not now.frozen, "the pair to be declared again")


def test_a_deletion_is_bounded_and_can_be_forced(world: World, operator: OperatorProcess) -> None:
    """After its time, or at once with the annotation, the object goes; the record stays on its way out."""
    book = Book(world.servers.postgres)
    for name in ("AIG-C", "GS-MS"):
        book.set(name, "hedged")
    world.apply(pair("late", "AIG", "C", deletionTimeoutSeconds=2), pair("forced", "GS", "MS"))
    for name in ("late", "forced"):
        world.pair(name, Ready=TOLD)
        world.delete(name)
    world.pair("forced", Ready=("False", "Withdrawing"))
    world.api.kubectl("annotate", "tradingpair", "forced", ANNOTATE_FORCE, "--namespace", world.namespace)
    for name, reason, left in (("late", "WithdrawalTimedOut", "AIG-C"), ("forced", "ForceDeleted", "GS-MS")):
        wait_until(lambda name=name: world.is_gone(name), f"{name} to go")
        wait_until(lambda name=name, reason=reason: reason in world.events(name), "the Event")
        record = world.record(left)
        assert record is not None
        assert record.suspended


def test_what_was_left_behind_goes_once_it_is_flat(world: World, tmp_path: Path) -> None:
    """At its next start, or its next resync, the operator withdraws a suspended record without an object; others' it leaves alone."""
    spec = PairSpec(pair=PairId("AMD-RRC"), sector=SectorId(SECTOR), leg_a=Symbol("AMD"), leg_b=Symbol("RRC"))
    others = replace(spec, pair=PairId("UNH-PG"), leg_a=Symbol("UNH"), leg_b=Symbol("PG"))
    still = replace(spec, pair=PairId("JNJ-PFE"), leg_a=Symbol("JNJ"), leg_b=Symbol("PFE"), suspended=True)
    Book(world.servers.postgres).set("JNJ-PFE", "closing")
    for record in (replace(spec, suspended=True), others, still):
        world.control.write(record)
    world.control.write(TradingState(scope="pair/UNH-PG", mode=TradingMode.REDUCING, reason="a person's"))
    namespace = f"sweep-{uuid4().hex[:12]}"
    world.api.create_namespace(namespace)
    with running_operator(world.api, world.environ | {"TANDEM_NAMESPACE": namespace}, tmp_path):
        wait_until(lambda: world.record("AMD-RRC") is None, "the left-behind record to go")
        assert {"UNH-PG", "JNJ-PFE"} <= set(world.control.table().pairs)
        assert "pair/UNH-PG" in world.control.table().trading


def test_a_conflicting_object_can_be_deleted_without_touching_the_pair(world: World, operator: OperatorProcess) -> None:
    """Only the object that declares a pair withdraws it."""
    world.apply(pair("a-first", "BBY", "GE"))
    world.pair("a-first", Ready=TOLD)
    world.apply(pair("b-second", "BBY", "GE"))
    world.pair("b-second", Accepted=("False", "Conflict"))
    world.delete("b-second")
    wait_until(lambda: world.is_gone("b-second"), "the second object to go")
    assert world.record("BBY-GE") is not None
    assert condition(world.pair("a-first"), "Ready") == TOLD


def test_it_serves_its_table_and_keeps_its_labels_bounded(operator: OperatorProcess) -> None:
    """At /metrics of the process itself, after all that the other tests made it do."""
    page = operator.page()
    assert missing("operator", page) == []
    assert unbounded(page) == []
