"""The honest scores of a walk-forward: against baselines that need no network, and against answers that need no skill.

Names begin with `holdout_` for all test parts pooled, with `fold_1_`, `fold_2_` ... for one of them. A score that is not defined (AUC of
labels that are all the same) is left out.
"""

from collections.abc import Sequence

import numpy as np

from tandem.quant import performance, scores
from tandem.quant.confidence_set import confidence_set
from tandem.trainer.forecasts import PROBABILITY_MODELS, RULES, Forecasts, ScoredFold, Vector, by_time, joined

_BLOCK = 10  # bars; as the evaluation protocols have it
_CONFIDENCE_REPS = 500  # a p-value to one or two digits, in a second


def walk_forward_metrics(folds: Sequence[ScoredFold], *, trials: int, horizon_bars: int) -> dict[str, float]:
    """All scores by name. trials: configurations that were tried, for the deflated Sharpe ratio. horizon_bars: of the reversion label."""
    parts = [part.forecasts for part in folds if part.forecasts is not None]
    if not parts:
        return {}
    pooled = joined(parts)
    metrics = {"holdout_windows": float(len(pooled)), "holdout_folds": float(len(parts))}
    metrics |= _variance_metrics(pooled) | _reversion_metrics(pooled, horizon_bars) | _profit_metrics(pooled, trials)
    for number, part in enumerate(folds, start=1):
        if part.forecasts is not None:
            metrics |= {f"fold_{number}_qlike_{model}": float(loss.mean()) for model, loss in qlike_losses(part.forecasts).items()}
            metrics[f"fold_{number}_brier"] = scores.brier(part.forecasts.reverted, part.forecasts.probabilities["hybrid"])
    return metrics


def qlike_losses(forecasts: Forecasts) -> dict[str, Vector]:
    """QLIKE of each variance model, mean over the pairs at each time, (times,)."""
    return {
        model: by_time(forecasts.close_ns, scores.qlike(forecasts.realised, variance)) for model, variance in forecasts.variances.items()
    }


def _variance_metrics(forecasts: Forecasts) -> dict[str, float]:
    losses = qlike_losses(forecasts)
    metrics = {"holdout_variance_ratio_mean": float(np.mean(forecasts.realised / forecasts.variances["hybrid"]))}
    for model, loss in losses.items():
        errors = (forecasts.realised - forecasts.variances[model]) / forecasts.unit_variance
        metrics[f"holdout_qlike_{model}"] = float(loss.mean())
        metrics[f"holdout_mse_{model}"] = float(by_time(forecasts.close_ns, errors**2).mean())
    for model in (name for name in losses if name != "hybrid"):
        # One-step forecasts: horizon 1; the lags are for what is left of volatility clustering in the losses.
        lags = scores.newey_west_lags(len(losses[model]))
        test = scores.diebold_mariano(losses["hybrid"], losses[model], horizon=1, lags=lags)
        suffix = "" if model == "garch" else f"_{model}"
        metrics |= {f"holdout_dm_statistic{suffix}": test.statistic, f"holdout_dm_p_value{suffix}": test.p_value}
    found = confidence_set(losses, block=_BLOCK, reps=_CONFIDENCE_REPS)
    return metrics | {f"holdout_mcs_p_{model}": p_value for model, p_value in found.items()}


def _reversion_metrics(forecasts: Forecasts, horizon_bars: int) -> dict[str, float]:
    label, base_rate = forecasts.reverted, forecasts.probabilities["base_rate"]
    always = np.ones(len(label), dtype=bool)
    metrics = {"holdout_reversion_rate": float(label.mean()), "holdout_f1_always_1": scores.f1(label, always)}
    for model in PROBABILITY_MODELS:
        probability, suffix = forecasts.probabilities[model], "" if model == "hybrid" else f"_{model}"
        metrics[f"holdout_brier{suffix}"] = scores.brier(label, probability)
        if model == "base_rate":
            continue
        # Above the base rate, not above one half: where reversions are frequent, one half would make every forecaster the constant "yes".
        metrics[f"holdout_mcc_above_base_rate{suffix}"] = scores.mcc(label, probability > base_rate)
        metrics[f"holdout_f1_above_base_rate{suffix}"] = scores.f1(label, probability > base_rate)
        if 0 < label.sum() < len(label):
            metrics[f"holdout_auc{suffix}"] = scores.auc(label, probability)
    return metrics | _brier_test(forecasts, horizon_bars)


def _brier_test(forecasts: Forecasts, horizon_bars: int) -> dict[str, float]:
    """Diebold-Mariano of the squared errors against the base rate's. Left out where the bars are fewer than the labels overlap."""
    errors = {
        model: by_time(forecasts.close_ns, (forecasts.probabilities[model] - forecasts.reverted) ** 2) for model in ("hybrid", "base_rate")
    }
    count, steps = len(errors["hybrid"]), horizon_bars + 1  # a label looks at the next bar and at the horizon after it
    lags = max(steps - 1, scores.newey_west_lags(count))
    if lags + 1 > count:
        return {}
    test = scores.diebold_mariano(errors["hybrid"], errors["base_rate"], horizon=steps, lags=lags)
    return {"holdout_brier_dm_statistic": test.statistic, "holdout_brier_dm_p_value": test.p_value}


def _profit_metrics(forecasts: Forecasts, trials: int) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for rule in RULES:
        suffix, returns = "" if rule == "hybrid" else f"_{rule}", forecasts.profits[rule]
        metrics[f"holdout_profit_bps_per_bar{suffix}"] = float(returns.mean()) * 1e4
        metrics[f"holdout_entries{suffix}"] = float(forecasts.entries[rule])
        found = performance.moments(returns)
        deflated = performance.deflated_sharpe(found, trials, performance.sampling_variance(found))
        if found.sharpe is not None and deflated is not None:
            metrics |= {f"holdout_sharpe_per_bar{suffix}": found.sharpe, f"holdout_deflated_sharpe{suffix}": deflated}
    return metrics
