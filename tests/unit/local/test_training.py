"""Which pair a demo falls back to."""

from tandem.domain.ids import PairId
from tandem.local.training import best_tested
from tandem.quant.bundle import PairTest


def _test(pair: str, p: float, reverse: float, half_life: float | None = 10.0) -> PairTest:
    return PairTest(
        pair=PairId(pair), p_value=p, p_value_reverse=reverse, q_value=0.5, half_life_bars=half_life, declared=False, passed=False
    )


def test_the_better_direction_of_each_pair_counts() -> None:
    """The smallest of all p-values wins, whichever way round it was tested."""
    assert best_tested([_test("A-B", 0.3, 0.4), _test("C-D", 0.9, 0.2)]) == _test("C-D", 0.9, 0.2)


def test_a_spread_without_reversion_is_never_taken() -> None:
    """A half-life of None means that the spread does not come back."""
    assert best_tested([_test("A-B", 0.01, 0.01, None)]) is None
    assert best_tested([_test("A-B", 0.01, 0.01, None), _test("C-D", 0.8, 0.8)]) == _test("C-D", 0.8, 0.8)


def test_without_tests_there_is_no_pair() -> None:
    """A sector of one symbol."""
    assert best_tested([]) is None
