"""The network: it starts as plain GARCH, trains the same way twice, and keeps its best weights."""

import numpy as np
import pytest
import torch

from tandem.quant.gru import CORRECTION_MAX, HybridGru, NetworkConfig, Samples, predict, train

CONFIG = NetworkConfig(hidden=8, epochs_max=4, batches_per_epoch_max=20, patience=2, seed=7)


def samples(count: int = 200, *, seed: int = 0, signal: float = 1.0) -> Samples:
    """Windows whose last row's first feature scales the variance and whose second decides the reversion."""
    rng = np.random.default_rng(seed)
    windows = rng.standard_normal((count, 10, 8)).astype(np.float32)
    ratio = np.exp(signal * windows[:, -1, 0]) * rng.chisquare(1, count)
    return Samples(windows=windows, variance_ratio=ratio.astype(np.float64), reverted=windows[:, -1, 1] > 0)


def test_the_untrained_network_corrects_nothing() -> None:
    """Its correction is exactly 0 for any window, so that epoch 0 is the GARCH variance to the last bit."""
    torch.manual_seed(3)
    module = HybridGru(8, NetworkConfig()).eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(100 * samples().windows)).numpy()
    assert np.all(outputs[:, 0] == 0.0)
    assert len(np.unique(outputs[:, 1])) > 1


def test_without_epochs_training_returns_the_start() -> None:
    """epochs_max 0 is plain GARCH with a correction of 0 and its own base rate."""
    trained = train(samples(), samples(seed=1), NetworkConfig(hidden=8, epochs_max=0))
    assert trained.best_epoch == 0
    assert np.all(predict(trained.weights, samples(seed=2).windows)[:, 0] == 0.0)


def test_training_twice_gives_the_same_weights() -> None:
    """Same rows and seed: equal bit for bit, whatever random numbers torch drew before."""
    first = train(samples(), samples(seed=1), CONFIG)
    torch.rand(17)
    second = train(samples(), samples(seed=1), CONFIG)
    assert first.losses == second.losses
    for name in ("input", "recurrent", "input_bias", "recurrent_bias", "head", "head_bias"):
        assert np.array_equal(getattr(first.weights, name), getattr(second.weights, name))


def test_another_seed_gives_other_weights() -> None:
    """The seed is used."""
    other = NetworkConfig(hidden=8, epochs_max=4, batches_per_epoch_max=20, patience=2, seed=8)
    assert not np.array_equal(
        train(samples(), samples(seed=1), CONFIG).weights.input, train(samples(), samples(seed=1), other).weights.input
    )


def test_the_network_learns_what_is_there_to_learn() -> None:
    """With a strong signal the validation loss falls well below the start, and both heads point the right way."""
    config = NetworkConfig(hidden=16, epochs_max=8, learning_rate=3e-3, seed=1)
    trained = train(samples(3000), samples(800, seed=1), config)
    assert trained.losses[trained.best_epoch] < trained.losses[0] - 0.3
    fresh = samples(800, seed=2)
    outputs = predict(trained.weights, fresh.windows)
    assert np.corrcoef(outputs[:, 0], fresh.windows[:, -1, 0])[0, 1] > 0.7
    assert np.mean((outputs[:, 1] > 0) == fresh.reverted) > 0.85


def test_the_best_weights_are_kept_not_the_last() -> None:
    """The returned weights have the smallest validation loss of all epochs; rising losses end the training."""
    validation = samples(100, seed=1, signal=-3.0)  # the opposite of what training shows
    trained = train(samples(), validation, NetworkConfig(hidden=8, epochs_max=30, patience=3, learning_rate=1e-2, seed=1))
    assert trained.best_epoch == int(np.argmin(trained.losses))
    assert len(trained.losses) - 1 == trained.best_epoch + 3


def test_torch_is_left_as_it_was() -> None:
    """Threads and the determinism switch are global in torch: training puts them back."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    train(samples(64), samples(64, seed=1), CONFIG)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_the_correction_is_bounded() -> None:
    """No window moves the variance by more than exp(+-CORRECTION_MAX)."""
    trained = train(samples(), samples(seed=1), NetworkConfig(hidden=8, epochs_max=3, learning_rate=0.5, patience=9, seed=1))
    outputs = predict(trained.weights, (1e6 * samples().windows).astype(np.float32))
    assert np.all(np.abs(outputs[:, 0]) <= CORRECTION_MAX)


def test_an_empty_part_is_refused() -> None:
    """Training without validation rows would pick its epoch blindly."""
    with pytest.raises(ValueError, match="0 validation rows"):
        train(samples(), samples(0), CONFIG)
