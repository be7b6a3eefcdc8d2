"""The real servers, each started once for the session on its first use, on free ports, in a temporary home that is removed in the end.

A test module gets a fresh database, an empty Redis and a Kafka without topics. A missing prerequisite is a failure that names it, never
a skip. Servers that the environment names are not used: tests would write into them.
"""

import gc
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaAdminClient

from cluster import binaries, control_plane
from free_ports import free_port
from tandem.domain.errors import TandemError
from tandem.local import kafka as local_kafka
from tandem.local import mlflow as local_mlflow
from tandem.local import postgres as local_postgres
from tandem.local import redis as local_redis
from tandem.local.processes import Children
from tandem.local.records import end_leftovers

_READY_S = 360  # a machine that compiles every Python file for the first time, beside much else
_PREFIX = f"tandem-tests-{os.getuid()}-"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests in this folder start real servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """The home of the servers. Not under tmp_path: as root, Postgres runs as `nobody`, who may not enter pytest's folders."""
    _clean_after_killed_sessions()
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def children(home: Path) -> Iterator[Children]:
    """The servers' processes; all end with the session."""
    children = Children(home)
    yield children
    children.stop_all()


@pytest.fixture(scope="session")
def postgres_server(home: Path, children: Children) -> str:
    """URL of the maintenance database of a running server."""
    port = free_port()
    try:
        place = local_postgres.locate(home)
        local_postgres.initialise(place, children)
        children.start(local_postgres.command(place, port))
        children.wait_ready(["postgres"], _READY_S)
    except TandemError as error:
        pytest.fail(f"PostgreSQL does not start: {error}", pytrace=False)
    return local_postgres.url(place, port, "postgres")


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """postgresql://... of a new, empty database for this module."""
    name = f"test_{uuid4().hex[:12]}"
    local_postgres.create_databases(postgres_server, (name,))
    yield local_postgres.with_database(postgres_server, name)
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    connection.close()


@pytest.fixture(scope="session")
def redis_server(home: Path, children: Children) -> str:
    """URL of a running Redis."""
    port = free_port()
    try:
        children.start(local_redis.command(home / "redis", port))
        children.wait_ready(["redis"], _READY_S)
    except TandemError as error:
        pytest.fail(f"Redis does not start: {error}", pytrace=False)
    return local_redis.url(port)


@pytest.fixture(scope="module")
def redis_url(redis_server: str) -> str:
    """redis://... of a Redis that holds nothing when the module starts."""
    client = redis.Redis.from_url(redis_server)
    client.flushall()
    client.close()
    return redis_server


@pytest.fixture(scope="session")
def kafka_broker(home: Path, children: Children) -> str:
    """host:port of a running broker."""
    port = free_port()
    try:
        properties = local_kafka.prepare(home / "kafka", port, free_port(), children)
        children.start(local_kafka.command(properties, port, children))
        with warnings.catch_warnings():
            # A client that the broker answers too late leaves its socket to the garbage collector, which would fail whichever test is next.
            warnings.simplefilter("ignore", ResourceWarning)
            children.wait_ready(["kafka"], _READY_S)
            gc.collect()
    except TandemError as error:
        pytest.fail(f"Kafka does not start: {error}", pytrace=False)
    return local_kafka.servers(port)


@pytest.fixture(scope="module")
def kafka_servers(kafka_broker: str) -> Iterator[str]:
    """host:port of a broker that has no topics when the module starts."""
    yield kafka_broker
    admin = KafkaAdminClient(bootstrap_servers=[kafka_broker])
    if topics := [name for name in admin.list_topics() if not name.startswith("__")]:
        admin.delete_topics(topics)
    deadline_s = time.monotonic() + _READY_S
    while left := [name for name in admin.list_topics() if not name.startswith("__")]:
        assert time.monotonic() < deadline_s, f"topics that are not deleted: {left}"
        time.sleep(0.05)
    admin.close()


@pytest.fixture(scope="session")
def mlflow_uri(home: Path, children: Children, postgres_server: str) -> str:
    """http://host:port of a running MLflow server on Postgres; shared by all modules, so name models and experiments apart."""
    port = free_port()
    try:
        local_postgres.create_databases(postgres_server, (local_postgres.MLFLOW_DATABASE,))
        database_url = local_postgres.with_database(postgres_server, local_postgres.MLFLOW_DATABASE)
        children.start(local_mlflow.command(home / "mlflow", port, database_url))
        children.wait_ready(["mlflow"], _READY_S)
    except TandemError as error:
        pytest.fail(f"MLflow does not start: {error}", pytrace=False)
    return local_mlflow.url(port)


@pytest.fixture(scope="session")
def kube_api(home: Path, children: Children) -> control_plane.KubeApi:
    """A running API server with its etcd and controller manager; no node. Shared by all modules: work in `kube_namespace`."""
    place = control_plane.Place(folder=home / "kubernetes", port=free_port(), etcd_port=free_port(), etcd_peer_port=free_port())
    try:
        return control_plane.start(place, binaries.locate(binaries.CONTROL_PLANE), children)
    except TandemError as error:
        pytest.fail(f"Kubernetes does not start: {error}", pytrace=False)


@pytest.fixture
def kube_namespace(kube_api: control_plane.KubeApi) -> Iterator[str]:
    """The name of a new namespace, given back to the server's garbage collection afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    kube_api.create_namespace(name)
    yield name
    kube_api.kubectl("delete", "namespace", name, "--wait=false")


def _clean_after_killed_sessions() -> None:
    """End the servers and remove the homes of sessions that were killed and could not do it themselves."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not psutil.pid_exists(int(path.name.removeprefix(_PREFIX).split("-")[0])):
            end_leftovers(path / "run", grace_s=5)
            shutil.rmtree(path, ignore_errors=True)  # another session that starts now may do the same
