"""The network: an ensemble of GRUs over a window of features, two heads. Trained with torch, which only the gru modules import.

Numpy in, numpy out: `train` returns plain weights, from which trainer/onnx_graph.py writes the graph that serves.

    cell "correction"   hidden = GRU(window)[last];  raw = hidden w_v + b_v
    cell "integrated"   the variance recursion runs inside the cell, relative to the pair's own filter (quant/gru_recurrence.py)
    correction = C tanh(raw / C)                     of the log variance; exactly 0 at the start: the pair's own filter
    logit = hidden w_r + b_r                         that the spread reverts by more than its cost

Loss: QLIKE of the corrected variance, realised/garch * exp(-correction) + correction, or the negative log likelihood of Student's t; plus
binary cross entropy of the logit. The members differ in their seed only; their outputs are averaged.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor, nn

from tandem.quant.features import FEATURES
from tandem.quant.gru_adam import Adam
from tandem.quant.gru_ensemble import Layout, of_weights, outputs, to_weights, untrained
from tandem.quant.gru_weights import CORRECTION_MAX, Weights
from tandem.quant.network import Outputs, Windows
from tandem.quant.torch_threads import one_thread

__all__ = ["CORRECTION_MAX", "Cell", "Loss", "Member", "NetworkConfig", "Samples", "Trained", "Weights", "predict", "start", "train"]

Cell = Literal["correction", "integrated"]
Loss = Literal["qlike", "student_t"]
OnEpoch = Callable[[int, int, float], None]  # member, epoch, its validation loss

_GRADIENT_NORM_MAX = 1.0  # one bar of twenty standard deviations must not undo an epoch
_VALIDATION_ROWS_MAX = 20_000  # evenly spaced, for early stopping: all of a universe's would take longer than an epoch
_CHUNK_ROWS = 2_048  # of one forward pass without gradients: bounds its memory
_NU_MIN, _NU_MAX = 2.1, 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes and training rule. The defaults are those of the product's first generation."""

    cell: Cell = "correction"
    loss: Loss = "qlike"
    members: int = 1  # networks of the seeds seed, seed + 1, ...
    hidden: int = 64
    dropout: float = 0.255
    learning_rate: float = 3e-4
    batch: int = 32
    epochs_max: int = 50
    patience: int = 5  # epochs without a better validation loss before training ends
    batches_per_epoch_max: int = 200  # an epoch beyond it takes a fresh random part of the rows: bounds the time on minute bars
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members < 1 or self.hidden < 1 or self.batch < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"members, hidden and batch from 1, dropout in [0, 1); found {self}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Windows with what came after them."""

    windows: Windows  # (n, sequence, features)
    variance_ratio: NDArray[np.float64]  # (n,) realised variance of the next bar / GARCH's forecast of it
    reverted: NDArray[np.bool_]  # (n,)
    nu: NDArray[np.float64] | None = None  # (n,) the pairs' degrees of freedom, for the loss student_t; None: one number from training

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One network's best weights by validation loss. losses: before training and after each epoch."""

    weights: Weights
    losses: tuple[float, ...]
    best_epoch: int  # 0: no epoch beat the start


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """The ensemble."""

    members: tuple[Member, ...]

    @property
    def weights(self) -> tuple[Weights, ...]:
        """Of all members."""
        return tuple(member.weights for member in self.members)

    @property
    def losses(self) -> tuple[float, ...]:
        """Those of the member that trained longest."""
        return max((member.losses for member in self.members), key=len)

    @property
    def best_epoch(self) -> int:
        """The latest best epoch of the members; 0: all are plain GARCH."""
        return max(member.best_epoch for member in self.members)


def train(
    training: Samples, validation: Samples, config: NetworkConfig, *, on_epoch: OnEpoch | None = None, device: str | None = None
) -> Trained:
    """Adam with early stopping on `validation`, each member for itself; its best weights win, the start included.

    Same inputs and seeds on one machine's CPU: same weights, bit for bit (one thread, torch's deterministic algorithms, generators of their
    own). device: default the GPU where torch finds one; weights come back to the CPU. Raises ValueError for empty parts.
    """
    if not len(training) or not len(validation):
        raise ValueError(f"{len(training)} training and {len(validation)} validation rows, both must be above 0")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with _deterministic(place):
        run = _Run(training, validation, config, place)
        for epoch in range(1, config.epochs_max + 1):
            run.epoch()
            for member, loss in run.judge(epoch):
                if on_epoch is not None:
                    on_epoch(member, epoch, loss)
            if not run.active:
                break
        return run.trained()


def start(features: int, config: NetworkConfig, *, base_rate: float = 0.5) -> tuple[Weights, ...]:
    """The members before training: their correction is exactly 0 for every window."""
    layout = _layout(features, config)
    return to_weights(layout, untrained(layout, _seeds(config), base_rate=base_rate))


def predict(members: Weights | Sequence[Weights], windows: Windows) -> Outputs:
    """What torch computes with these weights, (n, 2), the mean of the members: the reference for the exported graph."""
    layout, stack = of_weights([members] if isinstance(members, Weights) else members)
    with torch.no_grad():
        parts = [_outputs(layout, stack, part) for part in _by_time(windows).split(_CHUNK_ROWS, dim=1)]
        return torch.cat(parts, dim=1).mean(dim=0).numpy()


class _Run:
    """One training: the members that still learn, and the best that each has been."""

    def __init__(self, training: Samples, validation: Samples, config: NetworkConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._layout = _layout(training.windows.shape[2], config)
        nu = _tail(training.variance_ratio) if config.loss == "student_t" and training.nu is None else None
        every = -(-len(validation) // _VALIDATION_ROWS_MAX)
        self._training = _Part(training, config.loss, nu, device)
        self._validation = _Part(validation, config.loss, nu, device, every=every)
        rate = float(np.clip(training.reverted.mean(), 0.01, 0.99))
        self._stack = untrained(self._layout, _seeds(config), base_rate=rate).to(device).requires_grad_()
        self._optimiser = Adam([self._stack], config.learning_rate)
        self._generators = [np.random.default_rng(seed) for seed in _seeds(config)]
        self.active = list(range(config.members))
        self._best = self._stack.detach().clone()
        self._losses = [[loss] for loss in self._validation_losses()]
        self._best_epochs = [0] * config.members

    def epoch(self) -> None:
        """One pass over the rows, each member in an order of its own, at most batches_per_epoch_max batches."""
        config, count = self._config, len(self._training)
        orders = np.stack([self._generators[m].permutation(count)[: config.batch * config.batches_per_epoch_max] for m in self.active])
        for begin in range(0, orders.shape[1], config.batch):
            self._batch(np.sort(orders[:, begin : begin + config.batch], axis=1))

    def _batch(self, rows: NDArray[np.int64]) -> None:
        """One step of all active members on rows (M, B)."""
        share, shape = 1 - self._config.dropout, (rows.shape[1], self._config.hidden)
        masks = np.stack([self._generators[m].random(shape, dtype=np.float32) < share for m in self.active])
        part = self._training.at(torch.from_numpy(rows).to(self._device))
        keep = torch.from_numpy(masks).to(self._device) / share
        self._stack.grad = None
        part.losses(outputs(self._layout, self._stack, part.windows, keep=keep)).sum().backward()
        gradient = self._stack.grad
        assert gradient is not None
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((_GRADIENT_NORM_MAX / (norm + 1e-6)).clamp_(max=1.0))
        self._optimiser.step()

    def judge(self, epoch: int) -> list[tuple[int, float]]:
        """Validation loss of the active members; those without patience left become inactive."""
        judged = list(zip(tuple(self.active), self._validation_losses(), strict=True))
        for place, (member, loss) in enumerate(judged):
            if loss < self._losses[member][self._best_epochs[member]]:
                self._best[member], self._best_epochs[member] = self._stack.detach()[place], epoch
            self._losses[member].append(loss)
        going = [place for place, (member, _) in enumerate(judged) if epoch - self._best_epochs[member] < self._config.patience]
        if len(going) < len(self.active):
            self.active = [self.active[place] for place in going]
            self._stack = self._optimiser.keep_rows(going)
        return judged

    def trained(self) -> Trained:
        """The best of each member."""
        weights = to_weights(self._layout, self._best)
        return Trained(
            members=tuple(
                Member(weights=w, losses=tuple(losses), best_epoch=best)
                for w, losses, best in zip(weights, self._losses, self._best_epochs, strict=True)
            )
        )

    def _validation_losses(self) -> list[float]:
        part, stack = self._validation, self._stack.detach()
        total = torch.zeros(len(stack), device=self._device)
        for rows in torch.arange(len(part), device=self._device).split(_CHUNK_ROWS):
            chunk = part.at(rows[None].expand(len(stack), -1))
            total += chunk.losses(outputs(self._layout, stack, chunk.windows)) * len(rows)
        return (total / len(part)).tolist()


class _Part:
    """Samples as tensors; `at` gathers rows (M, B) of them."""

    def __init__(self, samples: Samples, loss: Loss, nu: float | None, device: torch.device, *, every: int = 1) -> None:
        def tensor(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(values[::every].astype(np.float32)).to(device)

        self._windows = _by_time(samples.windows[::every]).to(device)
        self._ratio, self._reverted = tensor(samples.variance_ratio), tensor(samples.reverted)
        tails = np.full(len(samples), nu) if samples.nu is None else np.clip(samples.nu, _NU_MIN, _NU_MAX)
        self._nu = tensor(tails) if loss == "student_t" else None

    def __len__(self) -> int:
        return len(self._ratio)

    def at(self, rows: Tensor) -> "_Batch":
        """Rows (M, B) of all members."""
        return _Batch(
            windows=self._windows[:, rows].transpose(0, 1).contiguous(),
            ratio=self._ratio[rows],
            reverted=self._reverted[rows],
            nu=None if self._nu is None else self._nu[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    windows: Tensor  # (M, T, B, features)
    ratio: Tensor  # (M, B)
    reverted: Tensor  # (M, B)
    nu: Tensor | None  # (M, B); None: QLIKE

    def losses(self, both: Tensor) -> Tensor:
        """Mean loss of each member (M,), from outputs (M, B, 2)."""
        correction, logit = both[..., 0], both[..., 1]
        part = self.ratio * torch.exp(-correction)
        variance = part + correction if self.nu is None else 0.5 * (correction + (self.nu + 1) * torch.log1p(part / (self.nu - 2)))
        reversion = nn.functional.binary_cross_entropy_with_logits(logit, self.reverted, reduction="none")
        return (variance + reversion).mean(dim=1)


def _layout(features: int, config: NetworkConfig) -> Layout:
    carry = FEATURES.index("carry") if config.cell == "integrated" else None
    return Layout(features=features, hidden=config.hidden, carry_column=carry)


def _seeds(config: NetworkConfig) -> range:
    return range(config.seed, config.seed + config.members)


def _by_time(windows: Windows) -> Tensor:
    """(n, sequence, features) -> (sequence, n, features)."""
    return torch.from_numpy(np.ascontiguousarray(windows.transpose(1, 0, 2)))


def _outputs(layout: Layout, stack: Tensor, windows: Tensor) -> Tensor:
    return outputs(layout, stack, windows[None].expand(len(stack), -1, -1, -1))


def _tail(ratio: NDArray[np.float64]) -> float:
    """Degrees of freedom of a standardised t whose squares are `ratio` (n,), by maximum likelihood: one number for all pairs."""

    def loss(nu: float) -> float:
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu - 2)
        return float(-constant + 0.5 * (nu + 1) * np.log1p(ratio / (nu - 2)).mean())

    return float(optimize.minimize_scalar(loss, bounds=(_NU_MIN, _NU_MAX), method="bounded").x)


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """torch's global switches for reproducible training, put back afterwards. On a GPU its libraries decide."""
    strict = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # all that is allocated here is written before it is read
    try:
        with one_thread():
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.utils.deterministic.fill_uninitialized_memory = filled
