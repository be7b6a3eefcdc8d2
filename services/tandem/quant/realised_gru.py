"""GARCH-GRU for realised variances: networks that correct a linear path's log forecast, several seeds trained as one.

    log f = path + TRUST * C tanh(hidden w / C),   hidden = GRU(last 10 days' inputs, the GARCH state among them)

With w = 0, where training starts, the forecast is the path's, and with the path at its own start it is log-HAR's. The loss is QLIKE of the
full correction; the forecast takes TRUST of it. Training goes on from the last refit's numbers (warm start) for a fixed count of epochs, so
that a correction grows only as far as several refits agree on it. torch is used here and nowhere else on this path; research/spx*.py calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tandem.quant import gru_ensemble
from tandem.quant.gru_adam import Adam
from tandem.quant.gru_ensemble import Layout
from tandem.quant.realised_path import day_weights
from tandem.quant.realised_reading import Inputs, Reading
from tandem.quant.torch_threads import one_thread

Vector = NDArray[np.float64]

_GRADIENT_NORM_MAX = 1.0  # of one member, per step: one crash must not undo the epochs before it
_LOSS_RATIO_MAX = 20.0  # realised over forecast beyond which a day pulls no harder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Sizes and training rule, chosen on 2006-2013 (docs/volatility-spx.md)."""

    hidden: int = 16
    sequence: int = 10  # days
    first_epochs: int = 50  # full-batch steps at the first fit, which has nothing to go on from
    epochs: int = 10  # at each later one
    learning_rate: float = 1e-3
    decay: float = 1e-4  # L2, on the sum of squares
    trust: float = 0.5  # share of the learnt correction that the forecast takes

    def __post_init__(self) -> None:
        counts = min(self.hidden, self.sequence) >= 1 and min(self.first_epochs, self.epochs) >= 0
        if not counts or self.learning_rate <= 0 or self.decay < 0 or not 0 <= self.trust <= 1:
            raise ValueError(f"{self}: need sizes from 1, epochs and decay from 0, a rate above 0 and trust in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Networks:
    """Members as one tensor (M, numbers), with the rule that made them. Immutable: training returns new ones."""

    rule: Rule
    layout: Layout
    stack: Tensor


def untrained(features: int, seeds: Sequence[int], rule: Rule) -> Networks:
    """Networks whose correction is exactly 0 for any input, one per seed."""
    layout = Layout(features=features, hidden=rule.hidden, carry_column=None)
    return Networks(rule=rule, layout=layout, stack=gru_ensemble.untrained(layout, seeds, base_rate=0.5))


def train(networks: Networks, reading: Reading, *, epochs: int) -> Networks:
    """Go on training on the days of a reading, the day after its window left out. Full batches, no draws: same inputs, same numbers."""
    rule = networks.rule
    with one_thread():
        return Networks(rule=rule, layout=networks.layout, stack=_trained(networks, reading, epochs))


def next_logs(networks: Networks, reading: Reading) -> Vector:
    """Log forecasts (M,) of the day after the reading's window, one per member, within twice the window's extremes.

    The bound is the insanity filter of Clements and Preve (2021), widened by two: a forecast outside what was ever seen is an error.
    """
    with torch.no_grad(), one_thread():
        windows = _windows(reading.inputs[-networks.rule.sequence :], networks.rule.sequence)
        correction = _corrections(networks.layout, networks.stack, windows)[:, 0].double().numpy()
    return clip_logs(reading.next_log + networks.rule.trust * correction, reading)


def training_logs(networks: Networks, reading: Reading) -> Vector:
    """Log forecasts (M, days) of the reading's last days but those that the first window of inputs needs; not of the day after it."""
    with torch.no_grad(), one_thread():
        correction = _corrections(networks.layout, networks.stack, _windows(reading.inputs[:-1], networks.rule.sequence))
    return clip_logs(reading.logs[networks.rule.sequence - 1 : -1] + networks.rule.trust * correction.double().numpy(), reading)


def clip_logs(logs: Vector, reading: Reading) -> Vector:
    """Log forecasts held between half the least and twice the largest variance of the window."""
    low, high = reading.bounds
    return np.clip(logs, np.log(low / 2), np.log(high * 2))


def _windows(inputs: Inputs, sequence: int) -> Tensor:
    """(n, features) -> (sequence, n - sequence + 1, features)."""
    rows = np.lib.stride_tricks.sliding_window_view(inputs, sequence, axis=0)  # (n - sequence + 1, features, sequence)
    return torch.from_numpy(rows.transpose(2, 0, 1).copy())


def _corrections(layout: Layout, stack: Tensor, windows: Tensor) -> Tensor:
    """(sequence, n, features) -> (M, n)."""
    return gru_ensemble.outputs(layout, stack, windows.expand(len(stack), *windows.shape))[..., 0]


def _trained(networks: Networks, reading: Reading, epochs: int) -> Tensor:
    rule = networks.rule
    windows = _windows(reading.inputs[:-1], rule.sequence)
    ratios = np.minimum(reading.ratios, _LOSS_RATIO_MAX)[rule.sequence - 1 :]
    ratio = torch.from_numpy(ratios.astype(np.float32))
    weight = torch.from_numpy(day_weights(len(ratios)).astype(np.float32))
    stack = networks.stack.clone().requires_grad_()
    optimiser = Adam([stack], rule.learning_rate)
    for _ in range(epochs):
        stack.grad = None
        correction = _corrections(networks.layout, stack, windows)
        loss = ((ratio * torch.exp(-correction) + correction) * weight).sum() + rule.decay * (stack**2).sum()
        loss.backward()
        assert stack.grad is not None  # the loss depends on it
        stack.grad /= stack.grad.norm(dim=1, keepdim=True).clamp(min=_GRADIENT_NORM_MAX)
        optimiser.step()
    return stack.detach()
