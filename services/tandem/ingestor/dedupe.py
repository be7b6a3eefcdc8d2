"""Which ticks are new. After a reconnect a feed may send again what it sent before; the key is (symbol, kind, event time, trade id).

Bounded: the last WINDOW_TICKS ticks are remembered. A repetition of an older one is not recognised. Called by ingestor/intake.py.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.domain.market import TickArray

WINDOW_TICKS = 65_536  # 1.5 MiB; a minute of a thousand ticks a second, far more than a reconnect overlaps
_NEVER_NS = -(2**63)


class Window:
    """The keys of the last ticks. Symbols are places in a list that only grows; all ticks are of one kind, trades."""

    def __init__(self) -> None:
        self._event_ns = np.full(WINDOW_TICKS, _NEVER_NS, np.int64)
        self._trade_id = np.zeros(WINDOW_TICKS, np.int64)
        self._symbol = np.zeros(WINDOW_TICKS, np.int64)
        self._next = 0
        self._newest_ns = np.empty(0, np.int64)  # by symbol: a tick after it cannot be a repetition

    def fresh(self, ticks: TickArray) -> NDArray[np.bool_]:
        """(n,) whether each tick is new, also among themselves; remembers those that are."""
        symbol, event_ns = ticks["symbol"].astype(np.int64), ticks["event_ns"]
        if len(ticks) and (highest := int(symbol.max())) >= len(self._newest_ns):
            grown = np.full(highest + 1, _NEVER_NS, np.int64)
            grown[: len(self._newest_ns)] = self._newest_ns
            self._newest_ns = grown
        fresh = _first_of_each(symbol, event_ns, ticks["trade_id"])
        suspects = np.flatnonzero(event_ns <= self._newest_ns[symbol])
        if len(suspects):
            fresh[suspects] &= ~self._known(symbol[suspects], event_ns[suspects], ticks["trade_id"][suspects])
        kept = slice(None) if fresh.all() else fresh
        np.maximum.at(self._newest_ns, symbol[kept], event_ns[kept])
        self._remember(symbol[kept], event_ns[kept], ticks["trade_id"][kept])
        return fresh

    def _known(self, symbol: NDArray[np.int64], event_ns: NDArray[np.int64], trade_id: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each key is in the window. Few ticks are suspect, and few of the window are as new as they: exact sets are cheap."""
        near = np.flatnonzero(self._event_ns >= event_ns.min())
        held = set(zip(self._symbol[near].tolist(), self._event_ns[near].tolist(), self._trade_id[near].tolist(), strict=True))
        return np.array([key in held for key in zip(symbol.tolist(), event_ns.tolist(), trade_id.tolist(), strict=True)], np.bool_)

    def _remember(self, symbol: NDArray[np.int64], event_ns: NDArray[np.int64], trade_id: NDArray[np.int64]) -> None:
        count = min(len(symbol), WINDOW_TICKS)
        places = (self._next + np.arange(count)) % WINDOW_TICKS
        self._symbol[places], self._event_ns[places], self._trade_id[places] = symbol[-count:], event_ns[-count:], trade_id[-count:]
        self._next = (self._next + count) % WINDOW_TICKS


def _first_of_each(symbol: NDArray[np.int64], event_ns: NDArray[np.int64], trade_id: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) False where the same key stands earlier in the same arrays."""
    first = np.ones(len(symbol), np.bool_)
    steps = np.diff(event_ns)
    if (steps > 0).all():
        return first  # strictly ascending times: no two keys are equal
    if (steps >= 0).all():
        tied = np.concatenate(([False], steps == 0))
        near = np.flatnonzero(tied | np.concatenate((tied[1:], [False])))
    else:
        near = np.arange(len(symbol))
    order = near[np.lexsort((trade_id[near], symbol[near], event_ns[near]))]
    a, b = order[:-1], order[1:]
    same = (event_ns[a] == event_ns[b]) & (symbol[a] == symbol[b]) & (trade_id[a] == trade_id[b])
    first[b[same]] = False
    return first
