"""The network: one GRU over a window of features, two heads. Trained with torch, which no other module of Tandem imports.

Numpy in, numpy out: `train` returns plain weights, from which trainer/onnx_graph.py writes the graph that serves.

    hidden = GRU(window)[last]                                 (n, 64)
    correction = C tanh((hidden W_v + b_v) / C)                log-variance correction, W_v = b_v = 0 at the start: plain GARCH
    logit = hidden W_r + b_r                                   that the spread reverts by more than its cost

Loss: QLIKE of the corrected variance, realised/garch * exp(-correction) + correction, plus binary cross entropy of the logit.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tandem.quant.network import Outputs, Windows

CORRECTION_MAX = 1.5  # C: the network may move GARCH's variance by a factor of at most e^1.5 = 4.5
_GRADIENT_NORM_MAX = 1.0  # one bar of twenty standard deviations must not undo an epoch
_MEAN_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes and training rule. The defaults are those of the product's first generation."""

    hidden: int = 64
    dropout: float = 0.255
    learning_rate: float = 3e-4
    batch: int = 32
    epochs_max: int = 50
    patience: int = 5  # epochs without a better validation loss before training ends
    batches_per_epoch_max: int = 200  # an epoch beyond it takes a fresh random part of the rows: bounds the time on minute bars
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Windows with what came after them."""

    windows: Windows  # (n, sequence, features)
    variance_ratio: NDArray[np.float64]  # (n,) realised variance of the next bar / GARCH's forecast of it
    reverted: NDArray[np.bool_]  # (n,)

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """The trained network as torch lays it out: gates in the order reset, update, new."""

    input: NDArray[np.float32]  # (3 hidden, features)
    recurrent: NDArray[np.float32]  # (3 hidden, hidden)
    input_bias: NDArray[np.float32]  # (3 hidden,)
    recurrent_bias: NDArray[np.float32]  # (3 hidden,)
    head: NDArray[np.float32]  # (2, hidden): correction, logit
    head_bias: NDArray[np.float32]  # (2,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """The best weights by validation loss. losses: validation loss before training and after each epoch."""

    weights: Weights
    losses: tuple[float, ...]
    best_epoch: int  # 0: no epoch beat the start


class HybridGru(nn.Module):
    """The module. Before training its correction is exactly 0 for every input."""

    def __init__(self, features: int, config: NetworkConfig) -> None:
        super().__init__()
        self.gru = nn.GRU(features, config.hidden, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, 2)
        with torch.no_grad():
            self.head.weight[0].zero_()
            self.head.bias.zero_()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(n, sequence, features) -> (n, 2)."""
        hidden, _ = self.gru(windows)  # (n, sequence, hidden)
        both = self.head(self.dropout(hidden[:, -1]))  # (n, 2)
        correction = CORRECTION_MAX * torch.tanh(both[:, 0] / CORRECTION_MAX)
        return torch.stack((correction, both[:, 1]), dim=1)


def train(training: Samples, validation: Samples, config: NetworkConfig) -> Trained:
    """Adam with early stopping on `validation`; the best weights win, the start included. Same inputs and seed: same weights.

    Deterministic on one machine: one thread, torch's deterministic algorithms, a generator of its own. Raises ValueError for empty parts.
    """
    if not len(training) or not len(validation):
        raise ValueError(f"{len(training)} training and {len(validation)} validation rows, both must be above 0")
    with _deterministic(config.seed):
        module = HybridGru(training.windows.shape[2], config)
        start_rate = np.clip(training.reverted.mean(), 0.01, 0.99)
        with torch.no_grad():
            module.head.bias[1] = float(np.log(start_rate / (1 - start_rate)))
        optimiser = _Adam(list(module.parameters()), config.learning_rate)
        generator = np.random.default_rng(config.seed)
        best, losses = _weights(module), [_validation_loss(module, validation)]
        best_epoch = 0
        for epoch in range(1, config.epochs_max + 1):
            _epoch(module, optimiser, training, config, order=generator.permutation(len(training)))
            losses.append(_validation_loss(module, validation))
            if losses[-1] < losses[best_epoch]:
                best, best_epoch = _weights(module), epoch
            elif epoch - best_epoch >= config.patience:
                break
    return Trained(weights=best, losses=tuple(losses), best_epoch=best_epoch)


def predict(weights: Weights, windows: Windows) -> Outputs:
    """What torch computes with these weights, (n, 2): the reference for the exported graph."""
    module = HybridGru(weights.input.shape[1], NetworkConfig(hidden=weights.recurrent.shape[1]))
    module.load_state_dict(
        {
            "gru.weight_ih_l0": torch.from_numpy(weights.input),
            "gru.weight_hh_l0": torch.from_numpy(weights.recurrent),
            "gru.bias_ih_l0": torch.from_numpy(weights.input_bias),
            "gru.bias_hh_l0": torch.from_numpy(weights.recurrent_bias),
            "head.weight": torch.from_numpy(weights.head),
            "head.bias": torch.from_numpy(weights.head_bias),
        }
    )
    with torch.no_grad():
        return module.eval()(torch.from_numpy(windows)).numpy()


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """torch's global switches for reproducible training, put back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


def _epoch(module: HybridGru, optimiser: "_Adam", samples: Samples, config: NetworkConfig, *, order: NDArray[np.int64]) -> None:
    module.train()
    for start in range(0, min(len(order), config.batch * config.batches_per_epoch_max), config.batch):
        rows = np.sort(order[start : start + config.batch])
        module.zero_grad(set_to_none=True)
        _loss(module, samples, rows).backward()
        nn.utils.clip_grad_norm_(module.parameters(), _GRADIENT_NORM_MAX)
        optimiser.step()


class _Adam:
    """Adam (Kingma and Ba 2015) with their constants. Ours, because torch.optim draws in torch's compiler: 900 modules, 5 s and 160 MB."""

    def __init__(self, parameters: list[torch.Tensor], rate: float) -> None:
        self._parameters, self._rate, self._steps = parameters, rate, 0
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


def _validation_loss(module: HybridGru, samples: Samples) -> float:
    module.eval()
    with torch.no_grad():
        return float(_loss(module, samples, np.arange(len(samples))))


def _loss(module: HybridGru, samples: Samples, rows: NDArray[np.int64]) -> torch.Tensor:
    outputs = module(torch.from_numpy(samples.windows[rows]))
    ratio = torch.from_numpy(samples.variance_ratio[rows].astype(np.float32))
    reverted = torch.from_numpy(samples.reverted[rows].astype(np.float32))
    qlike = (ratio * torch.exp(-outputs[:, 0]) + outputs[:, 0]).mean()
    return qlike + nn.functional.binary_cross_entropy_with_logits(outputs[:, 1], reverted)


def _weights(module: HybridGru) -> Weights:
    state = {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}
    return Weights(
        input=state["gru.weight_ih_l0"],
        recurrent=state["gru.weight_hh_l0"],
        input_bias=state["gru.bias_ih_l0"],
        recurrent_bias=state["gru.bias_hh_l0"],
        head=state["head.weight"],
        head_bias=state["head.bias"],
    )
