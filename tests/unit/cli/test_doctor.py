"""`tandem doctor`: each fault is found, told with what to do about it, and ends the command with exit code 1."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tandem.cli.main import app

ROOT = Path(__file__).parents[3]
SETTINGS = (
    *("TANDEM_KAFKA_BOOTSTRAP_SERVERS", "TANDEM_POSTGRES_URL", "TANDEM_REDIS_URL", "MLFLOW_TRACKING_URI", "TANDEM_SOURCE"),
    *("TANDEM_ALPACA_KEY_ID", "TANDEM_ALPACA_SECRET_KEY"),
)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def examined(home: Path, *arguments: str, **settings: str) -> dict[str, dict[str, Any]]:
    """The findings by their subject, under these settings alone."""
    env = dict.fromkeys(SETTINGS, "") | {"TANDEM_SOURCE": "recycled", "TANDEM_CONFIG_DIR": str(ROOT / "config")} | settings
    done = CliRunner().invoke(app, ["doctor", "--json", "--home", str(home), *arguments], env=env)
    document = json.loads(done.stdout)
    findings = {finding["subject"]: finding for finding in document["findings"]}
    assert document["faults"] == sum(finding["verdict"] == "fault" for finding in findings.values())
    assert done.exit_code == bool(document["faults"])
    assert [f["subject"] for f in findings.values() if (f["verdict"] != "ok") != bool(f["remedy"])] == [], "each fault has a remedy"
    return findings


def test_it_changes_nothing(tmp_path: Path) -> None:
    """A home that is not there is not made."""
    found = examined(tmp_path / "home")
    assert (found["versions"]["verdict"], found["configuration"]["verdict"]) == ("ok", "ok")
    assert not (tmp_path / "home").exists()


def test_a_taken_port_is_named(tmp_path: Path, port: int) -> None:
    """With what it is for, and how to move the platform."""
    finding = examined(tmp_path, "--port-base", str(port))["ports"]
    assert finding["verdict"] == "fault"
    assert f"port {port} for postgres is taken" in finding["found"]
    assert "--port-base" in finding["remedy"]


@pytest.mark.parametrize(
    ("setting", "value", "subject", "verdict"),
    [
        ("TANDEM_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{free}", "Kafka", "fault"),
        ("TANDEM_POSTGRES_URL", "postgresql://u:secret-of-it@127.0.0.1:{free}/tandem", "PostgreSQL's answer", "fault"),
        ("TANDEM_REDIS_URL", "redis://127.0.0.1:{free}/0", "Redis' answer", "warning"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:{free}", "MLflow", "fault"),
        ("TANDEM_SOURCE", "paper", "credentials", "fault"),
        ("TANDEM_CONFIG_DIR", "/no/such/folder", "configuration", "fault"),
        ("TANDEM_POSTGRES_SSLMODE", "perhaps", "settings", "fault"),
    ],
)
def test_what_is_away_or_wrong_is_found(tmp_path: Path, setting: str, value: str, subject: str, verdict: str) -> None:
    """A cache that is away is no fault; no password is shown."""
    with socket.socket() as probe:  # bound, and not listening: nobody else gets the port meanwhile
        probe.bind(("127.0.0.1", 0))
        finding = examined(tmp_path, **{setting: value.format(free=probe.getsockname()[1])})[subject]
    assert finding["verdict"] == verdict
    assert "secret-of-it" not in json.dumps(finding)
    assert "\n" not in finding["found"], "one line, whatever a driver says"


def test_an_account_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    """The keys themselves are not shown."""
    keys = {"TANDEM_SOURCE": "paper", "TANDEM_ALPACA_KEY_ID": "key-of-it", "TANDEM_ALPACA_SECRET_KEY": "secret-of-it"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = examined(tmp_path, **keys, TANDEM_ALPACA_API_URL=f"http://127.0.0.1:{probe.getsockname()[1]}")["credentials"]
    assert found["verdict"] == "fault"
    assert "-of-it" not in json.dumps(found)


def test_what_is_missing_for_a_server_is_told(tmp_path: Path) -> None:
    """Without Java and Maven anywhere."""
    found = examined(tmp_path, PATH="", JAVA_HOME="/no/java", XDG_CACHE_HOME=str(tmp_path))
    assert (found["Java for Kafka"]["verdict"], found["Kafka's jars"]["verdict"]) == ("fault", "fault")
    assert "install" in found["Java for Kafka"]["remedy"]
    # With a Kafka of one's own neither is needed.
    assert "Java for Kafka" not in examined(tmp_path, PATH="", TANDEM_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")


def test_people_read_the_same(tmp_path: Path) -> None:
    """A line for each finding, its remedy below, and a sum."""
    env = dict.fromkeys(SETTINGS, "") | {"TANDEM_SOURCE": "live", "TANDEM_CONFIG_DIR": str(ROOT / "config")}
    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)], env=env)
    assert done.exit_code == 1
    assert "fault    credentials" in done.stdout
    assert "-> set them to the keys of your account" in done.stdout
