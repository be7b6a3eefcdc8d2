"""Downloaded bars into the table `bars`, a part in one transaction with the note that it is there. Called by `tandem download`.

The bars carry the source of where they came from: a recycler's never pass for the market's. Bars outside the sessions are left out, as
services make none of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psycopg2
import pyarrow as pa

from tandem.adapters.bar_store import BarRow, failure, insert_bars
from tandem.adapters.calendar import session_grid
from tandem.adapters.history_parts import Part, Wanted
from tandem.adapters.postgres import connect, place
from tandem.domain.ids import Symbol
from tandem.domain.market import Bar, Source
from tandem.flow.bars import bar_closes

_NOTE = """
INSERT INTO downloads (part, timeframe, source, replay_id, feed, from_ns, until_ns, symbols, bars)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the bars come from."""

    source: Source
    replay_id: str


def stored_parts(url: str, origin: Origin) -> set[str]:
    """Keys of the parts that are in the table. Raises Transient."""
    connection = connect(url, application="tandem-download")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT part FROM downloads WHERE source = %s AND replay_id = %s", (origin.source.value, origin.replay_id))
            return {part for (part,) in cursor.fetchall()}
    except psycopg2.Error as error:
        raise failure(f"cannot read downloads from {place(url)}", error) from error
    finally:
        connection.close()


def store_part(url: str, wanted: Wanted, part: Part, table: pa.Table, origin: Origin) -> int:
    """Add the part's bars that are new and note it; how many were new. Raises Transient, InvariantBroken."""
    connection = connect(url, application="tandem-download")
    try:
        with connection, connection.cursor() as cursor:
            added = insert_bars(cursor, _rows(wanted, part, table, origin))
            where = (part.key, wanted.timeframe, origin.source.value, origin.replay_id, wanted.feed)
            cursor.execute(_NOTE, (*where, part.from_ns, part.until_ns, len(wanted.symbols), table.num_rows))
    except psycopg2.Error as error:
        raise failure(f"cannot write bars to {place(url)}", error) from error
    finally:
        connection.close()
    return added


def _rows(wanted: Wanted, part: Part, table: pa.Table, origin: Origin) -> Iterator[BarRow]:
    if table.num_rows == 0:
        return
    grid = session_grid(wanted.timeframe, part.from_ns - _DAY_NS, part.until_ns + _DAY_NS)
    starts = table.column("ts").to_numpy().astype("datetime64[ns]").astype(np.int64)
    if wanted.timeframe == "1d":  # stamped at New York's midnight: the session that opens on that day
        session = np.searchsorted(grid.open_ns, starts, side="left")
        opens, closes = grid.open_ns[session], grid.close_ns[session]
        closes = np.where(opens - starts < _DAY_NS, closes, 0)
    else:
        opens, closes = starts, bar_closes(grid, starts)
    columns = [table.column(name).to_pylist() for name in ("symbol", "open", "high", "low", "close", "volume", "trades")]
    for row in zip(*columns, opens.tolist(), closes.tolist(), strict=True):
        symbol, open_, high, low, close, volume, trades, open_ns, close_ns = row
        if close_ns:
            bar = Bar(
                symbol=Symbol(symbol),
                open_ns=open_ns,
                close_ns=close_ns,
                open=open_,
                high=high,
                low=low,
                close=close,
                volume=volume,
                trades=max(1, trades),  # a source that does not count them still had one
            )
            yield bar, wanted.timeframe, origin.source.value, origin.replay_id
