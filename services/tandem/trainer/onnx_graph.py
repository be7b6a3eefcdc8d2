"""Trained weights as an ONNX graph, written node by node: the same weights give the same bytes, which an exporter does not promise."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tandem.quant.gru import CORRECTION_MAX, Weights

Gates = NDArray[np.float32]  # (3 hidden, ...)

_OPSET = 17
_IR_VERSION = 8  # what opset 17 came with: any runtime since 2022 reads it


def onnx_graph(weights: Weights, sequence: int) -> bytes:
    """A graph from windows (n, sequence, features) float32 to outputs (n, 2) float32, for any n."""
    hidden, features = weights.recurrent.shape[1], weights.input.shape[1]
    constants = {
        "input_weights": _update_first(weights.input, hidden)[None],  # (1, 3 hidden, features)
        "recurrent_weights": _update_first(weights.recurrent, hidden)[None],
        "biases": np.concatenate((_update_first(weights.input_bias, hidden), _update_first(weights.recurrent_bias, hidden)))[None],
        "head": weights.head,
        "head_bias": weights.head_bias,
        "direction_axis": np.array([0], dtype=np.int64),
        "columns": np.array([1, 1], dtype=np.int64),
        "correction_max": np.array(CORRECTION_MAX, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["windows"], ["by_time"], perm=[1, 0, 2]),
        # linear_before_reset: the reset gate acts on the recurrent product with its bias, as in torch.
        helper.make_node(
            "GRU",
            ["by_time", "input_weights", "recurrent_weights", "biases"],
            ["", "hidden_by_direction"],
            hidden_size=hidden,
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", ["hidden_by_direction", "direction_axis"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "head", "head_bias"], ["both"], transB=1),
        helper.make_node("Split", ["both", "columns"], ["raw", "logit"], axis=1),
        helper.make_node("Div", ["raw", "correction_max"], ["part"]),
        helper.make_node("Tanh", ["part"], ["bent"]),
        helper.make_node("Mul", ["bent", "correction_max"], ["correction"]),
        helper.make_node("Concat", ["correction", "logit"], ["outputs"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "gru",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", sequence, features])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", 2])],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _update_first(gates: Gates, hidden: int) -> Gates:
    """torch's order of gates (reset, update, new) in ONNX's (update, reset, hidden)."""
    return np.concatenate((gates[hidden : 2 * hidden], gates[:hidden], gates[2 * hidden :]))
