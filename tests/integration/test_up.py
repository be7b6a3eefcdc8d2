"""`tandem up --detach`, `tandem status` and `tandem down` as a user calls them."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tandem.adapters.control_log import read_control

ROOT = Path(__file__).parents[2]
SERVERS, SERVICES = {"postgres", "redis", "kafka", "mlflow"}, {"recycler", "ingestor", "recorder", "portfolio"}


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home that every user may reach."""
    path = Path(tempfile.mkdtemp(prefix="tandem-up-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def tandem(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in an environment that names no server."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_") and name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "tandem.cli.main", *arguments, "--home", str(home)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)


def free_base() -> int:
    """A port base whose ports nobody uses now."""
    while True:
        base = random.randrange(20_000, 32_000, 64)
        with closing(socket.socket()) as probe:
            if all(probe.connect_ex(("127.0.0.1", base + offset)) for offset in (*range(5), *range(10, 14))):
                return base


def lives(pid: int) -> bool:
    """True unless it has ended; one that only waits for init to reap it has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_up_status_down(own_home: Path) -> None:
    """Everything is up and ready, says where it is, and is gone afterwards; a second `up` on the same home is refused."""
    up = tandem(own_home, "up", "--detach", "--port-base", str(free_base()), "--from", "2022-12-01")
    try:
        assert up.returncode == 0, up.stderr
        assert "tandem train" in up.stderr, "without a model it must say how to make one"
        told = tandem(own_home, "status", "--json")
        assert told.returncode == 0, told.stderr
        status = json.loads(told.stdout)
        assert (status["state"], {p["name"]: p["why_not_ready"] for p in status["processes"]}) == (
            "ready",
            dict.fromkeys(SERVERS | SERVICES),
        )
        table, reader = read_control(status["environment"]["TANDEM_KAFKA_BOOTSTRAP_SERVERS"], "test")
        reader.close()
        assert "KO-PEP" in table.pairs
        assert "GS-MS" not in table.pairs, "the 20 stocks do not hold GS"
        second = tandem(own_home, "up", "--detach")
        assert (second.returncode, "a platform runs on" in second.stderr) == (1, True)
    finally:
        down = tandem(own_home, "down")
    assert down.returncode == 0, down.stderr
    assert "all 8 processes are gone" in down.stdout
    assert not [pid for pid in (status["supervisor_pid"], *(p["pid"] for p in status["processes"])) if lives(pid)]
    after = tandem(own_home, "status")
    assert (after.returncode, "nothing runs on" in after.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--data", "/no/such.parquet"), "--data /no/such.parquet: no such file"),
        (("--bar", "2min"), "--bar 2min: allowed are 1min, 5min, 1d"),
    ],
)
def test_wrong_option_is_one_line(own_home: Path, arguments: tuple[str, ...], reason: str) -> None:
    """Found and allowed value; no traceback, and no server was started for it."""
    up = tandem(own_home, "up", *arguments)
    assert (up.returncode, up.stderr) == (1, f"error: {reason}\n")
