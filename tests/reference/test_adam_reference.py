"""Our Adam against torch.optim.Adam: the same path of the parameters, within 1e-7."""

import torch
from torch import nn

from tandem.quant.gru_adam import Adam


def test_adam_follows_torch() -> None:
    """50 steps on a small regression with two copies of one module."""
    torch.manual_seed(0)
    ours, theirs = nn.Linear(8, 3), nn.Linear(8, 3)
    theirs.load_state_dict(ours.state_dict())
    optimisers = Adam(list(ours.parameters()), 3e-3), torch.optim.Adam(theirs.parameters(), lr=3e-3)
    for _ in range(50):
        inputs, target = torch.randn(32, 8), torch.randn(32, 3)
        for module, optimiser in zip((ours, theirs), optimisers, strict=True):
            module.zero_grad(set_to_none=True)
            ((module(inputs) - target) ** 2).mean().backward()
            optimiser.step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-7)
