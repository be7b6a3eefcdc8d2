"""Do the images run as the chart runs them? Each is started alone by runc: no root, no capability, nothing writable but what is mounted.

`python -m cluster.image_checks`, and a step of the scenario before there is a cluster: what fails here needs no node to be found.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import redis
from kafka import KafkaAdminClient

from cluster.image_context import Recipe
from cluster.image_store import Store
from cluster.images import MLFLOW, SERVERS, SERVING, build
from cluster.steps import Unmet, check, eventually, say, step
from free_ports import free_port
from tandem.adapters.postgres import connect
from tandem.domain.errors import TandemError, Transient
from tandem.local.probes import HOST, http_ready

_START_S_MAX = 180.0  # MLflow on a machine that does much else needs a minute
_POSTGRES, _REDIS, _KAFKA = SERVERS
_SERVICES, _FORECASTER, _OPERATOR, _DASHBOARD = SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One container: what runs in it, as whom, and the folders that it may write to."""

    recipe: Recipe
    argv: tuple[str, ...] = ()  # empty: the image's own command
    env: Mapping[str, str] = field(default_factory=dict)
    user: int = 65532
    writable: tuple[str, ...] = ("/tmp",)


def run() -> None:
    """All checks. Raises Unmet with the container's output."""
    build((*SERVERS, MLFLOW, *SERVING))
    with Store.open() as store:
        for about, check_one in _CHECKS.items():
            with step(about):
                check_one(store)


# Modules to import, then: no torch came along, and the build has compiled what did.
_IMPORTS = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
assert "torch" not in sys.modules
installed = [m for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith("/opt/venv")]
slow = sorted(m.__name__ for m in installed if m.__file__.endswith(".py") and not os.path.exists(m.__cached__))
assert len(slow) <= 20, f"{len(slow)} of {len(installed)} modules are compiled at each start, name their packages in the Dockerfile: {slow}"
"""


def _imports(recipe: Recipe, *modules: str) -> Callable[[Store], None]:
    return lambda store: _done(store, Run(recipe=recipe, argv=("python", "-c", _IMPORTS, *modules)))


def _recycler(store: Store) -> None:
    port = free_port()
    argv = ("python", "-m", "tandem.recycler.main", "--data", "/app/data/us-stocks-daily.parquet", "--bar", "1d", "--hold")
    with _started(store, Run(recipe=_SERVICES, argv=argv, env={"TANDEM_PORT": str(port)}), lambda: _answers(f"http://{HOST}:{port}/livez")):
        _done(store, Run(recipe=_SERVICES, argv=("python", "/app/health.py"), env={"TANDEM_PORT": str(port)}))
    lame = Run(recipe=_SERVICES, argv=("python", "/app/health.py"), env={"TANDEM_PORT": str(free_port())})
    check(_ended(store, lame)[0] == 1, "the health check is content with a port that nobody listens on")


def _dashboard(store: Store) -> None:
    port = free_port()
    env = {"TANDEM_HOST": HOST, "TANDEM_PORT": str(port), "TANDEM_POSTGRES_URL": "postgresql://nobody@127.0.0.1:9/tandem"}
    run = Run(recipe=_DASHBOARD, env=env | {"TANDEM_PORTFOLIO_URL": "http://127.0.0.1:9"})
    with _started(store, run, lambda: _answers(f"http://{HOST}:{port}/_stcore/health")):
        pass


def _mlflow(store: Store) -> None:
    port = free_port()
    argv = ("mlflow", "server", "--host", HOST, "--port", str(port), "--serve-artifacts", "--artifacts-destination", "/tmp/artifacts")
    env = {"MLFLOW_BACKEND_STORE_URI": "sqlite:////tmp/mlflow.db", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with _started(store, Run(recipe=MLFLOW, argv=argv, env=env), lambda: _answers(f"http://{HOST}:{port}/health")):
        pass


def _postgres(store: Store) -> None:
    port = free_port()
    env = {"POSTGRES_USER": "tandem", "POSTGRES_DB": "tandem", "POSTGRES_PASSWORD": "of the check"}
    run = Run(
        recipe=_POSTGRES,
        argv=("docker-entrypoint.sh", "-c", f"port={port}"),
        env=env,
        user=999,
        writable=("/tmp", "/var/lib/postgresql", "/var/run/postgresql", "/dev/shm"),
    )
    url = f"postgresql://tandem:of%20the%20check@{HOST}:{port}/tandem"
    with _started(store, run, lambda: _connects(url)):
        try:
            connect(url.replace("of%20the%20check", "another"), application="check")
        except Transient as error:
            check("password" in str(error), f"refused for another reason than the password: {error}")
        else:
            raise Unmet("Postgres lets in whoever asks")


def _redis(store: Store) -> None:
    port = free_port()
    run = Run(recipe=_REDIS, argv=("docker-entrypoint.sh", "--port", str(port)), user=999, writable=("/tmp", "/data"))
    with _started(store, run, lambda: _pings(port)):
        pass


def _kafka(store: Store) -> None:
    port, controller = free_port(), free_port()
    names = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": f"1@localhost:{controller}",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENERS": f"PLAINTEXT://{HOST}:{port},CONTROLLER://localhost:{controller}",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "LOG_DIRS": "/var/lib/kafka/data/log",
        "HEAP_OPTS": "-Xms128m -Xmx256m",
    }
    writable = ("/tmp", "/var/lib/kafka/data", "/opt/kafka/config", "/opt/kafka/logs")
    env = {f"KAFKA_{name}": value for name, value in names.items()}
    run = Run(recipe=_KAFKA, argv=("/etc/kafka/docker/run",), env=env, user=1000, writable=writable)
    with _started(store, run, lambda: _lists_topics(port)):
        pass


_CHECKS: dict[str, Callable[[Store], None]] = {
    "ingestor, recorder and portfolio import all that they need, compiled": _imports(
        _SERVICES, "tandem.ingestor.main", "tandem.recorder.main", "tandem.portfolio.main"
    ),
    "the recycler serves the recording that the image holds, and the health check sees it": _recycler,
    "the forecaster imports all that it needs, compiled": _imports(_FORECASTER, "tandem.forecaster.service", "mlflow.artifacts"),
    "the operator and its replay gate import all that they need, compiled": _imports(
        _OPERATOR, "kopf.cli", "tandem.operator.process", "tandem.forecaster.replay_check", "mlflow.artifacts"
    ),
    "kopf takes the operator's handlers": lambda store: _done(
        store, Run(recipe=_OPERATOR, argv=("python", "-c", "import runpy; runpy.run_path('/app/operators/handlers.py')"))
    ),
    "the dashboard imports all that it needs, compiled": _imports(
        _DASHBOARD, "tandem.dashboard.main", "tandem.dashboard.screens.overview", "tandem.dashboard.screens.models"
    ),
    "the dashboard serves, even with every server away": _dashboard,
    "MLflow serves": _mlflow,
    "PostgreSQL prepares its folder and asks for the password": _postgres,
    "Redis serves": _redis,
    "Kafka formats its log and serves": _kafka,
}


def _done(store: Store, run: Run) -> None:
    """Run to its end. Raises Unmet unless that is a success."""
    code, told = _ended(store, run)
    check(code == 0, f"{' '.join(run.argv)} in {run.recipe.name} ended with {code}:\n{told}")


def _ended(store: Store, run: Run) -> tuple[int | None, str]:
    """The exit code and the output of a container that ends by itself."""
    with _container(store, run) as (process, log):
        process.wait(timeout=_START_S_MAX)
        return process.returncode, _tail(log)


@contextmanager
def _started(store: Store, run: Run, answers: Callable[[], bool]) -> Iterator[None]:
    """A container that serves; says how long it took to. Raises Unmet when it ends or does not answer, and when SIGTERM does not end it."""
    with _container(store, run) as (process, log):
        began_s = time.monotonic()
        eventually(
            lambda: answers() or process.poll() is not None,
            f"{run.recipe.name} to serve",
            _START_S_MAX,
            lambda: _tail(log),
        )
        check(process.poll() is None, f"{run.recipe.name} ended with {process.returncode}:\n{_tail(log)}")
        say(f"  serves after {time.monotonic() - began_s:.1f} s")
        yield
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired as error:
            raise Unmet(f"{run.recipe.name} does not end at SIGTERM:\n{_tail(log)}") from error


@contextmanager
def _container(store: Store, run: Run) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    """runc in the foreground, which hands signals on, and the file of its output. Nothing is left afterwards."""
    with store.mounted(run.recipe) as root, tempfile.TemporaryDirectory(prefix="tandem-container-") as text:
        folder = Path(text)
        (folder / "config.json").write_text(json.dumps(_specification(run, root, store.settings(run.recipe))))
        log = folder / "log"
        name = f"tandem-check-{os.getpid()}-{time.monotonic_ns()}"
        runc = ("runc", "--root", str(folder / "state"))
        with log.open("wb") as out:
            process = subprocess.Popen((*runc, "run", "--bundle", str(folder), name), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield process, log
        finally:
            if process.poll() is None:
                subprocess.run((*runc, "kill", name, "KILL"), capture_output=True, timeout=60, check=False)
                process.wait(timeout=60)
            subprocess.run((*runc, "delete", "--force", name), capture_output=True, timeout=60, check=False)


def _specification(run: Run, root: Path, image: Mapping[str, object]) -> dict[str, object]:
    """The container for runc: as strict as the chart's pods, on this machine's network."""
    own = image.get("Env") or ()
    assert isinstance(own, list)
    argv = run.argv or tuple(_list(image.get("Entrypoint"))) + tuple(_list(image.get("Cmd")))
    folders = {
        "/proc": ("proc", "proc", ["nosuid", "noexec", "nodev"]),
        "/dev": ("tmpfs", "tmpfs", ["nosuid", "mode=755", "size=65536k"]),
        **{folder: ("tmpfs", "tmpfs", ["nosuid", "nodev", f"uid={run.user}", f"gid={run.user}"]) for folder in run.writable},
    }
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": list(argv),
            "env": [*own, *(f"{name}={value}" for name, value in run.env.items())],
            "cwd": image.get("WorkingDir") or "/",
            "user": {"uid": run.user, "gid": run.user},
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            *({"destination": to, "type": kind, "source": of, "options": options} for to, (kind, of, options) in folders.items()),
            {"destination": "/etc/hosts", "type": "bind", "source": "/etc/hosts", "options": ["rbind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount", "uts")]},
    }


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3_000:]


def _list(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else ()


def _answers(url: str) -> bool:
    return http_ready(url) is None


def _connects(url: str) -> bool:
    try:
        connect(url, application="check").close()
    except (Transient, psycopg2.Error):
        return False
    return True


def _pings(port: int) -> bool:
    try:
        with redis.Redis(host=HOST, port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _lists_topics(port: int) -> bool:
    try:
        admin = KafkaAdminClient(bootstrap_servers=[f"{HOST}:{port}"], request_timeout_ms=3_000, bootstrap_timeout_ms=1_000)
    except Exception:  # noqa: BLE001  (kafka-python has several kinds for a broker that is not there yet)
        return False
    try:
        return admin.list_topics() is not None
    finally:
        admin.close()


def main() -> int:
    """Build what is missing and check all."""
    try:
        run()
    except TandemError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
