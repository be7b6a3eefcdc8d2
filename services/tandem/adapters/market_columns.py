"""Columns of a Parquet file as checked numpy arrays. What cannot be used is refused with file, row and column, never skipped.

Used by adapters/market_file.py, which knows what the columns mean, and by adapters/market_defects.py, which leaves symbols out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord
from tandem.domain.ids import Symbol, symbol

_DAY_NS = 86_400 * 1_000_000_000
_YEAR_2200_NS = 7_258_118_400 * 1_000_000_000  # a time beyond it is a mistake of its unit, e.g. seconds read as milliseconds
_NEW_YORK = "America/New_York"
_SYMBOLS_MAX = 65_535  # TICK_DTYPE counts symbols in 16 bits


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Some columns of one file. Rows are counted from 1 in messages, in the order of the file."""

    path: Path
    table: pa.Table
    rows: NDArray[np.int64] | None = None  # of the file, counted from 0, where some have been left out

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> "Columns":
        """Read these columns. Raises BadRecord if the file is damaged or holds no row."""
        try:
            table = pq.read_table(path, columns=list(names)).combine_chunks()
        except (pa.ArrowInvalid, OSError) as error:
            raise BadRecord("file_unreadable", f"{path}: {error}") from error
        if table.num_rows == 0:
            raise BadRecord("file_empty", f"{path.name}: no rows, at least 1 is needed")
        return cls(path, table)

    @property
    def file(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def refuse(self, column: str, bad: NDArray[np.bool_], allowed: str) -> None:
        """Raise BadRecord for the first row that is bad."""
        if not bad.any():
            return
        raise BadRecord("value_refused", self.finding(column, int(bad.argmax()), allowed))

    def finding(self, column: str, row: int, allowed: str) -> str:
        """What stands in a row, counted from 0 here and from 1 in the text, and what is allowed there."""
        found = self.table.column(column)[row].as_py()
        place = row if self.rows is None else int(self.rows[row])
        return f"{self.file}, row {place + 1}, column {column}: found {found}, allowed is {allowed}"

    def where(self, keep: NDArray[np.bool_]) -> "Columns":
        """Only the rows (n,) that are kept; messages go on counting as the file does."""
        if keep.all():
            return self
        rows = np.flatnonzero(keep)
        return Columns(self.path, self.table.filter(pa.array(keep)).combine_chunks(), rows if self.rows is None else self.rows[rows])

    def symbols(self, column: str) -> tuple[NDArray[np.int64], tuple[Symbol, ...]]:
        """(n,) number of each row's symbol, and the symbols in ascending order."""
        values = self._values(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            raise self._type_error(column, "text")
        self.refuse(column, _numpy(pc.is_null(values)), "a symbol")
        encoded = pc.dictionary_encode(values)
        names: list[str] = encoded.dictionary.to_pylist()
        index = _numpy(encoded.indices).astype(np.int64)
        for number, name in enumerate(names):
            try:
                symbol(name)
            except ValueError:
                self.refuse(column, index == number, "1-10 of A-Z, 0-9 and '.', a letter first")
        if len(names) > _SYMBOLS_MAX:
            raise BadRecord("symbols_many", f"{self.file}: {len(names)} symbols, at most {_SYMBOLS_MAX} are allowed")
        ordered = sorted(names)
        place = {name: number for number, name in enumerate(ordered)}
        return np.array([place[name] for name in names], np.int64)[index], tuple(map(Symbol, ordered))

    def texts(self, column: str, *, allowed: Sequence[str]) -> list[str]:
        """(n,) words, each one of those allowed."""
        values = self._values(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            raise self._type_error(column, "text")
        self.refuse(column, ~_numpy(pc.fill_null(pc.is_in(values, pa.array(allowed)), False)), ", ".join(allowed))
        return list(values.to_pylist())

    def labels(self, column: str) -> tuple[NDArray[np.int64], list[str]]:
        """(n,) number of each row's text, and the texts; null is the empty text, a list of texts is them put together."""
        values = self._values(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_null(values.type):
            values = values.cast(pa.string())
        if pa.types.is_list(values.type) and pa.types.is_string(values.type.value_type) and values.flatten().null_count == 0:
            values = pc.binary_join(values, "")
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            raise self._type_error(column, "text, or lists of texts without an empty element")
        encoded = pc.dictionary_encode(pc.fill_null(values, ""))
        return _numpy(encoded.indices).astype(np.int64), list(encoded.dictionary.to_pylist())

    def times_ns(self, column: str) -> NDArray[np.int64]:
        """(n,) times with a zone as ns UTC, from 1970 to 2200."""
        values = self._values(column)
        if not pa.types.is_timestamp(values.type) or values.type.tz is None:
            raise self._type_error(column, "timestamps with a time zone")
        self.refuse(column, _numpy(pc.is_null(values)), "a time")
        return self._as_ns(column, values)

    def days_ns(self, column: str) -> NDArray[np.int64]:
        """(n,) dates as ns of their midnight in UTC. Timestamps are taken when all are at midnight and without a zone."""
        values = self._values(column)
        plain = pa.types.is_timestamp(values.type) and values.type.tz is None
        if not (plain or pa.types.is_date(values.type)):
            raise self._type_error(column, "dates, or timestamps at midnight without a time zone")
        self.refuse(column, _numpy(pc.is_null(values)), "a date")
        if not plain:
            values = values.cast(pa.timestamp("s"))
        times = self._as_ns(column, values)
        self.refuse(column, times % _DAY_NS != 0, "a date without a time of day")
        return times

    def new_york_days_ns(self, column: str) -> NDArray[np.int64]:
        """(n,) the New York date of times with a zone, as ns of its midnight in UTC."""
        local = pd.DatetimeIndex(self.times_ns(column), tz="UTC").tz_convert(_NEW_YORK).tz_localize(None).normalize()
        return local.to_numpy(dtype="datetime64[ns]").astype(np.int64)

    def prices(self, column: str) -> NDArray[np.float64]:
        """(n,) prices, finite and above 0."""
        prices = self.numbers(column)
        self.refuse(column, ~(np.isfinite(prices) & (prices > 0)), "a finite price above 0")
        return prices

    def present_prices(self, column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows that have a price, and the prices; empty cells (null or NaN) are left out."""
        prices = self.numbers(column)
        present = ~np.isnan(prices)
        self.refuse(column, present & ~(np.isfinite(prices) & (prices > 0)), "a finite price above 0, or an empty cell")
        return np.flatnonzero(present), prices[present]

    def whole(self, column: str, *, low: int, high: int) -> NDArray[np.int64]:
        """(n,) whole numbers from low to high."""
        numbers = self.numbers(column)
        bad = ~np.isfinite(numbers) | (numbers != np.floor(numbers)) | (numbers < low) | (numbers > high)
        self.refuse(column, bad, f"a whole number from {low} to {high}")
        return numbers.astype(np.int64)

    def check_unique(self, column: str, index: NDArray[np.int64], times: NDArray[np.int64], *, each: str) -> None:
        """Raise BadRecord if one symbol has two rows for one time; `each` names both in the message."""
        order = np.lexsort((times, index))
        twice = np.zeros(len(order), np.bool_)
        twice[order[1:]] = (np.diff(index[order]) == 0) & (np.diff(times[order]) == 0)
        self.refuse(column, twice, f"one row for each {each}")

    def numbers(self, column: str) -> NDArray[np.float64]:
        """(n,) numbers as float64, null as NaN: exact for whole numbers below 2^53."""
        values = self._values(column)
        kind = values.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            raise self._type_error(column, "numbers")
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)

    def raw_times(self, column: str) -> NDArray[np.int64]:
        """(n,) times or dates as whole numbers that order them, in the file's unit; numpy's NaT where there is none."""
        values = self._values(column)
        if pa.types.is_date32(values.type):
            values = values.cast(pa.timestamp("s"))
        if not (pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)):
            raise self._type_error(column, "times or dates")
        return np.asarray(pc.fill_null(values.cast(pa.int64()), int(np.datetime64("NaT").astype(np.int64))).to_numpy(zero_copy_only=False))

    def _values(self, column: str) -> Any:
        chunked = self.table.column(column)
        return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()

    def _as_ns(self, column: str, values: Any) -> NDArray[np.int64]:
        unit_ns = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}[values.type.unit]
        counts = _numpy(values.cast(pa.int64()))
        self.refuse(column, (counts < 0) | (counts > _YEAR_2200_NS // unit_ns), "a time from 1970 to 2200")
        return counts * unit_ns

    def _type_error(self, column: str, allowed: str) -> BadRecord:
        found = self.table.schema.field(column).type
        first = self.table.column(column)[0].as_py()
        return BadRecord("column_type", f"{self.file}, row 1, column {column}: found {first} ({found}), allowed are {allowed}")


def _numpy(values: Any) -> NDArray[Any]:
    return np.asarray(values.to_numpy(zero_copy_only=False))
