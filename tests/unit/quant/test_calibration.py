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
