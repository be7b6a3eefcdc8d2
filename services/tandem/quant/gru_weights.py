"""The numbers of a trained network, laid out as torch does: a record without torch. gru.py writes it, trainer/onnx_graph.py reads it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CORRECTION_MAX = 1.5  # C: the network may move GARCH's variance by a factor of at most e^1.5 = 4.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """One network; gates in the order reset, update, new. With `correction_input` it is the integrated cell, else the correction head."""

    input: Floats  # (3 hidden, features)
    recurrent: Floats  # (3 hidden, hidden)
    input_bias: Floats  # (3 hidden,)
    recurrent_bias: Floats  # (3 hidden,)
    head: Floats  # (2, hidden): correction (integrated: its increment), logit
    head_bias: Floats  # (2,)
    correction_input: Floats | None = None  # (3 hidden,) how the gates see the correction so far
    carry_column: int | None = None  # the feature beta h / h', the part of a deviation of the variance that GARCH carries on

    def __post_init__(self) -> None:
        if (self.correction_input is None) != (self.carry_column is None):
            raise ValueError("the integrated cell needs both correction_input and carry_column, the correction head neither")
        gates, hidden = self.recurrent.shape
        shapes = (self.input.shape[0], *self.input_bias.shape, *self.recurrent_bias.shape, self.head.shape, self.head_bias.shape)
        if gates != 3 * hidden or shapes != (gates, gates, gates, (2, hidden), (2,)):
            raise ValueError(f"weights of {hidden} units do not fit together: {shapes}")

    @property
    def integrated(self) -> bool:
        """Whether the variance recursion runs inside the cell."""
        return self.correction_input is not None
