"""The model confidence set keeps what cannot be told from the best, and only that."""

import numpy as np
import pytest
from arch.bootstrap import MCS

from tandem.quant.confidence_set import confidence_set

RNG = np.random.default_rng(1)
COMMON = RNG.chisquare(1, 600)
LOSSES = {"best": COMMON, "equal": COMMON + 0.05 * RNG.standard_normal(600), "worse": COMMON + 0.2 + 0.5 * RNG.standard_normal(600)}


def test_a_clearly_worse_model_leaves_and_an_equal_one_stays() -> None:
    p = confidence_set(LOSSES, block=10, seed=1)
    assert p["worse"] < 0.01
    assert min(p["best"], p["equal"]) > 0.10
    assert max(p.values()) == 1.0


@pytest.mark.parametrize("method", ["R", "max"])
def test_the_values_are_those_of_arch(method: str) -> None:
    """Same seed, same numbers: names and columns are not mixed up."""
    matrix = np.column_stack(list(LOSSES.values()))
    columns = np.argsort(matrix[0])  # the order in which distinct columns are handed over
    test = MCS(matrix[:, columns], size=0.1, reps=200, block_size=10, method=method, seed=5)
    test.compute()
    expected = {list(LOSSES)[column]: float(test.pvalues["Pvalue"].loc[place]) for place, column in enumerate(columns)}
    assert confidence_set(LOSSES, block=10, reps=200, seed=5, method=method) == expected


def test_a_model_beside_its_copy_gets_the_same_value_and_no_division_by_zero() -> None:
    p = confidence_set(LOSSES | {"copy": LOSSES["worse"].copy()}, block=10, reps=200)
    assert p["copy"] == p["worse"]


def test_one_model_or_equal_models_are_their_own_set() -> None:
    assert confidence_set({"only": COMMON}, block=10) == {"only": 1.0}
    assert confidence_set({"a": COMMON, "b": COMMON.copy()}, block=10) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    "losses", [{}, {"a": np.zeros(5)}, {"a": np.zeros(20), "b": np.zeros(21)}, {"a": np.zeros(20), "b": np.full(20, np.nan)}]
)
def test_losses_that_cannot_be_compared_are_refused(losses: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="losses of"):
        confidence_set(losses, block=10)
