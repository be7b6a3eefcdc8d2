"""Protocol A's networks as functions of weights: many replicas (seeds and targets) of one network run as one batched product.

Every weight has a leading axis R, one slice per replica; replicas share nothing but the input arrays. Returns are in percent.
All networks give a volatility above 0, (R, B). The integrated cells start AT their GJR: before training they equal it exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]
Weights = Mapping[str, Tensor]  # name -> (R, *shape)

HEADS = 2
PERSISTENCE_MAX = 0.9995
_OMEGA_MIN = 1e-8
_SPAN = 5.0  # days of a label


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """A batch: B windows for each of R replicas, every number known at its origin."""

    windows: Tensor  # (R, B, T, 2): return of the day, sigma forecast for the day after it; oldest first
    start: Tensor  # (R, B) GJR variance of the window's first day, known before it
    known: Tensor  # (R, B) sum of the label's known squared returns
    ahead: Tensor  # (R, D) 1 where the label holds the day that many (from 1) after the origin, unknown at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A kind of network: the shapes of one replica's weights, which of them start at 0, and the forward pass."""

    name: str
    shapes: Callable[[int], Shapes]  # by hidden units
    forward: Callable[[Weights, Inputs], Tensor]  # -> (R, B) volatility
    zeros: tuple[str, ...] = ()
    garch_inside: bool = False  # holds omega, alpha, gamma, beta, which start at the fitted GJR


def gru_states(weights: Weights, rows: Tensor) -> Tensor:
    """(R, B, T, F) -> last hidden state (R, B, H); gates in the order reset, update, new, as torch."""
    hidden = rows.new_zeros(rows.shape[0], rows.shape[1], weights["recurrent"].shape[1])
    for day in range(rows.shape[2]):
        hidden = gru_step(weights, rows[:, :, day], hidden)
    return hidden


def gru_step(weights: Weights, row: Tensor, hidden: Tensor) -> Tensor:
    """(R, B, F), (R, B, H) -> (R, B, H)."""
    given = torch.baddbmm(weights["input_bias"].unsqueeze(1), row, weights["input"])
    kept = torch.baddbmm(weights["recurrent_bias"].unsqueeze(1), hidden, weights["recurrent"])
    size = hidden.shape[2]
    reset, update = torch.sigmoid(given[..., : 2 * size] + kept[..., : 2 * size]).split(size, dim=2)
    new = torch.tanh(given[..., 2 * size :] + reset * kept[..., 2 * size :])
    return torch.lerp(new, hidden, update)


def lstm_step(weights: Weights, row: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(R, B, F), (hidden, cell) -> (hidden, cell); gates in the order input, forget, cell, output, as torch."""
    hidden, cell = state
    gates = torch.baddbmm(weights["input_bias"].unsqueeze(1), row, weights["input"]) + torch.bmm(hidden, weights["recurrent"])
    enter, forget, new, leave = gates.chunk(4, dim=2)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _read(weights: Weights, hidden: Tensor) -> Tensor:
    """Linear head, (R, B, H) -> (R, B)."""
    return torch.baddbmm(weights["head_bias"].unsqueeze(1), hidden, weights["head"]).squeeze(2)


def _recurrent(features: int, gates: int) -> Callable[[int], Shapes]:
    def shapes(hidden: int) -> Shapes:
        found: Shapes = {"input": (features, gates * hidden), "recurrent": (hidden, gates * hidden), "input_bias": (gates * hidden,)}
        if gates == 3:
            found["recurrent_bias"] = (gates * hidden,)
        return found | {"head": (hidden, 1), "head_bias": (1,)}

    return shapes


def _gru(weights: Weights, inputs: Inputs) -> Tensor:
    return functional.softplus(_read(weights, gru_states(weights, inputs.windows[..., :1])))


def _pipeline(weights: Weights, inputs: Inputs) -> Tensor:
    return functional.softplus(_read(weights, gru_states(weights, inputs.windows)))


def _lstm(weights: Weights, inputs: Inputs) -> Tensor:
    rows = inputs.windows[..., :1]
    zero = rows.new_zeros(rows.shape[0], rows.shape[1], weights["recurrent"].shape[1])
    state = (zero, zero)
    for day in range(rows.shape[2]):
        state = lstm_step(weights, rows[:, :, day], state)
    return functional.softplus(_read(weights, state[0]))


def _integrated(weights: Weights, inputs: Inputs, *, lstm: bool) -> Tensor:
    """The GJR recursion inside the cell: each day's variance is an input, and the hidden state scales the next day's."""
    omega, alpha, gamma, beta = (weights[name] for name in ("omega", "alpha", "gamma", "beta"))  # (R, 1)
    variance = inputs.start
    hidden = cell = variance.new_zeros(*variance.shape, weights["recurrent"].shape[1])
    for day in range(inputs.windows.shape[2]):
        value = inputs.windows[:, :, day, 0]
        row = torch.stack((value, torch.log(variance)), dim=2)
        if lstm:
            hidden, cell = lstm_step(weights, row, (hidden, cell))
        else:
            hidden = gru_step(weights, row, hidden)
        square = value**2
        variance = omega + alpha * square + gamma * torch.where(value < 0, square, 0.0) + beta * variance
        variance = variance * torch.exp(torch.bmm(hidden, weights["gate"]).squeeze(2))
    total, ahead = inputs.known, variance
    for day in range(inputs.ahead.shape[1]):
        total = total + inputs.ahead[:, day : day + 1] * ahead
        ahead = omega + (alpha + gamma / 2 + beta) * ahead
    return torch.sqrt(total / _SPAN * torch.exp(_read(weights, hidden)))


def _integrated_shapes(gates: int) -> Callable[[int], Shapes]:
    return lambda hidden: _recurrent(2, gates)(hidden) | {"gate": (hidden, 1)} | dict.fromkeys(("omega", "alpha", "gamma", "beta"), (1,))


def _transformer_shapes(hidden: int) -> Shapes:
    return {
        "input": (1, hidden),
        "place": (22, hidden),
        "attention": (hidden, 3 * hidden),
        "mix": (hidden, hidden),
        "wide": (hidden, 2 * hidden),
        "wide_bias": (2 * hidden,),
        "narrow": (2 * hidden, hidden),
        "head": (hidden, 1),
        "head_bias": (1,),
    }


def _transformer(weights: Weights, inputs: Inputs) -> Tensor:
    """One encoder layer with two heads, normalised before each part; the last day's row is read."""
    replicas, batch, days, _ = inputs.windows.shape
    size = weights["input"].shape[2]
    rows = inputs.windows[..., :1] * weights["input"].unsqueeze(1) + weights["place"].unsqueeze(1)  # (R, B, T, H)
    flat = functional.layer_norm(rows, (size,)).reshape(replicas, batch * days, size)
    query, key, value = torch.bmm(flat, weights["attention"]).reshape(replicas, batch, days, 3, HEADS, size // HEADS).unbind(3)
    query, key, value = (part.transpose(2, 3) for part in (query[:, :, -1:], key, value))  # (R, B, heads, T or 1, H / heads)
    seen = functional.scaled_dot_product_attention(query, key, value).transpose(2, 3).reshape(replicas, batch, size)
    last = rows[:, :, -1] + torch.bmm(seen, weights["mix"])
    wide = functional.gelu(torch.baddbmm(weights["wide_bias"].unsqueeze(1), functional.layer_norm(last, (size,)), weights["wide"]))
    return functional.softplus(_read(weights, last + torch.bmm(wide, weights["narrow"])))


NETWORKS = {
    network.name: network
    for network in (
        Network(name="gru", shapes=_recurrent(1, 3), forward=_gru),
        Network(name="lstm", shapes=_recurrent(1, 4), forward=_lstm),
        Network(name="transformer", shapes=_transformer_shapes, forward=_transformer),
        Network(name="garch_gru_pipeline", shapes=_recurrent(2, 3), forward=_pipeline),
        Network(
            name="garch_gru",
            shapes=_integrated_shapes(3),
            forward=lambda weights, inputs: _integrated(weights, inputs, lstm=False),
            zeros=("gate", "head", "head_bias"),
            garch_inside=True,
        ),
        Network(
            name="garch_lstm",
            shapes=_integrated_shapes(4),
            forward=lambda weights, inputs: _integrated(weights, inputs, lstm=True),
            zeros=("gate", "head", "head_bias"),
            garch_inside=True,
        ),
    )
}


@torch.no_grad()
def project(weights: Weights) -> None:
    """Put the variance recursion back into its bounds, in place: omega above 0, no negative coefficient, persistence below 1."""
    weights["omega"].clamp_(min=_OMEGA_MIN)
    for name in ("alpha", "gamma", "beta"):
        weights[name].clamp_(min=0.0)
    total = weights["alpha"] + weights["gamma"] / 2 + weights["beta"]
    shrink = torch.where(total > PERSISTENCE_MAX, PERSISTENCE_MAX / total, 1.0)
    for name in ("alpha", "gamma", "beta"):
        weights[name].mul_(shrink)
