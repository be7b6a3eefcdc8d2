"""Closing prices of a sector as a table: what training and scoring work on. Made from the same BarSets that serving steps through."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import Symbol
from tandem.domain.market import BarSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """T bars of S symbols, ascending in time. NaN where a symbol did not trade in the bar."""

    symbols: tuple[Symbol, ...]
    close_ns: NDArray[np.int64]  # (T,)
    slot: NDArray[np.int64]  # (T,)
    number: NDArray[np.int64]  # (T,) as in BarSet: where it rises by more than 1, bars are missing
    next_slot: NDArray[np.int64]  # (T,)
    close: NDArray[np.float64]  # (T, S)

    def before(self, bars: int) -> "Panel":
        """The first `bars` bars."""
        return self.between(0, bars)

    def between(self, start: int, stop: int) -> "Panel":
        """The bars from `start` up to `stop`, not included."""
        names = ("close_ns", "slot", "number", "next_slot", "close")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in names})

    def log_close(self, symbol: str) -> NDArray[np.float64]:
        """Log prices of a symbol, (T,)."""
        return np.log(self.close[:, self.symbols.index(Symbol(symbol))])


def panel_of(bar_sets: Iterable[BarSet], symbols: Sequence[Symbol]) -> Panel:
    """The table of these symbols; bars in which none of them traded are left out."""
    rows = [
        (s.close_ns, s.slot, s.number, s.next_slot, [s.bars[name].close if name in s.bars else np.nan for name in symbols])
        for s in bar_sets
    ]
    rows = [row for row in rows if not np.isnan(row[-1]).all()]
    return Panel(
        symbols=tuple(symbols),
        close_ns=np.array([row[0] for row in rows], dtype=np.int64),
        slot=np.array([row[1] for row in rows], dtype=np.int64),
        number=np.array([row[2] for row in rows], dtype=np.int64),
        next_slot=np.array([row[3] for row in rows], dtype=np.int64),
        close=np.array([row[4] for row in rows], dtype=np.float64).reshape(len(rows), len(symbols)),
    )
