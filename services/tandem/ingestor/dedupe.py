"""Which ticks of a sector are new. After a reconnect, a restart or a backfill the same may come again.

The key is (symbol, kind, event time, identity); the identity is the trade's id, and for what has none a digest of its price, size and
flags. The window holds every key since `covered_from_ns`; the owner prunes what no backfill can bring again. A repetition of something
older is not recognised, so nobody may ask for older data again. Called by ingestor/frames.py, one window for each sector, because a
process that dies between two topics leaves them at different places.
"""

import numpy as np
from numpy.typing import NDArray

from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE, KINDS, TickArray

WINDOW_TICKS_MAX = 2_097_152  # 48 MiB; three minutes of ten thousand ticks a second, or the longest bar of a replayed sector
_START_TICKS = 4_096
_PRUNE_FROM_TICKS = 65_536  # below, pruning costs more than it frees
_NEVER_NS = -(2**63)
_KIND_STEP = max(KINDS) + 1
_HAS_TRADE_ID = np.array([kind in {KIND_TRADE, KIND_CORRECTION, KIND_CANCEL} for kind in range(_KIND_STEP)])
_Longs = NDArray[np.int64]


class Window:
    """The keys of the last ticks of one sector. Symbols are places in a list that only grows."""

    def __init__(self) -> None:
        self._event_ns = np.empty(_START_TICKS, np.int64)
        self._identity = np.empty(_START_TICKS, np.int64)
        self._what = np.empty(_START_TICKS, np.int64)  # symbol and kind as one number
        self._count = 0
        self._newest_ns = np.empty(0, np.int64)  # by symbol and kind: what is after it cannot be a repetition
        self.covered_from_ns = _NEVER_NS

    def __len__(self) -> int:
        return self._count

    def fresh(self, ticks: TickArray) -> NDArray[np.bool_]:
        """(n,) whether each tick is new, also among themselves; remembers those that are."""
        what = ticks["symbol"].astype(np.int64) * _KIND_STEP + ticks["kind"]
        event_ns, identity = ticks["event_ns"].astype(np.int64), _identities(ticks)
        if len(ticks) and (highest := int(what.max())) >= len(self._newest_ns):
            grown = np.full(highest + 1, _NEVER_NS, np.int64)
            grown[: len(self._newest_ns)] = self._newest_ns
            self._newest_ns = grown
        fresh = _first_of_each(what, event_ns, identity)
        suspects = np.flatnonzero(event_ns <= self._newest_ns[what])
        if len(suspects):
            fresh[suspects] &= ~self._known(what[suspects], event_ns[suspects], identity[suspects])
        kept = slice(None) if fresh.all() else fresh
        np.maximum.at(self._newest_ns, what[kept], event_ns[kept])
        self._remember(what[kept], event_ns[kept], identity[kept])
        return fresh

    def newest_trade_ns(self, symbol: int) -> int:
        """Event time of the symbol's newest trade; far in the past where there was none."""
        place = symbol * _KIND_STEP + KIND_TRADE
        return int(self._newest_ns[place]) if place < len(self._newest_ns) else _NEVER_NS

    def prune(self, before_ns: int) -> None:
        """Forget the keys before a time: nobody will ask for them again."""
        if self._count < _PRUNE_FROM_TICKS or before_ns <= self.covered_from_ns:
            return
        self._keep(np.flatnonzero(self._event_ns[: self._count] >= before_ns))
        self.covered_from_ns = before_ns

    def _known(self, what: _Longs, event_ns: _Longs, identity: _Longs) -> NDArray[np.bool_]:
        """Whether each key is in the window. Exact: equal times first, which leaves few, then whole keys."""
        near = np.flatnonzero(np.isin(self._event_ns[: self._count], event_ns))
        held = _keys(self._what[near], self._event_ns[near], self._identity[near])
        return np.isin(_keys(what, event_ns, identity), held)

    def _remember(self, what: _Longs, event_ns: _Longs, identity: _Longs) -> None:
        needed = self._count + len(what)
        if needed > WINDOW_TICKS_MAX:
            self._forget_oldest(needed - WINDOW_TICKS_MAX // 2)
            needed = self._count + len(what)
        if needed > len(self._event_ns):
            room = max(needed, 2 * len(self._event_ns))
            self._event_ns, self._identity, self._what = (
                np.concatenate((column[: self._count], np.empty(room - self._count, np.int64)))
                for column in (self._event_ns, self._identity, self._what)
            )
        places = slice(self._count, needed)
        self._what[places], self._event_ns[places], self._identity[places] = what, event_ns, identity
        self._count = needed

    def _forget_oldest(self, count: int) -> None:
        """Make room: the keys that came first go."""
        gone = min(count, self._count)
        if gone:
            self.covered_from_ns = max(self.covered_from_ns, int(self._event_ns[:gone].max()) + 1)
            self._keep(np.arange(gone, self._count))

    def _keep(self, places: _Longs) -> None:
        for column in (self._event_ns, self._identity, self._what):
            column[: len(places)] = column[places]
        self._count = len(places)


def _identities(ticks: TickArray) -> _Longs:
    """(n,) what tells ticks of one symbol, kind and time apart."""
    kind = ticks["kind"]
    ids: _Longs = ticks["trade_id"].astype(np.int64)
    if (kind == KIND_TRADE).all():
        return ids
    other = ~_HAS_TRADE_ID[kind]
    price = np.ascontiguousarray(ticks["price"][other]).view(np.int64)
    ids[other] = price ^ (ticks["size"][other].astype(np.int64) << 8) ^ ticks["flags"][other]
    return ids


def _keys(what: _Longs, event_ns: _Longs, identity: _Longs) -> NDArray[np.void]:
    """Whole keys as one column of bytes, which numpy can sort and compare."""
    columns = np.empty((len(what), 3), np.int64)
    columns[:, 0], columns[:, 1], columns[:, 2] = what, event_ns, identity
    return columns.view("V24").ravel()


def _first_of_each(what: _Longs, event_ns: _Longs, identity: _Longs) -> NDArray[np.bool_]:
    """(n,) False where the same key stands earlier in the same arrays."""
    first = np.ones(len(what), np.bool_)
    steps = np.diff(event_ns)
    if (steps > 0).all():
        return first  # strictly ascending times: no two keys are equal
    if (steps >= 0).all():
        tied = np.concatenate(([False], steps == 0))
        near = np.flatnonzero(tied | np.concatenate((tied[1:], [False])))
    else:
        near = np.arange(len(what))
    order = near[np.lexsort((identity[near], what[near], event_ns[near]))]
    a, b = order[:-1], order[1:]
    same = (event_ns[a] == event_ns[b]) & (what[a] == what[b]) & (identity[a] == identity[b])
    first[b[same]] = False
    return first
