"""Trained weights as an ONNX graph, written node by node: the same weights give the same bytes, which an exporter does not promise.

The members of an ensemble are one graph, whose outputs are their mean. The correction head is ONNX's own GRU, one per member. The
integrated cell has no operator: it is unrolled over the window, all members in one batched product per step (quant/gru_recurrence.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tandem.quant.gru_weights import CORRECTION_MAX, Weights

Gates = NDArray[np.float32]  # (3 hidden, ...)

_OPSET = 17
_IR_VERSION = 8  # what opset 17 came with: any runtime since 2022 reads it


def onnx_graph(members: Weights | Sequence[Weights], sequence: int) -> bytes:
    """A graph from windows (n, sequence, features) float32 to outputs (n, 2) float32, for any n: the mean of the members, or of one.

    Raises ValueError when there is no member, or members differ in size or kind.
    """
    members = [members] if isinstance(members, Weights) else list(members)
    if len({(w.input.shape, w.recurrent.shape, w.carry_column) for w in members}) != 1:
        raise ValueError(f"{len(members)} members, need at least one and all of one size and kind")
    graph = _Graph()
    graph.constant("correction_max", np.array(CORRECTION_MAX, dtype=np.float32))
    by_time = graph.node("Transpose", "windows", perm=[1, 0, 2])
    if members[0].integrated:
        _integrated(graph, by_time, members, sequence)
    else:
        _corrections(graph, by_time, members)
    return graph.serialized(sequence=sequence, features=members[0].input.shape[1])


class _Graph:
    """Nodes and constants in the order in which they are added; results are numbered."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = np.array(value, order="C")  # ascontiguousarray would give a scalar an axis
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operator with one result."""
        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def split(self, value: str, sizes: str, parts: int, *, axis: int) -> list[str]:
        names = [f"v{len(self._nodes)}_{i}" for i in range(parts)]
        self._nodes.append(helper.make_node("Split", [value, sizes], names, axis=axis))
        return names

    def bounded(self, raw: str) -> str:
        """C tanh(raw / C)."""
        return self.node("Mul", self.node("Tanh", self.node("Div", raw, "correction_max")), "correction_max")

    def hidden(self, *inputs: str, units: int) -> str:
        """ONNX's GRU: the last hidden state (1, n, units)."""
        name = f"v{len(self._nodes)}"
        # linear_before_reset: the reset gate acts on the recurrent product with its bias, as in torch.
        self._nodes.append(helper.make_node("GRU", list(inputs), ["", name], hidden_size=units, linear_before_reset=1))
        return name

    def serialized(self, *, sequence: int, features: int) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "gru",
            [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", sequence, features])],
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", 2])],
            initializer=[numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _corrections(graph: _Graph, by_time: str, members: Sequence[Weights]) -> None:
    direction = graph.constant("direction_axis", np.array([0], dtype=np.int64))
    columns = graph.constant("columns", np.array([1, 1], dtype=np.int64))
    each = []
    for m, weights in enumerate(members):
        units = weights.recurrent.shape[1]
        biases = np.concatenate((_update_first(weights.input_bias, units), _update_first(weights.recurrent_bias, units)))[None]
        hidden = graph.hidden(
            by_time,
            graph.constant(f"input_weights_{m}", _update_first(weights.input, units)[None]),  # (1, 3 hidden, features)
            graph.constant(f"recurrent_weights_{m}", _update_first(weights.recurrent, units)[None]),
            graph.constant(f"biases_{m}", biases),
            units=units,
        )
        head, head_bias = graph.constant(f"head_{m}", weights.head), graph.constant(f"head_bias_{m}", weights.head_bias)
        both = graph.node("Gemm", graph.node("Squeeze", hidden, direction), head, head_bias, transB=1)
        raw, logit = graph.split(both, columns, 2, axis=1)
        each.append(graph.node("Concat", graph.bounded(raw), logit, axis=1))
    graph.node("Mean", *each, output="outputs")


def _integrated(graph: _Graph, by_time: str, members: Sequence[Weights], sequence: int) -> None:
    """All values are (1, M, n, ...): the 1 is left over from the step and kept, because taking it away would cost a node."""
    _cell_constants(graph, members, sequence)
    member_axis = graph.constant("member_axis", np.array([1], dtype=np.int64))
    inputs = graph.node("MatMul", graph.node("Unsqueeze", by_time, member_axis), "input_weights")  # (T, M, n, 3 hidden)
    gates = graph.split(graph.node("Add", inputs, "input_bias"), "steps", sequence, axis=0)
    carry = graph.split(graph.node("Gather", by_time, "carry_column", axis=2), "steps", sequence, axis=0)  # (1, n) each
    hidden: str | None = None
    before: str | None = None
    correction: str | None = None
    for t in range(sequence):
        before = None if correction is None else _carried(graph, carry[t], correction)
        hidden = _gated(graph, gates[t], hidden, before)
        raw = graph.node("Squeeze", graph.node("MatMul", hidden, "increment"), "last_axis")
        increment = graph.bounded(graph.node("Add", raw, "increment_bias"))
        correction = increment if before is None else graph.node("Add", before, increment)
    assert hidden is not None
    assert correction is not None
    logit = graph.node("Add", graph.node("Squeeze", graph.node("MatMul", hidden, "logit"), "last_axis"), "logit_bias")
    columns = [
        graph.node("Unsqueeze", graph.node("ReduceMean", value, axes=[0, 1], keepdims=0), "last_axis")
        for value in (graph.bounded(correction), logit)
    ]
    graph.node("Concat", *columns, axis=1, output="outputs")


def _cell_constants(graph: _Graph, members: Sequence[Weights], sequence: int) -> None:
    def stack(values: Sequence[Gates | None]) -> Gates:
        return np.stack([value for value in values if value is not None])

    units = members[0].recurrent.shape[1]
    graph.constant("input_weights", stack([w.input.T for w in members])[None])  # (1, M, features, 3 hidden)
    graph.constant("input_bias", stack([w.input_bias[None] for w in members]))  # (M, 1, 3 hidden)
    graph.constant("recurrent_weights", stack([w.recurrent.T for w in members]))
    graph.constant("recurrent_bias", stack([w.recurrent_bias[None] for w in members]))
    graph.constant("correction_input", stack([w.correction_input for w in members])[:, None])
    for column, name in enumerate(("increment", "logit")):
        graph.constant(name, stack([w.head[column, :, None] for w in members]))  # (M, hidden, 1)
        graph.constant(f"{name}_bias", stack([w.head_bias[column : column + 1] for w in members]))  # (M, 1)
    graph.constant("carry_column", np.array(members[0].carry_column, dtype=np.int64))
    graph.constant("one", np.array(1, dtype=np.float32))
    graph.constant("last_axis", np.array([-1], dtype=np.int64))
    graph.constant("steps", np.ones(sequence, dtype=np.int64))
    graph.constant("gates_and_new", np.array([2 * units, units], dtype=np.int64))
    graph.constant("gate_halves", np.array([units, units], dtype=np.int64))


def _carried(graph: _Graph, carry: str, correction: str) -> str:
    """log(1 + carry (e^c - 1))."""
    grown = graph.node("Sub", graph.node("Exp", correction), "one")
    return graph.node("Log", graph.node("Add", graph.node("Mul", carry, grown), "one"))


def _gated(graph: _Graph, gates: str, hidden: str | None, before: str | None) -> str:
    """One step of the GRU; None: the zeros before the first."""
    if before is not None:
        gates = graph.node("Add", gates, graph.node("Mul", graph.node("Unsqueeze", before, "last_axis"), "correction_input"))
    product = "recurrent_bias"
    if hidden is not None:
        product = graph.node("Add", graph.node("MatMul", hidden, "recurrent_weights"), "recurrent_bias")
    seen, seen_new = graph.split(gates, "gates_and_new", 2, axis=-1)
    gated, gated_new = graph.split(product, "gates_and_new", 2, axis=-1)
    reset, update = graph.split(graph.node("Sigmoid", graph.node("Add", seen, gated)), "gate_halves", 2, axis=-1)
    new = graph.node("Tanh", graph.node("Add", seen_new, graph.node("Mul", reset, gated_new)))
    gap = (
        graph.node("Mul", new, graph.constant("minus_one", np.array(-1, np.float32))) if hidden is None else graph.node("Sub", hidden, new)
    )
    return graph.node("Add", new, graph.node("Mul", update, gap))


def _update_first(gates: Gates, hidden: int) -> Gates:
    """torch's order of gates (reset, update, new) in ONNX's (update, reset, hidden)."""
    return np.concatenate((gates[hidden : 2 * hidden], gates[:hidden], gates[2 * hidden :]))
