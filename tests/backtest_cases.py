"""A made market for tests of the backtest: two stocks of one spread and some that walk alone, as a file of daily closes."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from recorded_cases import CONFIG, closes
from tandem.adapters.calendar import session_grid
from tandem.adapters.fees_file import load_fees
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.domain.ids import SectorId
from tandem.flow.exchange_records import Rules
from tandem.portfolio.risk import load_risk
from tandem.quant.distance import DistanceRule
from tandem.research.backtest_job import Request
from tandem.research.backtest_run import BacktestTask
from tandem.research.policies import Terms
from tandem.research.policy_distance import DistancePolicy

RISK = load_risk(CONFIG)
FIRST_NS = int(np.datetime64("2015-01-02", "ns").astype(np.int64))
DAY_NS = 86_400_000_000_000


def made_market(folder: Path, *, bars: int = 400, seed: int = 1, walks: int = 3, phi: float = 0.93) -> MarketData:
    """AAA and BBB share a walk and differ by a stationary spread; CCC and so on are walks of their own. Prices in cents, around 100 USD."""
    random = np.random.default_rng(seed)
    steps = 0.01 * random.standard_normal((bars, walks + 1))
    spread = np.zeros(bars)
    for bar in range(1, bars):
        spread[bar] = phi * spread[bar - 1] + 0.008 * random.standard_normal()
    levels = 100 * np.exp(np.cumsum(steps, axis=0))
    columns = {"AAA": levels[:, 0] * np.exp(spread), "BBB": levels[:, 0]}
    columns |= {name * 3: levels[:, 1 + i] for i, name in enumerate("CDEFGHIJ"[:walks])}
    grid = session_grid("1d", FIRST_NS, FIRST_NS + 2 * bars * DAY_NS)
    days = [day.astype("datetime64[D]").item() for day in grid.close_ns[:bars].astype("datetime64[ns]")]
    file = closes(folder / "market.parquet", days, **{name: np.round(prices, 2).tolist() for name, prices in columns.items()})
    return load_market_data(file)


def task(**changes: object) -> BacktestTask:
    """120 bars to train on, 60 to trade."""
    base = BacktestTask(
        sector=SectorId("made"),
        bar="1d",
        train_bars=120,
        trade_bars=60,
        from_ns=None,
        to_ns=None,
        capital_usd=Decimal(100_000),
        rules=Rules(fees=load_fees(CONFIG / "fees.yaml")),
        risk=RISK,
        borrow_bps_year=Decimal(0),
    )
    return replace(base, **changes)


def distance_policy(pairs: int = 3) -> DistancePolicy:
    """The nearest pairs, each with its full notional."""
    variance = RISK.limits.volatility_target_daily**2
    return DistancePolicy(rule=DistanceRule(pairs=pairs, entry_sd=1.0), terms=Terms(notional_usd=Decimal(10_000)), variance=variance)


def with_prices(data: MarketData, change: np.ndarray, rows: np.ndarray) -> MarketData:
    """The market with some ticks' prices multiplied; same digest, so that nothing but the prices differs."""
    ticks = data.ticks.copy()
    ticks["price"][rows] = np.round(ticks["price"][rows] * change, 2)
    return replace(data, ticks=ticks)


def request(data: Path, out: Path, **changes: object) -> Request:
    """The distance method on a made market."""
    values: dict[str, object] = {
        "data": data,
        "out": out,
        "sector": "all",
        "policy": "distance",
        "from_day": "",
        "to_day": "",
        "train_bars": 120,
        "trade_bars": 60,
        "step_bars": 21,
        "bar": "1d",
        "cost_bps": None,
        "quotes": None,
        "borrow_bps": None,
        "capital_usd": None,
        "notional_usd": None,
        "pairs": 3,
        "exclude": (),
        "network": False,
        "trials": 4,
        "trials_file": None,
        "seed": None,
    }
    return Request(**values | changes)
