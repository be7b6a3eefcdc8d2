"""Bars in Postgres, and the fast way for many rows into a table that may hold some of them already.

Recycled and real bars never mix: source and replay id are part of every key and of every question. Written by the recorder
(adapters/history_store.py), read by the forecaster for what Kafka no longer holds.
"""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
import psycopg2
from psycopg2 import extensions, sql

from tandem.adapters.postgres import connect, place
from tandem.domain.errors import InvariantBroken, Transient
from tandem.domain.ids import Symbol
from tandem.domain.market import Bar, BarSet, SessionGrid

BarRow = tuple[Bar, str, str, str]  # bar, timeframe, source, replay id
_NULL = r"\N"
_BAR_COLUMNS = (
    *("symbol", "timeframe", "source", "replay_id", "close_ns", "open_ns"),
    *("open", "high", "low", "close", "volume", "trades"),
)


class PostgresBarStore:
    """The port BarStore on Postgres, for those who write bars and nothing else. One transaction for each call."""

    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, bars: Iterable[BarRow]) -> int:
        """Store the bars that are new; returns how many were. Raises Transient or InvariantBroken, and then none of them is stored."""
        connection = connect(self._url, application="tandem-bars")
        try:
            with connection, connection.cursor() as cursor:
                return insert_bars(cursor, bars)
        except psycopg2.Error as error:
            raise failure(f"cannot write bars to {place(self._url)}", error) from error
        finally:
            connection.close()


def failure(what: str, error: psycopg2.Error) -> Transient | InvariantBroken:
    """The server is away or busy: Transient. It refuses the statement or a row: that cannot be, as rows are checked before."""
    away = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return (Transient if away else InvariantBroken)(f"{what}: {str(error).strip()}")


def insert_bars(cursor: extensions.cursor, bars: Iterable[BarRow]) -> int:
    """Add the bars that are new, in the caller's transaction. Returns how many were."""
    rows = (
        (b.symbol, timeframe, source, replay_id, b.close_ns, b.open_ns, b.open, b.high, b.low, b.close, b.volume, b.trades)
        for b, timeframe, source, replay_id in bars
    )
    return insert_rows(cursor, "bars", _BAR_COLUMNS, rows, on_conflict="DO NOTHING")


def insert_rows(
    cursor: extensions.cursor, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, on_conflict: str
) -> int:
    """COPY the rows into a temporary table, insert them from there. Returns the rows added or changed.

    on_conflict: what follows ON CONFLICT, e.g. "DO NOTHING". COPY knows no conflicts, and INSERT of single rows is five times slower.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_NULL if value is None else value for value in row] for row in rows)
    if not text.tell():
        return 0
    text.seek(0)
    staged = sql.Identifier(f"{table}_staged")
    names = {"table": sql.Identifier(table), "staged": staged, "columns": sql.SQL(", ").join(map(sql.Identifier, columns))}
    create = "CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} WITH NO DATA"
    cursor.execute(sql.SQL(create).format(**names))
    copy = sql.SQL("COPY {staged} ({columns}) FROM STDIN WITH (FORMAT csv, NULL {null})").format(**names, null=sql.Literal(_NULL))
    cursor.copy_expert(copy, text)
    insert = sql.SQL("INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged} ON CONFLICT {rule}")
    cursor.execute(insert.format(**names, rule=sql.SQL(on_conflict)))
    added = int(cursor.rowcount)
    cursor.execute(sql.SQL("TRUNCATE {staged}").format(**names))
    return added


def read_bar_sets(  # noqa: PLR0917 a range of one series: splitting it into a record would only move the names
    url: str, symbols: Iterable[str], timeframe: str, source: str, after_ns: int, until_ns: int, grid: SessionGrid, replay_id: str = ""
) -> tuple[BarSet, ...]:
    """The stored bars that close after `after_ns` and at or before `until_ns`, in order of time, symbols by name.

    replay_id: "" for live and paper. Bars of a replay are found only under their own id, so recycled data never passes for real history.
    grid: gives each bar its session and slot; its bars must be of the same length. Raises Transient.
    """
    query = (
        f"SELECT {', '.join(_BAR_COLUMNS)} FROM bars WHERE symbol = ANY(%s) AND timeframe = %s AND source = %s AND replay_id = %s "  # noqa: S608 our own names
        "AND close_ns > %s AND close_ns <= %s ORDER BY close_ns, symbol"
    )
    connection = connect(url, application="tandem-bars")
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, (sorted(symbols), timeframe, source, replay_id, after_ns, until_ns))
            rows = cursor.fetchall()
    except psycopg2.Error as error:
        raise failure(f"cannot read bars from {place(url)}", error) from error
    finally:
        connection.close()
    by_close: dict[int, dict[Symbol, Bar]] = {}
    for symbol, _, _, _, close_ns, open_ns, open_, high, low, close, volume, trades in rows:
        by_close.setdefault(close_ns, {})[Symbol(symbol)] = Bar(
            symbol=Symbol(symbol),
            open_ns=open_ns,
            close_ns=close_ns,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=trades,
        )
    return tuple(_bar_set(grid, close_ns, bars) for close_ns, bars in by_close.items())


def _bar_set(grid: SessionGrid, close_ns: int, bars: dict[Symbol, Bar]) -> BarSet:
    place = grid.places(np.array([close_ns]))
    return BarSet(
        close_ns=close_ns,
        bars=bars,
        session_ns=int(place.session_ns[0]),
        slot=int(place.slot[0]),
        number=int(place.number[0]),
        next_slot=int(place.next_slot[0]),
    )
