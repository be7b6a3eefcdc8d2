"""The platform as a whole: it starts, it uses what is there already, and it leaves nothing behind however it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from free_ports import free_base
from tandem.adapters import topics
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.postgres import connect
from tandem.domain.errors import Permanent
from tandem.local.platform import Platform
from tandem.local.probes import PortTaken, http_ready
from tandem.local.records import read_records
from tandem.settings import Settings

STARTS = """
import sys
from pathlib import Path
from tandem.local.platform import Platform
from tandem.settings import Settings
with Platform(Path(sys.argv[1]), Settings(), int(sys.argv[2]), report=lambda line: print(line, flush=True)) as platform:
    platform.start_servers()
    platform.wait_mlflow()
    print("everything is ready", flush=True)
    import time; time.sleep(600)
"""


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home that every user may reach."""
    path = Path(tempfile.mkdtemp(prefix="tandem-platform-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name no server, whatever the environment of the test run says."""
    for name in [n for n in os.environ if n.startswith("TANDEM_") or n == "MLFLOW_TRACKING_URI"]:
        monkeypatch.delenv(name)
    return Settings()


@pytest.fixture
def port_base() -> int:
    """A base whose ports nobody listens on."""
    return free_base()


def processes_of(home: Path) -> list[str]:
    """Command lines of all living processes, but us, that have to do with a home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(home) in word for word in words):
            found.append(" ".join(words[:20]))
    return found


def test_servers_start_keep_their_data_and_leave_nothing_running(own_home: Path, settings: Settings, port_base: int) -> None:
    """What was written before a stop is there after the next start; while it runs, a second platform on the home is refused."""
    with Platform(own_home, settings, port_base) as platform:
        endpoints = platform.start_servers()
        platform.wait_mlflow()
        assert http_ready(f"{endpoints.mlflow}/health") is None
        assert set(platform.memory_bytes()) == {"postgres", "redis", "kafka", "mlflow"}
        with closing(connect(endpoints.postgres)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        create_topics(endpoints.kafka, [])
        writer = KafkaWriter(endpoints.kafka, "test")
        writer.publish(topics.FORECASTS, b"kept")
        writer.flush()
        writer.close()
        with pytest.raises(Permanent, match=rf"a platform runs on {own_home} already \(pid {os.getpid()}\)"):
            Platform(own_home, settings, port_base + 64)
        started = [child.pid for child in platform.processes]
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert processes_of(own_home) == []
    assert read_records(own_home / "run") == ()

    with Platform(own_home, settings, port_base) as platform:
        endpoints = platform.start_servers()
        with closing(connect(endpoints.postgres)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT answer FROM kept")
            assert cursor.fetchone() == (42,)
        reader = KafkaReader(endpoints.kafka, [topics.FORECASTS], client_id="test")
        assert [record.value for record in reader.poll(10)] == [b"kept"]
        reader.close()
    assert processes_of(own_home) == []


@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, ""), (signal.SIGTERM, "redis is ready"), (signal.SIGHUP, "kafka is ready")])
def test_interrupted_start_leaves_nothing(own_home: Path, settings: Settings, port_base: int, number: int, after: str) -> None:
    """Ctrl-C, SIGTERM or a closed terminal at different points of the start."""
    with subprocess.Popen([sys.executable, "-c", STARTS, str(own_home), str(port_base)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        if after:
            assert any(after in line for line in starter.stdout), "the start did not get that far"
        else:
            while not list((own_home / "run").glob("*.child.json")):
                assert starter.poll() is None
                time.sleep(0.01)
        starter.send_signal(number)
        starter.stdout.read()
        assert starter.wait(timeout=40) != 0
    assert processes_of(own_home) == []
    assert read_records(own_home / "run") == ()


def test_down_ends_what_a_killed_supervisor_left(own_home: Path, settings: Settings, port_base: int) -> None:
    """kill -9 of the parent: its children live on, `tandem status` says so, `tandem down` ends them all."""
    with subprocess.Popen([sys.executable, "-c", STARTS, str(own_home), str(port_base)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        # By then the steps that make their folders, which end by themselves, are over.
        awaited = {"postgres", "redis", "kafka"}
        assert any(not (awaited := awaited - {line.split()[0]}) for line in starter.stdout), f"the start did not get that far: {awaited}"
        starter.kill()
    left = [record.pid for record in read_records(own_home / "run")]
    assert all(psutil.pid_exists(pid) for pid in left)
    command = [sys.executable, "-m", "tandem.cli.main"]
    told = subprocess.run([*command, "status", "--home", str(own_home)], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "the supervisor is gone" in told.stderr
    down = subprocess.run([*command, "down", "--home", str(own_home)], capture_output=True, text=True, check=True)
    assert f"all {len(left)} processes are gone" in down.stdout
    assert processes_of(own_home) == []


def test_taken_port_ends_the_start_with_its_name(own_home: Path, settings: Settings, port_base: int) -> None:
    """One clear error, and nothing of the rest stays."""
    with socket.create_server(("127.0.0.1", port_base + 1)):
        with (
            Platform(own_home, settings, port_base) as platform,
            pytest.raises(PortTaken, match=f"port {port_base + 1} for redis is taken"),
        ):
            platform.start_servers()
        assert processes_of(own_home) == []


def test_servers_that_settings_name_are_used(  # noqa: PLR0917  fixtures
    own_home: Path, settings: Settings, port_base: int, postgres_url: str, redis_url: str, kafka_servers: str
) -> None:
    """Only what no setting names is started: here MLflow, on the given Postgres, in a database of its own."""
    given = settings.model_copy(
        update={"postgres_url": SecretStr(postgres_url), "redis_url": SecretStr(redis_url), "kafka_bootstrap_servers": kafka_servers}
    )
    with Platform(own_home, given, port_base) as platform:
        endpoints = platform.start_servers()
        platform.wait_mlflow()
        assert [child.name for child in platform.processes] == ["mlflow"]
        assert (endpoints.postgres, endpoints.redis, endpoints.kafka) == (postgres_url, redis_url, kafka_servers)


def test_private_home_works_too(tmp_path: Path, settings: Settings, port_base: int) -> None:
    """A checkout under a folder that only its owner may enter, /root for instance: as root, Postgres cannot follow there."""
    (tmp_path / "private").mkdir(mode=0o700)
    given = settings.model_copy(
        update={"redis_url": SecretStr("redis://x"), "kafka_bootstrap_servers": "x:1", "mlflow_tracking_uri": "http://x"}
    )
    home = tmp_path / "private" / "tandem"
    with Platform(home, given, port_base) as platform:
        connect(platform.start_servers().postgres).close()
    pointer = home / "postgres" / "elsewhere"
    assert pointer.exists() == (os.geteuid() == 0)
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip())


def test_dead_server_is_restarted_or_ends_the_run(own_home: Path, settings: Settings, port_base: int) -> None:
    """check() raises with the reason; revive() starts it again, three times at most."""
    given = settings.model_copy(
        update={"postgres_url": SecretStr("postgresql://x/y"), "kafka_bootstrap_servers": "x:1", "mlflow_tracking_uri": "http://x"}
    )
    with Platform(own_home, given, port_base) as platform:
        platform.start_servers()
        for attempt in range(4):
            (child,) = platform.processes
            platform.wait_ready(["redis"], 120)
            assert platform.revive() == []
            child.popen.kill()
            child.popen.wait()
            with pytest.raises(Permanent, match=r"redis was ended by SIGKILL; end of .*redis\.log"):
                platform.check()
            (told,) = platform.revive()
            assert told.endswith(f"started again ({attempt + 1} of 3)" if attempt < 3 else "restarted 3 times and is given up")
        assert platform.revive() == []
