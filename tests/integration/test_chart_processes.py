"""The commands, variables and files that the chart gives its containers, run as processes of this machine: everything starts and answers.

Only addresses, ports and paths are other ones. No variable is inherited, so that what a container lacks is missed here, too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest
import redis

import cluster
from chart_renders import NAMESPACE, Object, containers, one, pod_template, render
from free_ports import free_port
from service_process import wait_until
from tandem.adapters.companies_file import COMPANIES_FILE, load_companies
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.cli.main import command_of
from tandem.local import kafka as local_kafka
from tandem.local import postgres as local_postgres
from tandem.local import redis as local_redis
from tandem.local.probes import tcp_ready
from tandem.local.processes import Children

PUBLIC_URL = "https://models.example"  # of MLflow, behind an Ingress
OBJECTS = render(
    {
        "trainer": {"replayId": "recycled-1", "bootstrap": {"enabled": True}},
        "mlflow": {"publicUrl": PUBLIC_URL},
        "config": {"files": {COMPANIES_FILE: "symbol,name\nKO,The Coca-Cola Company\n"}},
    }
)
SERVICES = ("recycler", "ingestor", "recorder", "portfolio-paper", "dashboard-paper")
PASSWORD = "1234567890abcdef"
READY_S = 300  # MLflow imports itself three times, on a busy machine for a minute


@dataclass(kw_only=True)
class Machine:
    """What stands for the cluster: addresses by the name in the chart, Secrets' values, and processes that end with the test."""

    folder: Path
    addresses: dict[str, str] = field(default_factory=dict)  # text of the chart -> text here
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def text(self, value: str) -> str:
        """A text of the chart with this machine's addresses and paths."""
        for old, new in self.addresses.items():
            value = value.replace(old, new)
        return value

    def environ(self, container: Object) -> dict[str, str]:
        """The variables of a container, and a PATH."""
        found = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for item in container.get("env", ()):
            source = item.get("valueFrom", {})
            if reference := source.get("secretKeyRef"):
                found[item["name"]] = self.secrets[reference["name"], reference["key"]]
            elif "fieldRef" not in source:
                found[item["name"]] = self.text(item["value"])
        return found

    def argv(self, container: Object) -> list[str]:
        """Its command and arguments."""
        return [self.text(part) for part in (*container["command"], *container.get("args", ()))]

    def start(self, name: str, container: Object, **more: str) -> "subprocess.Popen[bytes]":
        """Run a container's process; its output goes to <folder>/<name>.log."""
        with (self.folder / f"{name}.log").open("wb") as out:
            environ = self.environ(container) | more
            self.processes[name] = subprocess.Popen(
                self.argv(container), env=environ, stdout=out, stderr=out, cwd=self.folder, start_new_session=True
            )
        return self.processes[name]

    def run(self, container: Object, **more: str) -> str:
        """Run it to its good end; what it printed."""
        done = subprocess.run(
            self.argv(container), env=self.environ(container) | more, capture_output=True, text=True, timeout=READY_S, check=False
        )
        assert done.returncode == 0, f"{container['name']}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait_answer(self, name: str, url: str) -> None:
        """Wait until the process answers 200."""
        deadline_s = time.monotonic() + READY_S
        while not _answers(url):
            process, log = self.processes[name], self.folder / f"{name}.log"
            assert process.poll() is None, f"{name} has ended: {log.read_text()[-4000:]}"
            assert time.monotonic() < deadline_s, f"{name} does not answer at {url} within {READY_S} s: {log.read_text()[-4000:]}"
            time.sleep(0.2)

    def stop(self) -> None:
        """End what still runs, with its children: mlflow's are its server."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine without any server."""
    folder = tmp_path_factory.mktemp("chart")
    config = folder / "etc-tandem"
    lay_out_config(config)
    made = Machine(folder=folder, addresses={"/etc/tandem-operator": str(folder), "/etc/tandem": str(config), "0.0.0.0": "127.0.0.1"})
    yield made
    made.stop()


def lay_out_config(folder: Path) -> None:
    """The configuration's files as the volumes of the pods have them."""
    data = one(OBJECTS, "ConfigMap", "tandem-config")["data"]
    for name in ("tandem-portfolio-paper", "tandem-recycler", "tandem-dashboard-paper"):
        (volume,) = [volume for volume in pod_of("Deployment", name)["spec"]["volumes"] if volume["name"] == "config"]
        for item in volume["configMap"]["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data[item["key"]])


def pod_of(kind: str, name: str) -> Object:
    """The pod of a workload."""
    pod = pod_template(one(OBJECTS, kind, name))
    assert pod is not None
    return pod


def container_of(kind: str, name: str, container: str) -> Object:
    """A container by its name."""
    (found,) = [one_ for one_ in containers(pod_of(kind, name)) if one_["name"] == container]
    return found


@pytest.fixture(scope="module")
def database(machine: Machine, home: Path) -> Iterator[Mapping[str, str]]:
    """URLs `tandem` and `mlflow` of a new PostgreSQL after the chart's script has run in it, as the image would run it."""
    children = Children(home / "chart-processes")
    place = local_postgres.locate(home / "chart-processes")
    port = free_port()
    try:
        local_postgres.initialise(place, children)
        children.start(local_postgres.command(place, port))
        children.wait_ready(["postgres"], READY_S)
        local_postgres.create_databases(local_postgres.url(place, port, "postgres"), ("tandem",))
        url = local_postgres.url(place, port, "tandem")
        script = one(OBJECTS, "ConfigMap", "tandem-postgres")["data"]["mlflow.sh"]
        environ = {
            "PATH": f"{place.binaries}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGPASSWORD": str(urlsplit(url).password),
            "POSTGRES_USER": "tandem",
            "POSTGRES_DB": "tandem",
            "MLFLOW_PASSWORD": PASSWORD,
        }
        done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=READY_S, check=False)
        assert done.returncode == 0, done.stderr
        machine.secrets["tandem-postgres", "url"] = url
        machine.secrets["tandem-postgres", "mlflow-url"] = f"postgresql+psycopg2://mlflow:{PASSWORD}@127.0.0.1:{port}/mlflow_db"
        yield {"tandem": url, "mlflow": f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{port}"}
    finally:
        machine.stop()
        children.stop_all()


@pytest.fixture(scope="module")
def broker(machine: Machine, home: Path) -> str:
    """host:port of a Kafka that the chart's variables have configured, through the program that its image does this with."""
    children = Children(home / "chart-kafka")
    libraries = {"CLASSPATH": f"{local_kafka.class_path(children)}/*"}
    defaults, final, data = Path(cluster.__file__).parent / "standins/kafka", machine.folder / "kafka", machine.folder / "log"
    final.mkdir()
    port, controller = free_port(), free_port()
    address = f"127.0.0.1:{port}"
    machine.addresses |= {
        f"tandem-kafka.{NAMESPACE}.svc:9092": address,
        "PLAINTEXT://:9092": f"PLAINTEXT://{address}",
        "localhost:9093": f"127.0.0.1:{controller}",
        "/var/lib/kafka/data": str(data),
    }
    container = container_of("StatefulSet", "tandem-kafka", "kafka")
    java = str(local_kafka.find_java())
    setup = (
        "--default-configs-dir",
        str(defaults),
        "--mounted-configs-dir",
        str(machine.folder / "none"),
        "--final-configs-dir",
        str(final),
    )
    for again in (False, True):  # a pod that starts again finds its log formatted
        argv = [java, "-Xmx128m", "kafka.docker.KafkaDockerWrapper", "setup", *setup]
        environ = machine.environ(container) | libraries
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=READY_S, check=False)
        assert (done.returncode == 0) is not again, done.stdout + done.stderr
        assert again is ("already formatted" in done.stdout + done.stderr)
    machine.start("kafka", {**container, "command": [java, "-Xmx512m", "kafka.Kafka", str(final / "server.properties")]}, **libraries)
    wait_until(lambda: tcp_ready(port) is None, "Kafka")
    return address


@pytest.fixture(scope="module")
def cache(machine: Machine) -> str:
    """host:port of a Redis that the chart's command has started with the chart's configuration."""
    port = free_port()
    folder = machine.folder / "etc-redis"
    folder.mkdir()
    conf = one(OBJECTS, "ConfigMap", "tandem-redis")["data"]["redis.conf"]
    (folder / "redis.conf").write_text(conf.replace("bind * -::*", "bind 127.0.0.1").replace("port 6379", f"port {port}"))
    machine.addresses["/etc/redis"] = str(folder)
    machine.secrets["tandem-redis", "password"] = PASSWORD
    machine.secrets["tandem-redis", "url"] = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    container = container_of("Deployment", "tandem-redis", "redis")
    path = f"{local_redis.find_server().parent}:{os.environ['PATH']}"
    machine.start("redis", container, PATH=path)
    client = redis.Redis(port=port, password=PASSWORD)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    wait_until(answers, "Redis")
    client.close()
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def registry(machine: Machine, database: Mapping[str, str]) -> str:
    """URL of an MLflow that the chart's commands have started: waited, brought the schema up to date, serves."""
    port = free_port()
    artifacts = machine.folder / "artifacts"
    machine.addresses |= {
        "--port=5000": f"--port={port}",
        "/var/lib/mlflow/artifacts": str(artifacts),
        "/scripts/": str(scripts(machine)),
        "http://tandem-mlflow.trading.svc:5000": f"http://127.0.0.1:{port}",
    }
    pod = pod_of("StatefulSet", "tandem-mlflow")
    for container in pod["spec"]["initContainers"]:
        machine.run(container)
    (server,) = pod["spec"]["containers"]
    machine.start("mlflow", server)
    url = f"http://127.0.0.1:{port}"
    machine.wait_answer("mlflow", f"{url}/health")
    return url


def scripts(machine: Machine) -> str:
    """The folder of the chart's scripts, with a slash."""
    folder = machine.folder / "scripts"
    if not folder.exists():
        folder.mkdir()
        for name, text in one(OBJECTS, "ConfigMap", "tandem-scripts")["data"].items():
            (folder / name).write_text(text)
    return f"{folder}/"


def test_mlflow_has_a_role_that_sees_no_ledger(database: Mapping[str, str]) -> None:
    """Its own database, and not ours."""
    psycopg2.connect(f"{database['mlflow']}/mlflow_db").close()
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(f"{database['mlflow']}/tandem")


def test_redis_asks_for_its_password_and_keeps_nothing(cache: str) -> None:
    """And forgets before it runs out of memory."""
    host, _, port = cache.partition(":")
    stranger = redis.Redis(host=host, port=int(port))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    stranger.close()
    client = redis.Redis(host=host, port=int(port), password=PASSWORD, decode_responses=True)
    wanted = {"save": "", "appendonly": "no", "maxmemory": str(64 << 20), "maxmemory-policy": "allkeys-lru"}
    assert {name: client.config_get(name)[name] for name in wanted} == wanted
    client.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("tandem-mlflow:5000", 200),
        (f"tandem-mlflow.{NAMESPACE}.svc:5000", 200),
        (f"tandem-mlflow.{NAMESPACE}.svc.cluster.local:5000", 200),
        (f"tandem-mlflow.{NAMESPACE}.svc", 200),
        ("localhost:5000", 200),
        ("models.example", 200),
        ("evil.example", 403),
    ],
)
def test_mlflow_knows_its_names(registry: str, host: str, status: int) -> None:
    """It answers under the names of its Service, with and without port, and under no others."""
    answer = httpx.get(
        f"{registry}/api/2.0/mlflow/registered-models/search", params={"max_results": 1}, headers={"Host": host}, timeout=120
    )
    assert answer.status_code == status


@pytest.mark.parametrize(("origin", "status"), [(PUBLIC_URL, 200), ("https://evil.example", 403)])
def test_mlflows_own_pages_may_ask_it(registry: str, origin: str, status: int) -> None:
    """Their requests name where they come from: the address that readers know, and no other one."""
    answer = httpx.post(
        f"{registry}/ajax-api/2.0/mlflow/experiments/search",
        json={"max_results": 1},
        headers={"Host": "models.example", "Origin": origin},
        timeout=120,
    )
    assert answer.status_code == status


def test_services_start_and_the_release_tests_itself(
    machine: Machine, database: Mapping[str, str], cache: str, registry: str, broker: str
) -> None:
    """All services become ready as the chart starts them, the page for people included; then the pod of `helm test` finds all well."""
    assert broker
    ports = {name: free_port() for name in (*SERVICES, "operator")}
    data = skfolio_dataset(machine.folder / "stocks.parquet")
    machine.secrets["tandem-api", "token"] = PASSWORD
    machine.addresses |= {
        "/app/data/us-stocks-daily.parquet": str(data),
        **{f"tandem-{name}:8080": f"127.0.0.1:{port}" for name, port in ports.items()},
    }
    ready: dict[str, str] = {}
    for name in SERVICES:
        pod = pod_of("Deployment", f"tandem-{name}")
        for container in pod["spec"].get("initContainers", ()):
            machine.run(container)
        (container,) = pod["spec"]["containers"]
        machine.start(name, container, TANDEM_PORT=str(ports[name]))
        alive, ready[name] = (
            f"http://127.0.0.1:{ports[name]}{container[probe]['httpGet']['path']}" for probe in ("livenessProbe", "readinessProbe")
        )
        machine.wait_answer(name, alive)
    for name in SERVICES:
        machine.wait_answer(name, ready[name])

    replay = httpx.get(f"http://127.0.0.1:{ports['recycler']}/tandem/v1/replay", auth=("any", "thing"), timeout=30).json()
    assert replay["lockstep"] is True
    assert httpx.get(f"http://127.0.0.1:{ports['portfolio-paper']}/v1/summary", timeout=30).json()["equity_usd"] == "1000000"

    (test,) = pod_of("Pod", "tandem-test-servers")["spec"]["containers"]
    told = machine.run({**test, "args": [url for url in test["args"] if "operator" not in url]})
    assert told.count("ok    ") == len(told.splitlines()) == 9
    services = {name: machine.processes[name] for name in SERVICES}
    for process in services.values():
        process.terminate()
    assert {name: process.wait(60) for name, process in services.items()} == dict.fromkeys(services, 0)


def test_the_page_finds_what_the_chart_lays_out(machine: Machine) -> None:
    """The file of companies, the sectors and the pairs, where its variables say."""
    (container,) = pod_of("Deployment", "tandem-dashboard-paper")["spec"]["containers"]
    folder = Path(machine.environ(container | {"env": [one_ for one_ in container["env"] if "value" in one_]})["TANDEM_CONFIG_DIR"])
    assert load_companies(folder) == {"KO": {"name": "The Coca-Cola Company"}}
    assert {path.stem for path in (folder / "pairs").iterdir()} >= {"ko-pep"}


@pytest.mark.parametrize(("kind", "prefix"), [("CronJob", "tandem-trainer"), ("Job", "tandem-bootstrap-")])
def test_training_is_called_as_its_command_understands(kind: str, prefix: str) -> None:
    """Every option exists and takes its value."""
    (job,) = [rendered.document for rendered in OBJECTS if rendered.kind == kind and rendered.name.startswith(prefix)]
    pod = pod_template(job)
    assert pod is not None
    runs = [container for container in containers(pod) if container["command"] == ["tandem"]]
    assert runs
    for container in runs:
        name, *arguments = container["args"]
        context = command_of(name).make_context(name, list(arguments))
        assert context.params["data"] in {"postgres", "/app/data/us-stocks-daily.parquet"}
