"""The GARCH-GRU of realised variances: it starts as its baseline, knows its window only, learns what is there, and repeats itself."""

from dataclasses import replace

import numpy as np
import pytest

from realised_cases import made_measures
from tandem.quant import garch, realised_garch, realised_gru, realised_path, realised_reading, realised_terms
from tandem.quant.realised_gru import Rule
from tandem.quant.realised_reading import Path, Reading
from tandem.quant.realised_terms import LOST
from tandem.quant.volatility import Kind, Shocks, Volatility

GJR = Volatility(
    kind=Kind.GJR, shocks=Shocks.STUDENT_T, omega=0.02, alpha=0.02, gamma=0.12, beta=0.89, nu=6.0, skew=None, scale=1.1
)  # fixed: these tests are not about its fit
SEEDS = (0, 1, 2)


def _reading(days: int = 400, *, path: Path = Path.GARCH, seed: int = 1) -> Reading:
    return realised_reading.read(*made_measures(days, seed=seed), GJR, path=path)


def _log_har(days: int = 400) -> float:
    """Written out anew: the forecast of the day after the window, as a logarithm."""
    realised, _ = made_measures(days)
    logs = np.log(realised)
    means = [[logs[t], logs[t - 4 : t + 1].mean(), logs[t - 21 : t + 1].mean()] for t in range(LOST, days)]
    rows = np.column_stack((np.ones(len(means)), means))
    coefficients, *_ = np.linalg.lstsq(rows[:-1], logs[LOST + 1 :], rcond=None)
    residuals = logs[LOST + 1 :] - rows[:-1] @ coefficients
    return float(rows[-1] @ coefficients + residuals.var() / 2)


@pytest.mark.parametrize("path", list(Path))
def test_the_untrained_network_is_its_path_exactly(path: Path) -> None:
    reading = _reading(path=path)
    networks = realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule())

    assert np.array_equal(realised_gru.next_logs(networks, reading), np.full(3, reading.next_log))


def test_the_untrained_path_is_log_har_exactly() -> None:
    """Coefficients of the columns that log-HAR lacks start at exactly 0; then the whole model is log-HAR to rounding."""
    reading = _reading()
    har = _reading(path=Path.HAR)
    networks = realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule())
    at_start = replace(reading, logs=np.append(reading.logs[:-1], har.logs[-1]))

    assert np.array_equal(reading.start[:4], har.coefficients)
    assert not reading.start[4:].any()
    np.testing.assert_allclose(realised_gru.next_logs(networks, at_start), _log_har(), rtol=0, atol=1e-12)


def test_the_cell_carries_the_recursion_of_garch() -> None:
    """The GARCH input is the variance that the recursion, written out anew, has for the next day."""
    realised, returns = made_measures(400)
    variance = garch.backcast(returns / GJR.scale)
    variances = [variance]
    for x in returns / GJR.scale:
        variance = GJR.omega + (GJR.alpha + GJR.gamma * (x < 0)) * x * x + GJR.beta * variance
        variances.append(variance)

    logs = realised_garch.log_variances(GJR, returns)

    assert len(logs) == 401
    np.testing.assert_allclose(logs[-300:], np.log(variances[-300:]) + 2 * np.log(GJR.scale), rtol=1e-9, atol=1e-9)
    month = realised_terms.har_logs(realised)[-1, 2]
    assert _reading().inputs[-1, -2] == pytest.approx((logs[-1] - month - 0.35) / 0.5, rel=1e-5)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_the_state_keeps_is_the_share_of_the_last_variance(kind: Kind) -> None:
    model = replace(GJR, kind=kind, gamma=0.0 if kind is Kind.GARCH else -0.05, alpha=0.08)
    logs = realised_garch.log_variances(model, made_measures(300)[1])

    carries = realised_garch.carries(model, logs)

    expected = model.beta if kind is Kind.EGARCH else model.beta * np.exp(logs[:-1]) / np.exp(logs[1:])
    np.testing.assert_allclose(carries, expected, rtol=1e-12)
    assert ((carries > 0) & (carries < 1)).all()


def test_a_reading_knows_no_day_after_its_window() -> None:
    """Traps 2 and 4: a scaler or a GARCH path over the whole series would move these inputs."""
    realised, returns = made_measures(450)
    whole = realised_reading.read(realised[:400], returns[:400], GJR, path=Path.GARCH)
    realised[400:], returns[400:] = realised[400:] * 30, -9.0

    again = realised_reading.read(realised[:400], returns[:400], GJR, path=Path.GARCH)

    assert np.array_equal(whole.inputs, again.inputs)
    assert np.array_equal(whole.logs, again.logs)


def test_training_does_not_look_at_the_day_after_the_window() -> None:
    """Trap 7: the row of the forecast has no target, and its inputs leave no trace in the numbers."""
    reading = _reading()
    networks = realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule())
    inputs, logs = reading.inputs.copy(), reading.logs.copy()
    inputs[-1], logs[-1] = 4.0, 9.0

    trained = realised_gru.train(networks, reading, epochs=3)
    again = realised_gru.train(networks, replace(reading, inputs=inputs, logs=logs), epochs=3)

    assert trained.stack.equal(again.stack)


def test_training_is_repeatable_and_leaves_the_networks_that_it_was_given() -> None:
    reading = _reading()
    networks = realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule())
    before = networks.stack.clone()

    first, second = (realised_gru.train(networks, reading, epochs=5) for _ in range(2))

    assert first.stack.equal(second.stack)
    assert networks.stack.equal(before)
    assert not first.stack.equal(before)


def test_members_never_meet() -> None:
    """A member of an ensemble is the network that its seed alone gives."""
    reading = _reading()

    together = realised_gru.train(realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule()), reading, epochs=5)
    alone = realised_gru.train(realised_gru.untrained(reading.inputs.shape[1], (1,), Rule()), reading, epochs=5)

    np.testing.assert_allclose(together.stack[1].numpy(), alone.stack[0].numpy(), rtol=0, atol=1e-5)


def test_training_finds_what_a_linear_path_cannot() -> None:
    """Days after a large shock of either sign are made three times as uncertain; the correction must tell them apart."""
    reading = _reading(900, path=Path.HAR)
    large = np.abs(reading.inputs[:-1, 1]) > 1.2
    bent = replace(reading, realised=np.exp(reading.logs[:-1]) * np.where(large, 2.0, 0.7))
    networks = realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule(learning_rate=1e-2, trust=1.0))

    trained = realised_gru.train(networks, bent, epochs=60)

    correction = realised_gru.training_logs(trained, bent).mean(axis=0) - bent.logs[Rule().sequence - 1 : -1]
    after_large = large[Rule().sequence - 1 :]
    assert correction[after_large].mean() > 0.3
    assert correction[~after_large].mean() < -0.1


def test_trust_takes_its_share_of_the_correction() -> None:
    reading = _reading()
    trained = realised_gru.train(realised_gru.untrained(reading.inputs.shape[1], SEEDS, Rule()), reading, epochs=20)
    full = realised_gru.next_logs(replace(trained, rule=Rule(trust=1.0)), reading) - reading.next_log

    assert np.array_equal(realised_gru.next_logs(replace(trained, rule=Rule(trust=0.0)), reading), np.full(3, reading.next_log))
    np.testing.assert_allclose(realised_gru.next_logs(trained, reading) - reading.next_log, full / 2, rtol=1e-9)


def test_a_forecast_stays_within_twice_what_was_seen() -> None:
    reading = _reading()
    low, high = reading.bounds

    assert realised_gru.clip_logs(np.array([-50.0, 50.0]), reading) == pytest.approx([np.log(low / 2), np.log(2 * high)])


def test_a_garch_path_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="GARCH state needs"):
        realised_reading.read(*made_measures(300), None, path=Path.GARCH)


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"sequence": 0}, {"epochs": -1}, {"learning_rate": 0.0}, {"trust": 1.5}])
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need sizes"):
        Rule(**wrong)  # type: ignore[arg-type]  (wrong on purpose)


def test_a_day_far_above_its_forecast_pulls_with_a_bound() -> None:
    reading = _reading()
    crash = replace(reading, realised=np.append(reading.realised[:-1], 1e6))

    assert crash.ratios.max() == realised_path.RATIO_MAX
