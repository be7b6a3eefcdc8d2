"""The served network: equal to torch, indifferent to its batch, and clear about what it refuses."""

import numpy as np
import pytest

from tandem.adapters.onnx_network import CHUNK_ROWS, OnnxNetwork
from tandem.domain.errors import BadRecord
from tandem.quant import gru
from tandem.quant.features import FEATURES
from tandem.quant.gru import NetworkConfig
from tandem.quant.network import Windows
from tandem.trainer.onnx_graph import onnx_graph

KINDS = [(cell, members) for cell in ("correction", "integrated") for members in (1, 3)]


@pytest.fixture(scope="module", params=KINDS, ids=[f"{cell}-{members}" for cell, members in KINDS])
def weights(request: pytest.FixtureRequest) -> tuple[gru.Weights, ...]:
    """A trained network of the product's size; a few steps at a high rate, so that no weight is at its start."""
    cell, members = request.param
    rng = np.random.default_rng(0)
    rows = gru.Samples(windows=windows(256), variance_ratio=rng.chisquare(1, 256), reverted=rng.random(256) > 0.4)
    return gru.train(rows, rows, NetworkConfig(cell=cell, members=members, epochs_max=3, learning_rate=3e-3, seed=5)).weights


@pytest.fixture(scope="module")
def network(weights: tuple[gru.Weights, ...]) -> OnnxNetwork:
    """The same network as it is served."""
    return OnnxNetwork(onnx_graph(weights, 10))


def windows(count: int, *, seed: int = 0) -> Windows:
    """Random windows."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, 10, len(FEATURES))).astype(np.float32)
    rows[:, :, FEATURES.index("carry")] = rng.uniform(0.0, 1.0, (count, 10))
    return rows


def scaled_windows(count: int, scale: float) -> Windows:
    """Windows of another size, but for the carry, which lies in [0, 1]."""
    rows = windows(count)
    column = FEATURES.index("carry")
    carry = rows[:, :, column].copy()
    rows = (scale * rows).astype(np.float32)
    rows[:, :, column] = carry
    return rows


def test_onnx_equals_torch(weights: tuple[gru.Weights, ...], network: OnnxNetwork) -> None:
    """Within 1e-6, both outputs, on ordinary and on extreme windows."""
    for scale in (0.1, 1.0, 8.0):
        rows = scaled_windows(333, scale)
        outputs = network(rows)
        assert np.std(outputs, axis=0).min() > 1e-3  # both heads react: equality of constants would prove nothing
        np.testing.assert_allclose(outputs, gru.predict(weights, rows), rtol=0, atol=1e-6)


def test_the_untrained_graph_corrects_nothing(weights: tuple[gru.Weights, ...]) -> None:
    """Exactly 0 in the served graph, too: exp(0) - 1 and log(1) have no last bit there."""
    cell = "integrated" if weights[0].integrated else "correction"
    members = gru.start(len(FEATURES), NetworkConfig(cell=cell, members=len(weights)))
    outputs = OnnxNetwork(onnx_graph(members, 10))(scaled_windows(50, 30.0))
    assert np.all(outputs[:, 0] == 0.0)


def test_the_graph_of_an_ensemble_is_the_mean_of_its_members(weights: tuple[gru.Weights, ...], network: OnnxNetwork) -> None:
    """Of both outputs."""
    rows = windows(40)
    each = [OnnxNetwork(onnx_graph(member, 10))(rows) for member in weights]
    np.testing.assert_allclose(network(rows), np.mean(each, axis=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS + 5])
def test_a_row_does_not_depend_on_its_batch(network: OnnxNetwork, count: int) -> None:
    """Bit for bit: alone, among others, at any place."""
    rows = windows(count)
    together = network(rows)
    alone = np.concatenate([network(rows[i : i + 1]) for i in range(count)])
    assert np.array_equal(together, alone)
    order = np.random.default_rng(1).permutation(count)
    assert np.array_equal(network(rows[order]), together[order])
    wild = np.concatenate((1e4 * windows(5, seed=2), rows))
    assert np.array_equal(network(wild)[5:], together)


def test_a_row_that_is_not_finite_spoils_no_other(network: OnnxNetwork) -> None:
    """A NaN stays in its own row."""
    rows = windows(CHUNK_ROWS)
    spoiled = rows.copy()
    spoiled[3] = np.nan
    outputs = network(spoiled)
    assert np.array_equal(np.delete(outputs, 3, axis=0), np.delete(network(rows), 3, axis=0))


def test_no_rows_give_no_results(network: OnnxNetwork) -> None:
    """An empty batch is answered, not refused."""
    assert network(windows(0)).shape == (0, 2)


def test_the_same_weights_give_the_same_bytes(weights: tuple[gru.Weights, ...]) -> None:
    """The graph's bytes are part of the bundle's digest."""
    assert onnx_graph(weights, 10) == onnx_graph(weights, 10)


def test_a_graph_needs_members_of_one_kind() -> None:
    """None at all, or of both cells: refused when it is written, not when it is served."""
    mixed = [gru.start(len(FEATURES), NetworkConfig(cell=cell, hidden=8))[0] for cell in ("correction", "integrated")]
    for members in ([], mixed):
        with pytest.raises(ValueError, match="one size and kind"):
            onnx_graph(members, 10)


def test_what_is_no_graph_is_refused() -> None:
    """Rubbish is a BadRecord, not a library's error."""
    with pytest.raises(BadRecord, match="onnx_malformed"):
        OnnxNetwork(b"not a graph")


def test_windows_of_another_shape_are_refused(network: OnnxNetwork) -> None:
    """A bundle with another feature schema cannot be fed by mistake."""
    with pytest.raises(ValueError, match=rf"\(2, 10, {len(FEATURES) - 1}\)"):
        network(windows(2)[:, :, :-1])
