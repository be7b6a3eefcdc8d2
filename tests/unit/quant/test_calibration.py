"""How the network's numbers become a variance and a probability."""

import numpy as np
import pytest

from tandem.quant.bundle import Calibration
from tandem.quant.calibration import calibrate
from tandem.quant.hybrid import hybrid

RNG = np.random.default_rng(4)


def outputs(correction: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """(n, 2) float32."""
    return np.stack((correction, logit), axis=1).astype(np.float32)


def test_a_correction_without_information_is_shrunk_to_nothing() -> None:
    """Pure noise costs QLIKE, so little or none of it is kept; the true correction is kept whole."""
    noise, signal = RNG.standard_normal(4000), 0.5 * RNG.standard_normal(4000)
    ratio = np.exp(signal) * RNG.chisquare(1, 4000)
    label = RNG.random(4000) < 0.5
    assert calibrate(outputs(noise, noise), ratio, label).shrink < 0.1
    assert calibrate(outputs(signal, noise), ratio, label).shrink > 0.85
    assert calibrate(outputs(np.zeros(4000), noise), ratio, label).shrink == 0.0


def test_probabilities_come_out_calibrated() -> None:
    """A logit that is twice too confident and shifted is put right: predicted and observed rates agree in each third."""
    true = RNG.standard_normal(6000)
    label = RNG.random(6000) < 1 / (1 + np.exp(-true))
    found = calibrate(outputs(true, 2 * true + 1), np.ones(6000), label)
    assert (found.slope, found.intercept) == (pytest.approx(0.5, abs=0.05), pytest.approx(-0.5, abs=0.1))
    _, probability = hybrid(found, np.ones(6000), outputs(true, 2 * true + 1))
    for part in np.array_split(np.argsort(probability), 3):
        assert probability[part].mean() == pytest.approx(label[part].mean(), abs=0.03)


def test_a_logit_that_points_the_wrong_way_gives_the_base_rate() -> None:
    """No skill is not turned into skill by a minus sign."""
    score = RNG.standard_normal(2000)
    found = calibrate(outputs(score, score), np.ones(2000), score + 0.5 < 0)
    assert found.slope == 0.0
    assert 1 / (1 + np.exp(-found.intercept)) == pytest.approx(np.mean(score + 0.5 < 0), abs=0.01)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_only_stays_finite(label: bool) -> None:
    """A validation part in which everything reverted must not give probability 1."""
    found = calibrate(outputs(np.zeros(30), RNG.standard_normal(30)), np.ones(30), np.full(30, label))
    _, probability = hybrid(found, np.ones(30), outputs(np.zeros(30), RNG.standard_normal(30)))
    assert np.all((probability > 0.0) & (probability < 1.0))


def test_no_correction_is_the_garch_variance_exactly() -> None:
    """exp(0) = 1: bit for bit."""
    garch_variance = RNG.chisquare(3, 50)
    variance, _ = hybrid(Calibration(shrink=0.7, slope=1, intercept=0), garch_variance, np.zeros((50, 2), dtype=np.float32))
    assert np.array_equal(variance, garch_variance)


def test_thirty_rows_of_noise_stay_near_the_base_rate() -> None:
    """Whatever the network says, a tiny validation part moves no probability far: at most .12 on average over 40 such parts, each row."""
    rng, far = np.random.default_rng(8), []
    for _ in range(40):
        label, score = rng.random(30) < 0.7, 3 * rng.standard_normal(30)
        _, probability = hybrid(calibrate(outputs(np.zeros(30), score), np.ones(30), label), np.ones(30), outputs(np.zeros(30), score))
        far.append(np.abs(probability - label.mean()).max())
        assert np.max(far[-1]) < 0.35
    assert np.mean(far) < 0.12


def test_thousands_of_rows_are_nearly_unregularised() -> None:
    """The slope of 5,000 informative rows is within 3 % of that of plain logistic regression (Newton's method, written out)."""
    rng = np.random.default_rng(9)
    score = rng.standard_normal(5000)
    label = rng.random(5000) < 1 / (1 + np.exp(-(0.8 * score + 0.3)))
    design, plain = np.stack((score.astype(np.float32).astype(float), np.ones(5000)), axis=1), np.zeros(2)
    for _ in range(20):
        probability = 1 / (1 + np.exp(-design @ plain))
        plain += np.linalg.solve((design.T * (probability * (1 - probability))) @ design, design.T @ (label - probability))
    found = calibrate(outputs(np.zeros(5000), score), np.ones(5000), label)
    assert found.slope == pytest.approx(plain[0], rel=0.03)
    assert found.intercept == pytest.approx(plain[1], abs=0.01)


def test_a_tiny_part_keeps_no_correction_that_luck_explains() -> None:
    """On 30 rows of noise most corrections would be kept in part if only the mean counted; the standard error keeps them out."""
    rng, kept = np.random.default_rng(10), 0
    for _ in range(100):
        ratio, correction = rng.chisquare(1, 30), 0.3 * rng.standard_normal(30)
        kept += calibrate(outputs(correction, correction), ratio, ratio > 1).shrink > 0
    assert kept < 25


def test_rows_of_one_time_count_once() -> None:
    """Fifty copies of the same thirty bars are still thirty bars."""
    rng = np.random.default_rng(12)
    correction = 0.3 * rng.standard_normal(30)
    ratio = np.exp(correction) * rng.chisquare(8, 30) / 8
    few = calibrate(outputs(correction, correction), ratio, ratio > 1)
    many, times = np.repeat(outputs(correction, correction), 50, axis=0), np.repeat(np.arange(30), 50)
    copies = calibrate(many, np.repeat(ratio, 50), np.repeat(ratio > 1, 50), times=times)
    assert copies.shrink == few.shrink
    assert calibrate(many, np.repeat(ratio, 50), np.repeat(ratio > 1, 50)).shrink > few.shrink
