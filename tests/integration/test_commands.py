"""The commands that look, on a platform that runs: each prints one JSON document, `top` shows it all, `doctor` finds it well."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from free_ports import free_base
from platform_command import tandem

pytestmark = pytest.mark.timeout(900)
PROCESSES = {"postgres", "redis", "kafka", "mlflow", "recycler", "ingestor", "recorder", "portfolio", "dashboard"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A running platform without a model: `up --json` tells what runs, `down --json` what it stopped."""
    path = Path(tempfile.mkdtemp(prefix="tandem-commands-"))
    path.chmod(0o711)
    try:
        up = tandem(path, "up", "--detach", "--json", "--port-base", str(free_base()), "--from", "2022-12-01")
        assert up.returncode == 0, up.stderr
        assert {process["name"] for process in json.loads(up.stdout)["processes"]} == PROCESSES
        yield path
    finally:
        down = tandem(path, "down", "--json")
        shutil.rmtree(path)
    assert set(json.loads(down.stdout)["stopped"]) == PROCESSES


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("pairs",),
        ("orders",),
        ("positions",),
        ("rollout", "status"),
        ("deadletter", "list"),
        ("models", "rankings"),
        ("models", "trends"),
        ("models", "history"),
        ("models", "stability"),
        ("models", "decisions"),
        ("audit", "--check"),
        ("top",),
        ("doctor",),
    ],
)
def test_a_command_prints_one_document(home: Path, arguments: tuple[str, ...]) -> None:
    """Whatever it has found, stdout is JSON and nothing else."""
    done = tandem(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_a_pair_can_be_withdrawn_by_a_program(home: Path) -> None:
    """The document names what was deleted."""
    done = tandem(home, "delete", "pair", "KO-PEP", "--json")
    assert json.loads(done.stdout) == [{"pair": "KO-PEP", "sector": "consumer", "result": "deleted"}]


def test_top_shows_every_process_and_the_account(home: Path) -> None:
    """With --once, as into a pipe: the book's equity, each process, and how far each service is behind."""
    done = tandem(home, "top", "--once")
    assert done.returncode == 0, done.stderr
    assert [name for name in PROCESSES if name not in done.stdout] == []
    assert "equity 1,000,000.00 USD" in done.stdout
    document = json.loads(tandem(home, "top", "--json").stdout)
    lag = {process["name"]: process["lag"] for process in document["processes"]}
    assert {"records", "seconds"} <= lag["recorder"].keys()
    assert document["summary"]["equity_usd"] == "1000000"


def test_doctor_finds_a_running_platform_well(home: Path) -> None:
    """Its own ports are no fault, and its servers answer."""
    document = json.loads(tandem(home, "doctor", "--json").stdout)
    found = {finding["subject"]: finding["verdict"] for finding in document["findings"]}
    assert document["faults"] == 0, document
    assert {"platform", "Kafka", "PostgreSQL's answer", "Redis' answer", "MLflow"} <= found.keys()


def test_doctor_asks_an_account(home: Path) -> None:
    """The paper exchange stands in for Alpaca; its cash is told, so that one sees which account it is."""
    status = json.loads(tandem(home, "status", "--json").stdout)
    port = next(process["port"] for process in status["processes"] if process["name"] == "recycler")
    account = {"TANDEM_SOURCE": "paper", "TANDEM_ALPACA_KEY_ID": "k", "TANDEM_ALPACA_SECRET_KEY": "s"}
    done = tandem(home, "doctor", "--json", **account, TANDEM_ALPACA_API_URL=f"http://127.0.0.1:{port}")
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert (found["credentials"]["verdict"], "cash 1000000" in found["credentials"]["found"]) == ("ok", True)


def test_a_platform_is_saved_while_it_runs(home: Path) -> None:
    """Its services go on; what is restored into is another home, since a running one is refused."""
    target = home / "saved"
    done = tandem(home, "backup", str(target), "--json")
    assert done.returncode == 0, done.stderr
    assert "tandem.control" in {copy["topic"] for copy in json.loads(done.stdout)["topics"]}
    refused = tandem(home, "restore", str(target), "--replace")
    assert (refused.returncode, "tandem down" in refused.stderr) == (1, True)
