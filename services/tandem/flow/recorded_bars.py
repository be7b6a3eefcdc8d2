"""All bars of a whole recording at once: what stepping through it in any pieces and a last heartbeat would give (bars.py has the rules).

Sorts the ticks instead of stepping through them, which for years of bars of few ticks is faster. Called by the trainer and by tests.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.domain.conditions import TRADE_UNCOUNTED
from tandem.domain.market import KIND_TRADE, BarSet, SessionGrid, TickArray, TickFrame
from tandem.flow.bars import bar_closes, bar_set

_Longs = NDArray[np.int64]


def bars_of(grid: SessionGrid, frame: TickFrame) -> tuple[BarSet, ...]:
    """The bars of a recording's trades, in any order of arrival."""
    ticks = frame.ticks[frame.ticks["kind"] == KIND_TRADE]
    closes = bar_closes(grid, ticks["event_ns"])
    ticks, closes = ticks[closes > 0], closes[closes > 0]
    if len(ticks) == 0:
        return ()
    names = np.array(frame.symbols)
    rank = np.argsort(np.argsort(names))  # bars are in order of symbol
    symbol = rank[ticks["symbol"]]
    order = np.lexsort((ticks["event_ns"], symbol, closes))  # stable: ties of event time keep their order of arrival
    ticks, symbol, closes = ticks[order], symbol[order], closes[order]
    counts = _counts(ticks, closes, symbol)
    priced = ticks["flags"] == 0
    if not priced.all():
        ticks, symbol, closes = ticks[priced], symbol[priced], closes[priced]
        if len(ticks) == 0:
            return ()
    start, last = _groups(closes, symbol)
    price = ticks["price"]
    prices = np.stack((price[start], np.maximum.reduceat(price, start), np.minimum.reduceat(price, start), price[last]))
    by_rank = tuple(sorted(frame.symbols))
    named = [by_rank[i] for i in symbol[start].tolist()]
    first, end = _groups(closes[start], closes[start])
    return tuple(
        bar_set(grid, int(closes[start[a]]), tuple(named[a : b + 1]), prices[:, a : b + 1], counts[:, a : b + 1])
        for a, b in zip(first.tolist(), end.tolist(), strict=True)
    )


def _counts(ticks: TickArray, closes: _Longs, symbol: _Longs) -> _Longs:
    """(2, n) volume and trades of each bar that has a price; a trade that may not set one counts where its flags do not forbid it."""
    start, _ = _groups(closes, symbol)
    counted = ticks["flags"] < TRADE_UNCOUNTED
    shares = np.where(counted, ticks["size"].astype(np.int64), 0)
    counts = np.stack((np.add.reduceat(shares, start), np.add.reduceat(counted.astype(np.int64), start)))
    return counts[:, np.logical_or.reduceat(ticks["flags"] == 0, start)]


def _groups(closes: _Longs, symbol: _Longs) -> tuple[_Longs, _Longs]:
    """First and last place of each run of equal (close, symbol)."""
    new = np.flatnonzero((closes[1:] != closes[:-1]) | (symbol[1:] != symbol[:-1])) + 1
    return np.concatenate(([0], new)), np.concatenate((new - 1, [len(closes) - 1]))
