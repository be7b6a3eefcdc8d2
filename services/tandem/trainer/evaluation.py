"""The honest scores of a model on its hold-out: against plain GARCH, and against answers that need no skill."""

import numpy as np
from numpy.typing import NDArray

from tandem.quant import scores
from tandem.quant.bundle import Calibration
from tandem.quant.history import Samples
from tandem.quant.hybrid import hybrid
from tandem.quant.network import Outputs

Vector = NDArray[np.float64]


def holdout_metrics(holdout: Samples, outputs: Outputs, calibration: Calibration, *, base_rate: float) -> dict[str, float]:
    """All scores by name; outputs: (n, 2) of the network on the hold-out's windows. base_rate: of reversions before the hold-out.

    A score that is not defined is left out: AUC when the labels are all the same.
    """
    variance, probability = hybrid(calibration, holdout.garch_variance, outputs)
    return (
        {"holdout_windows": float(len(holdout))}
        | _variance_metrics(holdout, variance)
        | _reversion_metrics(holdout.reverted, probability, base_rate)
    )


def _variance_metrics(holdout: Samples, variance: Vector) -> dict[str, float]:
    hybrid_loss = _by_time(holdout.close_ns, scores.qlike(holdout.realised, variance))
    garch_loss = _by_time(holdout.close_ns, scores.qlike(holdout.realised, holdout.garch_variance))
    # One-step forecasts: horizon 1; the lags are for what is left of volatility clustering in the losses.
    test = scores.diebold_mariano(hybrid_loss, garch_loss, horizon=1, lags=scores.newey_west_lags(len(garch_loss)))
    return {
        "holdout_qlike_hybrid": float(hybrid_loss.mean()),
        "holdout_qlike_garch": float(garch_loss.mean()),
        "holdout_dm_statistic": test.statistic,
        "holdout_dm_p_value": test.p_value,
        "holdout_variance_ratio_mean": float(np.mean(holdout.realised / variance)),
    }


def _reversion_metrics(label: NDArray[np.bool_], probability: Vector, base_rate: float) -> dict[str, float]:
    # Above its base rate, not above one half: where reversions are frequent, one half would make every forecaster the constant "yes".
    predicted, always = probability > base_rate, np.ones(len(label), dtype=bool)
    metrics = {
        "holdout_reversion_rate": float(label.mean()),
        "holdout_brier": scores.brier(label, probability),
        "holdout_brier_base_rate": scores.brier(label, np.full(len(label), base_rate)),
        "holdout_mcc_above_base_rate": scores.mcc(label, predicted),
        "holdout_f1_above_base_rate": scores.f1(label, predicted),
        "holdout_f1_always_1": scores.f1(label, always),
    }
    if 0 < label.sum() < len(label):
        metrics["holdout_auc"] = scores.auc(label, probability)
    return metrics


def _by_time(close_ns: NDArray[np.int64], loss: Vector) -> Vector:
    """Mean over the pairs at each time, (times,), because losses of one bar move together and count once."""
    _, place = np.unique(close_ns, return_inverse=True)
    return np.bincount(place, weights=loss) / np.bincount(place)
