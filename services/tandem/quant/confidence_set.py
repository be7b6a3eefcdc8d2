"""Model Confidence Set of Hansen, Lunde and Nason (2011): which models cannot be told from the best at a given level.

The bootstrap and the elimination are those of `arch`; this module gives them losses by name, a seed, and sense where models are equal.
For the trainer and research only: serving neither needs nor carries `arch`, hence the import inside the function.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

REPS = 1_000
_LOSSES_MIN = 10  # fewer than one block of ten says nothing


def confidence_set(
    losses: Mapping[str, Vector], *, block: int, reps: int = REPS, seed: int = 20260101, method: str = "R"
) -> dict[str, float]:
    """p-value of each model: the smallest size at which it leaves the set; a 90 % set holds those with p above 0.10. The best has 1.

    losses: model -> (T,), in order of time. Stationary bootstrap with mean block `block`. Models with the same losses share one p-value.
    method: "R" (largest of all pairwise differences) or "max" (largest difference from the mean).
    Raises ValueError for no model, T below 10, unequal lengths or losses that are not finite.
    """
    names = list(losses)
    if not names or len({len(loss) for loss in losses.values()}) != 1 or len(losses[names[0]]) < _LOSSES_MIN:
        raise ValueError(f"losses of {[(name, len(loss)) for name, loss in losses.items()]}, need one length of at least {_LOSSES_MIN}")
    matrix = np.column_stack([losses[name] for name in names])
    if not np.isfinite(matrix).all():
        raise ValueError(f"losses of {sorted(names)} hold values that are not finite")
    # Two equal columns have a difference of variance 0, which the elimination would divide by.
    distinct, place = np.unique(matrix, axis=1, return_inverse=True)
    if distinct.shape[1] == 1:
        return dict.fromkeys(names, 1.0)
    from arch.bootstrap import MCS  # noqa: PLC0415  (see above)

    test = MCS(distinct, size=0.1, reps=reps, block_size=block, method=method, bootstrap="stationary", seed=seed)
    test.compute()
    p_values = test.pvalues["Pvalue"]
    return {name: float(p_values.loc[column]) for name, column in zip(names, place.ravel().tolist(), strict=True)}
