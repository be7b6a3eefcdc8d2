"""Daily numbers from a file: Parquet or CSV with a column `date` and columns of numbers, checked row by row before anything is computed.

A malformed file is refused as a whole: BadRecord names the file, the column, the day and what is allowed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord, BadSetting

Vector = NDArray[np.float64]
Days = NDArray[np.datetime64]

_WEEKDAYS_FROM = 60  # days; fewer say little about a week
_WEEKEND_SHARE_MIN = 0.2  # two in seven, less holidays


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailyTable:
    """One series of days with its columns."""

    path: Path
    digest: str  # SHA-256 of the file's bytes, hex
    days: Days  # (n,) datetime64[D], ascending, each once
    columns: dict[str, Vector]  # name -> (n,) finite

    def __len__(self) -> int:
        return len(self.days)


def read_daily(path: Path, *, positive: Sequence[str], real: Sequence[str] = ()) -> DailyTable:
    """The columns `positive` (above 0) and `real` (any finite number) of a file of one series. Other columns are ignored.

    `date`: dates, texts YYYY-MM-DD or times at midnight; ascending, each once. Raises BadRecord, and BadSetting for a file of another kind.
    """
    table, digest = _read(path)
    return _daily(path, digest, table, positive=positive, real=real, series="")


def read_daily_by(path: Path, key: str, *, positive: Sequence[str], default: str) -> dict[str, DailyTable]:
    """The same for a file of several series, told apart by the text column `key`; without that column one series named `default`."""
    table, digest = _read(path)
    if key not in table.column_names:
        return {default: _daily(path, digest, table, positive=positive, real=(), series=default)}
    names = pc.unique(table[key]).to_pylist()
    if any(not isinstance(name, str) or not name for name in names):
        raise BadRecord("bad_value", f"{path}: column {key} holds {names[:5]}, must name a series in each row")
    return {
        name: _daily(path, digest, table.filter(pc.equal(table[key], name)), positive=positive, real=(), series=name)
        for name in sorted(names)
    }


def parse_day(text: str, option: str) -> np.datetime64:
    """A day of the command line. Raises BadSetting for anything but YYYY-MM-DD."""
    try:
        if len(text) != 10:
            raise ValueError(text)
        return np.datetime64(text, "D")
    except ValueError as error:
        raise BadSetting(f"{option} {text!r}: expected YYYY-MM-DD") from error


def _read(path: Path) -> tuple[pa.Table, str]:
    if path.suffix not in {".parquet", ".csv"}:
        raise BadSetting(f"--data {path}: found suffix {path.suffix!r}, allowed are .parquet and .csv")
    try:
        content = path.read_bytes()
        table = pq.read_table(pa.BufferReader(content)) if path.suffix == ".parquet" else pa_csv.read_csv(pa.BufferReader(content))
    except OSError as error:
        raise BadSetting(f"--data {path}: {error.strerror or error}") from error
    except pa.ArrowInvalid as error:
        raise BadRecord("bad_file", f"{path}: {error}") from error
    return table, hashlib.sha256(content).hexdigest()


def _daily(path: Path, digest: str, table: pa.Table, *, positive: Sequence[str], real: Sequence[str], series: str) -> DailyTable:
    where = f"{path}, {series}" if series else str(path)
    missing = [name for name in ("date", *positive, *real) if name not in table.column_names]
    if missing:
        raise BadRecord("missing_column", f"{where}: no column {', '.join(missing)}; found {', '.join(table.column_names)}")
    if not table.num_rows:
        raise BadRecord("no_rows", f"{where}: found 0 rows, need at least one")
    days = _days(table["date"], where)
    columns = {name: _numbers(table[name], name, days, where=where, positive=name in positive) for name in (*positive, *real)}
    return DailyTable(path=path, digest=digest, days=days, columns=columns)


def _days(column: pa.ChunkedArray, where: str) -> Days:
    """(n,) whole days, ascending and unique."""
    kind = column.type
    if column.null_count:
        raise BadRecord("bad_time", f"{where}: {column.null_count} rows without a date, every row needs one")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        days = _days_of_text(column.to_pylist(), where)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        # A time with a zone means the day there, not the day in UTC.
        local = pc.local_timestamp(column) if pa.types.is_timestamp(kind) and kind.tz else column
        exact = local.cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]")
        days = exact.astype("datetime64[D]")
        odd = np.flatnonzero(exact != days)
        if len(odd):
            raise BadRecord("bad_time", f"{where}: date {exact[odd[0]]} in row {odd[0] + 1}, must be a day without a time")
    else:
        raise BadRecord("bad_time", f"{where}: column date is {kind}, allowed are dates, texts YYYY-MM-DD and times at midnight")
    back = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
    if len(back):
        row = int(back[0]) + 1
        what = "twice" if days[row] == days[row - 1] else f"after {days[row - 1]}"
        raise BadRecord("unsorted", f"{where}: {days[row]} in row {row + 1} stands {what}, dates must ascend and stand once")
    _check_weekdays(days, where)
    return days


def _check_weekdays(days: Days, where: str) -> None:
    """A market trades five days a week or seven. Some weekend days are dates moved by a time zone: a join by date looks ahead."""
    weekend = np.is_busday(days, weekmask="Sat Sun")
    if len(days) < _WEEKDAYS_FROM or not weekend.any() or weekend.mean() >= _WEEKEND_SHARE_MIN:
        return
    raise BadRecord(
        "shifted_dates",
        f"{where}: {int(weekend.sum())} of {len(days)} dates lie on weekends, the first {days[weekend][0]}; a market has none or two in "
        "seven: a time zone has moved the dates",
    )


def _days_of_text(texts: list[str], where: str) -> Days:
    days = []
    for row, text in enumerate(texts, start=1):
        try:
            days.append(parse_day(text, "date"))
        except BadSetting as error:
            raise BadRecord("bad_time", f"{where}: date {text!r} in row {row}, expected YYYY-MM-DD") from error
    return np.array(days, dtype="datetime64[D]")


def _numbers(column: pa.ChunkedArray, name: str, days: Days, *, where: str, positive: bool) -> Vector:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise BadRecord("bad_value", f"{where}: column {name} is {kind}, must hold numbers")
    values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=float)  # an empty cell becomes NaN
    bad = np.flatnonzero(~np.isfinite(values) | ((values <= 0) if positive else False))
    if len(bad):
        allowed = "finite and above 0" if positive else "finite"
        raise BadRecord("bad_value", f"{where}: {name} {values[bad[0]]} on {days[bad[0]]}, must be {allowed} ({len(bad)} such rows)")
    return values
