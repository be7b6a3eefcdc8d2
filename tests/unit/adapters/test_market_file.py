"""Recorded data: the four kinds of file, what becomes of a row, and every way in which a file can be wrong."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recorded_cases import DAY_NS, MINUTE_NS, OPEN_NS, closes, shared_data, times, trades, write
from tandem.adapters.market_file import load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.errors import BadRecord, BadSetting

MS = 1_000_000
SESSION_NS = 390 * MINUTE_NS


def bars(path: Path, **changes: object) -> Path:
    """Two one-minute bars of KO, the second without volume."""
    columns = {
        "symbol": ["KO", "KO"],
        "ts": times([OPEN_NS, OPEN_NS + MINUTE_NS]),
        "open": [60.0, 61.0],
        "high": [62.0, 63.0],
        "low": [59.0, 58.0],
        "close": [61.0, 62.5],
        "volume": [700, 0],
    }
    return write(path, **columns | changes)


def refused(path: Path) -> str:
    with pytest.raises(BadRecord) as caught:
        load_market_data(path)
    return str(caught.value)


def test_trades_of_all_symbols_are_merged_by_time_with_ties_in_the_order_of_the_file(tmp_path):
    path = trades(tmp_path / "t.parquet", [("PEP", OPEN_NS + 5, 2.0, 20), ("KO", OPEN_NS, 1.0, 10), ("KO", OPEN_NS + 5, 3.0, 30)])

    data = load_market_data(path)

    assert data.symbols == ("KO", "PEP")
    assert data.bar is None
    assert data.bars is None
    rows = [(int(t["event_ns"]) - OPEN_NS, data.symbols[t["symbol"]], float(t["price"]), int(t["size"])) for t in data.ticks]
    assert rows == [(0, "KO", 1.0, 10), (5, "PEP", 2.0, 20), (5, "KO", 3.0, 30)]


def test_a_trade_is_numbered_within_its_symbol_whatever_is_asked_for(tmp_path):
    path = trades(tmp_path / "t.parquet", [(s, OPEN_NS + i, 1.0, 1) for i in range(4) for s in ("KO", "PEP")])

    part = load_market_data(path, symbols=["PEP"], from_ns=OPEN_NS + 2, to_ns=OPEN_NS + 3)

    assert part.symbols == ("PEP",)
    assert part.ticks["trade_id"].tolist() == [3]
    assert load_market_data(path).ticks["trade_id"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_bar_becomes_one_trade_a_millisecond_before_its_end(tmp_path):
    data = load_market_data(bars(tmp_path / "b.parquet"))

    assert data.bar == "1min"
    assert (data.ticks["event_ns"] - OPEN_NS).tolist() == [MINUTE_NS - MS, 2 * MINUTE_NS - MS]
    assert data.ticks["price"].tolist() == [61.0, 62.5]
    assert data.ticks["size"].tolist() == [700, 1]
    assert data.bars["volume"].tolist() == [700, 0]
    assert data.bars["high"].tolist() == [62.0, 63.0]
    assert (data.bars["start_ns"] - OPEN_NS).tolist() == [0, MINUTE_NS]


def test_a_daily_close_is_a_trade_just_before_the_session_closes_also_on_a_half_day(tmp_path):
    data = load_market_data(closes(tmp_path / "c.parquet", [date(2024, 7, 2), date(2024, 7, 3)], KO=[60.0, 61.0]))

    assert data.bar == "1d"
    assert (data.ticks["event_ns"] - OPEN_NS).tolist() == [
        DAY_NS + SESSION_NS - MS,
        2 * DAY_NS + 210 * MINUTE_NS - MS,
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_daily_bars_may_be_stamped_with_midnight_in_new_york(tmp_path, zone):
    midnight = OPEN_NS - int(9.5 * 60) * MINUTE_NS
    data = load_market_data(bars(tmp_path / "b.parquet", ts=times([midnight, midnight + DAY_NS], zone)))

    assert data.bar == "1d"
    assert (data.ticks["event_ns"] - OPEN_NS).tolist() == [SESSION_NS - MS, DAY_NS + SESSION_NS - MS]


def test_daily_bars_by_date_keep_open_high_and_low(tmp_path):
    columns = {"symbol": ["KO"], "date": [date(2024, 7, 1)], "open": [1.0], "high": [3.0], "low": [0.5], "close": [2.0], "volume": [9]}

    data = load_market_data(write(tmp_path / "d.parquet", **columns))

    assert (data.bar, data.bars["open"].tolist(), data.ticks["price"].tolist()) == ("1d", [1.0], [2.0])


def test_a_wide_file_leaves_indices_and_empty_cells_out_and_says_so(tmp_path):
    path = write(
        tmp_path / "w.parquet",
        date=[datetime(2024, 7, 1), datetime(2024, 7, 2)],  # noqa: DTZ001 (dates without a zone are the documented form)
        PEP=[170.0, 171.0],
        KO=[None, 60.0],
        SP500_INDEX=[5000.0, 5001.0],
    )

    data = load_market_data(path)

    assert data.symbols == ("KO", "PEP")
    assert [(data.symbols[t["symbol"]], float(t["price"])) for t in data.ticks] == [("PEP", 170.0), ("KO", 60.0), ("PEP", 171.0)]
    assert (data.ignored, data.empty_cells) == (("SP500_INDEX",), 1)


def test_the_digest_is_that_of_the_bytes(tmp_path):
    one, two = trades(tmp_path / "1.parquet", [("KO", OPEN_NS, 1.0, 1)]), trades(tmp_path / "2.parquet", [("KO", OPEN_NS, 2.0, 1)])
    assert load_market_data(one).digest == load_market_data(one).digest != load_market_data(two).digest


def test_a_symbol_that_the_file_does_not_hold_is_refused_by_name(tmp_path):
    with pytest.raises(BadRecord, match="holds no XOM; it holds KO"):
        load_market_data(trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 1.0, 1)]), symbols=["KO", "XOM"])


def test_a_missing_file_is_a_bad_setting(tmp_path):
    with pytest.raises(BadSetting, match="there is no such file"):
        load_market_data(tmp_path / "none.parquet")


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"symbol,ts,price,size\n")
    assert "file_unreadable" in refused(tmp_path / "x.parquet")


def test_unknown_columns_are_refused_with_what_is_allowed(tmp_path):
    message = refused(write(tmp_path / "q.parquet", symbol=["KO"], ts=times([OPEN_NS]), bid=[1.0], ask=[1.1]))
    assert "found the columns symbol, ts, bid, ask" in message
    assert "trades (symbol, ts, price, size)" in message


def test_a_wide_column_that_is_no_symbol_is_refused_by_name(tmp_path):
    assert "column open" in refused(write(tmp_path / "w.parquet", date=[date(2024, 7, 1)], KO=[1.0], open=[1.0]))


def test_a_file_without_rows_is_refused(tmp_path):
    path = write(tmp_path / "e.parquet", symbol=pa.array([], pa.string()), ts=times([]), price=pa.array([], pa.float64()), size=[])
    assert "file_empty" in refused(path)


GOOD = {"symbol": ["KO", "KO"], "ts": times([OPEN_NS, OPEN_NS + 1]), "price": [1.0, 2.0], "size": [1, 2]}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"price": [1.0, float("nan")]}, "row 2, column price: found nan, allowed is a finite price above 0"),
        ({"price": [1.0, None]}, "row 2, column price: found None"),
        ({"price": [0.0, 1.0]}, "row 1, column price: found 0.0"),
        ({"price": [1.0, float("inf")]}, "row 2, column price: found inf"),
        ({"price": ["1", "2"]}, "row 1, column price: found 1 (string), allowed are numbers"),
        ({"size": [1, 0]}, "row 2, column size: found 0, allowed is a whole number from 1 to 4294967295"),
        ({"size": [1, 2**32]}, "row 2, column size: found 4294967296"),
        ({"size": [1.0, 1.5]}, "row 2, column size: found 1.5"),
        ({"symbol": ["KO", None]}, "row 2, column symbol: found None, allowed is a symbol"),
        ({"symbol": ["KO", "ko"]}, "row 2, column symbol: found ko"),
        ({"symbol": [1, 2]}, "row 1, column symbol: found 1 (int64), allowed are text"),
        (
            {"ts": times([OPEN_NS, OPEN_NS], None)},
            "column ts: found 2024-07-01 13:30:00 (timestamp[ns]), allowed are timestamps with a time zone",
        ),
        ({"ts": [1, 2]}, "row 1, column ts: found 1 (int64), allowed are timestamps with a time zone"),
        ({"ts": pa.array([OPEN_NS, None], pa.timestamp("ns", tz="UTC"))}, "row 2, column ts: found None"),
        ({"ts": pa.array([0, -1], pa.timestamp("s", tz="UTC"))}, "row 2, column ts: found 1969-12-31"),
    ],
)
def test_a_bad_value_of_a_trade_is_refused_with_row_column_found_and_allowed(tmp_path, change, found):
    message = refused(write(tmp_path / "bad.parquet", **GOOD | change))
    assert "bad.parquet" in message
    assert found in message


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ts": times([OPEN_NS, OPEN_NS])}, "row 2, column ts: found 2024-07-01 13:30:00+00:00, allowed is one row for each symbol and ts"),
        ({"ts": times([OPEN_NS, OPEN_NS + 7 * MINUTE_NS])}, "row 1, column ts: the next bar starts 420 s later; allowed are 1s, 1min"),
        ({"symbol": ["KO", "PEP"]}, "no symbol has two bars"),
        ({"volume": [-1, 1]}, "row 1, column volume: found -1"),
        ({"low": [1.0, 0.0]}, "row 2, column low: found 0.0"),
    ],
)
def test_a_bad_bar_is_refused(tmp_path, change, found):
    assert found in refused(bars(tmp_path / "b.parquet", **change))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"date": [date(2024, 7, 2), date(2024, 7, 4)]},
            "row 2, column date: found 2024-07-04, allowed is a session of the New York Stock Exchange",
        ),
        (
            {"date": [date(2024, 7, 2), date(2024, 7, 2)]},
            "row 2, column date: found 2024-07-02, allowed is one row for each symbol and date",
        ),
        ({"date": [datetime(2024, 7, 2), datetime(2024, 7, 3, 16)]}, "row 2, column date: found 2024-07-03 16:00:00, allowed is a date"),  # noqa: DTZ001
        ({"date": ["2024-07-02", "2024-07-03"]}, "row 1, column date: found 2024-07-02 (string)"),
    ],
)
def test_a_bad_date_is_refused(tmp_path, change, found):
    good = {"symbol": ["KO", "KO"], "date": [date(2024, 7, 2), date(2024, 7, 3)], "close": [1.0, 2.0]}
    assert found in refused(write(tmp_path / "c.parquet", **good | change))


def test_the_stocks_of_the_skfolio_wheel_are_written_once_with_the_same_bytes(tmp_path):
    first = skfolio_dataset(tmp_path / "a" / "stocks.parquet")
    written = first.stat().st_mtime_ns
    again, other = skfolio_dataset(first), skfolio_dataset(tmp_path / "b.parquet")

    assert again.stat().st_mtime_ns == written
    assert first.read_bytes() == other.read_bytes()
    data = load_market_data(first)
    assert (len(data.symbols), len(data.ticks), data.bar) == (20, 166_260, "1d")
    apple = data.ticks[data.ticks["symbol"] == data.symbols.index("AAPL")]
    assert float(apple["price"][0]) == 0.264


@pytest.mark.parametrize(
    ("name", "symbols", "ticks", "bar"),
    [
        ("bars_1hour_1998_2018.parquet", 5, 184_370, "1h"),
        ("bars_1min_2025-09_2026-02.parquet", 27, 658_807, "1min"),
        ("bars_1sec_2013-10-07_09.parquet", 4, 124_750, "1s"),
        ("bars_5min_2025-05_2025-12.parquet", 88, 1_106_208, "5min"),
        ("daily_adjclose_20_stocks_1990_2019.parquet", 20, 151_180, "1d"),
        ("daily_ohlcv_sp500_members_2013_2018.parquet", 376, 460_596, "1d"),
        ("ticks_trades_2013-10-07_09.parquet", 4, 1_684_116, None),
        ("ticks_trades_sector_etf_and_2_members_2014-09-17.parquet", 3, 43_581, None),
    ],
)
def test_shared_files_of_the_documented_kinds_load_whole(name, symbols, ticks, bar):
    data = load_market_data(shared_data(name))

    assert (len(data.symbols), len(data.ticks), data.bar) == (symbols, ticks, bar)
    assert np.all(np.diff(data.ticks["event_ns"]) >= 0)


@pytest.mark.parametrize(
    "name",
    [
        "daily_ohlcv_indices_2000_2019.parquet",
        "quotes_1sec_2013-10-07_09.parquet",
        "realized_measures_spx_2000_2017.parquet",
        "realized_measures_spy_2014_2017.parquet",
        "ticks_raw_quotes_ibm_2013-10-07_09.parquet",
    ],
)
def test_shared_files_of_other_kinds_are_refused_with_what_is_allowed(name):
    message = refused(shared_data(name))
    assert name in message
    assert "allowed are trades" in message
