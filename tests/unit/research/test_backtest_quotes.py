"""Costs from recorded quotes."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from backtest_cases import distance_policy, made_market, task
from recorded_cases import OPEN_NS, SECOND_NS, times, write
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol
from tandem.flow.exchange_records import Rules
from tandem.research.backtest_quotes import load_quotes
from tandem.research.backtest_run import run
from tandem.research.backtest_statistics import costs

KO = Symbol("KO")


def quotes(path: Path, rows: list[tuple[str, int, float, float]]) -> Path:
    symbols, ns, bid, ask = zip(*rows, strict=True)
    return write(path, symbol=list(symbols), ts=times(ns), bid=list(bid), ask=list(ask))


def test_a_fill_pays_half_of_the_last_spread_before_it(tmp_path: Path) -> None:
    rows = [("KO", OPEN_NS, 50.0, 50.02), ("KO", OPEN_NS + 10 * SECOND_NS, 50.0, 50.04), ("PEP", OPEN_NS, 80.0, 80.5)]
    found = load_quotes(quotes(tmp_path / "q.parquet", rows))

    assert found.half_spread_usd(KO, OPEN_NS + 10 * SECOND_NS) == Decimal("0.0100"), "not the one of the same moment"
    assert found.half_spread_usd(KO, OPEN_NS + 11 * SECOND_NS) == Decimal("0.0200")
    assert found.half_spread_usd(KO, OPEN_NS - 1) == Decimal("0.0150"), "the median where there is none yet"
    assert found.half_spread_usd(KO, OPEN_NS + 7_200 * SECOND_NS) == Decimal("0.0150"), "or none of the last hour"
    with pytest.raises(BadRecord, match="no quote of BAC"):
        found.half_spread_usd(Symbol("BAC"), OPEN_NS)


def test_a_backtest_pays_the_quoted_spread_and_fills_the_same_orders(tmp_path: Path) -> None:
    """A spread of 2 cents is what a rule of at least a cent a side charges: the same account to the cent."""
    market = made_market(tmp_path)
    file = quotes(tmp_path / "q.parquet", [(name, OPEN_NS, 50.0, 50.02) for name in market.symbols])
    rules = Rules(half_spread_bps=Decimal(0), half_spread_min_usd=Decimal("0.01"))
    quoted = run(task(quotes=load_quotes(file), rules=Rules()), market, distance_policy())
    ruled = run(task(rules=rules), market, distance_policy())

    assert [point.equity_usd for point in quoted.points] == [point.equity_usd for point in ruled.points]
    assert costs(quoted)["spread_usd"] == pytest.approx(0.01 * float(sum(e.qty for e in quoted.executions)))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([("KO", OPEN_NS, 50.1, 50.0)], "quote_unusable"), ([("KO", OPEN_NS, 0.0, 50.0)], "quote_unusable")],
)
def test_a_quote_that_no_market_has_is_named(tmp_path: Path, rows: list[tuple[str, int, float, float]], reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        load_quotes(quotes(tmp_path / "q.parquet", rows))


def test_files_that_are_no_quotes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no such file"):
        load_quotes(tmp_path / "none.parquet")
    with pytest.raises(BadRecord, match="no column ask"):
        load_quotes(write(tmp_path / "a.parquet", symbol=["KO"], ts=times([1]), bid=[1.0]))
    with pytest.raises(BadRecord, match="time zone"):
        load_quotes(write(tmp_path / "b.parquet", symbol=["KO"], ts=pa.array([1], pa.timestamp("ns")), bid=[1.0], ask=[1.1]))
    (tmp_path / "c.parquet").write_text("no parquet")
    with pytest.raises(BadRecord, match="file_unreadable"):
        load_quotes(tmp_path / "c.parquet")
