"""The members of an ensemble as one module: M networks of one size, their numbers stacked in one tensor (M, parameters).

Stacking makes M trainings cost little more than one, and one tensor makes a step of the optimiser four operations. Members never meet: no
operation mixes rows of different members. Called by quant/gru.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tandem.quant.gru_recurrence import integrated, plain
from tandem.quant.gru_weights import CORRECTION_MAX, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Sizes of one network, and where its numbers lie in a row of the stack."""

    features: int
    hidden: int
    carry_column: int | None  # None: the correction head, else the integrated cell

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of input, input_bias, recurrent, recurrent_bias, head, head_bias and, integrated, correction_input."""
        gates = 3 * self.hidden
        head = ((self.hidden, 2), (1, 2))
        return ((self.features, gates), (1, gates), (self.hidden, gates), (1, gates), *head, *(((1, gates),) if self.is_integrated else ()))

    @property
    def is_integrated(self) -> bool:
        """Whether the variance recursion runs inside the cell."""
        return self.carry_column is not None

    def parts(self, stack: Tensor) -> list[Tensor]:
        """The stack (M, parameters) as tensors (M, *shape), in the order of `shapes`."""
        pieces = stack.split([math.prod(shape) for shape in self.shapes], dim=1)
        return [piece.unflatten(1, shape) for piece, shape in zip(pieces, self.shapes, strict=True)]


def untrained(layout: Layout, seeds: Sequence[int], *, base_rate: float) -> Tensor:
    """The stack at its start, one member per seed: correction exactly 0 for every window, logit around that of the base rate.

    The other numbers are uniform within 1 / sqrt(hidden), as torch starts a GRU.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        bound = layout.hidden**-0.5
        row = (2 * torch.rand(sum(map(math.prod, layout.shapes)), generator=generator) - 1) * bound
        head, head_bias = layout.parts(row[None])[4:6]
        head[0, :, 0], head_bias[0, 0] = 0.0, torch.tensor([0.0, math.log(base_rate / (1 - base_rate))])
        rows.append(row)
    return torch.stack(rows)


def outputs(layout: Layout, stack: Tensor, windows: Tensor, *, keep: Tensor | None = None) -> Tensor:
    """windows (M, T, B, features) -> (M, B, 2): correction, logit.

    keep: (M, B, hidden), what dropout multiplies the hidden state by where a head reads it; the same in all steps (Gal 2016).
    """
    input_, input_bias, recurrent, recurrent_bias, head, head_bias, *rest = layout.parts(stack)
    gates = torch.baddbmm(input_bias, windows.flatten(1, 2), input_).unflatten(1, windows.shape[1:3])
    if layout.carry_column is None:
        hidden = plain(gates, recurrent, recurrent_bias)
        both = torch.baddbmm(head_bias, hidden if keep is None else hidden * keep, head)
        correction, logit = both[..., 0], both[..., 1]
    else:
        increment = head[:, None, :, 0].expand(-1, windows.shape[2], -1)
        hidden, correction = integrated(
            gates,
            recurrent,
            recurrent_bias,
            correction_input=rest[0],
            increment=increment if keep is None else increment * keep,
            increment_bias=head_bias[:, :, 0],
            carry=windows[..., layout.carry_column],
        )
        kept = hidden if keep is None else hidden * keep
        logit = torch.baddbmm(head_bias[:, :, 1:], kept, head[:, :, 1:])[..., 0]
    return torch.stack((CORRECTION_MAX * torch.tanh(correction / CORRECTION_MAX), logit), dim=-1)


def to_weights(layout: Layout, stack: Tensor) -> tuple[Weights, ...]:
    """The members as plain numbers."""
    parts = [part.detach().cpu() for part in layout.parts(stack)]
    return tuple(_weights(layout, [part[m] for part in parts]) for m in range(len(stack)))


def of_weights(members: Sequence[Weights]) -> tuple[Layout, Tensor]:
    """The way back. Raises ValueError when the members differ in size or kind."""
    first = members[0]
    layout = Layout(features=first.input.shape[1], hidden=first.recurrent.shape[1], carry_column=first.carry_column)
    if any(
        (w.input.shape, w.recurrent.shape, w.carry_column) != (first.input.shape, first.recurrent.shape, first.carry_column)
        for w in members
    ):
        raise ValueError("the members of an ensemble must have one size and kind")
    rows = []
    for w in members:
        arrays = [w.input.T, w.input_bias, w.recurrent.T, w.recurrent_bias, w.head.T, w.head_bias]
        arrays += [] if w.correction_input is None else [w.correction_input]
        rows.append(torch.cat([torch.tensor(array).flatten() for array in arrays]))
    return layout, torch.stack(rows)


def _weights(layout: Layout, parts: list[Tensor]) -> Weights:
    def matrix(tensor: Tensor) -> Any:
        return tensor.T.contiguous().numpy().copy()

    def vector(tensor: Tensor) -> Any:
        return tensor.flatten().numpy().copy()

    input_, input_bias, recurrent, recurrent_bias, head, head_bias, *rest = parts
    return Weights(
        input=matrix(input_),
        recurrent=matrix(recurrent),
        input_bias=vector(input_bias),
        recurrent_bias=vector(recurrent_bias),
        head=matrix(head),
        head_bias=vector(head_bias),
        correction_input=vector(rest[0]) if rest else None,
        carry_column=layout.carry_column,
    )
