"""The written-out gradients of the recurrences against finite differences, and the recurrences against torch's own GRU."""

import torch
from torch import Tensor, nn

from tandem.quant.gru_recurrence import integrated, plain

MEMBERS, STEPS, ROWS, HIDDEN = 2, 4, 3, 5


def numbers(*shape: int) -> Tensor:
    """Random doubles that take gradients."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gates() -> tuple[Tensor, Tensor, Tensor]:
    """Gates of the inputs, recurrent weights and their bias."""
    torch.manual_seed(0)
    return numbers(MEMBERS, STEPS, ROWS, 3 * HIDDEN), numbers(MEMBERS, HIDDEN, 3 * HIDDEN), numbers(MEMBERS, 1, 3 * HIDDEN)


def test_gradients_of_the_plain_cell() -> None:
    """By gates, weights and bias."""
    assert torch.autograd.gradcheck(plain, gates())


def test_gradients_of_the_integrated_cell() -> None:
    """By all that is learnt, through the hidden state and through the variance recursion."""
    arguments = (*gates(), numbers(MEMBERS, 1, 3 * HIDDEN), numbers(MEMBERS, ROWS, HIDDEN), numbers(MEMBERS, 1))
    carry = torch.rand(MEMBERS, STEPS, ROWS, dtype=torch.float64)

    def cell(*a: Tensor) -> tuple[Tensor, Tensor]:
        return integrated(*a[:3], correction_input=a[3], increment=a[4], increment_bias=a[5], carry=carry)

    assert torch.autograd.gradcheck(cell, arguments)


def test_the_plain_cell_is_torchs_gru() -> None:
    """The last hidden state, within rounding."""
    torch.manual_seed(1)
    reference = nn.GRU(6, HIDDEN, batch_first=True).double()
    windows = torch.randn(ROWS, STEPS, 6, dtype=torch.float64)
    with torch.no_grad():
        seen = windows @ reference.weight_ih_l0.T + reference.bias_ih_l0
        found = plain(seen.transpose(0, 1)[None], reference.weight_hh_l0.T[None], reference.bias_hh_l0[None, None])
        torch.testing.assert_close(found[0], reference(windows)[1][0], rtol=0, atol=1e-12)
