"""Needs and gates, as tables: what is asked for a new model, and what keeps a candidate out of the registry."""

import math
from dataclasses import replace

import numpy as np
import pytest

from model_cases import bundle_of, pair_model
from tandem.domain.ids import PairId, Symbol
from tandem.quant.bundle import Fold, PairTest, RejectedSymbol, Rejection
from tandem.quant.drift import Drift
from tandem.rollout.gates import Candidate, Policy, Standing, gates, needs, wanted

HOUR_NS = 3_600_000_000_000
GOOD = {
    "holdout_qlike_hybrid": 1.4,
    "holdout_qlike_garch": 1.5,
    "holdout_dm_statistic": -1.0,
    "holdout_dm_p_value": 0.3,
    "holdout_brier": 0.2,
    "holdout_brier_base_rate": 0.21,
    "holdout_brier_dm_statistic": -1.0,
    "holdout_brier_dm_p_value": 0.3,
    "holdout_mcs_p_hybrid": 1.0,
}
KO, HD = PairId("KO-PEP"), PairId("HD-WMT")
FOLD = Fold(trained_to_ns=1, tested_from_ns=2, tested_to_ns=3, pairs=(KO,), windows=50)
CHAMPION = replace(bundle_of(pair_model(), pair_model("HD", "WMT")), metrics=GOOD)
POLICY = Policy()


def candidate(metrics: dict[str, float] | None = None, *, champion=CHAMPION, declared=(KO, HD), behind: int = 0, **changes) -> Candidate:
    """One that passes, but for what is changed."""
    bundle = replace(CHAMPION, trained_to_ns=HOUR_NS, folds=(FOLD,), metrics=GOOD | (metrics or {}))
    return Candidate(bundle=replace(bundle, **changes), champion=champion, declared=declared, sessions_behind=behind, bars_min=250)


def failed(item: Candidate) -> dict[str, str]:
    """The gates that did not pass, with their reasons."""
    return {gate.name: gate.reason for gate in gates(item, POLICY) if not gate.passed}


def without(*names: str) -> dict[str, float]:
    return {name: value for name, value in GOOD.items() if name not in names}


def test_a_good_candidate_passes_every_gate_and_each_says_why():
    assert failed(candidate()) == {}
    assert all(gate.reason for gate in gates(candidate(), POLICY))
    assert failed(candidate(champion=None)) == {}


@pytest.mark.parametrize(
    ("item", "name", "reason"),
    [
        (candidate(behind=1), "data_fresh", "1 complete sessions behind"),
        (candidate({"holdout_auc": math.nan}), "metrics_finite", "holdout_auc is nan"),
        (candidate({"holdout_auc": math.inf}), "metrics_finite", "holdout_auc is inf"),
        (candidate({"holdout_dm_statistic": 2.1, "holdout_dm_p_value": 0.04}), "variance_not_worse_than_garch", "p = 0.040"),
        (candidate({"holdout_mcs_p_hybrid": 0.05}), "variance_in_confidence_set", "p = 0.050"),
        (candidate({"holdout_brier_dm_statistic": 2.4, "holdout_brier_dm_p_value": 0.02}), "reversion_calibrated", "p = 0.020"),
        (candidate(folds=()), "walk_forward_scored", "0 of 0"),
        (candidate(folds=(replace(FOLD, skipped="no pair"),)), "walk_forward_scored", "skipped: no pair"),
        (candidate(trained_to_ns=0), "span_newer", "0.0 h"),
        (candidate(trained_to_ns=-HOUR_NS), "span_newer", "-1.0 h"),
        (candidate(metrics=None, pairs=(CHAMPION.pairs[0],)), "pairs_kept", "HD-WMT: lost without a reason"),
    ],
)
def test_each_gate_closes_alone_and_says_why(item, name, reason):
    found = failed(item)
    assert list(found) == [name]
    assert reason in found[name]


@pytest.mark.parametrize(
    ("metrics", "passes"),
    [
        ({"holdout_dm_statistic": 2.1, "holdout_dm_p_value": 0.05}, True),  # worse, but not at 5 %
        ({"holdout_dm_statistic": -3.0, "holdout_dm_p_value": 0.001}, True),  # better
        ({"holdout_dm_statistic": 0.0, "holdout_dm_p_value": 1.0}, True),  # the untrained network is GARCH
        ({"holdout_dm_statistic": 1.97, "holdout_dm_p_value": 0.049}, False),
        ({"holdout_dm_statistic": math.nan, "holdout_dm_p_value": math.nan}, False),
    ],
)
def test_not_worse_means_not_significantly_worse(metrics, passes):
    assert ("variance_not_worse_than_garch" not in failed(candidate(metrics))) == passes


def test_a_probability_that_may_be_as_good_as_the_base_rate_is_not_worse_than_it():
    """Some tenths of a percent above it on a few hundred bars are chance."""
    assert failed(candidate({"holdout_brier": 0.212, "holdout_brier_dm_statistic": 0.8, "holdout_brier_dm_p_value": 0.42})) == {}


def test_too_few_bars_of_one_pair_are_too_few():
    start = CHAMPION.pairs[1].start
    young = replace(CHAMPION.pairs[1], start=replace(start, bars=249))
    assert failed(candidate(pairs=(CHAMPION.pairs[0], young))) == {"bars_enough": "HD-WMT has 249 bars, at least 250"}


def test_a_missing_metric_is_no_pass():
    """Whatever a later trainer stops writing."""
    bundle = replace(candidate().bundle, metrics={})
    closed = failed(replace(candidate(), bundle=bundle))
    assert set(closed) == {"metrics_finite", "variance_not_worse_than_garch", "variance_in_confidence_set", "reversion_calibrated"}


def pair_test(pair: PairId) -> PairTest:
    return PairTest(pair=pair, p_value=0.4, p_value_reverse=0.5, q_value=0.6, half_life_bars=9.0, declared=False, passed=False)


@pytest.mark.parametrize(
    ("changes", "declared", "reason"),
    [
        ({"rejections": (Rejection(pair=HD, reason="not_stationary", detail="alpha + beta = 1.02"),)}, (KO, HD), "not_stationary"),
        ({"rejected_symbols": (RejectedSymbol(symbol=Symbol("WMT"), reason="stale", detail="no move"),)}, (KO, HD), "WMT stale"),
        ({"tests": (pair_test(HD),)}, (KO,), "screening no longer takes it, q = 0.600"),
        ({}, (KO,), "no longer declared"),
    ],
)
def test_a_pair_may_go_with_a_reason(changes, declared, reason):
    item = candidate(pairs=(CHAMPION.pairs[0],), declared=declared, **changes)
    assert failed(item) == {}
    assert reason in next(gate.reason for gate in gates(item, POLICY) if gate.name == "pairs_kept")


def test_a_declared_pair_is_not_excused_by_its_screening():
    """Declared pairs are trained whatever screening says, so its absence needs a reason of its own."""
    assert "pairs_kept" in failed(candidate(pairs=(CHAMPION.pairs[0],), tests=(pair_test(HD),)))


def standing(**changes) -> Standing:
    """A champion that nothing speaks against, but for what is changed. Its validation: 0.1 better than GARCH."""
    rng = np.random.default_rng(1)
    garch = rng.exponential(1.5, 60)
    quiet = {KO: Drift(bars=40, statistic=1.0, p_value=0.6), HD: None}
    facts = {
        "age_sessions": 5,
        "new_bars": 5,
        "garch_losses": garch,
        "losses": garch - 0.1 + 0.1 * rng.standard_normal(60),
        "drifts": quiet,
    }
    return Standing(champion=CHAMPION, **(facts | changes))


def found(item: Standing | None, *, weekly: bool = False) -> list[str]:
    return [need.name for need in needs(item, weekly=weekly, policy=POLICY) if need.found]


DRIFTED = {KO: Drift(bars=40, statistic=3.0, p_value=0.01), HD: Drift(bars=40, statistic=1.0, p_value=0.6)}


@pytest.mark.parametrize(
    ("item", "weekly", "expected"),
    [
        (standing(), False, []),
        (standing(), True, ["weekly"]),
        (None, False, ["no_champion"]),
        (standing(age_sessions=10), False, []),
        (standing(age_sessions=11), False, ["age"]),
        (standing(new_bars=49), False, []),
        (standing(new_bars=50), False, ["new_bars"]),  # a tenth of 500
        (standing(losses=standing().garch_losses + 0.2), False, ["performance"]),
        (standing(losses=standing().garch_losses[:29] + 9, garch_losses=standing().garch_losses[:29]), False, []),
        (standing(drifts=DRIFTED), False, ["drift"]),
        (
            standing(drifts=DRIFTED | {PairId(f"A{i}-B"): Drift(bars=40, statistic=1, p_value=0.6) for i in range(8)}),
            False,
            [],
        ),  # one of ten
        (standing(drifts={KO: None}), False, []),
    ],
)
def test_a_need_is_found_by_its_own_test(item, weekly, expected):
    assert found(item, weekly=weekly) == expected


def test_a_wild_market_alone_is_no_bad_performance():
    """Losses of the champion and of its GARCH rise together."""
    calm = standing()
    wild = standing(losses=calm.losses + 3, garch_losses=calm.garch_losses + 3)
    assert found(wild) == []


def test_the_performance_test_rejects_no_more_often_than_it_says():
    """400 champions that are as good as in their validation; two standard errors of 5 % are 2.2 %."""
    rng = np.random.default_rng(2)
    times = 0
    for _ in range(400):
        garch = rng.exponential(1.5, 120)
        times += found(standing(losses=garch - 0.1 + 0.3 * rng.standard_normal(120), garch_losses=garch)) == ["performance"]
    assert 0.02 < times / 400 < 0.08


def test_nothing_is_trained_without_a_new_bar():
    """However old the champion: the same data would give the same model."""
    stale = standing(age_sessions=99, new_bars=0)
    assert not wanted(needs(stale, weekly=True, policy=POLICY), stale)
    assert wanted(needs(standing(), weekly=True, policy=POLICY), standing())
    assert not wanted(needs(standing(), weekly=False, policy=POLICY), standing())
    assert wanted(needs(None, weekly=False, policy=POLICY), None)
