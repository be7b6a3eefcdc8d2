"""Reading that leaves out symbols with bad rows: each defect has its code and place, the others go on, the strict way refuses the file."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from recorded_cases import MINUTE_NS, OPEN_NS, times, write
from tandem.adapters.market_file import load_market_data
from tandem.domain.errors import BadRecord

DAYS = [date(2024, 7, 1), date(2024, 7, 2), date(2024, 7, 3)]
NAN, INF = float("nan"), float("inf")


def closes(path, **rows):  # type: ignore[no-untyped-def]
    """A long daily file; each symbol with its own dates and closes."""
    symbols = [symbol for symbol, pairs in rows.items() for _ in pairs]
    return write(
        path,
        symbol=symbols,
        date=[day for pairs in rows.values() for day, _ in pairs],
        close=pa.array([price for pairs in rows.values() for _, price in pairs], pa.float64(), from_pandas=False),
    )


def dated(*prices):  # type: ignore[no-untyped-def]
    return list(zip(DAYS, prices, strict=False))


@pytest.mark.parametrize(
    ("rows", "reason", "detail"),
    [
        (dated(1.0, NAN, 1.0), "not_finite", "row 5, column close: found nan, allowed is a finite price above 0"),
        (dated(1.0, INF, 1.0), "not_finite", "row 5, column close: found inf"),
        (dated(None, 1.0, 1.0), "not_finite", "row 4, column close: found None"),
        (dated(1.0, 1.0, 0.0), "not_positive", "row 6, column close: found 0.0"),
        (dated(1.0, -2.0, 1.0), "not_positive", "row 5, column close: found -2.0"),
        (
            [(DAYS[0], 1.0), (DAYS[1], 1.0), (DAYS[1], 2.0)],
            "duplicate_time",
            "row 6, column date: found 2024-07-02, allowed is one row for",
        ),
        ([(DAYS[1], 1.0), (DAYS[0], 1.0), (DAYS[2], 2.0)], "unsorted_time", "row 5, column date: found 2024-07-01, allowed is rows of a"),
        ([(DAYS[0], 1.0), (None, 1.0), (DAYS[2], 2.0)], "bad_time", "row 5, column date: found None"),
    ],
)
def test_a_symbol_with_a_bad_row_is_left_out_and_named_and_the_others_go_on(tmp_path, rows, reason, detail):
    path = closes(tmp_path / "c.parquet", AAA=dated(1.0, 2.0, 3.0), BAD=rows, CCC=dated(4.0, 5.0, 6.0))

    data = load_market_data(path, drop_bad=True)

    assert data.symbols == ("AAA", "CCC")
    assert data.ticks["price"].tolist() == [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    assert [(r.symbol, r.reason) for r in data.rejections] == [("BAD", reason)]
    assert detail in data.rejections[0].detail
    if reason != "unsorted_time":  # sorting them is exact, so the strict way does
        with pytest.raises(BadRecord):
            load_market_data(path)


def test_a_wide_file_loses_only_the_bad_columns(tmp_path):
    path = write(
        tmp_path / "w.parquet", date=DAYS, AAA=[1.0, NAN, 3.0], BBB=[1.0, 0.0, 2.0], CCC=[INF, 1.0, 2.0], SP500_INDEX=[1.0, 2.0, 3.0]
    )

    data = load_market_data(path, drop_bad=True)

    assert data.symbols == ("AAA",)
    assert [(r.symbol, r.reason) for r in data.rejections] == [("BBB", "not_positive"), ("CCC", "not_finite")]
    assert (data.ignored, data.empty_cells) == (("SP500_INDEX",), 1)


def test_a_date_that_stands_twice_in_a_wide_file_drops_the_symbols_with_two_closes_on_it(tmp_path):
    path = write(tmp_path / "w.parquet", date=[DAYS[0], DAYS[1], DAYS[1]], AAA=[1.0, 2.0, 2.5], BBB=[1.0, 2.0, None])

    data = load_market_data(path, drop_bad=True)

    assert data.symbols == ("BBB",)
    assert data.ticks["price"].tolist() == [1.0, 2.0]
    assert [(r.symbol, r.reason) for r in data.rejections] == [("AAA", "duplicate_time")]


def test_trades_may_share_a_time_but_not_go_back_and_need_a_size(tmp_path):
    path = write(
        tmp_path / "t.parquet",
        symbol=["AAA", "AAA", "BBB", "BBB", "CCC"],
        ts=times([OPEN_NS, OPEN_NS, OPEN_NS + 1, OPEN_NS, OPEN_NS]),
        price=[1.0, 2.0, 3.0, 4.0, 5.0],
        size=[1, 1, 1, 1, 0],
    )

    data = load_market_data(path, drop_bad=True)

    assert data.symbols == ("AAA",)
    assert [(r.symbol, r.reason) for r in data.rejections] == [("BBB", "unsorted_time"), ("CCC", "bad_size")]


def test_a_bar_with_a_bad_low_drops_its_symbol_and_the_bars_of_the_others_stay_with_their_ticks(tmp_path):
    path = write(
        tmp_path / "b.parquet",
        symbol=["AAA", "AAA", "BBB", "BBB"],
        ts=times([OPEN_NS, OPEN_NS + MINUTE_NS] * 2),
        **{name: [1.0, 2.0, 3.0, 4.0] for name in ("open", "high", "close")},
        low=[1.0, NAN, 3.0, 4.0],
        volume=[1, 2, 3, 4],
    )

    data = load_market_data(path, drop_bad=True)

    assert data.symbols == ("BBB",)
    assert data.bars["low"].tolist() == [3.0, 4.0]
    assert "row 2, column low: found nan" in data.rejections[0].detail


def test_a_clean_file_reads_the_same_both_ways(tmp_path):
    path = closes(tmp_path / "c.parquet", AAA=dated(1.0, 2.0, 3.0), BBB=dated(4.0, 5.0, 6.0))
    strict, lenient = load_market_data(path), load_market_data(path, drop_bad=True)
    assert np.array_equal(strict.ticks, lenient.ticks)
    assert (lenient.symbols, lenient.rejections) == (strict.symbols, ())


@pytest.mark.parametrize("kind", ["long", "wide"])
def test_a_file_in_which_every_symbol_is_bad_is_refused(tmp_path, kind):
    if kind == "long":
        path = closes(tmp_path / "c.parquet", AAA=dated(0.0, 2.0), BBB=dated(4.0, INF))
    else:
        path = write(tmp_path / "w.parquet", date=DAYS, AAA=[1.0, 0.0, 1.0], BBB=[INF, 1.0, 1.0])
    with pytest.raises(BadRecord, match=r"no_symbol_left.*AAA: not_positive"):
        load_market_data(path, drop_bad=True)
