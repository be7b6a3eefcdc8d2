"""Is a symbol's price history fit to be tested and traded? A defect has a short code; a symbol that has one is left out, the rest goes on.

Looks at closes only, on the span that the caller hands in, and offline: it may look past a bar to judge it. Called by screening and
training; adapters/market_file.py uses the same record for symbols whose rows cannot be read at all.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import Symbol
from tandem.domain.units import NS_PER_S
from tandem.quant.panel import Panel

Vector = NDArray[np.float64]

# Splits that exchanges have seen, as price factors; each also the other way round.
_SPLITS = (("3:2", 1.5), ("2:1", 2.0), ("3:1", 3.0), ("4:1", 4.0), ("5:1", 5.0), ("7:1", 7.0), ("10:1", 10.0), ("20:1", 20.0))
# Distance of a log move from a split's. A day's own move comes on top of the split, but AAPL's fall of 52 % on 2000-09-29, which is real,
# is .038 away from a half: .03 lies between it and the splits of the reference data (at most .024 away).
_SPLIT_TOLERANCE = 0.03
# In the symbol's own robust standard deviations, of the wilder side of the jump: a crash raises the variance after it, a split does not.
_SPLIT_SD_MIN, _SPIKE_SD_MIN, _JUMP_SD_MIN = 15.0, 10.0, 30.0
_SPIKE_MIN, _SPIKE_LEFT_MAX = 0.2, 0.1  # log move; share of it that is left a bar later
_JUMP_MIN = 0.5  # log move: beyond any earnings day of the reference data that comes out of a quiet month
_AROUND_BARS, _AROUND_MIN_BARS = 60, 20
_MAD_TO_SD = 1.4826  # of a normal distribution
_SD_FLOOR = 1e-4  # log price: a hundredth of a cent on a dollar; keeps a frozen month from making any tick an outlier


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRejection:
    """A symbol that is left out, and why."""

    symbol: Symbol
    reason: str  # short code: not_finite, not_positive, duplicate_time, unsorted_time, too_few_bars, constant_series, stale, ...
    detail: str  # what was found and what is allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRule:
    """What a history must hold. The defaults suit daily closes of listed shares; see `for_bar`."""

    bars_min: int = 250
    missing_share_max: float = 0.1  # of the bars from its first close to the end of the span
    stale_run_max_bars: int = 10  # closes in a row that do not change

    def __post_init__(self) -> None:
        if self.bars_min < 2 or not 0 <= self.missing_share_max < 1 or self.stale_run_max_bars < 1:
            raise ValueError(f"bars_min from 2, missing_share_max in [0, 1), stale_run_max_bars from 1; found {self}")

    @classmethod
    def for_bar(cls, bar: str, *, bars_min: int = 250) -> "QualityRule":
        """The rule for bars of this length: on intraday bars a price of a few dollars stands still for an hour without being stale."""
        return cls(bars_min=bars_min) if bar == "1d" else cls(bars_min=bars_min, stale_run_max_bars=60)


def check_prices(symbol: Symbol, close_ns: NDArray[np.int64], close: Vector, rule: QualityRule) -> SymbolRejection | None:
    """The first defect of a symbol's closes (T,), NaN where it did not trade, at the ends of the bars close_ns (T,); None if there is none.

    Codes in the order in which they are looked for: not_finite, not_positive, duplicate_time, unsorted_time, too_few_bars,
    constant_series, stale, price_spike (one bar far off and back), split_suspected, jump_suspected.
    """
    found = _unusable(close_ns, close) or _thin(close_ns, close, rule) or _frozen(close_ns, close, rule) or _broken(close_ns, close)
    return None if found is None else SymbolRejection(symbol=symbol, reason=found[0], detail=found[1])


def check_panel(panel: Panel, rule: QualityRule) -> tuple[Panel, tuple[SymbolRejection, ...]]:
    """The panel of the symbols without a defect, in their order, and the rejections of the others."""
    rejections: list[SymbolRejection] = []
    kept: list[int] = []
    for place, symbol in enumerate(panel.symbols):
        rejection = check_prices(symbol, panel.close_ns, panel.close[:, place], rule)
        if rejection is None:
            kept.append(place)
        else:
            rejections.append(rejection)
    symbols = tuple(panel.symbols[place] for place in kept)
    return replace(panel, symbols=symbols, close=panel.close[:, kept]), tuple(rejections)


def by_reason(rejections: Iterable[SymbolRejection]) -> dict[str, tuple[Symbol, ...]]:
    """The symbols of each code, codes in alphabetical order."""
    found: dict[str, list[Symbol]] = {}
    for rejection in rejections:
        found.setdefault(rejection.reason, []).append(rejection.symbol)
    return {reason: tuple(found[reason]) for reason in sorted(found)}


_Defect = tuple[str, str] | None


def _unusable(close_ns: NDArray[np.int64], close: Vector) -> _Defect:
    """Values that no price can have, and times out of order."""
    infinite = np.isinf(close)
    if infinite.any():
        return "not_finite", f"{close[infinite][0]} at {_day(close_ns[infinite][0])}, allowed is a finite price above 0"
    low = np.nan_to_num(close, nan=1.0) <= 0
    if low.any():
        return "not_positive", f"{close[low][0]:g} at {_day(close_ns[low][0])}, allowed is a finite price above 0"
    step = np.diff(close_ns)
    if (step < 0).any():
        return "unsorted_time", f"{_day(close_ns[1:][step < 0][0])} stands after a later bar"
    if (step == 0).any():
        return "duplicate_time", f"two bars end at {_day(close_ns[1:][step == 0][0])}"
    return None


def _thin(close_ns: NDArray[np.int64], close: Vector, rule: QualityRule) -> _Defect:
    """Too few closes, or too many holes from the first close to the end of the span."""
    present = np.flatnonzero(~np.isnan(close))
    if len(present) < rule.bars_min:
        return "too_few_bars", f"{len(present)} bars, at least {rule.bars_min} are needed"
    life = len(close) - int(present[0])
    missing = 1 - len(present) / life
    if missing > rule.missing_share_max:
        last = _day(close_ns[present[-1]])
        return "stale", f"{missing:.1%} of {life} bars are missing, at most {rule.missing_share_max:.1%}; the last one is of {last}"
    return None


def _frozen(close_ns: NDArray[np.int64], close: Vector, rule: QualityRule) -> _Defect:
    """Closes that do not move at all, or not for a long time."""
    present = ~np.isnan(close)
    prices, times = close[present], close_ns[present]
    moved = np.flatnonzero(np.diff(prices) != 0)
    if len(moved) == 0:
        return "constant_series", f"every close is {prices[0]:g}"
    edges = np.concatenate(([-1], moved, [len(prices) - 1]))
    runs = np.diff(edges) - 1  # closes that repeat the one before
    longest = int(runs.argmax())
    if runs[longest] > rule.stale_run_max_bars:
        start = _day(times[edges[longest] + 1])
        return "stale", f"the close stays the same for {runs[longest]} bars from {start}, at most {rule.stale_run_max_bars}"
    return None


def _broken(close_ns: NDArray[np.int64], close: Vector) -> _Defect:
    """A move that no trade made: a wrong print, a split or a spin-off that the prices are not adjusted for."""
    present = ~np.isnan(close)
    times = close_ns[present][1:]
    moves = np.diff(np.log(close[present]))
    for place in np.flatnonzero(np.abs(moves) >= _SPIKE_MIN).tolist():
        move = float(moves[place])
        sds = abs(move) / _sd_around(moves, place)
        size = f"{math.expm1(move):+.1%} on {_day(times[place])}, {sds:.0f} standard deviations"
        following = float(moves[place + 1]) if place + 1 < len(moves) else 0.0
        if sds >= _SPIKE_SD_MIN and abs(move + following) <= _SPIKE_LEFT_MAX * abs(move):
            return "price_spike", f"{size}, and {math.expm1(following):+.1%} at the next bar"
        ratio = _split(move)
        if sds >= _SPLIT_SD_MIN and ratio is not None:
            return "split_suspected", f"{size}: close to a split of {ratio} that prices are not adjusted for"
        if sds >= _JUMP_SD_MIN and abs(move) >= _JUMP_MIN:
            return "jump_suspected", f"{size}: a spin-off or a change of the listing, no trading"
    return None


def _sd_around(moves: Vector, place: int) -> float:
    """Robust standard deviation of the moves before or after `place`, the larger one."""
    sides = (moves[max(0, place - _AROUND_BARS) : place], moves[place + 1 : place + 1 + _AROUND_BARS])
    wide = [side for side in sides if len(side) >= _AROUND_MIN_BARS] or [np.delete(moves, place)]
    return max(_SD_FLOOR, *(float(_MAD_TO_SD * np.median(np.abs(side))) for side in wide if len(side)))


def _split(move: float) -> str | None:
    """The split whose factor the log move is close to."""
    for name, factor in _SPLITS:
        if abs(abs(move) - math.log(factor)) <= _SPLIT_TOLERANCE:
            return name if move < 0 else ":".join(reversed(name.split(":")))
    return None


def _day(close_ns: np.int64) -> str:
    return datetime.fromtimestamp(int(close_ns) // NS_PER_S, UTC).date().isoformat()
