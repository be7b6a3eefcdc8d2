"""One bar that is still open, for all symbols of a stream: its columns, and the trades that a correction or a cancel may still name.

Columns are dense, one place a symbol, so that a frame costs a few passes over its ticks whatever the number of symbols. A correction makes
the symbol's column anew from the trades that are kept, which gives the bar that would have been without the mistake. A trade that may not
set prices (domain/conditions.py) counts in volume and trades where the rule says so, and a symbol with no other has no bar. Called
by bars.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.conditions import TRADE_UNCOUNTED
from tandem.domain.market import TICK_DTYPE, TickArray

# Kept of one open bar at most, half of it at least; 64 MiB. A minute of a sector at the consolidated tape's record rate (580,870 messages a
# second in 11 sectors, most of them quotes) stays below it.
AMENDABLE_TRADES_MAX = 2_097_152

_FIRST_NS, _LAST_NS, _VOLUME, _TRADES = range(4)
_OPEN, _HIGH, _LOW, _CLOSE = range(4)
_SMALL_CHUNKS = 64  # a copy of 40 bytes for each tick, once
_CANCELLED = -1  # as a size
_NEVER_NS = 2**63 - 1
_EVER_NS = -(2**63)
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
_Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Sums of the trades of S symbols. Arrays are never changed once made; a symbol without a price has last_ns _EVER_NS."""

    longs: Longs  # (4, S): first_ns, last_ns, volume, trades
    prices: Floats  # (4, S): open, high, low, close


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """Trades as they came, and the columns from before the first of them."""

    base: Columns
    newest: "_Chunk | None" = None
    small: int = 0  # chunks of one frame, which are the newest ones
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chunk:
    """The kept trades of one frame or of many, chained: a state that adds one shares all others with the state before."""

    ticks: TickArray
    places: _Places
    before: "_Chunk | None"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenBar:
    """The bar that closes at close_ns. amended: place, trade id, and corrected price, size and flags; size _CANCELLED: none."""

    open_ns: int
    close_ns: int
    columns: Columns
    kept: _Kept
    older: _Kept | None = None
    amended: tuple[tuple[int, int, float, int, int], ...] = ()


def opened(open_ns: int, close_ns: int, symbols: int) -> OpenBar:
    """A bar without a trade."""
    columns = _no_trades(symbols)
    return OpenBar(open_ns=open_ns, close_ns=close_ns, columns=columns, kept=_Kept(base=columns))


def widened(bar: OpenBar, symbols: int) -> OpenBar:
    """The bar with places for so many symbols."""
    if bar.columns.longs.shape[1] == symbols:
        return bar
    older = None if bar.older is None else replace(bar.older, base=_wider(bar.older.base, symbols))
    return replace(bar, columns=_wider(bar.columns, symbols), kept=replace(bar.kept, base=_wider(bar.kept.base, symbols)), older=older)


def traded(bar: OpenBar, ticks: TickArray, places: _Places) -> OpenBar:
    """With more trades, all of them this bar's. places: (n,) of their symbols."""
    kept, older = bar.kept, bar.older
    if kept.count + len(ticks) > AMENDABLE_TRADES_MAX // 2:
        kept, older = _Kept(base=bar.columns), kept
    return replace(bar, columns=_with_trades(bar.columns, ticks, places), kept=_keep(kept, ticks, places), older=older)


def amended(bar: OpenBar, *, place: int, trade_id: int, instead: tuple[float, int, int] | None) -> OpenBar | None:
    """The bar as if this symbol's trade had had other price, size and flags, or none had been; None: the trade is not one that is kept."""
    parts = [part for part in (bar.older, bar.kept) if part is not None]
    trades = [_of_symbol(part, place) for part in parts]
    if not any((some["trade_id"] == trade_id).any() for some in trades):
        return None
    entry = (place, trade_id, *(instead or (0.0, _CANCELLED, 0)))
    amendments = (*(a for a in bar.amended if a[:2] != entry[:2]), entry)
    mine = {a[1]: a[2:] for a in amendments if a[0] == place}
    columns, based = _column(parts[0].base, place), []
    for part, some in zip(parts, trades, strict=True):
        based.append(replace(part, base=_with_column(part.base, place, columns)))
        sound = _as_amended(some, mine)
        columns = _with_trades(columns, sound, np.zeros(len(sound), np.intp))
    return replace(
        bar,
        columns=_with_column(bar.columns, place, columns),
        kept=based[-1],
        older=based[0] if bar.older is not None else None,
        amended=amendments,
    )


def traded_places(columns: Columns) -> _Places:
    """The places of the symbols that have a trade which sets prices."""
    return np.flatnonzero(columns.longs[_LAST_NS] != _EVER_NS)


def figures(columns: Columns, places: Sequence[int] | _Places) -> tuple[Floats, Longs]:
    """(open, high, low, close) and (volume, trades) of some symbols: (4, n) and (2, n)."""
    return columns.prices[:, places], columns.longs[_VOLUME:, places]


def last_of(columns: Columns, place: int) -> tuple[float, int] | None:
    """(price, event time) of the symbol's last trade that sets prices; None without one."""
    if columns.longs[_LAST_NS, place] == _EVER_NS:
        return None
    return float(columns.prices[_CLOSE, place]), int(columns.longs[_LAST_NS, place])


def _no_trades(symbols: int) -> Columns:
    longs, prices = np.zeros((4, symbols), np.int64), np.zeros((4, symbols))
    longs[_FIRST_NS], longs[_LAST_NS] = _NEVER_NS, _EVER_NS
    prices[_HIGH], prices[_LOW] = -np.inf, np.inf
    return Columns(longs=longs, prices=prices)


def _wider(columns: Columns, symbols: int) -> Columns:
    more = _no_trades(symbols - columns.longs.shape[1])
    return Columns(longs=np.hstack((columns.longs, more.longs)), prices=np.hstack((columns.prices, more.prices)))


def _with_trades(columns: Columns, ticks: TickArray, places: _Places) -> Columns:
    """Open and close are of the first and last event time, ties in order of arrival; of equal places the last assignment wins."""
    event_ns = ticks["event_ns"]
    if (event_ns[1:] < event_ns[:-1]).any():
        order = np.argsort(event_ns, kind="stable")
        ticks, places, event_ns = ticks[order], places[order], event_ns[order]
    longs, prices = columns.longs.copy(), columns.prices.copy()
    flags = ticks["flags"]
    if flags.any():
        counted, priced = flags < TRADE_UNCOUNTED, flags == 0
        np.add.at(longs[_VOLUME], places[counted & ~priced], ticks["size"][counted & ~priced].astype(np.int64))
        np.add.at(longs[_TRADES], places[counted & ~priced], 1)
        ticks, places, event_ns = ticks[priced], places[priced], event_ns[priced]
    price = np.ascontiguousarray(ticks["price"])
    first = event_ns < longs[_FIRST_NS][places]
    if first.any():
        where = places[first][::-1]
        longs[_FIRST_NS][where], prices[_OPEN][where] = event_ns[first][::-1], price[first][::-1]
    last = event_ns >= longs[_LAST_NS][places]
    if last.all():
        longs[_LAST_NS][places], prices[_CLOSE][places] = event_ns, price
    else:
        where = places[last]
        longs[_LAST_NS][where], prices[_CLOSE][where] = event_ns[last], price[last]
    np.maximum.at(prices[_HIGH], places, price)
    np.minimum.at(prices[_LOW], places, price)
    np.add.at(longs[_VOLUME], places, ticks["size"].astype(np.int64))
    np.add.at(longs[_TRADES], places, 1)
    return Columns(longs=longs, prices=prices)


def _keep(kept: _Kept, ticks: TickArray, places: _Places) -> _Kept:
    """With one more chunk; many small ones become one, so that a correction need not look into each frame of a long bar."""
    if kept.small < _SMALL_CHUNKS:
        newest = _Chunk(ticks=ticks, places=places, before=kept.newest)
        return replace(kept, newest=newest, small=kept.small + 1, count=kept.count + len(ticks))
    all_ticks, all_places, before = [ticks], [places], kept.newest
    for _ in range(kept.small):
        assert before is not None
        all_ticks.append(before.ticks)
        all_places.append(before.places)
        before = before.before
    together = _Chunk(ticks=np.concatenate(all_ticks[::-1]), places=np.concatenate(all_places[::-1]), before=before)
    return replace(kept, newest=together, small=0, count=kept.count + len(ticks))


def _column(columns: Columns, place: int) -> Columns:
    return Columns(longs=columns.longs[:, place : place + 1], prices=columns.prices[:, place : place + 1])


def _with_column(columns: Columns, place: int, column: Columns) -> Columns:
    longs, prices = columns.longs.copy(), columns.prices.copy()
    longs[:, place], prices[:, place] = column.longs[:, 0], column.prices[:, 0]
    return Columns(longs=longs, prices=prices)


def _of_symbol(kept: _Kept, place: int) -> TickArray:
    """The symbol's trades in order of arrival."""
    found, chunk = [], kept.newest
    while chunk is not None:
        found.append(chunk.ticks[chunk.places == place])
        chunk = chunk.before
    return np.concatenate(found[::-1]) if found else np.empty(0, TICK_DTYPE)


def _as_amended(trades: TickArray, amendments: dict[int, tuple[float, int, int]]) -> TickArray:
    cancelled = np.zeros(len(trades), dtype=bool)
    for trade_id, (price, size, flags) in amendments.items():
        named = trades["trade_id"] == trade_id
        if size < 0:
            cancelled |= named
        else:
            trades["price"][named], trades["size"][named], trades["flags"][named] = price, size, flags
    return trades[~cancelled]
