"""The network: it starts as the pair's own filter, trains the same way twice, and keeps its best weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tandem.quant.features import FEATURES
from tandem.quant.gru import CORRECTION_MAX, Cell, Loss, NetworkConfig, Samples, Weights, predict, start, train

CONFIG = NetworkConfig(hidden=8, epochs_max=4, batches_per_epoch_max=20, patience=2, seed=7)
CELLS: tuple[Cell, ...] = ("correction", "integrated")
both_cells = pytest.mark.parametrize("cell", CELLS)


def samples(count: int = 200, *, seed: int = 0, signal: float = 1.0) -> Samples:
    """Windows whose last row's first feature scales the variance and whose second decides the reversion."""
    rng = np.random.default_rng(seed)
    windows = rng.standard_normal((count, 10, len(FEATURES))).astype(np.float32)
    windows[:, :, FEATURES.index("carry")] = rng.uniform(0.5, 1.0, (count, 10))
    ratio = np.exp(signal * windows[:, -1, 0]) * rng.chisquare(1, count)
    return Samples(windows=windows, variance_ratio=ratio.astype(np.float64), reverted=windows[:, -1, 1] > 0)


@both_cells
@pytest.mark.parametrize("members", [1, 3])
def test_the_untrained_network_corrects_nothing(cell: Cell, members: int) -> None:
    """Its correction is exactly 0 for any window, so that epoch 0 is the pair's own GARCH, GJR or EGARCH variance to the last bit."""
    members_ = start(len(FEATURES), NetworkConfig(cell=cell, members=members, seed=3))
    outputs = predict(members_, (100 * samples().windows).astype(np.float32))
    assert np.all(outputs[:, 0] == 0.0)
    assert len(np.unique(outputs[:, 1])) > 1


@both_cells
def test_without_epochs_training_returns_the_start(cell: Cell) -> None:
    """epochs_max 0 is the pair's own filter with a correction of 0 and its own base rate."""
    trained = train(samples(), samples(seed=1), NetworkConfig(cell=cell, hidden=8, epochs_max=0))
    assert trained.best_epoch == 0
    assert np.all(predict(trained.weights, samples(seed=2).windows)[:, 0] == 0.0)


@both_cells
def test_training_twice_gives_the_same_weights(cell: Cell) -> None:
    """Same rows and seed: equal bit for bit, whatever random numbers torch and numpy drew before."""
    config = replace(CONFIG, cell=cell, members=2)
    first = train(samples(), samples(seed=1), config)
    torch.rand(17)
    second = train(samples(), samples(seed=1), config)
    assert [m.losses for m in first.members] == [m.losses for m in second.members]
    for one, other in zip(first.weights, second.weights, strict=True):
        for name in ("input", "recurrent", "input_bias", "recurrent_bias", "head", "head_bias"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_another_seed_gives_other_weights() -> None:
    """The seed is used."""
    other = replace(CONFIG, seed=8)
    assert not np.array_equal(
        train(samples(), samples(seed=1), CONFIG).weights[0].input, train(samples(), samples(seed=1), other).weights[0].input
    )


@both_cells
@pytest.mark.parametrize("loss", ["qlike", "student_t"])
def test_the_network_learns_what_is_there_to_learn(cell: Cell, loss: Loss) -> None:
    """With a strong signal the validation loss falls below the start, and both heads point the right way."""
    config = NetworkConfig(cell=cell, loss=loss, hidden=16, epochs_max=8, learning_rate=3e-3, seed=1)
    trained = train(samples(3000), samples(800, seed=1), config)
    assert trained.losses[trained.best_epoch] < trained.losses[0] - (0.3 if loss == "qlike" else 0.1)
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


def test_a_member_is_the_network_of_its_seed() -> None:
    """Member k of an ensemble is the single network of seed + k, up to rounding of the stacked products: members never meet."""
    together = train(samples(), samples(seed=1), replace(CONFIG, members=3))
    for k, member in enumerate(together.members):
        alone = train(samples(), samples(seed=1), replace(CONFIG, seed=CONFIG.seed + k))
        assert member.best_epoch == alone.best_epoch
        np.testing.assert_allclose(member.losses, alone.losses, rtol=0, atol=1e-5)
        np.testing.assert_allclose(member.weights.head, alone.weights[0].head, rtol=0, atol=1e-5)


@both_cells
def test_the_ensembles_output_is_the_mean_of_its_members(cell: Cell) -> None:
    """Of both numbers, and the members differ."""
    trained = train(samples(), samples(seed=1), replace(CONFIG, cell=cell, members=3))
    windows = samples(seed=2).windows
    each = np.stack([predict(weights, windows) for weights in trained.weights])
    assert each.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(predict(trained.weights, windows), each.mean(axis=0), rtol=0, atol=1e-6)


def test_progress_is_told_member_by_member() -> None:
    """on_epoch hears each member's loss after each epoch, and none of a member that has ended."""
    heard: dict[int, list[float]] = {}
    config = replace(CONFIG, members=3, epochs_max=12, patience=1, learning_rate=1e-2)
    trained = train(samples(), samples(seed=1), config, on_epoch=lambda member, _, loss: heard.setdefault(member, []).append(loss))
    assert {member: tuple(losses) for member, losses in heard.items()} == {k: m.losses[1:] for k, m in enumerate(trained.members)}


def test_the_integrated_cell_carries_a_correction_as_garch_would() -> None:
    """With an increment at the first bar only, the rest of the window is the GARCH recursion started from another variance.

    h' = omega + alpha x^2 + beta h from both variances; log(other / own) at the end is what the cell must say.
    """
    rng = np.random.default_rng(2)
    first, omega, alpha, beta = 0.4, 0.05, 0.1, 0.85
    own, other, carry = 1.0, float(np.exp(first)), [0.0]
    for shock in rng.standard_normal(9):
        ahead = omega + alpha * shock**2 + beta * own
        other = omega + alpha * shock**2 + beta * other
        carry.append(beta * own / ahead)
        own = ahead
    window = np.zeros((1, 10, len(FEATURES)), dtype=np.float32)
    window[0, :, FEATURES.index("carry")] = carry
    window[0, 0, 0] = 1.0  # the only bar on which the one unit opens
    weights = one_pulse(first)
    bent = CORRECTION_MAX * np.tanh(np.log(other / own) / CORRECTION_MAX)
    assert predict(weights, window)[0, 0] == pytest.approx(bent, abs=2e-4)


def one_pulse(size: float) -> Weights:
    """Three units' worth of nothing but: hidden = tanh(10) while feature 0 is 1, else 0; the increment is `size` then."""
    features, big = len(FEATURES), 50.0
    input_ = np.zeros((3, features), dtype=np.float32)
    input_[2, 0] = big  # new = tanh(big x0)
    bias = np.array([0.0, -big, 0.0], dtype=np.float32)  # update gate shut: hidden = new
    raw = CORRECTION_MAX * np.arctanh(size / CORRECTION_MAX)
    return Weights(
        input=input_,
        recurrent=np.zeros((3, 1), dtype=np.float32),
        input_bias=bias,
        recurrent_bias=np.zeros(3, dtype=np.float32),
        head=np.array([[raw], [0.0]], dtype=np.float32),
        head_bias=np.zeros(2, dtype=np.float32),
        correction_input=np.zeros(3, dtype=np.float32),
        carry_column=FEATURES.index("carry"),
    )


def test_each_row_may_have_its_own_tail() -> None:
    """The student_t loss of the start, written out: (nu + 1) / 2 log1p(ratio / (nu - 2)) of each row's nu, and the logit's part."""
    rng = np.random.default_rng(3)
    rows, nu = samples(400), rng.uniform(3.0, 30.0, 400)
    rows = replace(rows, nu=nu, reverted=np.arange(400) % 2 == 0)
    trained = train(rows, rows, replace(CONFIG, loss="student_t", epochs_max=0))
    logit = predict(trained.weights, rows.windows)[:, 1]
    reversion = np.logaddexp(0, logit) - rows.reverted * logit
    expected = 0.5 * (nu + 1) * np.log1p(rows.variance_ratio / (nu - 2)) + reversion
    assert trained.losses[0] == pytest.approx(expected.mean(), rel=1e-5)


def test_members_of_two_kinds_are_refused() -> None:
    """An ensemble has one size and one cell."""
    kinds = [start(len(FEATURES), replace(CONFIG, cell=cell))[0] for cell in CELLS]
    with pytest.raises(ValueError, match="one size and kind"):
        predict(kinds, samples(4).windows)
