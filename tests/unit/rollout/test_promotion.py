"""The gates' verdicts: what passes, what fails, and that too little of anything is neither."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tandem.domain.ids import PairId
from tandem.rollout.paired import PairedLosses, no_losses
from tandem.rollout.policy import Claim, GatePolicy, OperationalPolicy, RolloutPolicy
from tandem.rollout.promotion import FORECASTS_MIN, Health, judge, operations, overall, statistical
from tandem.rollout.state import GateResult, Verdict

POLICY = GatePolicy(bars_min=60, sessions_min=3)
BARS = 400


def losses(
    errors: Sequence[float], *, bars: int = BARS, bars_a_session: int = 7, seed: int = 0, noise: float = 0.0, stable: float = 0.0
) -> PairedLosses:
    """One pair for each error of the candidate's log variance; the stable version's error is `stable`. noise: sd of both, at each bar."""
    rng = np.random.default_rng(seed)
    shape = (bars, len(errors))
    squares = rng.standard_normal(shape) ** 2
    first = stable + noise * rng.standard_normal(shape)
    second = np.array(errors) + noise * rng.standard_normal(shape)

    def loss(error: np.ndarray) -> np.ndarray:
        return squares * np.exp(-error) + error - np.log(squares) - 1

    return PairedLosses(
        close_ns=np.arange(1, bars + 1),
        sessions=np.arange(bars) // bars_a_session,
        pairs=tuple(PairId(f"A{place}-B") for place in range(len(errors))),
        stable=loss(first),
        candidate=loss(second),
        log_variance_ratio=second - first,
    )


def test_a_candidate_that_is_as_good_passes() -> None:
    gate = statistical(losses([0.0, 0.0, 0.0], noise=0.1), POLICY)
    assert gate.verdict is Verdict.PASS, gate.reason
    assert (gate.bars, gate.sessions) == (BARS, 58)
    assert gate.p_value is not None
    assert gate.p_value < 0.05
    assert gate.effect == pytest.approx(0.0, abs=0.02)
    assert gate.statistic is not None
    assert "not worse by 0.05" in gate.reason


def test_the_same_version_again_passes_as_soon_as_it_may() -> None:
    """Differences of zero at every bar are evidence against a difference of .05, but not before bars_min."""
    assert statistical(losses([0.0, 0.0], bars=60), POLICY).verdict is Verdict.PASS
    assert statistical(losses([0.0, 0.0], bars=59), POLICY).verdict is Verdict.INCONCLUSIVE


def test_the_same_version_is_not_better() -> None:
    gate = statistical(losses([0.0, 0.0]), replace(POLICY, claim=Claim.SUPERIOR))
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert gate.effect == 0.0


def test_a_better_candidate_is_shown_to_be_better() -> None:
    """The stable version's variances are a third of the truth, the candidate's right."""
    gate = statistical(losses([0.0] * 4, stable=-1.1, noise=0.05), replace(POLICY, claim=Claim.SUPERIOR))
    assert gate.verdict is Verdict.PASS, gate.reason
    assert gate.effect is not None
    assert gate.effect < -0.5
    assert gate.statistic is not None
    assert gate.statistic < 0
    assert gate.reason.endswith("for better, pass below 0.05")


@pytest.mark.parametrize("claim", list(Claim))
def test_a_worse_candidate_fails(claim: Claim) -> None:
    gate = statistical(losses([-1.5, -1.5, -1.5]), replace(POLICY, claim=claim))
    assert gate.verdict is Verdict.FAIL
    assert gate.reason.startswith("all pairs: QLIKE +")


def test_one_pair_that_is_much_worse_fails_the_candidate_and_is_named() -> None:
    """The others are as good as they can be, so that the mean over all pairs alone would take longer."""
    gate = statistical(losses([0.0] * 5 + [2.5]), POLICY)
    assert gate.verdict is Verdict.FAIL
    assert "A5-B: QLIKE +1." in gate.reason


def test_a_failure_weighs_more_than_a_claim_that_was_shown_before() -> None:
    """Good for 150 bars, then broken: once it is worse on the whole, it fails, whatever an earlier look said."""
    good, bad = losses([0.0, 0.0], bars=150, noise=0.05), losses([-2.5, -2.5], bars=600)
    joined = replace(
        bad,
        stable=np.vstack([good.stable, bad.stable[150:]]),
        candidate=np.vstack([good.candidate, bad.candidate[150:]]),
        log_variance_ratio=np.vstack([good.log_variance_ratio, bad.log_variance_ratio[150:]]),
    )
    early = joined.after(0)
    assert statistical(losses([0.0, 0.0], bars=150, noise=0.05), POLICY).verdict is Verdict.PASS
    gate = statistical(early, POLICY)
    assert gate.verdict is Verdict.FAIL
    assert gate.p_value is not None
    assert gate.p_value < 0.05


@pytest.mark.parametrize(
    ("bars", "bars_a_session", "why"),
    [(0, 7, "no bar"), (30, 7, "too few bars"), (200, 100, "two sessions"), (59, 7, "one bar short"), (100, 50, "two sessions again")],
)
@pytest.mark.parametrize("error", [0.0, -3.0])
def test_too_little_is_neither_pass_nor_fail(bars: int, bars_a_session: int, why: str, error: float) -> None:
    """However good or bad it looks."""
    found = statistical(losses([error], bars=bars, bars_a_session=bars_a_session), POLICY)
    assert found.verdict is Verdict.INCONCLUSIVE, why
    assert found.p_value is None
    assert found.bars == bars
    assert "a verdict from 60 bars of 3 sessions on" in found.reason


def test_no_policy_gives_a_verdict_before_the_scale_of_the_spreads_is_known() -> None:
    """bars_min below 20 counts as 20."""
    hasty = replace(POLICY, bars_min=1, sessions_min=1)
    assert statistical(losses([0.0], bars=19), hasty).verdict is Verdict.INCONCLUSIVE
    assert "from 20 bars" in statistical(losses([0.0], bars=19), hasty).reason


def test_nothing_to_compare_says_nothing() -> None:
    evidence = judge(no_losses(), RolloutPolicy())
    assert (evidence.bars, evidence.newest_ns) == (0, 0)
    assert {gate.verdict for gate in evidence.gates} == {Verdict.INCONCLUSIVE}
    assert overall(evidence.gates) is Verdict.INCONCLUSIVE


def test_a_pair_that_one_version_lost_is_left_out() -> None:
    """Holes are no evidence; the rest counts as if they were not there."""
    whole = losses([0.0, 0.0, -0.2], noise=0.1)
    candidate = whole.candidate.copy()
    candidate[:, 2] = np.nan
    without = losses([0.0, 0.0], noise=0.1)
    assert statistical(replace(whole, candidate=candidate), POLICY).bars == BARS
    two = PairedLosses(
        close_ns=whole.close_ns,
        sessions=whole.sessions,
        pairs=without.pairs,
        stable=whole.stable[:, :2],
        candidate=whole.candidate[:, :2],
        log_variance_ratio=whole.log_variance_ratio[:, :2],
    )
    assert statistical(replace(whole, candidate=candidate), POLICY).p_value == statistical(two, POLICY).p_value


HEALTHY = Health(errors=0, forecasts=1_000, withheld=0, latency_p99_s=0.1)


@pytest.mark.parametrize(
    ("gate", "candidate", "stable", "verdict"),
    [
        ("errors", HEALTHY, HEALTHY, Verdict.PASS),
        ("errors", replace(HEALTHY, errors=None), HEALTHY, Verdict.INCONCLUSIVE),
        ("errors", replace(HEALTHY, errors=3), HEALTHY, Verdict.FAIL),
        ("errors", replace(HEALTHY, errors=3), replace(HEALTHY, errors=3), Verdict.PASS),  # nobody could use them
        ("errors", replace(HEALTHY, errors=3), replace(HEALTHY, errors=None), Verdict.INCONCLUSIVE),
        ("errors", HEALTHY, replace(HEALTHY, errors=5), Verdict.PASS),
        ("withheld", HEALTHY, HEALTHY, Verdict.PASS),
        ("withheld", replace(HEALTHY, withheld=10), HEALTHY, Verdict.PASS),  # 10 of 1,010
        ("withheld", replace(HEALTHY, withheld=11), HEALTHY, Verdict.FAIL),
        ("withheld", replace(HEALTHY, forecasts=FORECASTS_MIN - 2, withheld=1), HEALTHY, Verdict.INCONCLUSIVE),
        ("withheld", replace(HEALTHY, forecasts=0, withheld=FORECASTS_MIN), HEALTHY, Verdict.FAIL),
        ("withheld", replace(HEALTHY, withheld=None), HEALTHY, Verdict.INCONCLUSIVE),
        ("latency", HEALTHY, HEALTHY, Verdict.PASS),
        ("latency", replace(HEALTHY, latency_p99_s=1.5), HEALTHY, Verdict.FAIL),
        ("latency", replace(HEALTHY, latency_p99_s=1.0), HEALTHY, Verdict.PASS),
        ("latency", replace(HEALTHY, latency_p99_s=1.5), replace(HEALTHY, latency_p99_s=2.0), Verdict.INCONCLUSIVE),  # the broker is slow
        ("latency", replace(HEALTHY, latency_p99_s=1.5), Health(), Verdict.INCONCLUSIVE),
        ("latency", Health(), HEALTHY, Verdict.INCONCLUSIVE),
    ],
)
def test_each_operational_gate(gate: str, candidate: Health, stable: Health, verdict: Verdict) -> None:
    """Not asked, not measured or nobody's fault: no failure."""
    found = {g.name: g for g in operations(no_losses(), OperationalPolicy(), candidate=candidate, stable=stable)}
    assert found[gate].verdict is verdict, found[gate].reason


@pytest.mark.parametrize(("beyond", "verdict"), [(0, Verdict.PASS), (20, Verdict.PASS), (21, Verdict.FAIL)])
def test_a_candidate_that_says_something_else_altogether_fails(beyond: int, verdict: Verdict) -> None:
    """More than 5 % of 400 forecasts with a variance e^4 times the other's, up or down."""
    ratio = np.full((BARS, 1), 0.1)
    ratio[:beyond:2] = 4.1
    ratio[1:beyond:2] = -4.1
    (found,) = (g for g in operations(replace(losses([0.0]), log_variance_ratio=ratio), OperationalPolicy()) if g.name == "divergence")
    assert found.verdict is verdict, found.reason


def test_few_forecasts_do_not_diverge() -> None:
    wild = replace(losses([0.0], bars=50), log_variance_ratio=np.full((50, 1), 9.0))
    assert {g.name: g.verdict for g in operations(wild, OperationalPolicy())}["divergence"] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"qlike": Verdict.PASS, "errors": Verdict.INCONCLUSIVE}, Verdict.PASS),
        ({"qlike": Verdict.PASS, "errors": Verdict.FAIL}, Verdict.FAIL),
        ({"qlike": Verdict.INCONCLUSIVE, "errors": Verdict.PASS}, Verdict.INCONCLUSIVE),
        ({"qlike": Verdict.FAIL, "errors": Verdict.PASS}, Verdict.FAIL),
        ({"errors": Verdict.PASS}, Verdict.INCONCLUSIVE),
        ({}, Verdict.INCONCLUSIVE),
    ],
)
def test_operations_can_fail_a_candidate_and_never_pass_one(verdicts: dict[str, Verdict], expected: Verdict) -> None:
    assert overall(tuple(GateResult(name=name, verdict=verdict, reason="") for name, verdict in verdicts.items())) is expected
