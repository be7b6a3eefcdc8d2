"""A platform that has traded, its replay paused while a pair is open: `tandem demo --keep`, held where there is something to see."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dashboard_browser import asked
from platform_command import free_base
from tandem.adapters.model_history import ModelHistory
from tandem.local.records import read_records

_READY_S = 400
_STEP_S = 180
_BARS_MIN = 60  # enough scored forecasts for a ranking
_BARS_MAX = 1_000
_KEYS = {"APCA-API-KEY-ID": "any", "APCA-API-SECRET-KEY": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingPlatform:
    """Where it is and how to move its market."""

    home: Path
    dashboard: str
    portfolio: str
    replay: str
    postgres: str
    token: str

    def api(self, path: str, **query: Any) -> Any:
        """The portfolio's own answer."""
        return asked(self.portfolio + path, **query)

    def status(self) -> Any:
        """The recycler's own answer."""
        return asked(self.replay)

    def press(self, path: str, body: object = None) -> None:
        """One of the replay's buttons."""
        httpx.post(self.replay + path, json=body, headers=_KEYS, timeout=20, trust_env=False).raise_for_status()

    def paused_at(self, bars: int) -> bool:
        """Whether so many bars were played, everybody has acted on them, and the market stands."""
        status = self.status()
        decided = self.decided_ns() == status["watermark_ns"]
        return bool(status["state"] == "paused" and status["bars"] >= bars and not status["waiting_for"] and decided)

    def decided_ns(self) -> int | None:
        """The close of the newest bar that the portfolio has decided; None while it changes over to another replay."""
        try:
            answer = httpx.get(f"{self.portfolio}/v1/summary", timeout=20, trust_env=False)
        except httpx.TransportError:
            return None
        return int(answer.json()["decided_ns"]) if answer.is_success else None


@contextmanager
def trading_platform() -> Iterator[TradingPlatform]:
    """Started and stopped as a user does."""
    home = Path(tempfile.mkdtemp(prefix="tandem-dashboard-"))
    home.chmod(0o711)
    base = free_base()
    spans = ("--sector", "consumer", "--sector", "financial", "--train-from", "2013-01-01", "--from", "2017-01-01")
    # A bar takes a quarter of a second, so that the market can be stopped before it is over.
    argv = (sys.executable, "-m", "tandem.cli.main", "demo", "--keep", *spans, "--speed", "345600", "--home", str(home / "demo"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_") and name != "MLFLOW_TRACKING_URI"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen((*argv, "--port-base", str(base)), stdout=log, stderr=log, env=env, cwd=Path(__file__).parents[1])
    try:
        yield _held(process, home, base)
    finally:
        process.terminate()
        process.wait(120)
        shutil.rmtree(home)


def _held(process: "subprocess.Popen[bytes]", home: Path, base: int) -> TradingPlatform:
    log = home / "log"
    _until(lambda: process.poll() is not None or "the replay starts" in log.read_text(), _READY_S, log)
    assert process.poll() is None, log.read_text()[-4_000:]
    ports = {record.name: record.port for record in read_records(home / "demo" / "run")}
    environ = next(record.process() for record in read_records(home / "demo" / "run") if record.name == "portfolio")
    assert environ is not None
    platform = TradingPlatform(
        home=home / "demo",
        dashboard=f"http://127.0.0.1:{ports['dashboard']}",
        portfolio=f"http://127.0.0.1:{ports['portfolio']}",
        replay=f"http://127.0.0.1:{ports['recycler']}/tandem/v1/replay",
        postgres=environ.environ()["TANDEM_POSTGRES_URL"],
        token=(home / "demo" / "run" / "api_token").read_text().strip(),
    )
    _until(lambda: platform.status()["bars"] >= _BARS_MIN, _READY_S, log)
    platform.press("/pause")
    _until(lambda: platform.paused_at(_BARS_MIN), _STEP_S, log)
    while not _worth_seeing(platform):
        bars = platform.status()["bars"]
        assert bars < _BARS_MAX, log.read_text()[-4_000:]
        platform.press("/step", {"bars": 1})
        _until(lambda: platform.paused_at(bars + 1), _STEP_S, log)  # noqa: B023  (called before the next round)
    history, decided_ns = ModelHistory(platform.postgres), platform.api("/v1/summary")["decided_ns"]
    _until(lambda: history.refresh_rankings(decided_ns) > 0, _STEP_S, log)
    history.refresh_trends(decided_ns)
    return platform


def _worth_seeing(platform: TradingPlatform) -> bool:
    """Something is held, by the broker's own word, and fills are in the ledger. The API asks the broker every 30 s: do not wait for it."""
    httpx.post(
        f"{platform.portfolio}/v1/cache/refresh", headers={"Authorization": f"Bearer {platform.token}"}, timeout=20, trust_env=False
    ).raise_for_status()
    return len(platform.api("/v1/positions")) > 1


def _until(holds: Any, limit_s: float, log: Path) -> None:
    deadline_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {limit_s} s:\n{log.read_text()[-4_000:]}"
        time.sleep(0.1)
