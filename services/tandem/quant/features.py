"""One bar's numerics for all pairs of a sector at once: spread, AR(1) innovation, GARCH variance, feature row.

The only place where they are written: training folds `advance` over the past, serving calls it for each new bar, so both see the same
numbers. Everything is elementwise over pairs: a pair's result does not depend on the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.quant.bundle import PairModel
from tandem.quant.volatility import Kind

Vector = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# The schema of a feature row, in this order. Shocks are cut at +-_SHOCK_MAX for the network only, never for the variance.
FEATURES = (
    "residual",  # innovation / its GARCH standard deviation
    "residual_size",  # log(1 + residual^2)
    "variance_log_ratio",  # log of the next bar's GARCH variance over the training variance
    "z",
    "z_size",  # |z|
    "z_change",  # since the pair's last bar
    "moved_away",  # z_change in the direction of the last bar's sign: above 0 when the spread left its mean
    "slot_fraction",  # of the bar within the session; 0 for daily bars
    "fast_log_ratio",  # log of the mean squared innovation of the last bars over the GARCH variance
    "slow_log_ratio",  # the same of the last months
    "leg_a_level",  # log of the mean squared return of leg a over its training variance
    "leg_b_level",
    "leg_a_shock",  # return of leg a / root of its mean squared return so far
    "leg_b_shock",
    "carry",  # derivative of log h' by log h: how much of a correction of this bar's variance the recursion carries to the next
)
_SHOCK_MAX = 8.0  # a Student-t with 4 degrees of freedom exceeds it once in 1,500 bars
_MEAN_ABS_NORMAL = math.sqrt(2 / math.pi)
_DECAYS = np.array([0.8, 0.985])  # fast and slow: means over about 5 and 66 bars, a week and a quarter of daily ones
_LEG_DECAY = 0.94  # RiskMetrics (1996), daily
_LEVEL_MIN = 1e-3  # of a mean square at unit scale; a stock that stands still must not send a logarithm to minus infinity
_GAP_BARS_MAX = 1_000  # variance of bars further back than this in a gap has faded: phi^2000 of any spread worth trading


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairArrays:
    """The parameters of P pairs as arrays (P,); leg_scale (P, 2), profile (P, slots)."""

    beta: Vector
    mu: Vector
    spread_sd: Vector
    intercept: Vector
    phi: Vector
    scale: Vector
    omega: Vector
    alpha: Vector
    gamma: Vector
    garch_beta: Vector
    persistence: Vector
    exponential: Bools  # EGARCH: the recursion is of the logarithm
    leg_scale: Vector
    profile: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilterState:
    """What the filter keeps of P pairs between bars. Arrays are never changed in place."""

    spread: Vector  # (P,) at the pair's last bar; NaN: not begun
    variance: Vector  # (P,) of the next bar, unit scale
    missed: Ints  # (P,) bars of the grid since the pair's last one
    levels: Vector  # (P, 2) fast and slow mean of squared innovations, unit scale
    leg_logs: Vector  # (P, 2) log prices at the pair's last bar
    leg_levels: Vector  # (P, 2) mean of the legs' squared returns, unit scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What one bar gives for P pairs. Only pairs with `valid` traded both legs and have finite numbers; the rest is undefined."""

    state: FilterState  # after the bar; a pair that is not valid keeps what it had, one bar older
    valid: Bools  # (P,)
    elapsed: Ints  # (P,) bars since the pair's last one; 1 without a gap
    spread: Vector  # (P,)
    residual: Vector  # (P,) this bar's standardised innovation, not cut
    z: Vector
    expected_spread: Vector  # (P,) mean of the next bar
    garch_variance: Vector  # (P,) of the next bar's innovation, spread units squared
    rows: Vector  # (P, F) features, not scaled


def pair_arrays(pairs: Sequence[PairModel]) -> PairArrays:
    """The parameters of these pairs, in this order. All profiles must have the same number of slots."""

    def column(values: Sequence[float]) -> Vector:
        return np.array(values, dtype=np.float64)

    return PairArrays(
        beta=column([p.beta for p in pairs]),
        mu=column([p.mu for p in pairs]),
        spread_sd=column([p.spread_sd for p in pairs]),
        intercept=column([p.intercept for p in pairs]),
        phi=column([p.phi for p in pairs]),
        scale=column([p.volatility.scale for p in pairs]),
        omega=column([p.volatility.omega for p in pairs]),
        alpha=column([p.volatility.alpha for p in pairs]),
        gamma=column([p.volatility.gamma for p in pairs]),
        garch_beta=column([p.volatility.beta for p in pairs]),
        persistence=column([p.volatility.persistence for p in pairs]),
        exponential=np.array([p.volatility.kind is Kind.EGARCH for p in pairs]),
        leg_scale=np.array([p.leg_scales for p in pairs], dtype=np.float64),
        profile=np.array([p.profile for p in pairs], dtype=np.float64),
    )


def not_begun(count: int) -> FilterState:
    """The state of `count` pairs before their first bar: the training variance, no price."""
    return FilterState(
        spread=np.full(count, np.nan),
        variance=np.ones(count),
        missed=np.zeros(count, dtype=np.int64),
        levels=np.ones((count, 2)),
        leg_logs=np.full((count, 2), np.nan),
        leg_levels=np.ones((count, 2)),
    )


def started(pairs: Sequence[PairModel]) -> FilterState:
    """The state at the end of training."""
    return FilterState(
        spread=np.array([p.start.spread for p in pairs]),
        variance=np.array([p.start.variance for p in pairs]),
        missed=np.array([p.start.missed for p in pairs], dtype=np.int64),
        levels=np.array([p.start.levels for p in pairs]),
        leg_logs=np.array([p.start.leg_logs for p in pairs]),
        leg_levels=np.array([p.start.leg_levels for p in pairs]),
    )


def spread_of(arrays: PairArrays, price_a: Vector, price_b: Vector) -> Vector:
    """log a - beta log b - mu, (P,); NaN where a price is NaN or not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(price_a) - arrays.beta * np.log(price_b) - arrays.mu


def advance(arrays: PairArrays, state: FilterState, *, prices: tuple[Vector, Vector], slot: int, next_slot: int, passed: int = 1) -> Step:
    """Take in one bar. prices: of leg a and b, (P,); NaN: no trade.

    slot, next_slot: 0-based numbers of this and of the grid's next bar in their sessions. passed: bars of the grid since the last call,
    above 1 when nothing of the sector traded in between. After a gap the innovation is held against the variance of all that it covers.
    """
    last = arrays.profile.shape[1] - 1  # a session longer than any in training goes on with its last slot's factor
    slot, next_slot = min(slot, last), min(next_slot, last)
    elapsed = state.missed + passed
    # A pair whose numbers overflow is dropped by `valid`; the warning would only repeat that.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spread = spread_of(arrays, *prices)
        expected_now, variance_now, unit_variance = _across(arrays, state, elapsed, slot)
        residual = (spread - expected_now) / (arrays.scale * np.sqrt(unit_variance))
        innovation = residual * np.sqrt(variance_now)
        variance_next = _variance_next(arrays, innovation, residual, variance_now)
        leg_logs = np.log(np.stack(prices, axis=1))
        leg_returns = (leg_logs - state.leg_logs) / (arrays.leg_scale * np.sqrt(elapsed * arrays.profile[:, slot])[:, None])
        moved = FilterState(
            spread=spread,
            variance=variance_next,
            missed=np.zeros_like(elapsed),
            levels=_DECAYS * state.levels + (1 - _DECAYS) * innovation[:, None] ** 2,
            leg_logs=leg_logs,
            leg_levels=_LEG_DECAY * state.leg_levels + (1 - _LEG_DECAY) * leg_returns**2,
        )
        carry = np.where(arrays.exponential, arrays.garch_beta, arrays.garch_beta * variance_now / variance_next)
        rows = np.column_stack(
            (
                *_spread_columns(arrays, state, moved, residual),
                np.full_like(spread, slot / (last + 1)),
                *np.log(np.maximum(moved.levels, _LEVEL_MIN) / variance_next[:, None]).T,
                *np.log(np.maximum(moved.leg_levels, _LEVEL_MIN)).T,
                *_cut(leg_returns / np.sqrt(np.maximum(state.leg_levels, _LEVEL_MIN))).T,
                carry,
            )
        )
        garch_variance = variance_next * arrays.scale**2 * arrays.profile[:, next_slot]
        expected = arrays.intercept + arrays.phi * spread
        valid = np.isfinite(rows).all(axis=1) & np.isfinite(garch_variance) & np.isfinite(expected) & (garch_variance > 0)
    return Step(
        state=_kept(state, moved, valid=valid, elapsed=elapsed),
        valid=valid,
        elapsed=elapsed,
        spread=spread,
        residual=residual,
        z=spread / arrays.spread_sd,
        expected_spread=expected,
        garch_variance=garch_variance,
        rows=rows,
    )


def scaled(rows: Vector, mean: Vector, sd: Vector) -> NDArray[np.float32]:
    """Feature rows (..., F) as the network sees them. mean, sd: (F,), from the training part only."""
    return ((rows - mean) / sd).astype(np.float32)


def _across(arrays: PairArrays, state: FilterState, elapsed: Ints, slot: int) -> tuple[Vector, Vector, Vector]:
    """(mean of this bar's spread, variance of this bar alone, variance of the innovation), each (P,), from the pair's last bar on.

    The second at unit scale without the profile, the third with it. After a gap of k bars both are what the fitted model says k bars ahead.
    """
    expected = arrays.intercept + arrays.phi * state.spread
    variance = state.variance
    total = variance * arrays.profile[:, slot]
    gap = elapsed > 1
    if not gap.any():
        return expected, variance, total
    level_spread = arrays.intercept / (1 - arrays.phi)
    expected = np.where(gap, level_spread + arrays.phi**elapsed * (state.spread - level_spread), expected)
    ahead = _variance_ahead(arrays, state.variance, elapsed - 1)
    total = np.where(gap, ahead * arrays.profile[:, slot], total)
    slots = arrays.profile.shape[1]
    for back in range(1, min(int(elapsed.max()), _GAP_BARS_MAX)):
        earlier = _variance_ahead(arrays, state.variance, elapsed - 1 - back) * arrays.profile[:, (slot - back) % slots]
        total = total + np.where(back < elapsed, arrays.phi ** (2 * back) * earlier, 0.0)
    return expected, np.where(gap, ahead, variance), total


def _variance_ahead(arrays: PairArrays, variance: Vector, bars: Ints) -> Vector:
    """Expected variance `bars` (P,) after the next one; EGARCH: the exponential of the expected logarithm."""
    weight = arrays.persistence ** np.maximum(bars, 0)
    log_level = arrays.omega / (1 - arrays.garch_beta)
    level = arrays.omega / (1 - arrays.persistence)
    return np.where(arrays.exponential, np.exp(log_level + weight * (np.log(variance) - log_level)), level + weight * (variance - level))


def _variance_next(arrays: PairArrays, innovation: Vector, residual: Vector, variance: Vector) -> Vector:
    """The recursions of quant/volatility.py, each pair's own."""
    reaction = arrays.alpha + arrays.gamma * (innovation < 0)
    linear = arrays.omega + reaction * innovation**2 + arrays.garch_beta * variance
    if not arrays.exponential.any():
        return linear
    news = arrays.alpha * (np.abs(residual) - _MEAN_ABS_NORMAL) + arrays.gamma * residual
    return np.where(arrays.exponential, np.exp(arrays.omega + news + arrays.garch_beta * np.log(variance)), linear)


def _kept(state: FilterState, moved: FilterState, *, valid: Bools, elapsed: Ints) -> FilterState:
    """The new numbers where they are valid; a pair's first prices, too, though they make no row yet."""
    begins = np.isnan(state.spread) & np.isfinite(moved.spread)
    known = valid | begins
    return FilterState(
        spread=np.where(known, moved.spread, state.spread),
        variance=np.where(valid, moved.variance, state.variance),
        missed=np.where(known, 0, np.where(np.isnan(state.spread), 0, elapsed)),
        levels=np.where(valid[:, None], moved.levels, state.levels),
        leg_logs=np.where(known[:, None], moved.leg_logs, state.leg_logs),
        leg_levels=np.where(valid[:, None], moved.leg_levels, state.leg_levels),
    )


def _cut(shocks: Vector) -> Vector:
    return np.clip(shocks, -_SHOCK_MAX, _SHOCK_MAX)


def _spread_columns(arrays: PairArrays, state: FilterState, moved: FilterState, residual: Vector) -> tuple[Vector, ...]:
    cut = _cut(residual)
    z, z_last = moved.spread / arrays.spread_sd, state.spread / arrays.spread_sd
    z_change = z - z_last
    return (
        cut,
        np.log1p(cut**2),
        np.log(moved.variance),  # the training variance is 1 at unit scale
        z,
        np.abs(z),
        z_change,
        np.sign(z_last) * z_change,
    )
