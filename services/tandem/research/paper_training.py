"""Training of protocol A's networks: all seeds and targets of an index at once, each replica stopped by its own validation loss.

Adam and mean squared error of the volatility with early stopping, as the paper. The test labels are not seen: not for stopping, not for
scaling, not for choosing. Same series, network, seeds and settings: same forecasts on the same machine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tandem.quant.gru_adam import Adam
from tandem.quant.torch_threads import one_thread
from tandem.research.paper_baselines import FilteredVariance
from tandem.research.paper_cells import Inputs, Network, Shapes, Weights, project
from tandem.research.paper_data import LAST_MAX, WINDOW, PaperSeries, Target

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_GRADIENT_NORM_MAX = 1.0
_CHUNK = 256  # labels that a pass without gradients takes at once: bounds its memory
OnEpoch = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTraining:
    """The paper states window, optimiser, loss and patience; the rest was searched per model and is not stated: ours, the same for all."""

    hidden: int = 32
    learning_rate: float = 1e-3
    batch: int = 64
    epochs_max: int = 100
    patience: int = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replicas:
    """The data of all replicas of one index; replica r has target r // seeds and seed r % seeds."""

    windows: Tensor  # (n - 21, 22, 2) all windows of the series, by their last day less 21
    start: Tensor  # (n - 21,) variance of each window's first day
    known: Tensor  # (R, labels)
    ahead: Tensor  # (R, LAST_MAX)
    origins: Tensor  # (R, labels) place of each label's window
    target: Tensor  # (R, labels) volatility
    training: int  # labels before the validation part
    validation: int  # labels before the test part

    def batch(self, rows: Tensor, labels: Tensor) -> tuple[Inputs, Tensor]:
        """The replicas `rows` (r,) at the labels (r, B), with their targets (r, B)."""
        place = rows.unsqueeze(1)
        origins = self.origins[place, labels]
        inputs = Inputs(windows=self.windows[origins], start=self.start[origins], known=self.known[place, labels], ahead=self.ahead[rows])
        return inputs, self.target[place, labels]


def replicas_of(
    series: PaperSeries, model: FilteredVariance, targets: Sequence[Target], *, seeds: int, dtype: torch.dtype = torch.float32
) -> Replicas:
    """The arrays of a series for `seeds` replicas of each target."""
    rows = np.column_stack((series.returns, np.sqrt(model.variance[1:])))  # (n, 2); the second is known at the end of the day
    windows = np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=0).transpose(0, 2, 1)
    labels = series.labels()
    origins = np.stack([labels - target.last for target in targets])
    known = np.stack([series.known_square_sum(target)[labels - target.last] for target in targets])
    ahead = np.array([[float(day in target.unknown) for day in range(1, LAST_MAX + 1)] for target in targets])
    goal = np.broadcast_to(series.volatility[labels], known.shape)

    def repeated(array: NDArray[np.generic], kind: torch.dtype) -> Tensor:
        return torch.tensor(np.repeat(array, seeds, axis=0), dtype=kind)

    return Replicas(
        windows=torch.tensor(windows.copy(), dtype=dtype),
        start=torch.tensor(model.variance[: len(windows)], dtype=dtype),
        known=repeated(known, dtype),
        ahead=repeated(ahead, dtype),
        origins=repeated(origins - (WINDOW - 1), torch.int64),
        target=repeated(goal, dtype),
        training=series.split.validation - series.split.start,
        validation=series.split.test - series.split.start,
    )


def initial(network: Network, model: FilteredVariance, *, replicas: int, seeds: Sequence[int], hidden: int, dtype: torch.dtype) -> Tensor:
    """(R, P) weights of all replicas, one row each, uniform within 1 / sqrt(hidden); a seed starts the same for every target."""
    shapes = network.shapes(hidden)
    bound = 1 / math.sqrt(hidden)
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        parts = {name: (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound for name, shape in shapes.items()}
        for name in network.zeros:
            parts[name].zero_()
        if network.garch_inside:
            for name in ("omega", "alpha", "gamma", "beta"):
                parts[name].fill_(getattr(model, name))
        rows.append(torch.cat([part.ravel() for part in parts.values()]))
    return torch.stack(rows).repeat(replicas // len(seeds), 1).to(dtype)


def named(flat: Tensor, shapes: Shapes) -> Weights:
    """Views of the rows (R, P) by name."""
    parts = flat.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: part.view(len(flat), *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def train(
    network: Network,
    data: Replicas,
    flat: Tensor,
    *,
    seeds: Sequence[int],
    config: PaperTraining,
    on_epoch: OnEpoch = lambda _: None,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Best weights (R, P) by validation loss and the epoch (R,) that gave them; 0: the start. on_epoch hears how many still train."""
    with one_thread():
        return _train(network, data, flat, seeds=seeds, config=config, on_epoch=on_epoch)


def _train(
    network: Network, data: Replicas, flat: Tensor, *, seeds: Sequence[int], config: PaperTraining, on_epoch: OnEpoch
) -> tuple[Tensor, NDArray[np.int64]]:
    best = flat.clone()
    best_loss = validation_loss(network, data, flat=flat, active=torch.arange(len(flat)), hidden=config.hidden)
    best_epoch = torch.zeros(len(flat), dtype=torch.int64)
    active = torch.arange(len(flat))
    moving = flat.clone().requires_grad_()
    optimiser = Adam([moving], config.learning_rate)
    orders = [np.random.default_rng(seed) for seed in seeds]
    for epoch in range(1, config.epochs_max + 1):
        drawn = np.stack([generator.permutation(data.training) for generator in orders])  # (seeds, training), the same for every target
        order = torch.from_numpy(drawn)[active % len(seeds)]
        for start in range(0, data.training, config.batch):
            _step(
                network,
                data,
                moving=moving,
                optimiser=optimiser,
                active=active,
                labels=order[:, start : start + config.batch],
                hidden=config.hidden,
            )
        loss = validation_loss(network, data, flat=moving.detach(), active=active, hidden=config.hidden)
        better = loss < best_loss[active]
        won = active[better]
        best[won], best_loss[won], best_epoch[won] = moving.detach()[better], loss[better], epoch
        going = (epoch - best_epoch[active] < config.patience).nonzero().squeeze(1)
        on_epoch(len(going))
        if not len(going):
            break
        if len(going) < len(active):
            moving = optimiser.keep_rows(going.tolist())
            active = active[going]
    return best, best_epoch.numpy()


def _step(network: Network, data: Replicas, *, moving: Tensor, optimiser: Adam, active: Tensor, labels: Tensor, hidden: int) -> None:
    moving.grad = None
    weights = named(moving, network.shapes(hidden))
    inputs, goal = data.batch(active, labels)
    # A sum over replicas: no replica's gradient sees another.
    ((network.forward(weights, inputs) - goal) ** 2).mean(dim=1).sum().backward()
    gradient = moving.grad
    assert gradient is not None  # every weight takes part in the forward pass
    gradient.mul_((_GRADIENT_NORM_MAX / (gradient.norm(dim=1, keepdim=True) + 1e-12)).clamp(max=1.0))
    optimiser.step()
    if network.garch_inside:
        project(weights)


@torch.no_grad()
def validation_loss(network: Network, data: Replicas, *, flat: Tensor, active: Tensor, hidden: int) -> Tensor:
    """(r,) mean squared error of the active replicas on the validation labels."""
    found = predict(network, data, flat=flat, active=active, hidden=hidden, first=data.training, stop=data.validation)
    return ((found - data.target[active, data.training : data.validation]) ** 2).mean(dim=1)


@torch.no_grad()
def predict(network: Network, data: Replicas, *, flat: Tensor, active: Tensor, hidden: int, first: int, stop: int) -> Tensor:
    """(r, stop - first) volatilities of the active replicas, whose weights are the rows of `flat`, at labels first .. stop - 1."""
    weights, parts = named(flat, network.shapes(hidden)), []
    for start in range(first, stop, _CHUNK):
        labels = torch.arange(start, min(start + _CHUNK, stop)).expand(len(active), -1)
        parts.append(network.forward(weights, data.batch(active, labels)[0]))
    return torch.cat(parts, dim=1)
