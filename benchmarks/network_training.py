"""Training the network: our stacked members with written-out gradients against torch's nn.GRU, autograd and Adam, one thread.

Same sizes, rows, batches and number of steps; prints milliseconds a step and the ratio.
Run: OMP_NUM_THREADS=1 python benchmarks/network_training.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tandem.quant.features import FEATURES
from tandem.quant.gru import Cell, NetworkConfig, Samples, train

ROWS, BATCH, STEPS, REPEATS = 1_600, 32, 50, 5


def samples(seed: int) -> Samples:
    """Random windows of the product's shape."""
    rng = np.random.default_rng(seed)
    windows = rng.standard_normal((ROWS, 10, len(FEATURES))).astype(np.float32)
    windows[:, :, FEATURES.index("carry")] = rng.uniform(0.5, 1.0, (ROWS, 10))
    return Samples(windows=windows, variance_ratio=rng.chisquare(1, ROWS), reverted=rng.random(ROWS) > 0.4)


def ours(rows: Samples, few: Samples, *, cell: Cell, members: int) -> Callable[[], object]:
    """One epoch of STEPS batches."""
    config = NetworkConfig(cell=cell, members=members, epochs_max=1, batch=BATCH, batches_per_epoch_max=STEPS)
    return lambda: train(rows, few, config, device="cpu")


def theirs(rows: Samples) -> None:
    """The same loss on torch's modules."""
    gru, head, dropout = nn.GRU(len(FEATURES), 64, batch_first=True), nn.Linear(64, 2), nn.Dropout(0.255)
    optimiser = torch.optim.Adam([*gru.parameters(), *head.parameters()], lr=3e-4)
    windows, ratio = torch.from_numpy(rows.windows), torch.from_numpy(rows.variance_ratio.astype(np.float32))
    label = torch.from_numpy(rows.reverted.astype(np.float32))
    order = torch.randperm(ROWS)
    for begin in range(0, STEPS * BATCH, BATCH):
        place = order[begin : begin + BATCH]
        both = head(dropout(gru(windows[place])[0][:, -1]))
        optimiser.zero_grad()
        loss = (ratio[place] * torch.exp(-both[:, 0]) + both[:, 0]).mean()
        (loss + nn.functional.binary_cross_entropy_with_logits(both[:, 1], label[place])).backward()
        nn.utils.clip_grad_norm_(gru.parameters(), 1.0)
        optimiser.step()


def step_ms(job: Callable[[], object]) -> float:
    """Median CPU time of a step; other work on the machine does not count."""
    job()
    times = []
    for _ in range(REPEATS):
        begun = time.process_time()
        job()
        times.append((time.process_time() - begun) / STEPS * 1e3)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rows, few = samples(0), samples(1)
    few = Samples(windows=few.windows[:32], variance_ratio=few.variance_ratio[:32], reverted=few.reverted[:32])
    reference = step_ms(lambda: theirs(rows))
    print(f"network training, 64 units, batch {BATCH}: torch nn.GRU {reference:.2f} ms a step")
    for cell in ("correction", "integrated"):
        for members in (1, 5):
            mine = step_ms(ours(rows, few, cell=cell, members=members))
            print(f"  {cell:10} {members} member(s): {mine:6.2f} ms a step, {members * reference / mine:.1f} x torch per member")


if __name__ == "__main__":
    main()
