"""Tables of the database to CSV or Parquet files, with their schema, in one snapshot: all files show the same moment.

Rows pass through in pieces, however large a table is. Money and shares stay decimal: text in CSV, decimal(38, 18) in Parquet; a value that
does not fit is an error, never rounded. Called by cli/export.py.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2 import sql

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures
from tandem.domain.errors import Permanent

Row = tuple[Any, ...]
_PIECE = 10_000  # rows in memory at a time, and in a row group
_SCALE = 18  # a price that was a double has at most 16 decimals
_DECIMAL = pa.decimal128(38, _SCALE)
_TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "double precision": pa.float64(),
    "numeric": _DECIMAL,
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
_KEPT_OUT = ("alembic_version",)
_COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES' FROM information_schema.columns c JOIN information_schema.tables t
USING (table_schema, table_name) WHERE c.table_schema = 'public' AND t.table_type IN ('BASE TABLE', 'VIEW')
ORDER BY c.table_name, c.ordinal_position"""
_KEYS = """
SELECT k.table_name, k.column_name FROM information_schema.key_column_usage k JOIN information_schema.table_constraints c
USING (constraint_name, table_schema, table_name) WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = 'public'
ORDER BY k.table_name, k.ordinal_position"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its name, PostgreSQL's type, and whether it may be NULL."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its columns, and its key, by which rows are put in order."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def has_book(self) -> bool:
        """Rows belong to a book."""
        return any(column.name == "book" for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that was written."""

    table: Table
    file: str
    rows: int
    sha256: str


class Snapshot:
    """The database at one moment."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self.tables = self._read_tables()

    def _read_tables(self) -> dict[str, Table]:
        columns: dict[str, list[Column]] = {}
        keys: dict[str, list[str]] = {}
        with self._connection.cursor() as cursor:
            cursor.execute(_COLUMNS)
            for table, name, kind, nullable in cursor.fetchall():
                columns.setdefault(table, []).append(Column(name=name, type=kind, nullable=nullable))
            cursor.execute(_KEYS)
            for table, name in cursor.fetchall():
                keys.setdefault(table, []).append(name)
        return {
            name: Table(name=name, columns=tuple(found), key=tuple(keys.get(name, ())))
            for name, found in columns.items()
            if name not in _KEPT_OUT
        }

    def pieces(self, table: Table, book: str) -> Iterator[list[Row]]:
        """The table's rows in order of its key; of one book only where rows belong to books and one is named."""
        where = sql.SQL(" WHERE book = {}").format(sql.Literal(book)) if book and table.has_book else sql.SQL("")
        order = sql.SQL(", ").join(map(sql.Identifier, table.key or (column.name for column in table.columns)))
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        query = sql.SQL("SELECT {} FROM {}{} ORDER BY {}").format(names, sql.Identifier(table.name), where, order)
        with self._connection.cursor(name="export") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(_PIECE):
                yield rows


def export(url: str, folder: Path, *, form: str, names: Sequence[str] = (), book: str = "") -> list[Written]:
    """Write tables, all when none is named, into a folder. form: "csv" or "parquet". Raises Permanent, Transient."""
    with failures("PostgreSQL"), closing(connect(url, application="tandem-export")) as connection, connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        snapshot = Snapshot(connection)
        if unknown := sorted(set(names) - snapshot.tables.keys()):
            raise Permanent(f"no table {', '.join(unknown)}; there are {', '.join(snapshot.tables)}")
        chosen = [snapshot.tables[name] for name in names or snapshot.tables]
        return [write_table(table, snapshot.pieces(table, book), folder, form=form) for table in chosen]


def write_table(table: Table, pieces: Iterable[list[Row]], folder: Path, *, form: str) -> Written:
    """One table's rows as a file in the folder, which is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.name}.{form}"
    partial = path.with_name(f"{path.name}.partial")
    rows = (_write_csv if form == "csv" else _write_parquet)(partial, table, pieces)
    partial.replace(path)  # a file of this name is whole
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Written(table=table, file=path.name, rows=rows, sha256=digest)


def _write_csv(path: Path, table: Table, pieces: Iterable[list[Row]]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in table.columns])
        for rows in pieces:
            writer.writerows([[_text(value) for value in row] for row in rows])
            count += len(rows)
    return count


def _text(value: object) -> str:
    """NULL is empty, and so is an empty text; JSON and arrays are JSON; times are RFC 3339."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case datetime() | date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
        case _:
            return str(value)


def _write_parquet(path: Path, table: Table, pieces: Iterable[list[Row]]) -> int:
    schema = pa.schema([pa.field(c.name, _TYPES.get(c.type, pa.string()), nullable=c.nullable) for c in table.columns])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for rows in pieces:
            columns = [_array(table, column, [row[place] for row in rows]) for place, column in enumerate(table.columns)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(rows)
    return count


def _array(table: Table, column: Column, values: list[Any]) -> pa.Array:
    kind = _TYPES.get(column.type)
    if kind is None:  # JSON and arrays
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Permanent(f"table {table.name}, column {column.name}: {error}; CSV takes every value") from error
