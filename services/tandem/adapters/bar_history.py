"""Stored bars as the market data that training takes: the same record that a file gives, with a digest of its content.

One source at a time: a training never mixes replays with real markets, nor two replays. Called by `tandem train --data postgres` and
`tandem rebaseline`.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psycopg2
import pyarrow as pa
from psycopg2 import extensions, sql
from pyarrow import csv

from tandem.adapters.bar_store import failure
from tandem.adapters.calendar import bar_ns
from tandem.adapters.market_file import BAR_DTYPE, MarketData
from tandem.adapters.postgres import connect, place
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Source
from tandem.domain.units import NS_PER_MS

_SIZE_MAX = int(np.iinfo(TICK_DTYPE["size"]).max)
_COLUMNS = {
    "symbol": pa.string(),
    "close_ns": pa.int64(),
    "open_ns": pa.int64(),
    "open": pa.float64(),
    "high": pa.float64(),
    "low": pa.float64(),
    "close": pa.float64(),
    "volume": pa.int64(),
}
# COPY to CSV: the shortest text of a double, read back to the bit; a million rows in about a second and without a Python object for each.
_COPY = (
    "COPY (SELECT {columns} FROM bars WHERE symbol = ANY({symbols}) AND timeframe = {timeframe} AND source = {source} "
    "AND replay_id = {replay_id} AND close_ns > {from_ns} AND close_ns <= {to_ns} ORDER BY close_ns, symbol) TO STDOUT WITH (FORMAT csv)"
)


def load_postgres_market(
    url: str, symbols: Sequence[Symbol], timeframe: str, from_ns: int, to_ns: int, *, source: str, replay_id: str = ""
) -> MarketData:
    """The stored bars of these symbols whose close lies in (from_ns, to_ns], as market_file.load_market_data gives those of a file.

    A bar is one trade at its close - 1 ms. The digest is over symbols, timeframe and rows in order of time and symbol: the same bars give
    the same digest, whenever and under whatever label they were stored. A symbol without a bar is left out.
    Raises BadSetting when source and replay_id do not name one series, BadRecord when there is no bar, Transient without a server.
    """
    bar_ns(timeframe)
    _check_one_series(source, replay_id)
    connection = connect(url, application="tandem-bars")
    try:
        with connection, connection.cursor() as cursor:
            table = _copied(
                cursor,
                symbols=sorted(set(symbols)),
                timeframe=timeframe,
                source=source,
                replay_id=replay_id,
                from_ns=from_ns,
                to_ns=to_ns,
            )
            if table.num_rows == 0:
                raise BadRecord(
                    "bars_missing",
                    f"{place(url)} holds no bar of {timeframe} from {_named(source, replay_id)} in the span; " + _held(cursor),
                )
    except psycopg2.Error as error:
        raise failure(f"cannot read bars from {place(url)}", error) from error
    finally:
        connection.close()
    return _market_data(table, timeframe)


def _check_one_series(source: str, replay_id: str) -> None:
    if source not in set(Source):
        raise BadSetting(f"source {source!r}: allowed are {', '.join(Source)}")
    if (source == Source.RECYCLED) != bool(replay_id):
        raise BadSetting(
            f"source {source} and replay {replay_id!r}: bars of a replay are trained on by its id, live and paper bars without one"
        )


def _copied(cursor: extensions.cursor, **values: object) -> pa.Table:
    literals = {name: sql.Literal(value) for name, value in values.items()}
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    # An empty list of symbols has no type of its own.
    symbols = sql.SQL("{}::text[]").format(literals.pop("symbols"))
    text = io.BytesIO()
    cursor.copy_expert(sql.SQL(_COPY).format(columns=columns, symbols=symbols, **literals), text)
    if not text.tell():
        return pa.table({name: pa.array([], kind) for name, kind in _COLUMNS.items()})
    text.seek(0)
    return csv.read_csv(
        text,
        read_options=csv.ReadOptions(column_names=list(_COLUMNS)),
        convert_options=csv.ConvertOptions(column_types=_COLUMNS),
    )


def _held(cursor: extensions.cursor) -> str:
    """What is there instead, for the message."""
    cursor.execute("SELECT timeframe, source, replay_id, count(*) FROM bars GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 5")
    found = [f"{count} of {timeframe} from {_named(source, replay_id)}" for timeframe, source, replay_id, count in cursor.fetchall()]
    return f"it holds {'; '.join(found)}" if found else "it holds no bars at all: run the recorder, or train from a file"


def _named(source: str, replay_id: str) -> str:
    return f"{source} {replay_id}".strip()


def _market_data(table: pa.Table, timeframe: str) -> MarketData:
    encoded = table.column("symbol").combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    held = sorted(names)
    index = np.array([held.index(name) for name in names], np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
    column = {name: table.column(name).to_numpy() for name in _COLUMNS if name != "symbol"}
    ticks = np.zeros(table.num_rows, TICK_DTYPE)
    ticks["event_ns"], ticks["price"] = column["close_ns"] - NS_PER_MS, column["close"]
    ticks["size"] = np.clip(column["volume"], 1, _SIZE_MAX)
    ticks["symbol"], ticks["kind"] = index, KIND_TRADE
    by_symbol = np.argsort(index, kind="stable")
    counts = np.bincount(index)
    ticks["trade_id"][by_symbol] = np.arange(1, len(index) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    bars = np.empty(table.num_rows, BAR_DTYPE)
    bars["start_ns"] = column["open_ns"]
    for name in ("open", "high", "low", "volume"):
        bars[name] = column[name]
    return MarketData(
        path=Path("postgres"),  # for messages; there is no file
        digest=_digest(
            timeframe,
            held,
            ticks["symbol"].astype("<u2").tobytes(),
            column["close_ns"].astype("<i8").tobytes(),
            bars.tobytes(),
            column["close"].astype("<f8").tobytes(),
        ),
        symbols=tuple(map(Symbol, held)),
        ticks=ticks,
        bar=timeframe,
        bars=bars,
    )


def _digest(timeframe: str, symbols: Sequence[str], *columns: bytes) -> str:
    """sha256 of the series' name and of its columns, little-endian, in order of time and symbol."""
    digest = hashlib.sha256("\x1f".join((timeframe, *symbols)).encode())
    for column in columns:
        digest.update(b"\0" + column)
    return digest.hexdigest()
