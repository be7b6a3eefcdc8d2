"""The recurrences of the network over a window, for M networks at once, with their exact gradients written out.

Two cells share the gates of a GRU (Cho et al. 2014, torch's form):
    r, z = sigmoid(g_rz + a_rz),  n = tanh(g_n + r a_n),  h' = n + z (h - n),  a = h R + b_R

`plain` returns the last h. `integrated` runs the variance recursion inside the cell (after Wei, Yang and Cui 2025), written relative to the
pair's own filter: with c = log(network's variance / filter's variance) and carry = beta h / h' of that filter, GARCH and GJR say
    c_in = log(1 + carry (e^c - 1))
exactly; the gates see c_in, and the hidden state adds a bounded increment, C tanh((h' w + b) / C). c starts at 0 in each window; with
w = b = 0 it stays at exactly 0, which is the filter itself.

Written out because autograd spends four fifths of its time between the steps of so small a network; a test holds both to finite
differences. Runs on any device. Called by quant/gru_module.py.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from tandem.quant.gru_weights import CORRECTION_MAX


class _Trace(NamedTuple):
    """What the forward pass leaves for the backward pass; T steps, B rows."""

    gates: Tensor  # (M, T, B, 3 hidden): r, z, n
    recurrent_new: Tensor  # (M, T, B, hidden): a_n
    hidden: Tensor  # (M, T + 1, B, hidden), the zeros before the first step included


class _Slopes(NamedTuple):
    """Derivatives of a step by its h', and the part z of h that passes through."""

    recurrent: Tensor  # (M, T, B, 3, hidden): by a
    new: Tensor  # (M, T, B, hidden): by g_n; those by g_r and g_z equal those by a
    keep: Tensor  # (M, T, B, hidden)


def plain(gates: Tensor, recurrent: Tensor, recurrent_bias: Tensor) -> Tensor:
    """gates of the inputs (M, T, B, 3 hidden), recurrent (M, hidden, 3 hidden), its bias (M, 1, 3 hidden) -> last h (M, B, hidden)."""
    return _Plain.apply(gates, recurrent, recurrent_bias)


def integrated(
    gates: Tensor,
    recurrent: Tensor,
    recurrent_bias: Tensor,
    *,
    correction_input: Tensor,
    increment: Tensor,
    increment_bias: Tensor,
    carry: Tensor,
) -> tuple[Tensor, Tensor]:
    """As `plain`, with correction_input (M, 1, 3 hidden), carry (M, T, B) and the increment's weights: last h, last c (M, B).

    increment: (M, B, hidden), because dropout gives each row its own; increment_bias: (M, 1).
    """
    return _Integrated.apply(gates, recurrent, recurrent_bias, correction_input, increment, increment_bias, carry)


def _empty_trace(gates: Tensor) -> _Trace:
    members, steps, rows, width = gates.shape
    hidden = gates.new_zeros((members, steps + 1, rows, width // 3))
    return _Trace(gates=torch.empty_like(gates), recurrent_new=torch.empty_like(hidden[:, 1:]), hidden=hidden)


def _step(trace: _Trace, t: int, seen: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """One step of the gates: seen (M, B, 3 hidden) -> h' (M, B, hidden)."""
    last = trace.hidden[:, t]
    units = last.shape[-1]
    product = torch.baddbmm(bias, last, recurrent)
    both = torch.sigmoid(seen[..., : 2 * units] + product[..., : 2 * units])
    reset, update, product_new = both[..., :units], both[..., units:], product[..., 2 * units :]
    new = torch.tanh(torch.addcmul(seen[..., 2 * units :], reset, product_new))
    now = torch.lerp(new, last, update)
    trace.gates[:, t, :, : 2 * units], trace.gates[:, t, :, 2 * units :] = both, new
    trace.recurrent_new[:, t], trace.hidden[:, t + 1] = product_new, now
    return now


def _slopes(trace: _Trace) -> _Slopes:
    reset, update, new = trace.gates.chunk(3, dim=-1)
    by_new = (1 - update) * (1 - new * new)
    by_reset = by_new * trace.recurrent_new * reset * (1 - reset)
    by_update = (trace.hidden[:, :-1] - new) * update * (1 - update)
    return _Slopes(recurrent=torch.stack((by_reset, by_update, by_new * reset), dim=3), new=by_new, keep=update)


def _step_back(slopes: _Slopes, t: int, grad: Tensor, recurrent: Tensor, out: Tensor) -> Tensor:
    """grad by h' -> grad by h through the gates; out (M, T, B, 3, hidden) takes the one by a."""
    torch.mul(slopes.recurrent[:, t], grad[:, :, None], out=out[:, t])
    return torch.baddbmm(grad * slopes.keep[:, t], out[:, t].flatten(2), recurrent.transpose(1, 2))


def _gradients(trace: _Trace, by_product: Tensor, by_seen_new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by gates, recurrent and its bias."""
    by_seen = torch.cat((by_product[:, :, :, :2].flatten(3), by_seen_new), dim=-1)
    by_product = by_product.flatten(3).flatten(1, 2)
    last = trace.hidden[:, :-1].flatten(1, 2)
    return by_seen, torch.bmm(last.transpose(1, 2), by_product), by_product.sum(dim=1, keepdim=True)


class _Plain(Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        trace = _empty_trace(gates)
        for t in range(gates.shape[1]):
            _step(trace, t, gates[:, t], recurrent, bias)
        ctx.save_for_backward(recurrent, *trace)
        return trace.hidden[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        recurrent, *saved = ctx.saved_tensors
        trace = _Trace(*saved)
        slopes = _slopes(trace)
        by_product, by_hidden = torch.empty_like(slopes.recurrent), torch.empty_like(slopes.new)
        for t in range(by_hidden.shape[1] - 1, -1, -1):
            by_hidden[:, t] = grad
            grad = _step_back(slopes, t, grad, recurrent, by_product)
        return _gradients(trace, by_product, by_hidden * slopes.new)


class _Integrated(Function):
    @staticmethod
    def forward(  # noqa: PLR0917  (Function.apply takes arguments by place only)
        ctx: Any,
        gates: Tensor,
        recurrent: Tensor,
        bias: Tensor,
        correction_input: Tensor,
        increment: Tensor,
        increment_bias: Tensor,
        carry: Tensor,
    ) -> tuple[Tensor, Tensor]:
        trace = _empty_trace(gates)
        correction = carry.new_zeros((carry.shape[0], carry.shape[2]))
        before, bent, slope = torch.empty_like(carry), torch.empty_like(carry), torch.empty_like(carry)
        for t in range(gates.shape[1]):
            before[:, t], slope[:, t] = _carried(carry[:, t], correction)
            seen = torch.addcmul(gates[:, t], before[:, t, :, None], correction_input)
            now = _step(trace, t, seen, recurrent, bias)
            bent[:, t] = torch.tanh(((now * increment).sum(dim=-1) + increment_bias) / CORRECTION_MAX)
            correction = before[:, t] + CORRECTION_MAX * bent[:, t]
        ctx.save_for_backward(recurrent, correction_input, increment, before, bent, slope, *trace)
        return trace.hidden[:, -1].clone(), correction

    @staticmethod
    def backward(ctx: Any, grad: Tensor, by_correction: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, correction_input, increment, before, bent, slope, *saved = ctx.saved_tensors
        trace = _Trace(*saved)
        slopes = _slopes(trace)
        seen_slopes = torch.cat((slopes.recurrent[:, :, :, :2].flatten(3), slopes.new), dim=-1)
        through_gates = (seen_slopes * correction_input[:, None]).unflatten(-1, (3, -1)).sum(dim=3)  # (M, T, B, hidden): c_in -> h'
        bend = 1 - bent * bent
        by_product, by_hidden, by_raw, by_before = (torch.empty_like(x) for x in (slopes.recurrent, slopes.new, bent, before))
        for t in range(bent.shape[1] - 1, -1, -1):
            by_raw[:, t] = by_correction * bend[:, t]
            by_hidden[:, t] = grad = torch.addcmul(grad, by_raw[:, t, :, None], increment)
            by_before[:, t] = by_correction + (grad * through_gates[:, t]).sum(dim=-1)
            by_correction = by_before[:, t] * slope[:, t]
            grad = _step_back(slopes, t, grad, recurrent, by_product)
        by_gates, by_recurrent, by_bias = _gradients(trace, by_product, by_hidden * slopes.new)
        by_correction_input = (by_gates * before[..., None]).sum(dim=(1, 2))[:, None]
        by_increment = (by_raw[..., None] * trace.hidden[:, 1:]).sum(dim=1)
        by_increment_bias = by_raw.sum(dim=(1, 2))[:, None]
        return by_gates, by_recurrent, by_bias, by_correction_input, by_increment, by_increment_bias, None


def _carried(carry: Tensor, correction: Tensor) -> tuple[Tensor, Tensor]:
    """c_in and its derivative by c. The plain logarithm, not log1p, because the served graph has no other."""
    grown = torch.exp(correction)
    inner = 1 + carry * (grown - 1)
    return torch.log(inner), carry * grown / inner
