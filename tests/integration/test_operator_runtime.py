"""The operator as a process among others: killed, doubled, and cut off from each server it needs. Real servers all."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import yaml

from cluster.control_plane import KubeApi
from definitions import install_definitions
from free_ports import free_port
from http_gate import HOST, Gate
from operator_process import (
    OperatorProcess,
    account_manifest,
    condition,
    events,
    pair_manifest,
    running_operator,
    wait_condition,
)
from operator_world import Book, Control, Servers
from service_process import wait_until
from tandem.domain.control import PairSpec
from tandem.domain.trading import TradingMode
from tandem.local import kafka as local_kafka
from tandem.local.processes import Children, Command

pytestmark = pytest.mark.timeout(1800)  # five operators one after the other, each with a wait of its own that ends in time
SECTOR = "runtime"  # without a model
TOLD = ("Unknown", "NoModel")
PAIRS = 30
NAMES = [f"p{number:02}" for number in range(PAIRS)]
_READY_S = 180  # a broker, on a machine that does other things, too


@dataclass
class World:
    """A namespace of its own on the shared servers."""

    api: KubeApi
    namespace: str
    servers: Servers
    folder: Path
    control: Control

    @property
    def environ(self) -> dict[str, str]:
        """The operator's settings."""
        return self.servers.environ(self.folder, self.namespace)

    def operator(self, name: str = "operator", **changes: str) -> Any:
        """A running operator, by `with`."""
        return running_operator(self.api, self.environ | changes, self.folder, name)

    def apply(self, *documents: dict[str, Any]) -> None:
        """As `kubectl apply`."""
        self.api.apply(*documents, namespace=self.namespace)

    def says(self, kind: str, name: str, **wanted: tuple[str, str]) -> dict[str, Any]:
        """Wait until an object says this."""
        return wait_condition(self.api, self.namespace, kind, name, wanted)

    def pairs(self) -> dict[str, dict[str, Any]]:
        """The TradingPairs by name."""
        return {one["metadata"]["name"]: one for one in self.api.get("tradingpairs", "--namespace", self.namespace)["items"]}

    def told(self) -> dict[str, PairSpec]:
        """The pairs of this namespace in the control topic, by id."""
        return {pair: spec for pair, spec in self.control.table().pairs.items() if spec.sector == SECTOR}

    def delete(self, *names: str) -> None:
        """As `kubectl delete`, without waiting."""
        done = self.api.kubectl("delete", "tradingpair", *names, "--namespace", self.namespace, "--wait=false")
        assert done.returncode == 0, done.stderr

    def holder(self) -> str:
        """Who holds the lease."""
        done = self.api.kubectl("get", "lease", "tandem-operator", "--namespace", self.namespace, "-o", "jsonpath={.spec.holderIdentity}")
        return done.stdout


@pytest.fixture
def servers(kafka_servers: str, postgres_url: str, mlflow_uri: str) -> Servers:
    """Those that the operator needs beside the API server."""
    return Servers(kafka=kafka_servers, postgres=postgres_url, mlflow=mlflow_uri)


@pytest.fixture
def world(kube_api: KubeApi, kube_namespace: str, servers: Servers, tmp_path: Path) -> Iterator[World]:
    """The servers without an operator; no pair is in the control topic."""
    install_definitions(kube_api)
    control = Control(servers.kafka)
    for key in list(control.table().records):
        control.remove(key)
    yield World(kube_api, kube_namespace, servers, tmp_path, control)
    control.close()


def pair(name: str, **spec: Any) -> dict[str, Any]:
    """The TradingPair of this name; its legs are made of it."""
    return pair_manifest(name, f"A{_letters(name)}", f"Z{_letters(name)}", sector=SECTOR, **spec)


def id_of(name: str) -> str:
    """Its pair."""
    return f"A{_letters(name)}-Z{_letters(name)}"


def _letters(name: str) -> str:
    return "".join(chr(ord("A") + int(digit)) for digit in name[1:])


def test_an_account_is_told_kept_and_withdrawn(world: World) -> None:
    """Mode, credentials and what it holds; the kill switch stays; a deletion waits and leaves its mode."""
    book = Book(world.servers.postgres, "runtime-account", "paper")
    book.set("KO-PEP", "hedged")
    world.apply(account_manifest("main", source="paper", secretRef={"name": "broker"}, mode="Reducing"))
    with world.operator() as operator:
        world.says("tradingaccount", "main", CredentialsFound=("False", "CredentialsMissing"), Ready=("False", "CredentialsMissing"))
        assert world.control.table().trading["account/main"].mode is TradingMode.REDUCING
        secret = ("create", "secret", "generic", "broker", "--from-literal=key=k", "--namespace", world.namespace)
        assert world.api.kubectl(*secret).returncode == 0
        found = world.says("tradingaccount", "main", CredentialsFound=("True", "CredentialsFound"), Ready=("True", "ModeTold"))
        assert (found["status"]["mode"], found["status"]["openPairs"]) == ("Reducing", 1)
        world.control.write(replace(world.control.table().trading["account/main"], mode=TradingMode.HALTED, reason="kill switch"))
        world.says("tradingaccount", "main", Ready=("False", "ModeKept"))
        assert world.control.table().trading["account/main"].mode is TradingMode.HALTED
        assert operator.metric("tandem_operator_leader") == 1.0
        world.api.kubectl("delete", "tradingaccount", "main", "--namespace", world.namespace, "--wait=false")
        world.says("tradingaccount", "main", Ready=("False", "Withdrawing"))
        book.set("KO-PEP", "flat")
        name = ("get", "tradingaccount", "main", "--namespace", world.namespace)
        wait_until(lambda: "NotFound" in world.api.kubectl(*name).stderr, "the account to go")
        assert world.control.table().trading["account/main"].mode is TradingMode.HALTED
        assert operator.stop() == 0
        assert world.holder() == ""


def test_killed_again_and_again_it_finishes_and_repeats_nothing(world: World) -> None:
    """kill -9 at moments by chance while pairs are declared, changed and deleted: the end is the same, no record is written twice."""
    rng = random.Random(5)
    world.apply(*(pair(name) for name in NAMES))
    for lap in range(4):
        with world.operator() as operator:
            wait_until(lambda operator=operator: operator.why_not_ready() is None, "the operator")
            goal = PAIRS * (lap + 1) // 6
            wait_until(lambda goal=goal: len(world.told()) >= goal, "some pairs")
            waited_s, target_s = 0.0, rng.uniform(0.0, 0.4)
            while waited_s < target_s:  # a moment by chance, and the topic is read meanwhile
                world.told()
                waited_s += 0.05
            operator.kill()
        if lap == 2:
            world.apply(*(pair(name, signal={"entryZ": 1.75}) for name in NAMES[::2]))
            world.delete(*NAMES[1::4])
    left = [name for name in NAMES if name not in NAMES[1::4]]
    with world.operator():
        wait_until(lambda: set(world.pairs()) == set(left), "the deleted objects to go")
        wait_until(lambda: all(condition(one, "Ready") == TOLD for one in world.pairs().values()), "every pair to be told")
    told = world.told()
    assert set(told) == {id_of(name) for name in left}
    assert {pair for pair, spec in told.items() if spec.entry_z == 1.75} == {id_of(name) for name in NAMES[::2]}
    assert not any(spec.suspended for spec in told.values())
    writes = Counter((key, value) for key, value in world.control.history if key.startswith("pair/A"))
    repeated = {key: count for (key, _), count in writes.items() if count > 1}
    # A record is durable before anything tells of it: one that was killed right then is found in the topic and not written again.
    assert not repeated


def test_of_two_operators_one_writes_and_the_other_takes_over(world: World) -> None:
    """After an orderly stop at once, after kill -9 when the lease is over; nothing is written twice."""
    world.apply(pair("p00"))
    with world.operator("first") as first, world.operator("second") as second:
        wait_until(lambda: first.why_not_ready() is None and second.why_not_ready() is None, "both")
        world.says("tradingpair", "p00", Ready=TOLD)
        leader, standby = (first, second) if world.holder() == "first" else (second, first)
        world.apply(*(pair(name) for name in NAMES[1:5]))
        world.says("tradingpair", "p04", Ready=TOLD)
        assert (leader.metric("tandem_operator_leader"), standby.metric("tandem_operator_leader")) == (1.0, 0.0)
        assert standby.metric("tandem_operator_control_writes_total") == 0.0
        leader.kill()
        world.apply(pair("p05"))
        wait_until(lambda: standby.metric("tandem_operator_leader") == 1.0, "the other to take over")
        for name in NAMES[:6]:  # what the first one had not come to is the other's work, too
            world.says("tradingpair", name, Ready=TOLD)
    assert set(world.told()) == {id_of(name) for name in NAMES[:6]}
    keys = Counter(key for key, value in world.control.history if key.startswith("pair/A") and value is not None)
    assert set(keys.values()) == {1}


def test_postgres_away_a_deletion_waits_and_says_so(world: World) -> None:
    """Declaring needs no Postgres; what is open cannot be known, so nothing is taken for flat."""
    Book(world.servers.postgres)
    url = urlsplit(world.servers.postgres)
    assert url.hostname
    assert url.port
    gate = Gate(url.hostname, url.port)
    behind = urlunsplit(url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@{HOST}:{gate.port}"))
    gate.close()
    world.apply(pair("p00"))
    with world.operator(TANDEM_POSTGRES_URL=behind):
        world.says("tradingpair", "p00", Ready=TOLD)
        world.delete("p00")
        found = world.says("tradingpair", "p00", Ready=("False", "Withdrawing"))
        assert "PostgreSQL" in next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Ready")
        assert world.told()[id_of("p00")].suspended
        gate.open()
        wait_until(lambda: not world.pairs(), "the object to go")
        assert not world.told()
    gate.give_up()


def test_the_api_server_away_the_operator_stands_still_and_catches_up(world: World) -> None:
    """It gives up the lease in time, is not Ready, and goes on by itself; what changed meanwhile is found."""
    place = urlsplit(world.api.url)
    assert place.hostname
    assert place.port
    gate = Gate(place.hostname, place.port)
    document = yaml.safe_load(world.api.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://{HOST}:{gate.port}"
    kubeconfig = world.folder / "gate.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(document))
    world.apply(pair("p00"))
    with running_operator(replace(world.api, kubeconfig=kubeconfig), world.environ, world.folder) as operator:
        world.says("tradingpair", "p00", Ready=TOLD)
        gate.close()
        wait_until(lambda: operator.metric("tandem_operator_leader") == 0.0, "the lease to be given up")
        assert "does not answer" in str(operator.why_not_ready())
        world.apply(pair("p01"))
        world.delete("p00")
        known = world.control.table().pairs[id_of("p00")]
        assert set(world.told()) == {id_of("p00")}
        world.control.write(replace(known, entry_z=3.5))
        gate.open()
        world.says("tradingpair", "p01", Ready=TOLD)
        wait_until(lambda: set(world.pairs()) == {"p01"} and set(world.told()) == {id_of("p01")}, "the deleted pair to go")
        wait_until(lambda: operator.why_not_ready() is None, "the operator")
        wait_until(lambda: "ApiServerWasAway" in events(world.api, world.namespace, "tandem-operator"), "the Event")
        world.apply(pair("p02"))  # kopf's watch is back, too
        world.says("tradingpair", "p02", Ready=TOLD)
    gate.give_up()


@dataclass
class Broker:
    """A Kafka of the test's own, which it may stop, start again, and rob of its data."""

    home: Path
    port: int
    children: Children
    command: Command

    @property
    def servers(self) -> str:
        """host:port."""
        return local_kafka.servers(self.port)


@contextmanager
def broker() -> Iterator[Broker]:
    """A running one."""
    home = Path(tempfile.mkdtemp(prefix="tandem-broker-"))
    children, port = Children(home), free_port()
    made = Broker(
        home, port, children, local_kafka.command(local_kafka.prepare(home / "kafka", port, free_port(), children), port, children)
    )
    try:
        children.start(made.command)
        children.wait_ready(["kafka"], _READY_S)
        yield made
    finally:
        children.stop_all()
        shutil.rmtree(home)


def test_kafka_away_pairs_say_so_and_are_told_when_it_is_back_even_without_its_data(world: World) -> None:
    """A condition and an Event; services that were told go on. A broker that lost its data is told everything anew."""
    world.apply(pair("p00"))
    with broker() as kafka:
        servers = replace(world.servers, kafka=kafka.servers)
        with running_operator(world.api, servers.environ(world.folder, world.namespace), world.folder) as operator:
            world.says("tradingpair", "p00", Ready=TOLD)
            kafka.children.stop_all()
            world.says("tradingpair", "p00", Ready=("Unknown", "KafkaUnreachable"))
            world.apply(pair("p01"))
            world.says("tradingpair", "p01", Ready=("Unknown", "KafkaUnreachable"), Accepted=("True", "Accepted"))
            wait_until(lambda: "KafkaUnreachable" in events(world.api, world.namespace, "p01"), "the Event")
            assert operator.metric("tandem_operator_dependency_up", dependency="kafka") == 0.0
            assert operator.why_not_ready() is None
            shutil.rmtree(kafka.home / "kafka")
            with _restarted(kafka):
                for name in ("p00", "p01"):
                    world.says("tradingpair", name, Ready=TOLD)
                control = Control(kafka.servers)
                assert set(control.table().pairs) == {id_of("p00"), id_of("p01")}
                control.close()


@contextmanager
def _restarted(old: Broker) -> Iterator[None]:
    """An empty broker at the same address."""
    children = Children(old.home)
    try:
        children.start(local_kafka.command(local_kafka.prepare(old.home / "kafka", old.port, free_port(), children), old.port, children))
        children.wait_ready(["kafka"], _READY_S)
        yield
    finally:
        children.stop_all()


def test_settings_that_are_missing_are_all_named(world: World) -> None:
    """Exit code 2, as every service's."""
    names = ("TANDEM_KAFKA_BOOTSTRAP_SERVERS", "TANDEM_POSTGRES_URL", "MLFLOW_TRACKING_URI", "TANDEM_FORECASTER_TEMPLATE")
    with world.operator(**dict.fromkeys(names, "")) as operator:
        assert isinstance(operator, OperatorProcess)
        assert operator.process.wait(180) == 2
        assert all(name in operator.tail() for name in names)
