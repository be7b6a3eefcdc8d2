"""Whether a sector needs a new model, and whether a trained candidate may be registered. Pure: facts in, named answers with reasons out.

A candidate is registered only when every gate passes. What becomes of it afterwards, shadow and promotion, is decided elsewhere; nothing
here touches the champion. Called by trainer/rebaseline.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tandem.domain.ids import PairId, pair_legs
from tandem.quant.bundle import Bundle
from tandem.quant.drift import Drift
from tandem.quant.scores import diebold_mariano, newey_west_lags

Vector = NDArray[np.float64]
_HYBRID, _GARCH = "holdout_qlike_hybrid", "holdout_qlike_garch"
_DM, _DM_P = "holdout_dm_statistic", "holdout_dm_p_value"
_BRIER, _BASE_BRIER = "holdout_brier", "holdout_brier_base_rate"
_BRIER_DM, _BRIER_DM_P = "holdout_brier_dm_statistic", "holdout_brier_dm_p_value"
_IN_SET = "holdout_mcs_p_hybrid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers that needs and gates compare with."""

    age_sessions_max: int = 10  # two weeks: past it, two weekly retrainings gave no model that was promoted
    new_bars_share: float = 0.1  # of the bars that the champion was trained on
    level: float = 0.05  # of every test
    confidence_level: float = 0.1  # of the Model Confidence Set: 90 %, as in the evaluation protocols
    losses_min: int = 30  # below, Newey-West says little
    sessions_behind_max: int = 0  # complete sessions before the run that the data lack
    folds_scored_min: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One reason for a new model: whether it is there, and what was compared with what."""

    name: str
    found: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition on a candidate."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """How the champion stands at the time of the run. losses: QLIKE at its recent bars, oldest first, and that of its GARCH there."""

    champion: Bundle
    age_sessions: int  # that closed since its last training bar
    new_bars: int  # of the data since its last training bar
    losses: Vector
    garch_losses: Vector
    drifts: Mapping[PairId, Drift | None]  # of each of its pairs since then; None when there are too few bars


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A trained model and what it came from."""

    bundle: Bundle
    champion: Bundle | None
    declared: tuple[PairId, ...]  # now
    sessions_behind: int  # complete sessions before the run that the data lack
    bars_min: int


def needs(standing: Standing | None, *, weekly: bool, policy: Policy) -> tuple[Need, ...]:
    """Every reason that was looked at. standing: None when the sector has no champion. See `wanted`."""
    week = Need(
        name="weekly", found=weekly, reason="first session of the week, or asked for" if weekly else "not the first session of the week"
    )
    if standing is None:
        return (week, Need(name="no_champion", found=True, reason="the sector has no champion"))
    return (week, _age(standing, policy), _new_bars(standing, policy), _performance(standing, policy), _drift(standing, policy))


def wanted(found: Sequence[Need], standing: Standing | None) -> bool:
    """Whether to train: some need is there, and some bar that the champion has not seen."""
    return any(need.found for need in found) and (standing is None or standing.new_bars > 0)


def gates(candidate: Candidate, policy: Policy) -> tuple[Gate, ...]:
    """Every gate with its reason, whether it passed or not."""
    return (
        _data_fresh(candidate, policy),
        _bars_enough(candidate),
        _metrics_finite(candidate),
        _not_worse_than_garch(candidate, policy),
        _in_confidence_set(candidate, policy),
        _folds_scored(candidate, policy),
        _reversion_calibrated(candidate, policy),
        _pairs_kept(candidate),
        _span_newer(candidate),
    )


def _age(standing: Standing, policy: Policy) -> Need:
    reason = f"{standing.age_sessions} sessions since its last training bar, at most {policy.age_sessions_max}"
    return Need(name="age", found=standing.age_sessions > policy.age_sessions_max, reason=reason)


def _new_bars(standing: Standing, policy: Policy) -> Need:
    trained = max(pair.start.bars for pair in standing.champion.pairs)
    limit = math.ceil(policy.new_bars_share * trained)
    reason = f"{standing.new_bars} new bars, a new model from {limit} on ({policy.new_bars_share:.0%} of {trained})"
    return Need(name="new_bars", found=standing.new_bars >= limit, reason=reason)


def _performance(standing: Standing, policy: Policy) -> Need:
    """One-sided Diebold-Mariano of QLIKE against GARCH's, the hold-out's own difference taken off: a calm or wild market moves both."""
    metrics, count = standing.champion.metrics, len(standing.losses)
    if count < policy.losses_min or _HYBRID not in metrics or _GARCH not in metrics:
        return Need(name="performance", found=False, reason=f"{count} scored bars, at least {policy.losses_min} are needed to compare")
    validated = metrics[_HYBRID] - metrics[_GARCH]
    test = diebold_mariano(standing.losses, standing.garch_losses + validated, horizon=1, lags=newey_west_lags(count))
    p_value = float(stats.t.sf(test.statistic, count - 1))
    recent = float(np.mean(standing.losses - standing.garch_losses))
    reason = f"QLIKE minus GARCH's {recent:+.4f} over {count} bars, {validated:+.4f} in its own validation: p = {p_value:.3f} for worse"
    return Need(name="performance", found=p_value < policy.level, reason=reason)


def _drift(standing: Standing, policy: Policy) -> Need:
    tested = {pair: found for pair, found in standing.drifts.items() if found is not None}
    if not tested:
        return Need(name="drift", found=False, reason="too few new bars of any pair to test")
    worst = min(tested, key=lambda pair: (tested[pair].p_value, pair))
    p_value = min(1.0, tested[worst].p_value * len(tested))  # Bonferroni: of many pairs one always looks bad
    reason = (
        f"{worst}: cumulative sum {tested[worst].statistic:.2f} over {tested[worst].bars} bars, p = {p_value:.3f} for {len(tested)} pairs"
    )
    return Need(name="drift", found=p_value < policy.level, reason=reason)


def _data_fresh(candidate: Candidate, policy: Policy) -> Gate:
    behind = candidate.sessions_behind
    reason = f"the last bar is {behind} complete sessions behind, at most {policy.sessions_behind_max}"
    return Gate(name="data_fresh", passed=behind <= policy.sessions_behind_max, reason=reason)


def _bars_enough(candidate: Candidate) -> Gate:
    fewest = min(candidate.bundle.pairs, key=lambda pair: pair.start.bars)
    reason = f"{fewest.pair} has {fewest.start.bars} bars, at least {candidate.bars_min}"
    return Gate(name="bars_enough", passed=fewest.start.bars >= candidate.bars_min, reason=reason)


def _metrics_finite(candidate: Candidate) -> Gate:
    metrics = candidate.bundle.metrics
    missing = [name for name in (_HYBRID, _GARCH, _DM, _DM_P, _BRIER, _BASE_BRIER, _BRIER_DM, _BRIER_DM_P) if name not in metrics]
    wrong = [f"{name} is {value}" for name, value in sorted(metrics.items()) if not math.isfinite(value)]
    faults = [*(f"{name} is missing" for name in missing), *wrong]
    return Gate(name="metrics_finite", passed=not faults, reason="; ".join(faults) or f"{len(metrics)} metrics")


def _not_worse_than_garch(candidate: Candidate, policy: Policy) -> Gate:
    name, metrics = "variance_not_worse_than_garch", candidate.bundle.metrics
    if _DM not in metrics or _DM_P not in metrics:
        return Gate(name=name, passed=False, reason="no Diebold-Mariano test in the metrics")
    statistic, p_value = metrics[_DM], metrics[_DM_P]
    worse = not (statistic <= 0 or p_value >= policy.level)
    return Gate(
        name=name, passed=not worse, reason=f"Diebold-Mariano {statistic:.2f}, p = {p_value:.3f}; worse from p < {policy.level:g} above 0"
    )


def _in_confidence_set(candidate: Candidate, policy: Policy) -> Gate:
    p_value = candidate.bundle.metrics.get(_IN_SET)
    if p_value is None:
        return Gate(name="variance_in_confidence_set", passed=False, reason="no Model Confidence Set in the metrics")
    reason = f"p = {p_value:.3f} in the Model Confidence Set of the walk-forward, at least {policy.confidence_level:g}"
    return Gate(name="variance_in_confidence_set", passed=p_value >= policy.confidence_level, reason=reason)


def _folds_scored(candidate: Candidate, policy: Policy) -> Gate:
    folds = candidate.bundle.folds
    scored = sum(not fold.skipped for fold in folds)
    skipped = "".join(f"; skipped: {fold.skipped}" for fold in folds if fold.skipped)
    reason = f"{scored} of {len(folds)} walk-forward parts scored, at least {policy.folds_scored_min}{skipped}"
    return Gate(name="walk_forward_scored", passed=scored >= policy.folds_scored_min, reason=reason)


def _reversion_calibrated(candidate: Candidate, policy: Policy) -> Gate:
    metrics = candidate.bundle.metrics
    if not {_BRIER, _BASE_BRIER, _BRIER_DM, _BRIER_DM_P} <= set(metrics):
        return Gate(name="reversion_calibrated", passed=False, reason="no Brier score and test in the metrics")
    statistic, p_value = metrics[_BRIER_DM], metrics[_BRIER_DM_P]
    worse = not (statistic <= 0 or p_value >= policy.level)
    reason = (
        f"Brier {metrics[_BRIER]:.4f}, of the constant base rate {metrics[_BASE_BRIER]:.4f}; Diebold-Mariano {statistic:.2f}, "
        f"p = {p_value:.3f}; worse from p < {policy.level:g} above 0"
    )
    return Gate(name="reversion_calibrated", passed=not worse, reason=reason)


def _pairs_kept(candidate: Candidate) -> Gate:
    if candidate.champion is None:
        return Gate(name="pairs_kept", passed=True, reason="no champion to lose a pair of")
    held = {pair.pair for pair in candidate.bundle.pairs}
    lost = {pair.pair: _why_lost(candidate, pair.pair) for pair in candidate.champion.pairs if pair.pair not in held}
    reason = "; ".join(f"{pair}: {why or 'lost without a reason'}" for pair, why in lost.items())
    return Gate(name="pairs_kept", passed=all(lost.values()), reason=reason or "every pair of the champion is there")


def _why_lost(candidate: Candidate, pair: PairId) -> str:
    """The recorded reason; "" when there is none. A pair that is declared must have been rejected by name."""
    bundle = candidate.bundle
    reasons = [f"{r.reason}: {r.detail}" for r in bundle.rejections if r.pair == pair]
    reasons += [f"{r.symbol} {r.reason}: {r.detail}" for r in bundle.rejected_symbols if r.symbol in pair_legs(pair)]
    if pair not in candidate.declared:
        reasons += [f"screening no longer takes it, q = {t.q_value:.3f}" for t in bundle.tests if t.pair == pair]
        reasons += [] if reasons else ["no longer declared"]
    return ", ".join(reasons)


def _span_newer(candidate: Candidate) -> Gate:
    if candidate.champion is None:
        return Gate(name="span_newer", passed=True, reason="no champion to be newer than")
    ahead_h = (candidate.bundle.trained_to_ns - candidate.champion.trained_to_ns) / 3.6e12
    return Gate(name="span_newer", passed=ahead_h > 0, reason=f"its last bar is {ahead_h:.1f} h after the champion's")
