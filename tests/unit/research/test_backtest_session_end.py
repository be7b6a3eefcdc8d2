"""A replay of intraday bars in which nothing is held over night: by event time, through the portfolio's own desk and exchange."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backtest_cases import RISK, distance_policy, task
from recorded_cases import trades
from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.domain.units import NS_PER_S
from tandem.flow.session_end import Policy, SessionEnd
from tandem.flow.sessions import session_at, session_number
from tandem.research.backtest_records import Played
from tandem.research.backtest_run import run

DAY_NS = 86_400 * NS_PER_S
FIRST_NS = int(np.datetime64("2024-06-24", "ns").astype(np.int64))
GRID = session_grid("5min", FIRST_NS, FIRST_NS + 17 * DAY_NS)  # with the half day of 3 July
MARGIN_MINUTES = 20


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> MarketData:
    """AAA and BBB share a walk and differ by a spread that comes back slowly; each trades once a bar, a second before its end."""
    random = np.random.default_rng(3)
    pairs = zip(GRID.open_ns.tolist(), GRID.close_ns.tolist(), strict=True)
    moments = [ns - NS_PER_S for opens, closes in pairs for ns in range(opens + GRID.bar_ns, closes + 1, GRID.bar_ns)]
    walk, spread = 100 * np.exp(np.cumsum(0.001 * random.standard_normal(len(moments)))), np.zeros(len(moments))
    for bar in range(1, len(moments)):
        spread[bar] = 0.97 * spread[bar - 1] + 0.002 * random.standard_normal()
    rows = [
        (name, ns, round(float(price), 2), 100)
        for name, prices in (("AAA", walk * np.exp(spread)), ("BBB", walk))
        for ns, price in zip(moments, prices, strict=True)
    ]
    folder: Path = tmp_path_factory.mktemp("market")
    return load_market_data(trades(folder / "market.parquet", sorted(rows, key=lambda row: (row[1], row[0]))))


def played(market: MarketData, policy: Policy) -> Played:
    risk = replace(RISK, session_end=SessionEnd(policy=policy, margin_minutes=MARGIN_MINUTES))
    return run(task(bar="5min", train_bars=300, trade_bars=300, risk=risk), market, distance_policy(1))


def over_night(found: Played) -> list[str]:
    return [t.pair for t in found.trades if t.closed_ns is None or session_number(GRID, t.opened_ns) != session_number(GRID, t.closed_ns)]


def test_nothing_is_held_over_night_and_nothing_opens_before_it(market: MarketData) -> None:
    """The same market with pairs that are kept holds some over night: the policy is what closes them."""
    closed, kept = played(market, Policy.CLOSE), played(market, Policy.KEEP)

    assert over_night(kept)
    assert over_night(closed) == []
    assert "session_end" in {trade.exit_reason for trade in closed.trades}
    for trade in closed.trades:
        session = session_at(GRID, trade.opened_ns)
        assert session is not None
        assert trade.opened_ns < session.close_ns - MARGIN_MINUTES * 60 * NS_PER_S
    assert [(fill.event_ns, fill.qty) for fill in played(market, Policy.CLOSE).executions] == [
        (fill.event_ns, fill.qty) for fill in closed.executions
    ]
