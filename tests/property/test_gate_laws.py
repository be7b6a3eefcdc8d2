"""Laws of the statistical gate: what was shown stays shown, order and unit do not matter, better and worse are mirror images."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.domain.ids import PairId
from tandem.quant.losses import VARIANCE_FLOOR
from tandem.rollout.paired import PairedLosses
from tandem.rollout.policy import Claim, GatePolicy
from tandem.rollout.promotion import statistical
from tandem.rollout.state import Verdict

POLICY = GatePolicy(bars_min=30, sessions_min=2)
CLAIMS = st.sampled_from(list(Claim))


@st.composite
def paired(draw: st.DrawFn, pairs_max: int = 4) -> PairedLosses:
    """Any seed, tails, bias and holes; two spreads that are alike, or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bars, pairs = draw(st.integers(31, 150)), draw(st.integers(1, pairs_max))
    shape = (bars, pairs)
    own = rng.standard_t(draw(st.sampled_from([3, 5, 30])), shape)
    other = own + draw(st.sampled_from([0.0, 0.0, 0.1, 0.5])) * rng.standard_normal(shape)
    error = draw(st.floats(-2, 2)) + draw(st.sampled_from([0.0, 0.3])) * rng.standard_normal(shape)
    present = rng.random(shape) > draw(st.sampled_from([0.0, 0.1, 0.4]))
    squares, others = own**2, np.where(present, other**2, np.nan)
    return PairedLosses(
        close_ns=np.arange(1, bars + 1),
        sessions=np.arange(bars) // 10,
        pairs=tuple(PairId(f"A{place}-B") for place in range(pairs)),
        stable=squares - np.log(squares) - 1,
        candidate=others * np.exp(-error) + error - np.log(others) - 1,
        log_variance_ratio=error,
        realised_stable=squares,
        realised_candidate=others,
    )


@given(losses=paired(), claim=CLAIMS, share=st.floats(0.3, 1.0))
def test_more_bars_never_raise_the_p_value(losses: PairedLosses, claim: Claim, share: float) -> None:
    """So that a look that comes late finds what an earlier one would have found."""
    policy = replace(POLICY, claim=claim)
    cut = int(len(losses.close_ns) * share)
    earlier = {name: None if (table := getattr(losses, name)) is None else table[:cut] for name in _TABLES}
    before = statistical(replace(losses, close_ns=losses.close_ns[:cut], sessions=losses.sessions[:cut], **earlier), policy)
    after = statistical(losses, policy)
    if before.p_value is not None:
        assert after.p_value is not None
        assert after.p_value <= before.p_value * (1 + 1e-9)
    if before.verdict is Verdict.FAIL:
        assert after.verdict is Verdict.FAIL


@given(losses=paired(), claim=CLAIMS, seed=st.integers(0, 99))
def test_the_order_of_the_pairs_does_not_matter(losses: PairedLosses, claim: Claim, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(losses.pairs))
    tables = {name: getattr(losses, name)[:, order] for name in _TABLES}
    shuffled = replace(losses, pairs=tuple(losses.pairs[place] for place in order), **tables)
    one, other = (statistical(each, replace(POLICY, claim=claim)) for each in (losses, shuffled))
    assert one.verdict is other.verdict
    np.testing.assert_allclose(_numbers(one), _numbers(other), rtol=1e-7, atol=1e-12)


@given(losses=paired(), claim=CLAIMS, scale=st.floats(0.1, 10.0))
def test_the_unit_of_a_spread_does_not_matter(losses: PairedLosses, claim: Claim, scale: float) -> None:
    """The candidate's spread in another unit: its variance and its innovations are multiplied alike.

    Not promised of moves below the floor, which has a unit, nor of versions that differ by little more than the rounding of their losses.
    """
    assert losses.realised_candidate is not None
    assume(np.nanmin(losses.realised_candidate) * min(scale, 1.0) >= VARIANCE_FLOOR)
    assume(not 0 < np.nanmax(np.abs(losses.differences)) < _TOLD_APART)
    other = replace(
        losses, log_variance_ratio=losses.log_variance_ratio + np.log(scale), realised_candidate=scale * losses.realised_candidate
    )
    one, two = (statistical(each, replace(POLICY, claim=claim)) for each in (losses, other))
    assert one.verdict is two.verdict
    np.testing.assert_allclose(_numbers(one), _numbers(two), rtol=1e-6, atol=1e-10)


@given(losses=paired(pairs_max=1))
def test_better_and_worse_are_mirror_images(losses: PairedLosses) -> None:
    """With two roles changed, what showed the candidate to be better shows the other to be worse, at a margin of nothing."""
    changed = replace(
        losses,
        stable=losses.candidate,
        candidate=losses.stable,
        log_variance_ratio=-losses.log_variance_ratio,
        realised_stable=losses.realised_candidate,
        realised_candidate=losses.realised_stable,
    )
    better, worse = (statistical(each, replace(POLICY, claim=Claim.SUPERIOR)) for each in (losses, changed))
    assert (better.verdict is Verdict.PASS) <= (worse.verdict is Verdict.FAIL)
    assert (worse.verdict is Verdict.FAIL) <= (better.p_value is not None and better.p_value < POLICY.level)


_TOLD_APART = 1e-4  # a millionth of it is still ten thousand times what rounding may leave of a loss
_TABLES = ("stable", "candidate", "log_variance_ratio", "realised_stable", "realised_candidate")


def _numbers(gate: object) -> list[float]:
    return [float(found) if (found := getattr(gate, name)) is not None else -1.0 for name in ("effect", "statistic", "p_value")]
