"""Adam (Kingma and Ba 2015) with their constants. Ours, because torch.optim draws in torch's compiler: 900 modules, 5 s and 160 MB."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MEAN_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The optimiser of some tensors; each has its gradient in `.grad` when `step` is called."""

    def __init__(self, parameters: Sequence[Tensor], rate: float) -> None:
        self._parameters, self._rate, self._steps = list(parameters), rate, 0
        self._means = [torch.zeros_like(p) for p in parameters]
        self._squares = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients."""
        self._steps += 1
        root = math.sqrt(1 - _SQUARE_DECAY**self._steps)
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            gradient = parameter.grad
            assert gradient is not None  # every parameter takes part in both losses
            mean.lerp_(gradient, 1 - _MEAN_DECAY)
            square.mul_(_SQUARE_DECAY).addcmul_(gradient, gradient, value=1 - _SQUARE_DECAY)
            parameter.addcdiv_(mean, (square.sqrt() / root).add_(_EPSILON), value=-self._rate / (1 - _MEAN_DECAY**self._steps))

    def keep_rows(self, rows: Sequence[int]) -> Tensor:
        """Go on with these rows of the one tensor that is optimised; the others are done. Returns the new tensor, which takes gradients."""
        (parameter,), place = self._parameters, list(rows)
        kept = parameter.detach()[place].requires_grad_()
        self._parameters, self._means, self._squares = [kept], [self._means[0][place]], [self._squares[0][place]]
        return kept
