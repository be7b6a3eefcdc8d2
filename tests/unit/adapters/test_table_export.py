"""Rows to files: every value keeps its worth, and one that cannot is refused."""

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tandem.adapters.table_export import Column, Table, write_table
from tandem.domain.errors import Permanent

KINDS = ("text", "bigint", "boolean", "double precision", "numeric", "date", "timestamp with time zone", "jsonb", "ARRAY")
TABLE = Table(name="t", columns=tuple(Column(name=kind.split()[0], type=kind, nullable=True) for kind in KINDS), key=())
ROW = (
    'a "b",\nc',
    2**62,
    True,
    0.1,
    Decimal("50.1234567890123456"),
    date(2022, 3, 1),
    datetime(2022, 3, 1, 14, 30, tzinfo=UTC),
    {"b": 1, "a": [2]},
    ["x", "y"],
)


def written(folder: Path, form: str, *rows: tuple[Any, ...]) -> list[dict[str, Any]]:
    found = write_table(TABLE, [list(rows)], folder, form=form)
    assert (found.rows, found.file) == (len(rows), f"t.{form}")
    path = folder / found.file
    if form == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return list(pq.read_table(path).to_pylist())


def test_parquet_gives_back_what_went_in(tmp_path: Path) -> None:
    full, empty = written(tmp_path, "parquet", ROW, (None,) * len(KINDS))

    assert list(full.values())[:7] == list(ROW[:7])
    assert (json.loads(full["jsonb"]), json.loads(full["ARRAY"])) == ({"a": [2], "b": 1}, ["x", "y"])
    assert set(empty.values()) == {None}


def test_csv_gives_text_that_any_reader_can_take_back(tmp_path: Path) -> None:
    full, empty = written(tmp_path, "csv", ROW, (None,) * len(KINDS))

    assert full["text"] == ROW[0]
    assert (Decimal(full["numeric"]), float(full["double"]), full["boolean"]) == (ROW[4], 0.1, "true")
    assert datetime.fromisoformat(full["timestamp"]) == ROW[6]
    assert set(empty.values()) == {""}


def test_a_number_that_does_not_fit_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    table = Table(name="t", columns=(Column(name="amount", type="numeric", nullable=False),), key=())

    with pytest.raises(Permanent, match="table t, column amount"):
        write_table(table, [[(Decimal("1e-19"),)]], tmp_path, form="parquet")

    assert not (tmp_path / "t.parquet").exists()
    assert write_table(table, [], tmp_path, form="csv").rows == 0
