"""Symbols whose rows cannot be used, and the file without them: reading that drops the symbol, where the strict way refuses the file.

A symbol goes as a whole: a history with a hole in the wrong place is worse than none. What concerns the file and not a symbol (unknown
columns, types, a symbol that is no symbol) is still refused. Used by adapters/market_file.py only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tandem.adapters.market_columns import Columns
from tandem.domain.errors import BadRecord
from tandem.domain.ids import Symbol
from tandem.quant.quality import SymbolRejection

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Defect:
    """Rows that one rule finds bad, in the order of the rules."""

    reason: str
    column: str
    bad: Mask
    allowed: str


def drop_long(
    columns: Columns, *, timed: str, prices: Sequence[str], size: str | None, sizes: tuple[int, int], unique: bool
) -> tuple[Columns, tuple[SymbolRejection, ...]]:
    """A long file without the symbols that have a bad row, and those symbols with the first thing found. Raises BadRecord if none is left.

    sizes: the lowest and the highest allowed. unique: two rows of a symbol at one time are a defect (bars, not trades).
    """
    index, symbols = columns.symbols("symbol")
    defects = [defect for name in prices for defect in _price_defects(columns, name)]
    if size is not None:
        found, (low, high) = columns.numbers(size), sizes
        bad = ~np.isfinite(found) | (found < low) | (found > high) | (found != np.floor(found))
        defects.append(_Defect(reason="bad_size", column=size, bad=bad, allowed=f"a whole number from {low} to {high}"))
    times = columns.raw_times(timed)
    defects += _time_defects(timed, index, times, unique=unique)
    rejections, dropped = _judged(columns, index, symbols, defects)
    return columns.where(~dropped[index]), rejections


def drop_wide(columns: Columns, names: Sequence[str]) -> tuple[Columns, tuple[str, ...], tuple[SymbolRejection, ...]]:
    """A wide file without the columns that hold a bad price, and without those that have one on a date that stands twice or out of order.

    Returns the rest, the names that are left and the rejections. An empty cell is a day without a close, no defect.
    """
    times = columns.raw_times("date")
    rejections: list[SymbolRejection] = []
    for name in names:
        prices = columns.numbers(name)
        present = np.flatnonzero(~np.isnan(prices))
        defects = [
            _Defect(reason="not_finite", column=name, bad=np.isinf(prices), allowed="a finite price above 0, or an empty cell"),
            _Defect(reason="not_positive", column=name, bad=prices <= 0, allowed="a finite price above 0, or an empty cell"),
        ]
        for defect in _time_defects("date", np.zeros(len(present), np.int64), times[present], unique=True):
            whole = np.zeros(len(times), np.bool_)
            whole[present] = defect.bad
            defects.append(_Defect(reason=defect.reason, column="date", bad=whole, allowed=defect.allowed))
        rejections += _judged(columns, np.zeros(len(times), np.int64), (Symbol(name),), defects, last=False)[0]
    gone = {rejection.symbol for rejection in rejections}
    kept = tuple(name for name in names if name not in gone)
    if not kept:
        raise _nothing_left(columns, rejections)
    if not rejections:
        return columns, kept, ()
    # A date that stood twice for the dropped symbols only is an empty row now.
    filled = np.any([~np.isnan(columns.numbers(name)) for name in kept], axis=0)
    _, place, count = np.unique(times, return_inverse=True, return_counts=True)
    return columns.where(filled | (count[place] == 1)), kept, tuple(rejections)


def _price_defects(columns: Columns, column: str) -> tuple[_Defect, ...]:
    prices = columns.numbers(column)
    allowed = "a finite price above 0"
    return (
        _Defect(reason="not_finite", column=column, bad=~np.isfinite(prices), allowed=allowed),
        _Defect(reason="not_positive", column=column, bad=prices <= 0, allowed=allowed),
    )


def _time_defects(column: str, index: NDArray[np.int64], times: NDArray[np.int64], *, unique: bool) -> list[_Defect]:
    """Rows of each symbol in the order of the file: a time that is empty, before the last one, or there already."""
    missing = times == pd.NaT.value
    order = np.argsort(index, kind="stable")
    same = np.diff(index[order]) == 0
    back = np.zeros(len(times), np.bool_)
    back[order[1:]] = same & (np.diff(times[order]) < 0)
    defects = [
        _Defect(reason="bad_time", column=column, bad=missing, allowed="a time"),
        _Defect(reason="unsorted_time", column=column, bad=back & ~missing, allowed="rows of a symbol in order of time"),
    ]
    if unique:
        by_time = np.lexsort((times, index))
        twice = np.zeros(len(times), np.bool_)
        twice[by_time[1:]] = (np.diff(index[by_time]) == 0) & (np.diff(times[by_time]) == 0)
        defects.insert(1, _Defect(reason="duplicate_time", column=column, bad=twice, allowed=f"one row for each symbol and {column}"))
    return defects


def _judged(
    columns: Columns, index: NDArray[np.int64], symbols: Sequence[Symbol], defects: Sequence[_Defect], *, last: bool = True
) -> tuple[tuple[SymbolRejection, ...], Mask]:
    """Each bad symbol with its first defect, and which of `symbols` are bad. last: raise BadRecord when none is left."""
    found: dict[int, SymbolRejection] = {}
    for defect in defects:
        bad_rows = np.flatnonzero(defect.bad)
        numbers, first = np.unique(index[bad_rows], return_index=True)
        for number, row in zip(numbers.tolist(), bad_rows[first].tolist(), strict=True):
            detail = columns.finding(defect.column, row, defect.allowed)
            found.setdefault(number, SymbolRejection(symbol=symbols[number], reason=defect.reason, detail=detail))
    rejections = tuple(found[number] for number in sorted(found))
    if last and len(found) == len(symbols):
        raise _nothing_left(columns, rejections)
    dropped = np.zeros(len(symbols), np.bool_)
    dropped[list(found)] = True
    return rejections, dropped


def _nothing_left(columns: Columns, rejections: Sequence[SymbolRejection]) -> BadRecord:
    first = rejections[0]
    return BadRecord(
        "no_symbol_left", f"{columns.file}: all {len(rejections)} symbols have bad rows; {first.symbol}: {first.reason}: {first.detail}"
    )
