"""The commands on a platform that has traded, held while a pair is open: what they show is the API's, and a backup brings all back."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dashboard_platform import TradingPlatform, trading_platform
from free_ports import free_base
from platform_command import tandem
from replay_world import until
from tandem.local.platform import Platform
from tandem.settings import Settings

pytestmark = pytest.mark.timeout(1500)
_TOLD = ("summary", "pairs", "positions")
_CHECKED_MIN = 5  # links of the chain and invariants: a platform on which nothing happened would agree with anything


@pytest.fixture(scope="module")
def traded() -> Iterator[TradingPlatform]:
    """The demo's, its market held."""
    with trading_platform() as made:
        yield made


def asked(traded: TradingPlatform, *arguments: str, **settings: str) -> Any:
    """A command's JSON."""
    done = tandem(traded.home, *arguments, "--json", **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["pairs", "positions", "orders"])
def test_a_list_is_the_apis(traded: TradingPlatform, what: str) -> None:
    """Field by field, and there is something in it."""
    found = asked(traded, what)
    assert found == traded.api(f"/v1/{what}", **({"limit": 20} if what == "orders" else {}))
    assert found


def test_top_shows_what_the_api_gives(traded: TradingPlatform) -> None:
    """Once, as into a pipe: the account to the cent, every pair with its state, z and profit, every position, lag of every service."""
    document = until("everything is told and nobody is behind", lambda: whole_view(traded))
    for name in _TOLD:
        assert document[name] == traded.api(f"/v1/{name}"), name
    summary = document["summary"]
    assert summary["open_pairs"] > 0
    assert document["state"] == "ready"
    processes = {process["name"]: ["yes", str(process["pid"]), str(process["port"])] for process in document["processes"]}
    text, rows = until("all have answered in time", lambda: shown(traded, processes))
    equity, pnl, cash, fees = (f"{Decimal(summary[name]):,.2f}" for name in ("equity_usd", "pnl_usd", "cash_usd", "fees_usd"))
    assert f"equity {equity} USD P&L {pnl} cash {cash} fees {fees} open pairs {summary['open_pairs']}" in text
    for pair in document["pairs"]:
        row = rows[pair["pair"]]
        assert row[1:3] == [pair["sector"], pair["state"]]
        assert f"{pair['forecast']['z']:+.2f}" in row
        assert f"{Decimal(pair['pnl']['total_usd']):,.2f}" in row
    for position in document["positions"]:
        assert rows[position["symbol"]][1:3] == [position["qty"], position["avg_entry_price"]]


def whole_view(traded: TradingPlatform) -> Any:
    """What `tandem top` sees; None while a service is behind, or takes longer to answer than it waits, as on a busy machine."""
    found = asked(traded, "top")
    lag = {process["name"]: process["lag"].get("records") for process in found["processes"]}
    return found if all(found[name] for name in _TOLD) and [lag["recorder"], lag["portfolio"]] == [0, 0] else None


def shown(traded: TradingPlatform, processes: dict[str, list[str]]) -> tuple[str, dict[str, list[str]]] | None:
    """What it prints, in one line, and line by line by first words; None while a process has not answered in time."""
    told = tandem(traded.home, "top", "--once").stdout
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.split()}
    answered = "open pairs" in told and all(rows.get(name, [])[1:4] == row for name, row in processes.items())
    return (" ".join(told.split()), rows) if answered else None


def test_a_platform_that_has_traded_is_restored_whole(traded: TradingPlatform) -> None:
    """Saved while it runs and brought into an empty home: audit chain and checker say of the copy what they say of the original."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-saved-"))  # not pytest's: every user must reach it, since Postgres may run as another
    folder.chmod(0o711)
    try:
        chain, verdict = told(traded.home)
        assert chain["links"] > _CHECKED_MIN
        saved = asked(traded, "backup", str(folder / "saved"))
        assert saved["heads"] == {chain["book"]: chain["head"]}
        home = folder / "home"
        restored = tandem(home, "restore", str(folder / "saved"), "--port-base", str(free_base()), "--json")
        assert restored.returncode == 0, restored.stderr + restored.stdout
        assert json.loads(restored.stdout) == {
            "taken_utc": saved["taken_utc"],
            "entries": saved["rows"]["entries"],
            "heads": saved["heads"],
            "faults": [],
        }
        settings = Settings(home=home, kafka_bootstrap_servers="", postgres_url="", redis_url="", mlflow_tracking_uri="")
        with Platform(home, settings, free_base()) as platform:
            assert told(home, **platform.start_servers().environment()) == (chain, verdict)
    finally:
        shutil.rmtree(folder)


def told(home: Path, **where: str) -> tuple[Any, Any]:
    """What `tandem audit --check` and `tandem verify` say, in full, of the platform on this home, or of servers that are named."""
    chain = tandem(home, "audit", "--check", "--json", **where)
    assert chain.returncode == 0, chain.stdout + chain.stderr
    verified = tandem(home, "verify", "--running", "--json", **where)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    verdict = json.loads(verified.stdout)
    checked = [name for name, found in verdict["invariants"].items() if found["checked"]]
    assert len(checked) > _CHECKED_MIN, verdict
    return json.loads(chain.stdout), verdict
