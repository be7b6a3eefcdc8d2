"""How soon the operator has looked after everything from cold, and what it costs idle: `python benchmarks/operator_scale.py`.

500 TradingPairs and 11 SectorModels lie in a real API server, with real Kafka, Postgres and MLflow beside it, before the operator starts.
Cold: from its process's start until every pair is told to the services and says Ready, and every sector routes to its version. Idle: its
share of a core over a minute in which nothing changes, all its threads and polls included. The forecasters' pods are said to be Ready, as
there is no node to run them.
"""

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster import binaries, control_plane
from cluster.control_plane import KubeApi
from definitions import install_definitions
from free_ports import free_port
from operator_process import OperatorProcess, condition, pair_manifest, running_operator
from operator_world import Control, Servers, register_version
from pods import ready_pods
from tandem.adapters import postgres
from tandem.adapters.registry_rest import Registry
from tandem.domain.ids import SectorId
from tandem.local import kafka as local_kafka
from tandem.local import mlflow as local_mlflow
from tandem.local import postgres as local_postgres
from tandem.local.processes import Children
from tandem.quant.bundle import model_name

_READY_S, _COLD_S_MAX = 300.0, 300.0
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROLLOUT = {"replayRequired": False}  # these versions have no bundle to replay


@contextmanager
def servers() -> Iterator[tuple[KubeApi, Servers]]:
    """All of them, in a temporary home."""
    home = Path(tempfile.mkdtemp(prefix="tandem-bench-"))
    home.chmod(0o711)
    children = Children(home)
    try:
        place = control_plane.Place(folder=home / "kubernetes", port=free_port(), etcd_port=free_port(), etcd_peer_port=free_port())
        api = control_plane.start(place, binaries.locate(binaries.CONTROL_PLANE), children)
        database, port = local_postgres.locate(home), free_port()
        local_postgres.initialise(database, children)
        children.start(local_postgres.command(database, port))
        broker = free_port()
        children.start(local_kafka.command(local_kafka.prepare(home / "kafka", broker, free_port(), children), broker, children))
        children.wait_ready(["postgres", "kafka"], _READY_S)
        maintenance = local_postgres.url(database, port, "postgres")
        local_postgres.create_databases(maintenance, ("tandem", local_postgres.MLFLOW_DATABASE))
        registry = free_port()
        models = local_postgres.with_database(maintenance, local_postgres.MLFLOW_DATABASE)
        children.start(local_mlflow.command(home / "mlflow", registry, models))
        children.wait_ready(["mlflow"], _READY_S)
        url = local_postgres.with_database(maintenance, "tandem")
        postgres.upgrade(url)
        yield api, Servers(kafka=local_kafka.servers(broker), postgres=url, mlflow=local_mlflow.url(registry))
    finally:
        children.stop_all()
        shutil.rmtree(home)


def declare(api: KubeApi, servers: Servers, namespace: str, *, pairs: int, sectors: int) -> None:
    """The objects, and a champion of each sector that holds all its pairs."""
    install_definitions(api)
    api.create_namespace(namespace)
    symbols = ("".join(letters) for letters in itertools.product(_LETTERS, repeat=3))
    legs = [(next(symbols), next(symbols)) for _ in range(pairs)]
    names = [f"sector-{number:02}" for number in range(sectors)]
    documents = [pair_manifest(f"{a}-{b}".lower(), a, b, sector=names[number % sectors]) for number, (a, b) in enumerate(legs)]
    with Registry(servers.mlflow) as registry:
        for number, name in enumerate(names):
            version = register_version(servers.mlflow, name, [f"{a}-{b}" for a, b in legs[number::sectors]])
            registry.set_alias(model_name(SectorId(name)), "champion", version)
            spec = {"sector": name, "rollout": _ROLLOUT}
            documents.append({"apiVersion": "tandem.trading/v1alpha1", "kind": "SectorModel", "metadata": {"name": name}, "spec": spec})
    api.apply(*documents, namespace=namespace)


def is_done(api: KubeApi, namespace: str, control: Control, *, pairs: int, sectors: int) -> Callable[[], str | None]:
    """What is still missing; None when all is looked after."""

    def missing() -> str | None:
        table = control.table()
        if (told := len(table.pairs)) < pairs or (routed := len(table.pointers)) < sectors:
            return f"{told} of {pairs} pairs told, {len(table.pointers)} of {sectors} sectors routed"
        found = api.get("tradingpairs", "--namespace", namespace)["items"]
        ready = sum(condition(pair, "Ready") == ("True", "Declared") for pair in found)
        return None if ready == pairs else f"{ready} of {pairs} pairs ready, {routed} sectors routed"

    return missing


def wait(missing: Callable[[], str | None], operator: OperatorProcess) -> None:
    """Until nothing is missing."""
    deadline_s, said = time.monotonic() + _COLD_S_MAX, ""
    while (what := missing()) is not None:
        if time.monotonic() > deadline_s or operator.process.poll() is not None:
            sys.exit(f"not done: {what}\n{operator.tail()}")
        if what != said:
            print(f"  {_COLD_S_MAX - (deadline_s - time.monotonic()):5.1f} s: {what}", flush=True)
            said = what
        time.sleep(0.5)


def cpu_s(operator: OperatorProcess) -> float:
    """Processor time of the operator and its children so far."""
    process = psutil.Process(operator.process.pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--sectors", type=int, default=11)
    parser.add_argument("--idle-s", type=float, default=60.0)
    wanted = parser.parse_args()
    with servers() as (api, others), tempfile.TemporaryDirectory() as folder:
        namespace, control = "bench", Control(others.kafka)
        declare(api, others, namespace, pairs=wanted.pairs, sectors=wanted.sectors)
        environ = others.environ(Path(folder), namespace)
        started_s = time.monotonic()
        with ready_pods(api, namespace), running_operator(api, environ, Path(folder)) as operator:
            wait(is_done(api, namespace, control, pairs=wanted.pairs, sectors=wanted.sectors), operator)
            print(
                f"cold: {wanted.pairs} pairs and {wanted.sectors} sectors in {time.monotonic() - started_s:.1f} s, "
                f"{cpu_s(operator):.1f} s of processor time, its start included"
            )
            time.sleep(20)  # rollouts' last looks, status written by controllers
            before_s, from_s = cpu_s(operator), time.monotonic()
            time.sleep(wanted.idle_s)
            share = (cpu_s(operator) - before_s) / (time.monotonic() - from_s)
            memory = psutil.Process(operator.process.pid).memory_info().rss / 2**20
            print(f"idle: {share:.1%} of a core over {wanted.idle_s:.0f} s, {memory:.0f} MiB, load {os.getloadavg()[0]:.1f}")
        control.close()


if __name__ == "__main__":
    main()
