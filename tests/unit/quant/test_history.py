"""Windows and labels: what they may see, what they must not, and how parts are purged."""

from dataclasses import replace

import numpy as np
import pytest

from model_cases import SEQUENCE, market, pair_model, tiny_options, with_gaps
from tandem.domain.errors import Permanent
from tandem.quant import garch
from tandem.quant.features import FEATURES
from tandem.quant.garch_forecast import next_variance
from tandem.quant.history import fold, reverted, samples_of
from tandem.quant.panel import Panel
from tandem.trainer.pair_fits import fit_pair

HORIZON = 5
PAIR = pair_model("AAA", "BBB", beta=0.7)


def samples(panel: Panel):  # type: ignore[no-untyped-def]
    """Windows of one pair."""
    return samples_of(fold(panel, [PAIR]), sequence=SEQUENCE, horizon_bars=HORIZON, cost_bps=5.0)


def changed(panel: Panel, bar: int, factor: float = 1.05) -> Panel:
    """The panel with another price of leg a in one bar."""
    close = panel.close.copy()
    close[bar, 0] *= factor
    return replace(panel, close=close)


def test_the_target_of_a_window_lies_wholly_after_it() -> None:
    """Trap of the overlapping target: bar t + 1 moves the target of bar t and none of its features; bar t does move them."""
    panel = market(120)
    before, t = samples(panel), 60
    row = int(np.flatnonzero(before.close_ns == panel.close_ns[t])[0])
    zero, one = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    later = samples(changed(panel, t + 1))
    assert np.array_equal(later.windows(zero, one)[row], before.windows(zero, one)[row])
    assert later.garch_variance[row] == before.garch_variance[row]
    assert later.realised[row] != before.realised[row]
    assert not np.array_equal(samples(changed(panel, t)).windows(zero, one)[row], before.windows(zero, one)[row])
    assert samples(changed(panel, t + 2)).realised[row] == before.realised[row]


def test_the_target_is_the_innovation_of_the_next_bar() -> None:
    """realised = (next spread - AR(1) mean)^2, the quantity whose variance is forecast: one bar against one bar."""
    panel, found = market(120), samples(market(120))
    spread = panel.log_close("AAA") - PAIR.beta * panel.log_close("BBB") - PAIR.mu
    t = np.searchsorted(panel.close_ns, found.close_ns)
    expected = (spread[t + 1] - PAIR.intercept - PAIR.phi * spread[t]) ** 2
    np.testing.assert_allclose(found.realised, expected, rtol=1e-9)


def test_a_reversion_before_the_first_possible_fill_does_not_count() -> None:
    """Trap of the signal filled at its own bar: all of the reversion between t and t + 1 is worth nothing, one from t + 1 on is."""
    gone_at_once = np.array([0.10, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    from_the_next_bar = np.array([0.10, 0.10, 0.10, 0.10, 0.0, 0.0, 0.0])
    assert not reverted(gone_at_once, horizon_bars=5, cost=0.01)[0]
    assert reverted(from_the_next_bar, horizon_bars=5, cost=0.01)[0]


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        pytest.param([0.1, 0.1, 0.1, 0.085], True, id="down by more than the cost"),
        pytest.param([0.1, 0.1, 0.1, 0.095], False, id="down by less"),
        pytest.param([0.1, 0.1, 0.12, 0.13], False, id="further away"),
        pytest.param([-0.1, -0.1, -0.08, -0.2], True, id="up from below, then away"),
        pytest.param([-0.1, -0.1, -0.12, -0.2], False, id="further below"),
        pytest.param([0.0, 0.1, 0.0, 0.0], False, id="no side to revert from"),
    ],
)
def test_the_reversion_label(spread: list[float], expected: bool) -> None:
    """Toward the mean, by more than the cost, within the horizon of 2 bars after the next one."""
    assert reverted(np.array(spread), horizon_bars=2, cost=0.01).tolist() == [expected]


def test_parts_are_purged_on_both_sides() -> None:
    """No bar is in a window or a label of two parts; the gap is what the window and the horizon take."""
    panel = market(200)
    all_samples, border = samples(panel), int(panel.close_ns[120])
    early = all_samples.take(from_ns=0, to_ns=border)
    late = all_samples.take(from_ns=border, to_ns=int(panel.close_ns[-1]) + 1)
    assert early.end_ns.max() < border <= late.first_ns.min()
    assert early.close_ns.max() == panel.close_ns[120 - HORIZON - 2]
    assert late.close_ns.min() == panel.close_ns[120 + SEQUENCE - 1]


def test_the_filter_goes_on_between_fits() -> None:
    """Trap of the frozen state: after the training span the variance still follows every bar, as the recursion says."""
    panel = market(400)
    pair = fit_pair(panel.before(300), PAIR.pair, 1, tiny_options())
    history = fold(panel, [pair])[0]
    spread = panel.log_close("AAA") - pair.beta * panel.log_close("BBB") - pair.mu
    unit = (spread[1:] - pair.intercept - pair.phi * spread[:-1]) / pair.volatility.scale
    last = int(np.searchsorted(history.close_ns, panel.close_ns[300]))
    assert len(np.unique(history.variance[last:])) == len(history.variance[last:])
    steps = zip(unit[1:].tolist(), history.variance[:-1].tolist(), strict=True)
    expected = [next_variance(pair.volatility, x, variance) for x, variance in steps]
    np.testing.assert_allclose(history.variance[1:], expected, rtol=1e-12)
    batch = garch.variance_path(unit, pair.volatility)  # another start, forgotten after hundreds of bars
    np.testing.assert_allclose(history.variance[last:-1], batch[last + 1 :], rtol=1e-4)


def test_bars_without_both_legs_are_skipped() -> None:
    """The pair's own bars only, in order, without a NaN."""
    panel = with_gaps(market(300), seed=4, share=0.2)
    history = fold(panel, [PAIR])[0]
    both = np.isfinite(panel.close[:, 0]) & np.isfinite(panel.close[:, 1])
    assert history.close_ns.tolist() == panel.close_ns[both][1:].tolist()
    assert np.isfinite(history.rows).all()
    assert np.isfinite(history.garch_variance).all()


def test_a_pair_with_too_few_bars_for_one_window_is_refused() -> None:
    """The message names the pair and what is needed."""
    with pytest.raises(Permanent, match=r"AAA-BBB: 14 bars, the window and horizon need 16"):
        samples(market(15))
