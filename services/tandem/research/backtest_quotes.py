"""Recorded quotes as half spreads: what a market order pays at a time. Called by backtest_market.py for each fill.

A file has the columns symbol, ts (with a time zone), bid and ask; others are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol
from tandem.domain.units import NS_PER_S, SUB_PENNY

_COLUMNS = ("symbol", "ts", "bid", "ask")
_AGE_MAX_NS = 3_600 * NS_PER_S  # an older quote says nothing about now; the symbol's median stands in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SymbolQuotes:
    """One symbol: times (n,) ascending, ns UTC; half spreads (n,), USD."""

    ts_ns: NDArray[np.int64]
    half_usd: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quotes:
    """The quotes of a file."""

    file: str
    symbols: Mapping[str, SymbolQuotes]

    def half_spread_usd(self, symbol: Symbol, event_ns: int) -> Decimal:
        """Half the spread of the last quote before the time, or the symbol's median where that is over an hour old; on 0.0001 USD.

        Raises BadRecord for a symbol without quotes: a trade of it would cost nothing.
        """
        quotes = self.symbols.get(symbol)
        if quotes is None:
            raise BadRecord("quotes_missing", f"{self.file} holds no quote of {symbol}; it holds {', '.join(sorted(self.symbols))}")
        place = int(np.searchsorted(quotes.ts_ns, event_ns, side="left")) - 1
        is_fresh = place >= 0 and event_ns - int(quotes.ts_ns[place]) <= _AGE_MAX_NS
        half = float(quotes.half_usd[place] if is_fresh else np.median(quotes.half_usd))
        return Decimal(str(half)).quantize(SUB_PENNY)


def load_quotes(path: Path) -> Quotes:
    """The quotes of a Parquet file. Raises BadSetting without one, BadRecord for wrong columns, times or a crossed quote."""
    if not path.is_file():
        raise BadSetting(f"quotes {path}: there is no such file")
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{path}: not a Parquet file: {error}") from error
    if missing := [name for name in _COLUMNS if name not in names]:
        raise BadRecord("columns_unknown", f"{path.name}: no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}")
    table = pq.read_table(path, columns=list(_COLUMNS))
    times = table.column("ts")
    if not pa.types.is_timestamp(times.type) or times.type.tz is None:
        raise BadRecord("time_zone", f"{path.name}, column ts: {times.type}, must be times with a time zone")
    ts_ns = times.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64()).to_numpy()
    bid, ask = (table.column(name).to_numpy().astype(np.float64) for name in ("bid", "ask"))
    wrong = ~(np.isfinite(bid) & np.isfinite(ask) & (bid > 0) & (ask >= bid))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadRecord("quote_unusable", f"{path.name}, row {row}: bid {bid[row]}, ask {ask[row]}; must be 0 < bid <= ask")
    symbol = np.array(table.column("symbol").to_pylist())
    found = {}
    for name in sorted(set(symbol.tolist())):
        rows = np.flatnonzero(symbol == name)
        rows = rows[np.argsort(ts_ns[rows], kind="stable")]
        found[str(name)] = SymbolQuotes(ts_ns=ts_ns[rows], half_usd=(ask[rows] - bid[rows]) / 2)
    return Quotes(file=path.name, symbols=found)
