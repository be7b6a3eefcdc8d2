"""A played backtest as numbers: what it earned, how sure that is, what it cost, pair by pair and window by window.

Money is summed as Decimal and becomes a float here, for the report. A number that is not defined, such as the Sharpe ratio of an account
that never traded, is None. Called by backtest_report.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import InvariantBroken
from tandem.domain.units import utc
from tandem.flow import accounting
from tandem.flow.accounting import NO_PAIR
from tandem.flow.journal import Trade
from tandem.flow.signals import Reason
from tandem.quant import performance
from tandem.quant.performance import ReturnsUnusable
from tandem.research.backtest_records import BarPoint, Played, WindowOutcome

_DAYS_A_YEAR = 252
_ZERO = Decimal(0)
_REPS = 1_000
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """How often something was tried before this was shown. variance: of the trials' daily Sharpe ratios; None: not known."""

    count: int
    variance: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Daily:
    """The account at the end of each day, begun with its capital. days: (n,) "YYYY-MM-DD"; equity: (n + 1,), USD."""

    days: NDArray[np.str_]
    equity: Vector

    @property
    def returns(self) -> Vector:
        """Simple returns, (n,)."""
        return performance.returns_of(self.equity)


def daily(played: Played) -> Daily:
    """The last bar of each day. Sessions end on the same day in UTC and in New York."""
    last: dict[str, BarPoint] = {f"{utc(point.close_ns):%Y-%m-%d}": point for point in played.points}
    equity = [float(played.capital_usd), *(float(point.equity_usd) for point in last.values())]
    return Daily(days=np.array(list(last)), equity=np.array(equity))


def statistics(played: Played, trials: Trials, *, seed: int) -> dict[str, Any]:
    """Return, risk and how much of it chance explains. With fewer than three days everything but the profit is None."""
    found = daily(played)
    base = {
        "days": len(found.days),
        "first_day": str(found.days[0]) if len(found.days) else None,
        "last_day": str(found.days[-1]) if len(found.days) else None,
        "net_pnl_usd": round(float(found.equity[-1] - found.equity[0]), 2),
        "total_return": float(found.equity[-1] / found.equity[0] - 1),
        "trials": trials.count,
        "trials_source": trials.source,
    }
    try:
        return base | _estimates(found, trials, seed=seed) | {"note": ""}
    except ReturnsUnusable as error:
        return base | dict.fromkeys(_ESTIMATES) | {"drawdown": {}, "intervals": {}, "note": str(error)}


_ESTIMATES = (
    "annual_return",
    "annual_volatility",
    "sharpe",
    "skew",
    "kurtosis",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "expected_max_sharpe",
)


def _estimates(found: Daily, trials: Trials, *, seed: int) -> dict[str, Any]:
    """What needs a sample of returns. Raises ReturnsUnusable."""
    returns = found.returns
    moments = performance.moments(returns)
    variance = trials.variance if trials.variance is not None else performance.sampling_variance(moments)
    year = float(_DAYS_A_YEAR)
    return {
        "annual_return": performance.annual_return(returns, year),
        "annual_volatility": performance.annual_volatility(returns, year),
        "sharpe": performance.annual_sharpe(returns, year),
        "skew": moments.skew,
        "kurtosis": moments.kurtosis,
        "probabilistic_sharpe": performance.probabilistic_sharpe(moments),
        "deflated_sharpe": performance.deflated_sharpe(moments, trials.count, variance),
        "expected_max_sharpe": performance.expected_max_sharpe(trials.count, variance) * year**0.5,
        "drawdown": _drawdown(found),
        "intervals": _intervals(returns, seed=seed),
    }


def _drawdown(found: Daily) -> dict[str, Any]:
    fall = performance.drawdown(found.equity)
    days = ["start", *map(str, found.days)]
    return {
        "depth": fall.depth,
        "from": days[fall.peak],
        "to": days[fall.trough],
        "recovered": None if fall.recovered is None else days[fall.recovered],
        "longest_days": fall.longest_bars,
    }


def _intervals(returns: Vector, *, seed: int) -> dict[str, Any]:
    """95 % intervals by the stationary bootstrap with one block length for all; None where returns never change."""
    if performance.moments(returns).sharpe is None:
        return {}
    block = performance.block_length(returns)
    of: dict[str, Callable[[Vector], float]] = {
        "annual_return": lambda r: performance.annual_return(r, _DAYS_A_YEAR),
        "annual_volatility": lambda r: performance.annual_volatility(r, _DAYS_A_YEAR),
        "sharpe": lambda r: performance.annual_sharpe(r, _DAYS_A_YEAR) or 0.0,
        "max_drawdown": lambda r: performance.drawdown(np.cumprod(np.append(1.0, 1 + r))).depth,
    }
    rows: dict[str, Any] = {"level": 0.95, "repetitions": _REPS, "block_days": round(block, 2)}
    for name, statistic in of.items():
        interval = performance.bootstrap_interval(returns, statistic, seed=seed, reps=_REPS, block_bars=block)
        rows[name] = [interval.low, interval.high]
    return rows


def months(played: Played) -> dict[str, float]:
    """Return of each month, "YYYY-MM"."""
    found = daily(played)
    if len(found.days) == 0:
        return {}
    stamps = np.array([str(found.days[0])[:7], *(str(day)[:7] for day in found.days)])
    return dict(performance.monthly_returns(found.equity, stamps))


def costs(played: Played) -> dict[str, Any]:
    """What trading at the market's prices would have earned, and what came off it. The parts add up to the profit, to the cent.

    market_pnl_usd: at the trades that orders were filled on; waited_usd: how much of it the bar between decision and fill cost (it is in
    market_pnl_usd already). Raises InvariantBroken if the parts do not add up.
    """
    parts = _parts(played, None)
    traded = sum((e.traded_usd for e in played.executions), _ZERO)
    equity = accounting.equity_usd(played.book, played.marks_usd)
    if parts["market"] - parts["spread"] - parts["fees"] - parts["borrow"] != equity - played.capital_usd:
        raise InvariantBroken(f"profit {equity - played.capital_usd} is not the sum of its parts {parts}")
    total = parts["spread"] + parts["fees"] + parts["borrow"]
    return {
        "market_pnl_usd": float(parts["market"]),
        "spread_usd": float(parts["spread"]),
        "fees_usd": float(parts["fees"]),
        "borrow_usd": float(parts["borrow"]),
        "total_usd": float(total),
        "net_pnl_usd": float(equity - played.capital_usd),
        "waited_usd": float(parts["waited"]),
        "traded_usd": float(traded),
        "total_bps_of_traded": float(total / traded * 10_000) if traded else None,
        "spread_bps_of_traded": float(parts["spread"] / traded * 10_000) if traded else None,
    }


def _parts(played: Played, pair: str | None) -> dict[str, Decimal]:
    """Profit at the market's prices, and the costs, of one pair or of all."""
    mine = [e for e in played.executions if pair in (None, e.pair)]
    borrow = sum((paid for name, paid in played.borrow_usd.items() if pair in (None, name)), _ZERO)
    fees = sum((paid for name, paid in played.book.fees_usd.items() if pair in (None, name)), _ZERO)
    value = accounting.market_value_usd(played.book, played.marks_usd, pair)
    return {
        "market": value - sum((e.side.sign * e.traded_usd for e in mine), _ZERO),
        "spread": sum((e.spread_usd for e in mine), _ZERO),
        "fees": fees - borrow,  # the book keeps both as fees
        "borrow": borrow,
        "waited": sum((e.waited_usd for e in mine), _ZERO),
    }


def pairs(played: Played) -> list[dict[str, Any]]:
    """Each pair that ever traded, the best first. The profits add up to that of the account, with what belongs to no pair."""
    names = sorted({pair for pair in played.book.cash_usd if pair != NO_PAIR} | {trade.pair for trade in played.trades})
    rows = [_pair(played, name) for name in names]
    return sorted(rows, key=lambda row: (-row["net_pnl_usd"], row["pair"]))


def _pair(played: Played, name: str) -> dict[str, Any]:
    parts = _parts(played, name)
    closed = [trade for trade in played.trades if trade.pair == name and trade.pnl_usd is not None]
    profit = accounting.profit(played.book, played.marks_usd, name)
    return {
        "pair": name,
        "net_pnl_usd": float(profit.total_usd),
        "market_pnl_usd": float(parts["market"]),
        "spread_usd": float(parts["spread"]),
        "fees_usd": float(parts["fees"]),
        "borrow_usd": float(parts["borrow"]),
        "trades": len(closed),
        "open": sum(trade.pair == name for trade in played.trades) - len(closed),
        "hit_rate": performance.hit_rate(np.array([float(trade.pnl_usd or 0) for trade in closed])),
        "windows": len({played.trade_windows[trade.trade_id] for trade in played.trades if trade.pair == name}),
    }


def trading(played: Played) -> dict[str, Any]:
    """How often and how much was traded and held."""
    closed = [trade for trade in played.trades if trade.pnl_usd is not None and trade.closed_ns is not None]
    profits = np.array([float(trade.pnl_usd or 0) for trade in closed])
    held_days = [((trade.closed_ns or 0) - trade.opened_ns) / 86_400e9 for trade in closed]
    equity = np.array([float(point.equity_usd) for point in played.points])
    gross = np.array([float(point.gross_usd) for point in played.points])
    net = np.array([float(point.net_usd) for point in played.points])
    years = len(daily(played).days) / _DAYS_A_YEAR
    traded = float(sum((e.traded_usd for e in played.executions), _ZERO))
    profit = float(accounting.equity_usd(played.book, played.marks_usd) - played.capital_usd)
    return {
        "trades": len(closed),
        "open_at_end": len(played.trades) - len(closed),
        "hit_rate": performance.hit_rate(profits),
        "mean_pnl_usd": float(profits.mean()) if len(profits) else None,
        "best_pnl_usd": float(profits.max()) if len(profits) else None,
        "worst_pnl_usd": float(profits.min()) if len(profits) else None,
        "mean_days_held": float(np.mean(held_days)) if held_days else None,
        "exits": _counted(exit_reason(trade) for trade in closed),
        "refusals": _counted(signal.refusal for signal in played.signals if signal.refusal),
        "annual_turnover": performance.annual_turnover(traded, float(equity.mean()), years) if years else None,
        "gross_exposure_mean": float((gross / equity).mean()),
        "gross_exposure_max": float((gross / equity).max()),
        "net_exposure_mean": float((net / equity).mean()),
        "invested_share": float((gross > 0).mean()),
        # What the account earned on what it had at work: the figure that does not depend on how much cash lay idle.
        "annual_return_on_gross": profit / float(gross.mean()) / years if gross.any() and years else None,
    }


def exit_reason(trade: Trade) -> str:
    """Why a trade was closed. The end of a window is carried out as a suspension of its pairs."""
    return "window_end" if trade.exit_reason == Reason.SUSPENDED else trade.exit_reason


def _counted(names: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def windows(played: Played) -> list[dict[str, Any]]:
    """Each window: what it saw, what it traded, what it earned."""
    return [_window(outcome, played) for outcome in played.windows]


def _window(outcome: WindowOutcome, played: Played) -> dict[str, Any]:
    plan = outcome.plan
    mine = [trade for trade in played.trades if played.trade_windows[trade.trade_id] == plan.number]
    return {
        "window": plan.number,
        "train_from": _day(plan.train_from_ns),
        "train_to": _day(plan.train_to_ns),
        "trade_from": _day(next(p.close_ns for p in played.points if p.window == plan.number)),
        "trade_to": _day(plan.trade_to_ns),
        "pairs": list(outcome.pairs),
        "tested": outcome.tested,
        "digest": outcome.digest,
        "trades": len(mine),
        "net_pnl_usd": float(outcome.equity_end_usd - outcome.equity_start_usd),
        "return": float(outcome.equity_end_usd / outcome.equity_start_usd - 1),
        "note": outcome.note,
        "rejections": [{"symbol": r.symbol, "reason": r.reason, "detail": r.detail} for r in outcome.rejections],
        "suspects": [{"symbol": r.symbol, "reason": r.reason, "detail": r.detail} for r in outcome.suspects],
    }


def trade_costs(played: Played) -> Mapping[str, tuple[Decimal, Decimal, Decimal]]:
    """By trade: profit at the market's prices, spread, value traded."""
    found: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    for e in played.executions:
        market, spread, traded = found.get(e.trade_id, (_ZERO, _ZERO, _ZERO))
        found[e.trade_id] = (market - e.side.sign * e.traded_usd, spread + e.spread_usd, traded + e.traded_usd)
    return found


def _day(ns: int) -> str:
    return f"{utc(ns):%Y-%m-%d}"
