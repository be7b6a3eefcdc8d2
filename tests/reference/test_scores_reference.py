"""Scores against scikit-learn and statsmodels, and against numbers worked out by hand. Tolerance: rounding, 1e-12 relative."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn import metrics
from statsmodels.stats.multitest import multipletests

from tandem.quant import scores
from tandem.quant.cointegration import benjamini_hochberg, half_life_bars

RNG = np.random.default_rng(12)
LABEL = RNG.random(500) < 0.6
SCORE = np.round(np.clip(0.25 * LABEL + RNG.random(500), 0, 1), 2)  # rounded: ties


def test_qlike_by_hand() -> None:
    """Patton (2011): y/f - ln(y/f) - 1; at y = 2 f it is 1 - ln 2, at y = f / 2 it is ln 2 - 1/2."""
    losses = scores.qlike(np.array([2.0, 0.5, 1.0]), np.ones(3))
    np.testing.assert_allclose(losses, [1 - math.log(2), math.log(2) - 0.5, 0.0], rtol=1e-12)


def test_qlike_does_not_depend_on_the_unit() -> None:
    """Percent or decimal: the same loss, because only the ratio counts."""
    realised, forecast = RNG.chisquare(1, 50), RNG.chisquare(5, 50)
    np.testing.assert_allclose(scores.qlike(1e4 * realised, 1e4 * forecast), scores.qlike(realised, forecast), rtol=1e-10)


def test_the_mean_is_the_best_constant_forecast_under_qlike() -> None:
    """A forecast that is 10 % off to either side loses: what makes the loss proper for variances."""
    realised = RNG.chisquare(1, 4000)
    at = {share: scores.qlike(realised, np.full(4000, share * realised.mean())).mean() for share in (0.9, 1.0, 1.1)}
    assert at[1.0] < min(at[0.9], at[1.1])


@pytest.mark.parametrize("lags", [0, 1, 4, 11])
def test_diebold_mariano_has_the_newey_west_error_of_statsmodels(lags: int) -> None:
    """OLS of the loss difference on a constant with HAC errors is the test without the small-sample correction."""
    loss, baseline = RNG.chisquare(3, 200), RNG.chisquare(3, 200)
    reference = sm.OLS(loss - baseline, np.ones(200)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    h = lags + 1
    correction = math.sqrt((200 + 1 - 2 * h + h * (h - 1) / 200) / 200)  # Harvey, Leybourne and Newbold (1997), equation 9
    found = scores.diebold_mariano(loss, baseline, horizon=h, lags=lags)
    assert found.statistic == pytest.approx(float(reference.tvalues[0]) * correction, rel=1e-12)


def test_overlapping_errors_without_their_lags_overstate_the_evidence() -> None:
    """Moving sums of 5: with 0 lags half of the null cases are called significant at 5 %, with 8 lags far fewer."""
    rejected = {0: 0, 8: 0}
    for seed in range(200):
        noise = np.random.default_rng(seed).standard_normal(304)
        difference = np.convolve(noise, np.ones(5), mode="valid")
        for lags in rejected:
            rejected[lags] += scores.diebold_mariano(difference, np.zeros(300), horizon=1, lags=lags).p_value < 0.05
    assert rejected[0] > 60
    assert rejected[8] < 30


def test_equal_losses_are_no_evidence() -> None:
    """Statistic 0 and p 1, not a division by zero."""
    loss = RNG.chisquare(3, 50)
    assert scores.diebold_mariano(loss, loss, horizon=1, lags=3).p_value == 1.0


def test_lags_shorter_than_the_horizon_are_refused() -> None:
    """h-step errors overlap h - 1 times: a test without those lags would be wrong (trap of protocol)."""
    with pytest.raises(ValueError, match="horizon 5 and 3 lags"):
        scores.diebold_mariano(RNG.random(50), RNG.random(50), horizon=5, lags=3)


def test_newey_west_lags_by_hand() -> None:
    """floor(4 (T/100)^(2/9)): 4 at 100, 6 at 1,000, 11 at 10,000."""
    assert [scores.newey_west_lags(n) for n in (100, 1000, 10_000)] == [4, 6, 11]


def test_auc_brier_mcc_and_f1_agree_with_scikit_learn() -> None:
    """With ties in the score."""
    predicted = SCORE > 0.6
    assert scores.auc(LABEL, SCORE) == pytest.approx(metrics.roc_auc_score(LABEL, SCORE), rel=1e-12)
    assert scores.brier(LABEL, SCORE) == pytest.approx(metrics.brier_score_loss(LABEL, SCORE), rel=1e-12)
    assert scores.mcc(LABEL, predicted) == pytest.approx(metrics.matthews_corrcoef(LABEL, predicted), rel=1e-12)
    assert scores.f1(LABEL, predicted) == pytest.approx(metrics.f1_score(LABEL, predicted), rel=1e-12)


def test_always_yes_has_a_high_f1_and_no_skill() -> None:
    """A zero-mean AR(1) with phi .97 moves toward its mean with probability 1/2 + asin(sqrt(.015))/pi: F1 .7005 for the constant yes."""
    rate = 0.5 + math.asin(math.sqrt((1 - 0.97) / 2)) / math.pi
    label = np.arange(100_000) < rate * 100_000
    always = np.ones(100_000, dtype=bool)
    assert scores.f1(label, always) == pytest.approx(0.7005, abs=1e-4)
    assert scores.mcc(label, always) == 0.0


def test_q_values_agree_with_statsmodels() -> None:
    """Benjamini-Hochberg on uniform and on tiny p-values, with ties."""
    p_values = np.concatenate((RNG.random(40), [1e-9, 0.001, 0.001, 1.0]))
    np.testing.assert_allclose(benjamini_hochberg(p_values), multipletests(p_values, method="fdr_bh")[1], rtol=1e-12)


def test_half_life_by_hand() -> None:
    """phi = 1/2 halves in one bar, 2^(-1/10) in ten, .97 in 22.76."""
    assert [half_life_bars(phi) for phi in (0.5, 2**-0.1, 0.97)] == [
        pytest.approx(1.0),
        pytest.approx(10.0),
        pytest.approx(22.7565, abs=1e-4),
    ]


@pytest.mark.parametrize("lags", [0, 4])
def test_clark_west_is_the_t_value_of_the_adjusted_difference(lags: int) -> None:
    """Clark and West (2007), equation 3.1, with HAC errors of statsmodels; one-sided normal p."""
    truth, small, large = RNG.standard_normal(200), 0.1 * RNG.standard_normal(200), 0.3 * RNG.standard_normal(200)
    adjusted = (truth - small) ** 2 - ((truth - large) ** 2 - (small - large) ** 2)
    reference = sm.OLS(adjusted, np.ones(200)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    found = scores.clark_west(truth, small, large, lags=lags)
    assert found.statistic == pytest.approx(float(reference.tvalues[0]), rel=1e-12)
    assert found.p_value == pytest.approx(float(reference.pvalues[0]) / 2 if found.statistic > 0 else 1 - float(reference.pvalues[0]) / 2)


def test_nested_models_bias_diebold_mariano_and_not_clark_west() -> None:
    """White noise, forecast 0 against a rolling mean of 20: the larger model is useless. At 5 % Clark-West rejects 2 to 9 % of 400 samples;
    Diebold-Mariano takes the noise for evidence against the larger model."""
    rejected = {"clark_west": 0, "larger_worse": 0}
    for seed in range(400):
        noise = np.random.default_rng(seed).standard_normal(220)
        mean = np.convolve(noise, np.ones(20) / 20, mode="valid")[:-1]
        truth, zero = noise[20:], np.zeros(200)
        rejected["clark_west"] += scores.clark_west(truth, zero, mean, lags=0).p_value < 0.05
        test = scores.diebold_mariano((truth - mean) ** 2, truth**2, horizon=1, lags=0)
        rejected["larger_worse"] += test.p_value < 0.05 and test.statistic > 0
    assert 8 <= rejected["clark_west"] <= 36
    assert rejected["larger_worse"] > 40


def test_mse_mae_and_r2_agree_with_scikit_learn() -> None:
    truth, forecast = RNG.chisquare(3, 80), RNG.chisquare(3, 80)
    assert scores.mse(truth, forecast) == pytest.approx(metrics.mean_squared_error(truth, forecast), rel=1e-12)
    assert scores.mae(truth, forecast) == pytest.approx(metrics.mean_absolute_error(truth, forecast), rel=1e-12)
    assert scores.r2(truth, forecast) == pytest.approx(metrics.r2_score(truth, forecast), rel=1e-12)
    with pytest.raises(ValueError, match="not defined"):
        scores.r2(np.ones(5), np.ones(5))
