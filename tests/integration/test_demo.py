"""The demo as a user runs it: the whole platform, twice over the same data, and once interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from free_ports import free_base
from tandem.local.records import read_records

_ARGS = ("--sector", "consumer", "--sector", "financial", "--train-from", "2013-01-01", "--from", "2017-01-01", "--to", "2017-10-01")
_RUN_S = 420  # about 60 s on an idle machine of two cores
_READY_S, _END_S = 300, 120
_GONE_S = 30  # for init to reap who has ended
_KEYS = {"APCA-API-KEY-ID": "any", "APCA-API-SECRET-KEY": "any"}
pytestmark = pytest.mark.timeout(1_500)  # two runs in a row


def _start(folder: Path, *more: str) -> "subprocess.Popen[bytes]":
    # Beside, not in, the temporary folder of pytest: an unprivileged server may have to reach it.
    argv = [
        sys.executable,
        "-m",
        "tandem.cli.main",
        "demo",
        *_ARGS,
        "--home",
        str(folder / "home"),
        "--port-base",
        str(free_base()),
        *more,
    ]
    # Servers that somebody's environment names would be used instead of the demo's own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_") and name != "MLFLOW_TRACKING_URI"}
    log = (folder / "log").open("wb")
    with log:
        return subprocess.Popen(argv, stdout=log, stderr=log, env=env | {"COLUMNS": "200"})


def _report(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    process = _start(folder, "--report", str(folder / "report.json"))
    assert process.wait(_RUN_S) == 0, (folder / "log").read_text()[-4000:]
    return json.loads((folder / "report.json").read_bytes())


def _descendants(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two runs over the same data with the same seed, each from nothing."""
    folder = tmp_path_factory.mktemp("demo")
    return _report(folder / "one"), _report(folder / "two")


def test_two_runs_over_the_same_data_decide_the_same(reports: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Orders, times, quantities and prices: one digest over all of them; and there are orders to compare."""
    one, two = reports
    assert one["orders"] > 0
    assert one["decisions_digest"] == two["decisions_digest"]
    assert [model["digest"] for model in one["models"].values()] == [model["digest"] for model in two["models"].values()]
    assert (one["pnl_usd"], one["fills"], one["data"]) == (two["pnl_usd"], two["fills"], two["data"])


def test_nothing_is_lost_or_doubled_on_the_way(reports: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Every tick that was replayed is in Kafka once, every bar in Postgres, every forecast scored but the last of each pair."""
    report, _ = reports
    symbols, days = 6, 188  # BAC JPM, HD WMT, KO PEP; sessions from 3 January to 29 September 2017
    assert report["ticks_replayed"] == report["ticks_in_kafka"] == report["bars"] == symbols * days
    assert (report["ticks_doubled"], report["parked_records"]) == (0, 0)
    assert report["forecasts"] == 3 * days


def test_the_ledger_equals_the_broker(reports: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Position by position and to the cent, after every order became two filled legs."""
    report, _ = reports
    assert report["ledger_equals_broker"] is True
    assert report["differences"] == []
    assert report["orders"] == report["fills"] == 2 * report["intents"]


def test_an_interrupt_stops_every_child(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ctrl-C while the servers start: exit code 130, and no process is left."""
    folder = tmp_path_factory.mktemp("interrupted")
    process = _start(folder)
    deadline = time.monotonic() + _READY_S
    while "kafka is ready" not in (folder / "log").read_text():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.02)
    children = _descendants(process)
    assert len(children) >= 4
    process.send_signal(signal.SIGINT)
    assert process.wait(_END_S) == 130, (folder / "log").read_text()
    _, alive = psutil.wait_procs(children, timeout=_GONE_S)
    assert alive == []
    assert "Traceback" not in (folder / "log").read_text()


def test_a_replay_that_begins_again_ends_no_demo(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither in its midst nor after its end: the portfolio goes over to the new account, and the report is of the replay that ended."""
    folder = tmp_path_factory.mktemp("again")
    # A bar takes a quarter of a second, so that the first replay is left in its midst however late that is looked at.
    process, log = _start(folder, "--keep", "--speed", "345600"), folder / "log"

    def until(holds: Callable[[], bool], limit_s: float = _RUN_S) -> None:
        deadline_s = time.monotonic() + limit_s
        while not holds():
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline_s, log.read_text()[-4000:]
            time.sleep(0.05)

    try:
        until(lambda: "the replay starts" in log.read_text())
        (port,) = (record.port for record in read_records(folder / "home" / "run") if record.name == "recycler")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/tandem/v1", headers=_KEYS, timeout=20, trust_env=False) as market:
            until(lambda: market.get("/replay").json()["bars"] >= 5)
            market.post("/replay/seek", json={"to": "2017-02-01"}).raise_for_status()
            market.post("/replay/speed", json={"speed": "max"}).raise_for_status()
            until(lambda: "everything stays up" in log.read_text())
            told = " ".join(log.read_text().split())
            assert "ledger equals broker yes" in told
            ended = market.get("/replay").json()
            assert f"{ended['ticks_sent']:,} replayed, {ended['ticks_sent']:,} in Kafka, 0 doubled" in told
            market.post("/replay/seek", json={"to": "2017-09-01"}).raise_for_status()
            until(lambda: (now := market.get("/replay").json())["replay_id"] != ended["replay_id"] and now["state"] == "ended")
            until(lambda: not market.get("/replay").json()["late"])
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(_END_S)
    assert code == 0, log.read_text()[-4000:]
