"""A daily file is read whole or refused with the row that is wrong."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tandem.domain.errors import BadRecord, BadSetting
from tandem.research.daily_table import parse_day, read_daily, read_daily_by

DAYS = [date(2015, 1, 2), date(2015, 1, 5), date(2015, 1, 6)]


def _file(folder: Path, **columns: object) -> Path:
    path = folder / "data.parquet"
    pq.write_table(pa.table({"date": DAYS, "rv5": [1e-4, 2e-4, 1e-4], "open_to_close": [0.0, -0.01, 0.01]} | columns), path)
    return path


@pytest.mark.parametrize(
    "dates",
    [
        DAYS,
        [str(day) for day in DAYS],
        [datetime(day.year, day.month, day.day) for day in DAYS],  # noqa: DTZ001  (a file without a zone)
        pa.array([datetime(day.year, day.month, day.day, 5, tzinfo=UTC) for day in DAYS], pa.timestamp("ms", "America/New_York")),
    ],
    ids=["dates", "texts", "times", "times of New York"],
)
def test_days_may_be_written_in_any_way_that_names_a_day(tmp_path: Path, dates: object) -> None:
    table = read_daily(_file(tmp_path, date=dates), positive=("rv5",), real=("open_to_close",))
    assert table.days.tolist() == DAYS
    np.testing.assert_array_equal(table.columns["rv5"], [1e-4, 2e-4, 1e-4])


def test_csv_is_read_like_parquet(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("date,rv5,extra\n2015-01-02,0.0001,a\n2015-01-05,1,b\n")
    table = read_daily(path, positive=("rv5",))
    assert table.days.tolist() == DAYS[:2]
    np.testing.assert_array_equal(table.columns["rv5"], [1e-4, 1.0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rv5": [1e-4, 0.0, 1e-4]}, r"rv5 0\.0 on 2015-01-05, must be finite and above 0 \(1 such rows\)"),
        ({"rv5": [1e-4, None, 1e-4]}, "rv5 nan on 2015-01-05"),
        ({"rv5": [1e-4, np.inf, 1e-4]}, "rv5 inf on 2015-01-05"),
        ({"open_to_close": [0.0, np.nan, 0.0]}, "open_to_close nan on 2015-01-05, must be finite"),
        ({"rv5": ["a", "b", "c"]}, "column rv5 is string, must hold numbers"),
        ({"date": [DAYS[0], DAYS[2], DAYS[1]]}, "2015-01-05 in row 3 stands after 2015-01-06"),
        ({"date": [DAYS[0], DAYS[1], DAYS[1]]}, "2015-01-05 in row 3 stands twice"),
        ({"date": ["2015-01-02", "5.1.2015", "2015-01-06"]}, r"date '5\.1\.2015' in row 2, expected YYYY-MM-DD"),
        ({"date": [datetime(2015, 1, day, 9, 30) for day in (2, 5, 6)]}, "must be a day without a time"),  # noqa: DTZ001
        ({"date": [1, 2, 3]}, "column date is int64"),
        ({"date": [DAYS[0], None, DAYS[2]]}, "1 rows without a date"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(BadRecord, match=message):
        read_daily(_file(tmp_path, **columns), positive=("rv5",), real=("open_to_close",))


def test_a_missing_column_is_named_beside_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="no column close; found date, rv5, open_to_close"):
        read_daily(_file(tmp_path), positive=("close",))


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="No such file"):
        read_daily(tmp_path / "none.parquet", positive=())
    with pytest.raises(BadSetting, match=r"suffix '\.xlsx'"):
        read_daily(tmp_path / "data.xlsx", positive=())
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadRecord, match="bad_file"):
        read_daily(tmp_path / "broken.parquet", positive=())


def test_series_are_told_apart_by_their_key(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"index": ["B", "B", "A"], "date": [DAYS[0], DAYS[1], DAYS[0]], "close": [1.0, 2.0, 3.0]}), path)
    found = read_daily_by(path, "index", positive=("close",), default="-")
    assert {name: table.columns["close"].tolist() for name, table in found.items()} == {"A": [3.0], "B": [1.0, 2.0]}
    single = tmp_path / "single.parquet"
    pq.write_table(pa.table({"date": DAYS, "close": [1.0, 2.0, 3.0]}), single)
    assert list(read_daily_by(single, "index", positive=("close",), default="single")) == ["single"]


def test_a_day_of_the_command_line() -> None:
    assert parse_day("2014-01-02", "--test-from") == np.datetime64("2014-01-02")
    for text in ("2014-1-2", "2014", "2014-02-30", "yesterday "):
        with pytest.raises(BadSetting, match="--test-from"):
            parse_day(text, "--test-from")


def test_dates_that_a_time_zone_has_moved_are_refused(tmp_path: Path) -> None:
    """Trap of the realised library whose summer dates stand one day early: Sundays appear and Fridays vanish. Seven-day markets pass."""
    week = np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]")
    sessions = week[np.is_busday(week)]
    summer = (sessions >= np.datetime64("2015-03-29")) & (sessions < np.datetime64("2015-10-25"))
    moved = sessions - summer.astype("timedelta64[D]")

    def read(days: np.ndarray) -> int:
        pq.write_table(pa.table({"date": days, "rv5": np.full(len(days), 1e-4)}), tmp_path / "days.parquet")
        return len(read_daily(tmp_path / "days.parquet", positive=("rv5",)))

    assert (read(sessions), read(week)) == (261, 365)
    with pytest.raises(BadRecord, match=r"30 of 261 dates lie on weekends, the first 2015-03-29; .*time zone"):
        read(moved)
