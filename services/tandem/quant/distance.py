"""The distance method of pairs trading (Gatev, Goetzmann and Rouwenhorst, Review of Financial Studies 19, 2006), as a study on closes.

Over a formation period prices are divided by their first one; the pairs whose normalised prices lie closest together (sum of squared
differences) are traded over the period that follows, whose prices are divided by its own first one. A pair opens when its normalised
prices are more than two formation standard deviations apart, one dollar in each leg, and closes when they cross or on the last day.
Portfolios overlap: a new one starts every step. The figure to compare with others is the mean return on committed capital: what 20 pairs
earn over a dollar for each, whether it was open or not.

This is the yardstick: no shares, no account, no order. The policy `distance` trades the same selection through the live code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import Permanent

Vector = NDArray[np.float64]
_BPS = 10_000.0
_SIDES = 2  # in and out
_LEGS = 2
_SPREAD_SD_MIN = 1e-12  # of normalised prices: less is the float error of two equal series


class FormationUnusable(Permanent):
    """A formation period holds too few whole symbols, or the prices too few bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceRule:
    """The rules of a study. The defaults are those of the paper, with a step of a month; a month is 21 bars."""

    formation_bars: int = 252
    trading_bars: int = 126
    step_bars: int = 21
    pairs: int = 20
    entry_sd: float = 2.0

    def __post_init__(self) -> None:
        if min(self.formation_bars, self.trading_bars) < 2 or min(self.step_bars, self.pairs) < 1 or not self.entry_sd > 0:
            raise ValueError(f"{self}: periods from 2 bars, step and pairs from 1, entry_sd above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePair:
    """Two columns of a formation period. distance: sum of squared differences; spread_sd: population standard deviation of them."""

    a: int
    b: int
    distance: float
    spread_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """One opening and closing of a pair, in bars of its trading period. direction: +1 long a, -1 short a. earned: per dollar and leg."""

    entered: int
    left: int
    direction: int
    earned: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """What all portfolios of a study earned. portfolio_returns: (n,) on committed capital over a whole trading period, oldest first."""

    portfolio_returns: Vector
    trades: int
    pairs: int
    months: float  # in one trading period
    first_pairs: tuple[tuple[str, str, int], ...]  # how often each pair was chosen, the most frequent first

    @property
    def monthly_percent(self) -> float:
        """Mean return on committed capital, percent a month."""
        return float(self.portfolio_returns.mean() / self.months * 100)

    @property
    def trades_per_pair(self) -> float:
        """Round trips of a pair in its trading period."""
        return self.trades / self.pairs


def closest_pairs(close: Vector, count: int) -> tuple[ClosePair, ...]:
    """The closest pairs of a formation period, nearest first. close: (T, N), every price finite and above 0.

    Two symbols that never move apart have no spread to trade and are left out. Raises FormationUnusable for fewer than two symbols.
    """
    if close.ndim != 2 or close.shape[1] < 2:
        raise FormationUnusable(f"{close.shape[-1]} symbols have a price on every bar of the formation period, at least 2 are needed")
    if not (np.isfinite(close).all() and (close > 0).all()):
        raise ValueError("prices of a formation period must be finite and above 0")
    scaled = close / close[0]
    squares = (scaled**2).sum(axis=0)
    distances = squares[:, None] + squares[None, :] - 2 * scaled.T @ scaled
    rows, columns = np.triu_indices(close.shape[1], 1)
    found: list[ClosePair] = []
    for place in np.argsort(distances[rows, columns], kind="stable"):
        a, b = int(rows[place]), int(columns[place])
        spread = scaled[:, a] - scaled[:, b]
        if (spread_sd := float(spread.std())) > _SPREAD_SD_MIN:
            found.append(ClosePair(a=a, b=b, distance=float((spread**2).sum()), spread_sd=spread_sd))
        if len(found) == count:
            break
    return tuple(found)


def round_trips(a: Vector, b: Vector, *, band: float, delay_bars: int = 0, cost_bps: float = 0.0) -> Iterator[RoundTrip]:
    """What a pair does over a trading period. a, b: (T,) closes; band: distance of the normalised prices above which it opens.

    A signal at a bar is executed `delay_bars` later, always at a close; on the last bar nothing opens and everything closes. Costs are
    basis points of a dollar for each side and leg.
    """
    spread = a / a[0] - b / b[0]
    last = len(spread) - 1
    entered, side = -1, 0.0
    for bar in range(last + 1):
        if side == 0:
            if abs(spread[bar]) > band and bar + delay_bars < last:
                entered, side = bar + delay_bars, float(np.sign(spread[bar]))
        elif np.sign(spread[bar]) != side or bar == last:
            left = min(bar + delay_bars, last)
            moved = (a[left] / a[entered] - 1) - (b[left] / b[entered] - 1)
            yield RoundTrip(
                entered=entered, left=left, direction=-int(side), earned=float(-side * moved - _SIDES * _LEGS * cost_bps / _BPS)
            )
            side = 0.0


def study(close: Vector, symbols: tuple[str, ...], rule: DistanceRule, *, delay_bars: int = 0, cost_bps: float = 0.0) -> Study:
    """All overlapping portfolios over closes (T, N), NaN where a symbol has none.

    A symbol with a hole in the formation or the trading period is not in that portfolio: a small look-ahead, as a delisting would be one.
    Raises FormationUnusable when the closes do not hold one whole portfolio.
    """
    whole = rule.formation_bars + rule.trading_bars
    if len(close) < whole:
        raise FormationUnusable(f"{len(close)} bars, a portfolio needs {whole}")
    returns: list[float] = []
    trades = 0
    chosen: dict[tuple[str, str], int] = {}
    pairs = 0
    for start in range(0, len(close) - whole + 1, rule.step_bars):
        period = close[start : start + whole]
        kept = np.flatnonzero((np.isfinite(period) & (period > 0)).all(axis=0))
        formation, trading = period[: rule.formation_bars, kept], period[rule.formation_bars :, kept]
        earned = 0.0
        for pair in closest_pairs(formation, rule.pairs):
            legs = trading[:, pair.a], trading[:, pair.b]
            trips = list(round_trips(*legs, band=rule.entry_sd * pair.spread_sd, delay_bars=delay_bars, cost_bps=cost_bps))
            earned += sum(trip.earned for trip in trips)
            trades += len(trips)
            pairs += 1
            names = symbols[kept[pair.a]], symbols[kept[pair.b]]
            chosen[names] = chosen.get(names, 0) + 1
        returns.append(earned / rule.pairs)
    often = sorted(chosen.items(), key=lambda item: (-item[1], item[0]))
    return Study(
        portfolio_returns=np.array(returns),
        trades=trades,
        pairs=pairs,
        months=rule.trading_bars / 21,
        first_pairs=tuple((a, b, times) for (a, b), times in often[:20]),
    )
