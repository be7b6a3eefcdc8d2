"""The served network: equal to torch, indifferent to its batch, and clear about what it refuses."""

import numpy as np
import pytest

from tandem.adapters.onnx_network import CHUNK_ROWS, OnnxNetwork
from tandem.domain.errors import BadRecord
from tandem.quant import gru
from tandem.quant.gru import NetworkConfig
from tandem.quant.network import Windows
from tandem.trainer.onnx_graph import onnx_graph


@pytest.fixture(scope="module")
def weights() -> gru.Weights:
    """A trained network of the product's size; a few steps at a high rate, so that no weight is at its start."""
    rng = np.random.default_rng(0)
    rows = gru.Samples(windows=windows(256), variance_ratio=rng.chisquare(1, 256), reverted=rng.random(256) > 0.4)
    return gru.train(rows, rows, NetworkConfig(epochs_max=3, learning_rate=3e-3, seed=5)).weights


@pytest.fixture(scope="module")
def network(weights: gru.Weights) -> OnnxNetwork:
    """The same network as it is served."""
    return OnnxNetwork(onnx_graph(weights, 10))


def windows(count: int, *, seed: int = 0) -> Windows:
    """Random windows."""
    return np.random.default_rng(seed).standard_normal((count, 10, 8)).astype(np.float32)


def test_onnx_equals_torch(weights: gru.Weights, network: OnnxNetwork) -> None:
    """Within 1e-6, both outputs, on ordinary and on extreme windows."""
    for scale in (0.1, 1.0, 8.0):
        rows = scale * windows(333)
        outputs = network(rows)
        assert np.std(outputs, axis=0).min() > 1e-3  # both heads react: equality of constants would prove nothing
        np.testing.assert_allclose(outputs, gru.predict(weights, rows), rtol=0, atol=1e-6)


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


def test_the_same_weights_give_the_same_bytes(weights: gru.Weights) -> None:
    """The graph's bytes are part of the bundle's digest."""
    assert onnx_graph(weights, 10) == onnx_graph(weights, 10)


def test_what_is_no_graph_is_refused() -> None:
    """Rubbish is a BadRecord, not a library's error."""
    with pytest.raises(BadRecord, match="onnx_malformed"):
        OnnxNetwork(b"not a graph")


def test_windows_of_another_shape_are_refused(network: OnnxNetwork) -> None:
    """A bundle with another feature schema cannot be fed by mistake."""
    with pytest.raises(ValueError, match=r"\(2, 10, 7\)"):
        network(windows(2)[:, :, :7])
