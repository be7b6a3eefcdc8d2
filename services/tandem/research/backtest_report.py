"""The files of a backtest: report.json, trades.parquet, fills.parquet, equity.parquet and tear_sheet.html, all from one played account.

The document holds no NaN: what is not defined is null. Apart from "wall_s" it depends on its inputs only. Called by the command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.domain.errors import InvariantBroken
from tandem.quant import performance
from tandem.research import backtest_statistics as statistics
from tandem.research.backtest_records import Played
from tandem.research.backtest_statistics import Trials
from tandem.research.tear_sheet import tear_sheet

REPORT, TRADES, FILLS, EQUITY, SHEET = "report.json", "trades.parquet", "fills.parquet", "equity.parquet", "tear_sheet.html"
_SHARPE_SUSPICIOUS = 1.5  # the best published net result on US stocks after 2002 is below it (Avellaneda and Lee: 0.9 in 2003-2007)
_TIME = pa.timestamp("ns", tz="UTC")
_TRADES_SCHEMA = pa.schema(
    [
        ("trade_id", pa.string()),
        ("window", pa.int32()),
        ("pair", pa.string()),
        ("direction", pa.int8()),
        ("opened", _TIME),
        ("closed", _TIME),
        ("entry_z", pa.float64()),
        ("exit_z", pa.float64()),
        ("exit_reason", pa.string()),
        ("model_digest", pa.string()),
        ("pnl_usd", pa.float64()),
        ("market_pnl_usd", pa.float64()),
        ("spread_usd", pa.float64()),
        ("charges_usd", pa.float64()),
        ("traded_usd", pa.float64()),
    ]
)
_LIMITS = (
    "The symbols are those that the file holds, chosen when it was made: companies that failed before are missing, and a universe of "
    "survivors earns more than one could have traded.",
    "Every order fills whole at the close of its next bar, half a spread worse. There is no queue, no impact, no partial fill, and closing "
    "prices are prices of an auction.",
    "Stock is assumed to be there to borrow, at one rate. Adjusted closes count dividends as price moves; raw closes leave them out.",
    "Cash earns nothing and margin costs nothing.",
    "A backtest is one path. The intervals say how much of the result other orders of the same days would have changed; they know nothing "
    "of regimes that these days do not hold.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a report says besides what was played."""

    policy: str
    says: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    commit: str
    trials: Trials
    seed: int
    study: Mapping[str, Any] | None  # the distance method's own figures
    warnings: tuple[str, ...]
    wall_s: float


def document(played: Played, context: Context) -> dict[str, Any]:
    """The report as plain values. Raises InvariantBroken when the account's parts do not add up, or a number is not finite."""
    found = {
        "policy": {"name": context.policy, "says": context.says},
        "settings": dict(context.settings),
        "data": dict(context.data),
        "commit": context.commit,
        "statistics": statistics.statistics(played, context.trials, seed=context.seed),
        "costs": statistics.costs(played),
        "trading": statistics.trading(played),
        "months": statistics.months(played),
        "pairs": statistics.pairs(played),
        "windows": statistics.windows(played),
        "distance_study": None if context.study is None else dict(context.study),
        "alarms": list(played.alarms),
    }
    found["warnings"] = [*context.warnings, *_warnings(found), *_LIMITS]
    _check_finite(found, "report")
    return found | {"wall_s": round(context.wall_s, 1)}


def _warnings(found: Mapping[str, Any]) -> list[str]:
    """What a reader must know of this result in particular."""
    said: list[str] = []
    stats, rows = found["statistics"], found["windows"]
    if (sharpe := stats.get("sharpe")) is not None and sharpe > _SHARPE_SUSPICIOUS:
        said.append(
            f"A Sharpe ratio of {sharpe:.2f} is more than anybody has shown on such data after costs. Take it for a bug until shown."
        )
    if stats["note"]:
        said.append(f"Too few days for any statistic: {stats['note']}.")
    if idle := [row["window"] for row in rows if not row["pairs"]]:
        said.append(f"{len(idle)} of {len(rows)} windows had no pair and traded nothing.")
    if suspects := sorted({(s["symbol"], s["reason"]) for row in rows for s in row["suspects"]}):
        named = ", ".join(f"{symbol} ({reason})" for symbol, reason in suspects)
        said.append(f"Prices of traded symbols that no trade may have made: {named}. Profit around them is not profit.")
    if found["trading"]["open_at_end"]:
        said.append(f"{found['trading']['open_at_end']} trades are open at the end, valued at the last trades.")
    if found["trading"]["trades"] < 30:
        said.append(f"Round trips: {found['trading']['trades']}. That is too few to tell skill from luck.")
    if stats.get("trials") == 1:
        said.append("One trial was declared: each variant that you looked at before counts, and lowers the deflated Sharpe ratio.")
    return said


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_finite(inner, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            _check_finite(inner, f"{where}[{place}]")
    elif isinstance(value, float) and not np.isfinite(value):
        raise InvariantBroken(f"{where} is {value}: a report holds finite numbers or null")


def write_report(played: Played, context: Context, out: Path) -> dict[str, Any]:
    """Write all files into a folder, which is made; the document. Raises as `document` does."""
    found = document(played, context)
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    pq.write_table(trades_table(played), out / TRADES, compression="zstd")
    pq.write_table(fills_table(played), out / FILLS, compression="zstd")
    pq.write_table(equity_table(played), out / EQUITY, compression="zstd")
    (out / SHEET).write_text(tear_sheet(found, equity_table(played)), encoding="utf-8")
    return found


def trades_table(played: Played) -> pa.Table:
    """One row for each round trip. charges_usd: fees and borrow; null while a trade is open."""
    costs = statistics.trade_costs(played)
    rows = []
    for trade in played.trades:
        market, spread, traded = costs.get(trade.trade_id, (Decimal(0),) * 3)
        pnl = trade.pnl_usd
        rows.append(
            {
                "trade_id": trade.trade_id,
                "window": played.trade_windows[trade.trade_id],
                "pair": trade.pair,
                "direction": trade.direction,
                "opened": trade.opened_ns,
                "closed": trade.closed_ns,
                "entry_z": trade.entry_z,
                "exit_z": trade.exit_z,
                "exit_reason": statistics.exit_reason(trade),
                "model_digest": trade.model.digest,
                "pnl_usd": None if pnl is None else float(pnl),
                "market_pnl_usd": None if pnl is None else float(market),
                "spread_usd": float(spread),
                "charges_usd": None if pnl is None else float(market - spread - pnl),
                "traded_usd": float(traded),
            }
        )
    return pa.Table.from_pylist(rows, schema=_TRADES_SCHEMA)


def fills_table(played: Played) -> pa.Table:
    """One row for each execution, with the prices around it."""
    found = played.executions
    return pa.table(
        {
            "pair": pa.array([e.pair for e in found], pa.string()),
            "trade_id": pa.array([e.trade_id for e in found], pa.string()),
            "symbol": pa.array([e.symbol for e in found], pa.string()),
            "side": pa.array([e.side.value for e in found], pa.string()),
            "qty": pa.array([float(e.qty) for e in found], pa.float64()),
            "decided": pa.array([e.decided_ns for e in found], _TIME),
            "filled": pa.array([e.event_ns for e in found], _TIME),
            "decided_usd": pa.array([float(e.decided_usd) for e in found], pa.float64()),
            "market_usd": pa.array([float(e.market_usd) for e in found], pa.float64()),
            "price_usd": pa.array([float(e.price_usd) for e in found], pa.float64()),
            "spread_usd": pa.array([float(e.spread_usd) for e in found], pa.float64()),
            "waited_usd": pa.array([float(e.waited_usd) for e in found], pa.float64()),
        }
    )


def equity_table(played: Played) -> pa.Table:
    """The account at each bar. drawdown: share of the highest value so far, the capital included."""
    points = played.points
    equity = np.array([float(played.capital_usd), *(float(p.equity_usd) for p in points)])
    return pa.table(
        {
            "close": pa.array([p.close_ns for p in points], _TIME),
            "window": pa.array([p.window for p in points], pa.int32()),
            "equity_usd": equity[1:],
            "cash_usd": [float(p.cash_usd) for p in points],
            "gross_usd": [float(p.gross_usd) for p in points],
            "net_usd": [float(p.net_usd) for p in points],
            "open_pairs": pa.array([p.open_pairs for p in points], pa.int32()),
            "drawdown": performance.drawdowns(equity)[1:],
        }
    )
