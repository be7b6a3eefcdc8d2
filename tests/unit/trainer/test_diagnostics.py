"""What is diagnosed after a training: every symbol and pair, on its own span, and drift only on what came after it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model_cases import CONFIG, DAY_NS, bundle_of, market, pair_model, with_gaps
from tandem.quant.bundle import Bundle
from tandem.quant.history import fold
from tandem.quant.panel import Panel
from tandem.quant.stability import Finding, Verdict
from tandem.trainer.diagnostics import INNOVATION, LOG_RETURN, STANDARDISED, diagnose, drifts, innovations
from tandem.trainer.options import load_options
from tandem.trainer.pair_fits import fit_pair

BARS = 900


@cache
def fitted(until: int = BARS) -> tuple[Panel, Bundle]:
    """A market with GARCH innovations, and the bundle of its one pair, fitted on the first bars."""
    panel = market(BARS, seed=4)
    options = load_options(CONFIG / "training.yaml")
    pair = fit_pair(panel.before(until), "AAA-BBB", 1, options)
    window = pair_model().start
    return panel, bundle_of(replace(pair, start=window), trained_to_ns=int(panel.close_ns[until - 1]))


def test_symbols_and_pairs_are_diagnosed_and_none_is_left_out():
    """Also the pair whose innovations vary: that is what GARCH is for."""
    panel, bundle = fitted()
    found = {(one.subject, one.series): one for one in diagnose(panel, bundle, slots=1)}
    assert set(found) == {*((name, LOG_RETURN) for name in ("AAA", "BBB", "CCC")), ("AAA-BBB", INNOVATION), ("AAA-BBB", STANDARDISED)}
    assert Finding.ARCH_EFFECTS in found["AAA-BBB", INNOVATION].stability.findings
    assert Finding.ARCH_EFFECTS not in found["AAA-BBB", STANDARDISED].stability.findings
    assert found["CCC", LOG_RETURN].stability.verdict is Verdict.STEADY
    assert found["CCC", LOG_RETURN].volatility_annualised == pytest.approx(0.01 * np.sqrt(252), rel=0.1)
    assert found["AAA-BBB", STANDARDISED].volatility_annualised is None


def test_an_innovation_is_against_the_forecast_of_the_bar_before():
    """And of that forecast's variance; standardised, it has unit variance on the training span."""
    panel, bundle = fitted()
    (history,) = fold(panel, bundle.pairs)
    close_ns, innovation, standardised = innovations(history)
    assert innovation[10] == history.spread[11] - history.expected_spread[10]
    assert standardised[10] == innovation[10] / np.sqrt(history.garch_variance[10])
    assert close_ns[10] == history.close_ns[11]
    assert float(np.mean(standardised**2)) == pytest.approx(1, abs=0.15)


def test_a_bar_after_a_gap_is_no_next_bar():
    """Its innovation covers more than the forecast was about."""
    panel, bundle = fitted()
    gappy = with_gaps(panel, seed=1, share=0.1)
    (history,) = fold(gappy, bundle.pairs)
    close_ns, _, _ = innovations(history)
    assert set(np.diff(history.close_ns)[history.elapsed[1:] == 1].tolist()) == {DAY_NS}
    assert len(close_ns) == int((history.elapsed[1:] == 1).sum()) < len(history.close_ns) - 1


def test_drift_is_of_what_came_after_the_training():
    """A pair that goes on as before, and one whose spread moves to another level after it."""
    panel, bundle = fitted(700)
    (quiet,) = drifts(panel, bundle).values()
    assert quiet.bars == BARS - 700
    assert quiet.p_value > 0.05
    close = panel.close.copy()
    close[700:, 0] *= np.exp(np.linspace(0, 0.4, BARS - 700))
    (moved,) = drifts(replace(panel, close=close), bundle).values()
    assert moved.p_value < 0.001
    before = close.copy()
    before[:100, 0] *= 1.5
    (early,) = drifts(replace(panel, close=np.where(close == before, panel.close, before)), bundle).values()
    assert early.p_value > 0.05


def test_a_pair_without_its_legs_in_the_data_is_not_tested():
    """Nor one with too few bars since the training."""
    panel, bundle = fitted()
    assert drifts(panel, bundle) == {"AAA-BBB": None}
    assert drifts(panel, bundle_of(pair_model())) == {}


def test_a_series_without_two_bars_is_left_out():
    """A symbol that never traded in the span."""
    panel, bundle = fitted()
    close = panel.close.copy()
    close[:, 2] = np.nan
    assert "CCC" not in {one.subject for one in diagnose(replace(panel, close=close), bundle, slots=1)}
