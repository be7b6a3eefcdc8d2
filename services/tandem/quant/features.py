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

# The schema of a feature row, in this order. Residuals are cut at +-_RESIDUAL_MAX for the network only, never for the variance.
FEATURES = (
    "residual",  # innovation / its GARCH standard deviation
    "residual_size",  # log(1 + residual^2)
    "variance_log_ratio",  # log of the next bar's GARCH variance over the training variance
    "z",
    "z_size",  # |z|
    "z_change",  # since the pair's last bar
    "moved_away",  # z_change in the direction of the last bar's sign: above 0 when the spread left its mean
    "slot_fraction",  # of the bar within the session; 0 for daily bars
)
_MEAN_ABS_NORMAL = math.sqrt(2 / math.pi)
_RESIDUAL_MAX = 8.0  # a Student-t with 4 degrees of freedom exceeds it once in 1,500 bars


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairArrays:
    """The parameters of P pairs as arrays (P,); profile (P, slots)."""

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
    exponential: NDArray[np.bool_]  # EGARCH: the recursion is of the logarithm
    profile: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What one bar gives for P pairs. Only pairs with `valid` traded both legs and have finite numbers; the rest is undefined."""

    valid: NDArray[np.bool_]  # (P,)
    spread: Vector  # (P,)
    variance: Vector  # (P,) of the next bar, unit scale
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
        exponential=np.array([p.volatility.kind is Kind.EGARCH for p in pairs]),
        profile=np.array([p.profile for p in pairs], dtype=np.float64),
    )


def spread_of(arrays: PairArrays, price_a: Vector, price_b: Vector) -> Vector:
    """log a - beta log b - mu, (P,); NaN where a price is NaN or not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(price_a) - arrays.beta * np.log(price_b) - arrays.mu


def advance(arrays: PairArrays, spread_last: Vector, variance: Vector, *, prices: tuple[Vector, Vector], slot: int) -> Step:
    """Take in one bar. spread_last, variance (unit scale, forecast for this bar), prices of leg a and b: (P,); NaN: no trade.

    slot: 0-based number of the bar in its session. The next bar is taken to be the next slot, after the last slot the next session's first;
    on a half day the last bar's forecast therefore lacks the overnight factor (its update does not: that uses the slot that came).
    """
    slots = arrays.profile.shape[1]
    slot = min(slot, slots - 1)  # a session longer than any in training
    # A pair whose numbers overflow is dropped by `valid`; the warning would only repeat that.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spread = spread_of(arrays, *prices)
        innovation = (spread - arrays.intercept - arrays.phi * spread_last) / (arrays.scale * np.sqrt(arrays.profile[:, slot]))
        residual = innovation / np.sqrt(variance)
        variance_next = _variance_next(arrays, innovation, variance)
        z = spread / arrays.spread_sd
        z_last = spread_last / arrays.spread_sd
        rows = _rows(residual, variance_next, z, z_last, slot / slots)
        garch_variance = variance_next * arrays.scale**2 * arrays.profile[:, (slot + 1) % slots]
        expected = arrays.intercept + arrays.phi * spread
        valid = np.isfinite(rows).all(axis=1) & np.isfinite(garch_variance) & np.isfinite(expected) & (garch_variance > 0)
    return Step(
        valid=valid,
        spread=spread,
        variance=variance_next,
        residual=residual,
        z=z,
        expected_spread=expected,
        garch_variance=garch_variance,
        rows=rows,
    )


def scaled(rows: Vector, mean: Vector, sd: Vector) -> NDArray[np.float32]:
    """Feature rows (..., F) as the network sees them. mean, sd: (F,), from the training part only."""
    return ((rows - mean) / sd).astype(np.float32)


def _variance_next(arrays: PairArrays, innovation: Vector, variance: Vector) -> Vector:
    """The recursions of quant/volatility.py, each pair's own."""
    reaction = arrays.alpha + arrays.gamma * (innovation < 0)
    linear = arrays.omega + reaction * innovation**2 + arrays.garch_beta * variance
    if not arrays.exponential.any():
        return linear
    residual = innovation / np.sqrt(variance)
    news = arrays.alpha * (np.abs(residual) - _MEAN_ABS_NORMAL) + arrays.gamma * residual
    return np.where(arrays.exponential, np.exp(arrays.omega + news + arrays.garch_beta * np.log(variance)), linear)


def _rows(residual: Vector, variance_next: Vector, z: Vector, z_last: Vector, slot_fraction: float) -> Vector:
    cut = np.clip(residual, -_RESIDUAL_MAX, _RESIDUAL_MAX)
    z_change = z - z_last
    columns = (
        cut,
        np.log1p(cut**2),
        np.log(variance_next),  # the training variance is 1 at unit scale
        z,
        np.abs(z),
        z_change,
        np.sign(z_last) * z_change,
        np.full_like(z, slot_fraction),
    )
    return np.stack(columns, axis=1)
