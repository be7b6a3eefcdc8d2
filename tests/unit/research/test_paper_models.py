"""Protocol A: labels, baselines and networks know exactly what was known at the origin, and the integrated cells start at their GJR."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tandem.domain.errors import BadRecord
from tandem.quant.volatility import Kind
from tandem.research.paper_baselines import FilteredVariance, baselines, filtered_variance, one_day_sigma, with_known
from tandem.research.paper_cells import NETWORKS, gru_step, lstm_step, project
from tandem.research.paper_data import TARGETS, Definition, PaperSeries, paper_series, realised_volatility
from tandem.research.paper_training import PaperTraining, Replicas, initial, named, predict, replicas_of, train

DAYS = 420
SMALL = PaperTraining(hidden=4, epochs_max=3, batch=64)
ONE_DAY, THREE_DAYS, WEEK, AHEAD = TARGETS


def _returns(seed: int = 3) -> np.ndarray:
    """Percent returns of a GJR(1,1)."""
    rng, variance = np.random.default_rng(seed), 1.0
    found = np.empty(DAYS)
    for t in range(DAYS):
        found[t] = np.sqrt(variance) * rng.standard_normal()
        variance = 0.05 + (0.03 + 0.15 * (found[t] < 0)) * found[t] ** 2 + 0.84 * variance
    return found


def _closes(folder: Path, returns: np.ndarray, name: str = "closes") -> Path:
    path = folder / f"{name}.parquet"
    days = [date(2010, 1, 4) + timedelta(days=t) for t in range(len(returns) + 1)]
    pq.write_table(pa.table({"date": days, "close": 100 * np.exp(np.concatenate(([0.0], np.cumsum(returns))) / 100)}), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


def _series(folder: Path, returns: np.ndarray | None = None, definition: Definition = Definition.RMS) -> PaperSeries:
    path = _closes(folder, _returns() if returns is None else returns)
    (series,), _ = paper_series(path, test_from=np.datetime64("2011-01-01"), test_to=None, definition=definition)
    return series


@pytest.fixture(scope="module")
def series(folder: Path) -> PaperSeries:
    return _series(folder)


@pytest.fixture(scope="module")
def gjr(series: PaperSeries) -> FilteredVariance:
    return filtered_variance(series, Kind.GJR)


def test_both_definitions_by_hand() -> None:
    values = np.array([1.0, -1.0, 2.0, 0.0, -2.0, 3.0])
    assert realised_volatility(values, Definition.RMS)[4] == pytest.approx(np.sqrt(10 / 5))
    assert realised_volatility(values, Definition.STD)[5] == pytest.approx(np.std(values[1:], ddof=1))
    assert np.isnan(realised_volatility(values, Definition.RMS)[:4]).all()


def test_what_is_known_of_a_label_and_what_is_not(series: PaperSeries) -> None:
    """1D knows four of five squared returns, 3D two, 7D and ahead none; known and unknown together are the label."""
    assert [len(target.unknown) for target in TARGETS] == [1, 3, 5, 5]
    labels = series.labels()
    for target in TARGETS:
        origins = labels - target.last
        unknown = sum(series.returns[origins + day] ** 2 for day in target.unknown)
        label = np.sqrt((series.known_square_sum(target)[origins] + unknown) / 5)
        np.testing.assert_allclose(label, series.volatility[labels], rtol=1e-10)
    assert not series.known_square_sum(AHEAD).any()


def test_the_parts_follow_each_other_and_the_mean_is_of_what_precedes_the_test(series: PaperSeries) -> None:
    split = series.split
    assert 21 <= split.start < split.validation < split.test < split.stop == DAYS
    assert str(series.days[split.test]) == "2011-01-01"
    assert (split.test - split.validation) / (split.test - split.start) == pytest.approx(0.2, abs=0.01)
    assert series.returns[: split.test].mean() == pytest.approx(0, abs=1e-12)


def test_what_comes_after_the_test_is_dropped(folder: Path) -> None:
    path = _closes(folder, _returns())
    (cut,), _ = paper_series(path, test_from=np.datetime64("2011-01-01"), test_to=np.datetime64("2011-01-20"), definition=Definition.RMS)
    assert str(cut.days[-1]) == "2011-01-20"  # test_to is included
    assert cut.split.stop - cut.split.test == 20


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_model_without_a_network_sees_a_return_after_its_origin(folder: Path, series: PaperSeries, target: object) -> None:
    """Other returns from test label k's origin on: forecasts of test labels up to k stay as they are, to the bit of the fit before it."""
    k = 30
    changed = _returns()
    changed[series.split.test + k + 1 - target.last :] *= 3.0  # type: ignore[attr-defined]
    if target.last > k:  # type: ignore[attr-defined]
        pytest.fail("the change must lie in the test part")
    other = _series(folder, changed)
    names = baselines(filtered_variance(series, Kind.GARCH), filtered_variance(series, Kind.GJR))
    again = baselines(filtered_variance(other, Kind.GARCH), filtered_variance(other, Kind.GJR))
    until = series.split.test - series.split.start + k + 1
    for name in names:
        mine, theirs = names[name](series, target), again[name](other, target)  # type: ignore[arg-type]
        np.testing.assert_allclose(mine[:until], theirs[:until], rtol=1e-9, err_msg=name)
        assert not np.allclose(mine[until:], theirs[until:])


def test_one_day_sigma_is_another_thing_than_the_volatility_of_five_days(series: PaperSeries, gjr: FilteredVariance) -> None:
    """The paper's baseline ignores four known squared returns: given them the same model is far closer to the label."""
    labels = series.labels()
    error = {f: np.mean((series.volatility[labels] - f(series, ONE_DAY, gjr)) ** 2) for f in (one_day_sigma, with_known)}
    assert error[with_known] < 0.5 * error[one_day_sigma]


def test_variances_ahead_follow_the_recursion(series: PaperSeries, gjr: FilteredVariance) -> None:
    """Expected variance: v' = omega + (alpha + gamma / 2 + beta) v, from the filter's one-day forecast."""
    ahead = gjr.ahead(np.array([100]), 3)[0]
    assert ahead[0] == gjr.variance[101]
    assert ahead[2] == pytest.approx(gjr.omega * (1 + gjr.persistence) + gjr.persistence**2 * ahead[0], rel=1e-12)


def _flat(name: str, gjr: FilteredVariance, *, seeds: tuple[int, ...] = (1, 2), dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return initial(NETWORKS[name], gjr, replicas=len(seeds) * len(TARGETS), seeds=seeds, hidden=4, dtype=dtype)


def _data(series: PaperSeries, gjr: FilteredVariance, *, seeds: int = 2, dtype: torch.dtype = torch.float64) -> Replicas:
    return replicas_of(series, gjr, TARGETS, seeds=seeds, dtype=dtype)


def _all(name: str, data: Replicas, flat: torch.Tensor, stop: int) -> np.ndarray:
    return predict(NETWORKS[name], data, flat=flat, active=torch.arange(len(flat)), hidden=4, first=0, stop=stop).numpy()


@pytest.mark.parametrize("name", ["garch_gru", "garch_lstm"])
def test_the_untrained_cell_equals_its_gjr_exactly(series: PaperSeries, gjr: FilteredVariance, name: str) -> None:
    """Every label, target and seed, to rounding: epoch 0 IS the baseline that has to be beaten."""
    labels = len(series.labels())
    found = _all(name, _data(series, gjr), _flat(name, gjr), labels).reshape(len(TARGETS), 2, labels)
    for target, both in zip(TARGETS, found, strict=True):
        for forecast in both:
            np.testing.assert_allclose(forecast, with_known(series, target, gjr), rtol=1e-12)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_no_network_sees_a_return_after_its_origin(folder: Path, series: PaperSeries, gjr: FilteredVariance, name: str) -> None:
    k = 30
    changed = _returns()
    changed[series.split.test + k :] *= 3.0  # the origin of "1D" at label k + 1, later than those of the other targets
    other = _series(folder, changed)
    flat = _flat(name, gjr)
    until = series.split.test - series.split.start + k + 1
    other_model = filtered_variance(other, Kind.GJR)
    mine = _all(name, _data(series, gjr), flat, until)
    theirs = _all(name, _data(other, other_model), flat, until)
    np.testing.assert_allclose(mine, theirs, rtol=1e-8)


def test_the_steps_are_those_of_torch() -> None:
    """Batched replicas against torch.nn.GRUCell and LSTMCell with the weights of each."""
    torch.manual_seed(0)
    rows = torch.randn(3, 5, 2, dtype=torch.float64)
    for cell_type, gates in ((torch.nn.GRUCell, 3), (torch.nn.LSTMCell, 4)):
        cells = [cell_type(2, 4, dtype=torch.float64) for _ in range(3)]
        weights = {
            "input": torch.stack([cell.weight_ih.T for cell in cells]),
            "recurrent": torch.stack([cell.weight_hh.T for cell in cells]),
            "input_bias": torch.stack([cell.bias_ih if gates == 3 else cell.bias_ih + cell.bias_hh for cell in cells]),
            "recurrent_bias": torch.stack([cell.bias_hh for cell in cells]),
        }
        hidden = torch.randn(3, 5, 4, dtype=torch.float64)
        if gates == 3:
            found, expected = gru_step(weights, rows, hidden), torch.stack([c(rows[i], hidden[i]) for i, c in enumerate(cells)])
        else:
            found = lstm_step(weights, rows, (hidden, hidden))[0]
            expected = torch.stack([c(rows[i], (hidden[i], hidden[i]))[0] for i, c in enumerate(cells)])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_replicas_share_nothing(series: PaperSeries, gjr: FilteredVariance, name: str) -> None:
    """Seed 2 trained beside seed 1 gives what it gives alone."""
    network = NETWORKS[name]
    both, _ = train(network, _data(series, gjr), _flat(name, gjr), seeds=(1, 2), config=SMALL)
    alone, _ = train(network, _data(series, gjr, seeds=1), _flat(name, gjr, seeds=(2,)), seeds=(2,), config=SMALL)
    np.testing.assert_allclose(both[1::2].numpy(), alone.numpy(), rtol=1e-7, atol=1e-10)


def test_training_stops_on_validation_labels_and_never_sees_the_test(series: PaperSeries, gjr: FilteredVariance) -> None:
    """Other targets in the test part change nothing; the kept weights are not worse on validation than the start."""
    data = _data(series, gjr)
    spoiled = _data(series, gjr)
    spoiled.target[:, spoiled.validation :] = 100.0
    flat, network = _flat("garch_gru", gjr), NETWORKS["garch_gru"]
    best, epochs = train(network, data, flat, seeds=(1, 2), config=SMALL)
    again, _ = train(network, spoiled, flat, seeds=(1, 2), config=SMALL)
    assert torch.equal(best, again)
    goal = data.target[:, data.training : data.validation].numpy()
    part = slice(data.training, data.validation)
    loss = [((_all("garch_gru", data, f, data.validation)[:, part] - goal) ** 2).mean(axis=1) for f in (flat, best)]
    assert (loss[1] <= loss[0]).all()
    assert ((epochs == 0) == (loss[1] == loss[0])).all()


def test_a_replica_that_stopped_keeps_its_best_while_the_others_go_on(series: PaperSeries, gjr: FilteredVariance) -> None:
    """Patience 1: replicas leave one by one; each result is the one that it has alone."""
    config = PaperTraining(hidden=4, epochs_max=8, patience=1, learning_rate=0.02)
    network, left = NETWORKS["gru"], []
    both, _ = train(network, _data(series, gjr), _flat("gru", gjr), seeds=(1, 2), config=config, on_epoch=left.append)
    assert left[0] > left[-1]
    alone, _ = train(network, _data(series, gjr, seeds=1), _flat("gru", gjr, seeds=(1,)), seeds=(1,), config=config)
    np.testing.assert_allclose(both[::2].numpy(), alone.numpy(), rtol=1e-6, atol=1e-9)


def test_projection_keeps_the_recursion_stationary_and_leaves_a_good_one_alone(gjr: FilteredVariance) -> None:
    network = NETWORKS["garch_gru"]
    good = _flat("garch_gru", gjr)
    kept = good.clone()
    project(named(kept, network.shapes(4)))
    assert torch.equal(kept, good)
    weights = named(kept, network.shapes(4))
    weights["beta"].fill_(1.5)
    weights["alpha"].fill_(-0.2)
    weights["omega"].fill_(-1.0)
    project(weights)
    assert float((weights["alpha"] + weights["gamma"] / 2 + weights["beta"]).max()) <= 0.9995 + 1e-12
    assert float(weights["alpha"].min()) == 0.0
    assert float(weights["omega"].min()) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda r: r[:200], "too_few_rows"), (lambda r: np.where(np.arange(DAYS) > 400, 0.0, r), "constant_series")],
)
def test_data_that_cannot_carry_the_protocol_are_refused(folder: Path, change: object, message: str) -> None:
    path = _closes(folder, change(_returns()), "bad")  # type: ignore[operator]
    with pytest.raises(BadRecord, match=message):
        paper_series(path, test_from=np.datetime64("2011-01-01"), test_to=None, definition=Definition.STD)
