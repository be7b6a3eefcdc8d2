"""`tandem up --detach`, `tandem status` and `tandem down` as a user calls them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from free_ports import free_base
from platform_command import tandem
from tandem.adapters.control_log import read_control

SERVERS, SERVICES = {"postgres", "redis", "kafka", "mlflow"}, {"recycler", "ingestor", "recorder", "portfolio", "dashboard"}


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home that every user may reach."""
    path = Path(tempfile.mkdtemp(prefix="tandem-up-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


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
    assert "all 9 processes are gone" in down.stdout
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
