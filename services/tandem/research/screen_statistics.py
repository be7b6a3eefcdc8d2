"""Every statistic of every pair of a universe, as columns of one table. Decides nothing; screen_policies.py does.

All pairs get Engle-Granger both ways, Dickey-Fuller of the spread, Johansen, half-life, Hurst, correlations, and hedge ratios by ordinary
and by total least squares. The Kalman filter is fitted for pairs with p < 0.05 in one direction only: it decides about no pair, so that no
test is hidden by this.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId, pair_id
from tandem.quant.cointegration import benjamini_hochberg, inner_q_values
from tandem.quant.correlation import return_correlations
from tandem.quant.engle_granger import adf_of_spreads, engle_granger_many
from tandem.quant.hedge import kalman_fit, total_least_squares_of
from tandem.quant.hurst import hurst_of_spreads
from tandem.quant.johansen import CRITICAL_NONE, johansen_many
from tandem.quant.rejections import FitRejected
from tandem.research.screen_universe import NEXT_BARS_MIN, Universe

Vector = NDArray[np.float64]
Column = NDArray[Any]  # (P,): numbers, text or truth values
Progress = Callable[[str, int, int], None]  # what, done, of how many

LEVEL = 0.05
_CHUNK = 2_000  # pairs between two movements of the progress bar: a tenth of a second
_SIZE_PAIRS = 1_000  # of random walks, for the size of the test: known to half a percent
WAYS = ("ab", "ba")  # log a on log b, and the other way round


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTable:
    """One row for each pair of the universe, legs in alphabetical order; `columns` in the order in which they are written."""

    pairs: NDArray[np.int64]  # (P, 2) columns of the universe
    columns: dict[str, Column]

    @property
    def tested(self) -> NDArray[np.bool_]:
        """(P,) pairs with a test; the column `untested` says why the others have none."""
        return self.columns["untested"] == ""

    def best(self, name: str) -> Vector:
        """(P,) of a statistic with two directions: the one in the direction with the smaller p-value."""
        return np.where(self.columns["direction"] == "ba", self.columns[f"{name}_ba"], self.columns[f"{name}_ab"])

    def best_pairs(self) -> NDArray[np.int64]:
        """(P, 2) with the legs in that direction."""
        return np.where((self.columns["direction"] == "ba")[:, None], self.pairs[:, ::-1], self.pairs)

    def names(self, universe: Universe) -> list[PairId]:
        """The pairs' ids in that direction."""
        return [pair_id(universe.symbols[a], universe.symbols[b]) for a, b in self.best_pairs().tolist()]


def statistics(universe: Universe, *, bars_min: int, lags_max: int | None, progress: Progress) -> PairTable:
    """Test every pair of the universe on its first span, and again on the next one where there is one."""
    pairs = np.array(list(combinations(range(len(universe.symbols)), 2)), np.int64)
    found = _chunked(pairs, lambda part: _tests(universe.log_close, part, lags_max), what="pairs", progress=progress)
    found["untested"] = np.where(
        found["bars"] < bars_min,
        "too_few_bars",
        np.where(np.isfinite(found["eg_statistic_ab"] + found["eg_statistic_ba"]), "", "collinear"),
    )
    tested = np.flatnonzero(found["untested"] == "")
    q_values = np.full((len(pairs), 2), np.nan)
    every = np.column_stack([found["eg_p_ab"], found["eg_p_ba"]])
    if len(tested):
        q_values[tested] = benjamini_hochberg(every[tested].ravel()).reshape(-1, 2)
    found["eg_q_ab"], found["eg_q_ba"] = q_values.T
    found["direction"] = np.where(every[:, 1] < every[:, 0], "ba", "ab")
    found["p_min"], found["q_min"] = every.min(axis=1), q_values.min(axis=1)
    found["inner_q"] = np.full(len(pairs), np.nan)
    found["inner_q"][tested] = inner_q_values(universe.log_close, pairs[tested], lags_max=lags_max).min(axis=1)
    names = np.array(universe.symbols)
    table = PairTable(pairs=pairs, columns={"leg_a": names[pairs[:, 0]], "leg_b": names[pairs[:, 1]]} | _sectors(universe, pairs) | found)
    table.columns.update(_kalman(universe, table, progress))
    if len(universe.next_ns):
        table.columns.update(_next_span(universe, table, lags_max=lags_max, progress=progress))
    return table


def size_of_the_test(bars: int, *, lags_max: int | None) -> float:
    """Share of p < 0.05 among unrelated Gaussian random walks of so many bars: above 5 %, because AIC chooses lags by the residual."""
    walks = np.cumsum(np.random.default_rng(0).standard_normal((bars, 2 * _SIZE_PAIRS)), axis=0)
    tests = engle_granger_many(walks, np.arange(2 * _SIZE_PAIRS).reshape(-1, 2), lags_max=lags_max)
    return float((tests.p_value < LEVEL).mean())


def _chunked(
    pairs: NDArray[np.int64], work: Callable[[NDArray[np.int64]], dict[str, Column]], *, what: str, progress: Progress
) -> dict[str, Column]:
    parts = []
    progress(what, 0, len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        parts.append(work(pairs[start : start + _CHUNK]))
        progress(what, min(start + _CHUNK, len(pairs)), len(pairs))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _tests(log_close: Vector, pairs: NDArray[np.int64], lags_max: int | None) -> dict[str, Column]:
    tests = engle_granger_many(log_close, pairs, lags_max=lags_max)
    johansen = johansen_many(log_close, pairs)
    found: dict[str, Column] = {
        "bars": tests.bars,
        "correlation_returns": return_correlations(log_close, pairs),
        # The product of both slopes is the squared correlation of the levels.
        "correlation_levels": np.sign(tests.beta[:, 0]) * np.sqrt(np.maximum(0.0, tests.beta[:, 0] * tests.beta[:, 1])),
    }
    for way, name in enumerate(WAYS):
        phi = tests.phi[:, way]
        with np.errstate(divide="ignore", invalid="ignore"):
            half_life = np.where(np.abs(phi) >= 1, np.nan, np.where(phi <= 0, 0.25, np.maximum(0.25, math.log(0.5) / np.log(phi))))
        found |= {
            f"eg_statistic_{name}": tests.statistic[:, way],
            f"eg_p_{name}": tests.p_value[:, way],
            f"eg_lag_{name}": tests.lag[:, way],
            f"adf_statistic_{name}": tests.adf_statistic[:, way],
            f"adf_p_{name}": tests.adf_p_value[:, way],
            f"adf_lag_{name}": tests.adf_lag[:, way],
            f"half_life_bars_{name}": half_life,
            f"hurst_{name}": hurst_of_spreads(log_close, pairs[:, :: 1 - 2 * way], tests.beta[:, way]),
            f"beta_ols_{name}": tests.beta[:, way],
            f"mu_{name}": tests.mu[:, way],
            f"spread_sd_{name}": tests.spread_sd[:, way],
        }
    return found | {
        "beta_tls_ab": total_least_squares_of(log_close, pairs),
        "johansen_trace": johansen.trace_none,
        "johansen_trace_one": johansen.trace_one,
        "johansen_critical_5pct": np.full(len(pairs), CRITICAL_NONE[1]),
        "johansen_beta_ab": johansen.beta,
    }


def _sectors(universe: Universe, pairs: NDArray[np.int64]) -> dict[str, Column]:
    sectors = np.array([universe.sectors.get(name, "") for name in universe.symbols])
    return {"sector_a": sectors[pairs[:, 0]], "sector_b": sectors[pairs[:, 1]]}


def _kalman(universe: Universe, table: PairTable, progress: Progress) -> dict[str, Column]:
    """Of the better direction, for pairs with p < 0.05."""
    rows = np.flatnonzero(table.tested & (table.columns["p_min"] < LEVEL))
    names = ("kalman_beta", "kalman_noise", "kalman_alpha_step", "kalman_beta_step", "kalman_gain")
    found = np.full((len(table.pairs), len(names)), np.nan)
    best = table.best_pairs()
    for done, row in enumerate(rows.tolist()):
        if done % 100 == 0:
            progress("hedge ratios that wander", done, len(rows))
        legs = universe.log_close[:, best[row]]
        legs = legs[np.isfinite(legs).all(axis=1)]
        try:
            fit = kalman_fit(legs[:, 0], legs[:, 1])
        except FitRejected:
            continue
        found[row] = fit.beta, fit.noise, fit.alpha_step, fit.beta_step, fit.log_likelihood - fit.log_likelihood_constant
    progress("hedge ratios that wander", len(rows), len(rows))
    return dict(zip(names, found.T, strict=True))


def _next_span(universe: Universe, table: PairTable, *, lags_max: int | None, progress: Progress) -> dict[str, Column]:
    """Tested again from nothing, and with the first span's hedge ratio. NaN where a leg is not there or the pair was not tested before."""
    best, beta = table.best_pairs(), table.best("beta_ols")

    def work(part: NDArray[np.int64]) -> dict[str, Column]:
        rows = slice(int(part[0, 0]), int(part[-1, 0]) + 1)
        tests = engle_granger_many(universe.next_log_close, best[rows], lags_max=lags_max)
        enough = np.isfinite(tests.statistic[:, 0]) & (tests.bars >= NEXT_BARS_MIN) & table.tested[rows]
        frozen = adf_of_spreads(universe.next_log_close, best[rows], beta[rows], lags_max=lags_max)
        return {
            "next_bars": tests.bars,
            "next_p": np.where(enough, tests.p_value[:, 0], np.nan),
            "next_frozen_p": np.where(enough, frozen, np.nan),
        }

    numbers = np.arange(len(table.pairs), dtype=np.int64)[:, None]
    return _chunked(numbers, work, what="the next span", progress=progress)
