"""How steady the variance of a series is: diagnostics that are recorded beside a model, never a filter on what it may see.

A series with ARCH effects is what a GARCH model is for; refusing it would refuse the very series that are modelled. So a verdict says what
was found and removes nothing. Features are of each bar and look at that bar and earlier ones only. Called by trainer/diagnostics.py.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]
WINDOW = 30  # bars of every rolling statistic; the old tables' value
ARCH_LAGS = 5
LJUNG_BOX_LAGS = 10
LEVEL = 0.05
SIGMA_CV_MAX = 0.5  # rolling sigma that varies by more than half of its mean; 30 values of a constant variance give 0.13
SESSIONS_PER_YEAR = 252
VALUES_MIN = 2 * WINDOW  # with fewer, one rolling sigma is most of the series


class Finding(StrEnum):
    """What a diagnostic found. None of them is an error."""

    ARCH_EFFECTS = "arch_effects"  # variance follows past squares: a GARCH model has something to say
    AUTOCORRELATION = "autocorrelation"  # the mean model left something
    SIGMA_DRIFT = "sigma_drift"  # the rolling sigma varies much


class Verdict(StrEnum):
    """One word for the findings."""

    STEADY = "steady"
    VARYING = "varying"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Diagnostics of one series. Without enough values, or for a constant series, the numbers are None and `reason` says why."""

    count: int
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    arch_statistic: float | None = None
    arch_p_value: float | None = None
    sigma_cv: float | None = None
    ljung_box_p_values: tuple[float, ...] = ()  # of the joint test of lags 1..k, for k = 1, 2, ...

    @property
    def ljung_box_p_min(self) -> float | None:
        """The smallest of the p-values. As a test at 5 % it is too strict: ten looks at one series."""
        return min(self.ljung_box_p_values, default=None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Rows of one series, (n,) each; NaN until a window is full."""

    level: Vector  # log price, or spread
    change: Vector  # of the level over one bar
    z_score: Vector  # of the change against the WINDOW changes before it, not counting itself
    rolling_mean: Vector  # of the last WINDOW changes, the bar's own included
    rolling_sd: Vector  # the same
    volatility_annualised: Vector  # rolling_sd times the root of the bars in a year


def features(level: Vector, *, bars_per_year: float) -> Features:
    """Feature rows of a log price or a spread (n,), finite."""
    change = np.concatenate(([np.nan], np.diff(level))) if len(level) else level
    mean, sd = rolling(change, WINDOW)
    return Features(
        level=level,
        change=change,
        z_score=z_against_past(change, WINDOW),
        rolling_mean=mean,
        rolling_sd=sd,
        volatility_annualised=sd * math.sqrt(bars_per_year),
    )


def bars_per_year(slots: int) -> float:
    """Bars in a year of sessions with `slots` bars each: 252 daily bars, 252 x 390 of one minute."""
    if slots < 1:
        raise ValueError(f"{slots} bars in a session, need at least 1")
    return float(SESSIONS_PER_YEAR * slots)


def annualised_volatility(changes: Vector, *, bars_per_year: float) -> float:
    """Sample standard deviation of one-bar changes, times the root of the bars in a year."""
    return float(np.std(changes, ddof=1)) * math.sqrt(bars_per_year)


def rolling(values: Vector, window: int) -> tuple[Vector, Vector]:
    """Mean and sample standard deviation of each value and the window - 1 before it, (n,) each; NaN until the window is full.

    Each window is summed on its own, so that a bar's numbers do not depend on where the series began.
    """
    mean, sd = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if len(values) >= window:
        windows = sliding_window_view(values, window)
        mean[window - 1 :], sd[window - 1 :] = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    return mean, sd


def z_against_past(values: Vector, window: int) -> Vector:
    """How many standard deviations each value lies from the mean of the `window` values before it, (n,).

    The value itself is in neither, else a jump would hide itself: with 30 values it could never exceed 5.3. NaN where the window is not
    full or did not vary. Not capped.
    """
    mean, sd = rolling(values, window)
    score = np.full(len(values), np.nan)
    moved = sd[:-1] > 0
    score[1:][moved] = (values[1:][moved] - mean[:-1][moved]) / sd[:-1][moved]
    return score


def stability(values: Vector) -> Stability:
    """All diagnostics of a series (n,) of changes or innovations, finite, in order of time."""
    count = len(values)
    if count < VALUES_MIN:
        return Stability(count=count, verdict=Verdict.INSUFFICIENT_DATA, reason=f"{count} values, at least {VALUES_MIN} are needed")
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Stability(count=count, verdict=Verdict.INSUFFICIENT_DATA, reason="the series does not vary")
    statistic, arch_p_value = arch_lm(values, ARCH_LAGS)
    sigma_cv = rolling_sigma_cv(values, WINDOW)
    p_values = ljung_box(values, LJUNG_BOX_LAGS)
    found = {
        Finding.ARCH_EFFECTS: arch_p_value < LEVEL,
        Finding.AUTOCORRELATION: p_values[-1] < LEVEL,  # the joint test of all lags, which has the size that it states
        Finding.SIGMA_DRIFT: sigma_cv > SIGMA_CV_MAX,
    }
    findings = tuple(name for name, is_there in found.items() if is_there)
    return Stability(
        count=count,
        verdict=Verdict.VARYING if findings else Verdict.STEADY,
        findings=findings,
        arch_statistic=statistic,
        arch_p_value=arch_p_value,
        sigma_cv=sigma_cv,
        ljung_box_p_values=p_values,
    )


def arch_lm(values: Vector, lags: int) -> tuple[float, float]:
    """Engle's (1982) Lagrange multiplier test of no ARCH effects: n R^2 of squares on a constant and their lags; statistic, p-value.

    values: (n,) of mean zero, n > 2 lags + 1. The squares must vary.
    """
    squares = values**2
    squares = squares / squares.mean()  # R^2 does not depend on the scale, the conditioning of the regression does
    target = squares[lags:]
    lagged = [squares[lags - k : len(squares) - k] for k in range(1, lags + 1)]
    design = np.column_stack([np.ones(len(target)), *lagged])
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    total = float(np.sum((target - target.mean()) ** 2))
    if total <= 1e-24 * len(target):
        return 0.0, 1.0  # squares that never change: nothing for a lag to explain
    statistic = len(target) * (1 - float(residual @ residual) / total)
    return statistic, float(stats.chi2.sf(statistic, lags))


def rolling_sigma_cv(values: Vector, window: int) -> float:
    """Coefficient of variation of the rolling standard deviation: 0 for a constant variance and an endless window."""
    sd = rolling(values, window)[1]
    sd = sd[np.isfinite(sd)]
    return float(sd.std(ddof=1) / sd.mean())


def ljung_box(values: Vector, lags: int) -> tuple[float, ...]:
    """p-values of Ljung and Box (1978) for the lags 1..k jointly, k = 1 .. lags. Rejects when the series follows its own past."""
    centred = values - values.mean()
    count = len(values)
    correlation = np.array([centred[k:] @ centred[:-k] for k in range(1, lags + 1)]) / (centred @ centred)
    k = np.arange(1, lags + 1)
    statistic = count * (count + 2) * np.cumsum(correlation**2 / (count - k))
    return tuple(stats.chi2.sf(statistic, k).tolist())
