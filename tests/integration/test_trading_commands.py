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
from tandem.local.platform import Platform
from tandem.settings import Settings

pytestmark = pytest.mark.timeout(1500)
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
    document = asked(traded, "top")
    for name in ("summary", "pairs", "positions"):
        assert document[name] == traded.api(f"/v1/{name}"), name
    summary = document["summary"]
    assert summary["open_pairs"] > 0
    assert document["state"] == "ready"
    shown = tandem(traded.home, "top", "--once").stdout
    text, rows = " ".join(shown.split()), {line.split()[0]: line.split() for line in shown.splitlines() if line.split()}
    equity, pnl, cash, fees = (f"{Decimal(summary[name]):,.2f}" for name in ("equity_usd", "pnl_usd", "cash_usd", "fees_usd"))
    assert f"equity {equity} USD P&L {pnl} cash {cash} fees {fees} open pairs {summary['open_pairs']}" in text
    for pair in document["pairs"]:
        row = rows[pair["pair"]]
        assert row[1:3] == [pair["sector"], pair["state"]]
        assert f"{pair['forecast']['z']:+.2f}" in row
        assert f"{Decimal(pair['pnl']['total_usd']):,.2f}" in row
    for position in document["positions"]:
        assert rows[position["symbol"]][1:3] == [position["qty"], position["avg_entry_price"]]
    for process in document["processes"]:
        assert rows[process["name"]][1:4] == ["yes", str(process["pid"]), str(process["port"])]
    lag = {process["name"]: process["lag"] for process in document["processes"]}
    assert [lag[name]["records"] for name in ("recorder", "portfolio")] == [0, 0]


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
