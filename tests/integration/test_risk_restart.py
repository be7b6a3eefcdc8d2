"""Breakers through the real portfolio and Postgres: they stop opening by themselves, show why, and survive kill -9."""

import os
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from replay_world import ROOT, World, until
from tandem.adapters import postgres
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.domain.trading import TradingMode
from tandem.flow.breakers import Breaker, BreakerLimits, BreakerState, Compared, Valued, document, state_of, step
from tandem.flow.drift import DriftLimits, row
from tandem.flow.drift import state_of as drift_of
from tandem.flow.drift import step as drift_step
from tandem.flow.journal import Changes, GuardRecord
from trading_cases import forecast
from trading_table import DAY

LADDER = "    - {drawdown: 0.0005, size: 0, mode: halted}\n"


class TightWorld(World):
    """A portfolio that stops at a drawdown of half a thousandth."""

    def environment(self) -> dict[str, str]:
        folder = self.folder / "config"
        if not folder.exists():
            shutil.copytree(ROOT / "config", folder)
            lines = (folder / "risk.yaml").read_text().splitlines(keepends=True)
            kept = [line for line in lines if "- {drawdown:" not in line]
            place = next(number for number, line in enumerate(kept) if line.strip() == "rungs:")
            (folder / "risk.yaml").write_text("".join([*kept[: place + 1], LADDER, *kept[place + 1 :]]))
        return {**World.environment(self), "TANDEM_CONFIG_DIR": str(folder)}


@pytest.fixture
def tight(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    made = TightWorld(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path)
    made.declare()
    try:
        yield made
    finally:
        made.stop_all()


def test_a_drawdown_halts_by_itself_and_a_killed_portfolio_finds_it_again(tight: World) -> None:
    tight.to_day = "2019-12-31"
    tight.start_recycler()
    portfolio = tight.start_portfolio()
    tight.publish_forecasts(tight.replay()["replay_id"])
    tight.begin()
    states = "SELECT mode, reason FROM trading_states WHERE scope = 'breaker/drawdown'"
    until("the halt", lambda: tight.alive(portfolio) and tight.rows(states))
    os.kill(portfolio.pid, 9)
    portfolio.wait()
    tight.processes.remove(portfolio)

    tight.start_portfolio()
    found = {state["scope"]: state for state in tight.ask("trading-state")}
    assert found["breaker/drawdown"]["mode"] == "halted"
    assert found["breaker/drawdown"]["reason"].startswith("drawdown of 0.")
    tight.finish()

    trips = tight.rows("SELECT scope, detail, event_ns FROM risk_events WHERE code = 'breaker_tripped'")
    assert [scope for scope, _, _ in trips] == ["breaker/drawdown"]
    late = tight.rows(f"SELECT count(*) FROM intents WHERE action IN ('open_long', 'open_short') AND bar_close_ns >= {trips[0][2]}")
    assert late == [(0,)]
    early = tight.rows("SELECT count(*) FROM intents WHERE action IN ('open_long', 'open_short')")
    assert early[0][0] > 0
    assert tight.rows("SELECT count(*) FROM reconciliations WHERE occasion = 'end_of_stream' AND equal") == [(1,)]


def test_what_guards_remember_is_read_back_as_it_was_written(postgres_url: str) -> None:
    """Floats and decimals to the last digit, and only the newest of each."""
    postgres.upgrade(postgres_url)
    store = PortfolioStore(postgres_url, "risk-restart")
    store.begin_book("recycled", Decimal(1_000))
    limits = BreakerLimits()
    state = BreakerState()
    for event in (
        Valued(at_ns=DAY, session=1, equity_usd=Decimal("1000.01")),
        Valued(at_ns=2 * DAY, session=2, equity_usd=Decimal("951.33")),
        Compared(at_ns=2 * DAY, difference="KO: the ledger has 1, the broker 2"),
    ):
        state = step(state, event, limits)
    drift = None
    for number in range(40):
        drift = drift_step(drift, forecast(spread=-0.03 / (number + 3), bar_index=number), "d", DriftLimits())
    for event_ns, document_ in ((1, {}), (2, document(state))):
        store.commit(Changes(guards={("breakers", ""): GuardRecord(name="breakers", scope="", document=document_, event_ns=event_ns)}))
    rows = {"pairs": {"KO-PEP": row(drift)}}
    store.commit(Changes(guards={("drift", "consumer"): GuardRecord(name="drift", scope="consumer", document=rows, event_ns=2)}))

    found = store.load().guards
    store.close()

    assert set(found) == {("breakers", ""), ("drift", "consumer")}
    assert state_of(found["breakers", ""]) == state
    assert state.tripped[Breaker.RECONCILE].mode is TradingMode.REDUCING
    assert drift_of(found["drift", "consumer"]["pairs"]["KO-PEP"]) == drift
