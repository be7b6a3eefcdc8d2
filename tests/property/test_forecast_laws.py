"""Laws of the forecast: step by step equals the batch exactly, pairs do not touch each other, twice is once."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cases import SEQUENCE, bar_sets, bundle_of, market, pair_model, with_gaps
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.forecasts import Forecast
from tandem.flow.forecast import ForecastState, initial_forecasts, step
from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES, FilterState, scaled
from tandem.quant.gru import Weights
from tandem.quant.history import fold
from tandem.quant.hybrid import hybrid
from tandem.quant.panel import Panel
from tandem.trainer.onnx_graph import onnx_graph

HIDDEN = 8
_RNG = np.random.default_rng(1)
WEIGHTS = Weights(
    input=_RNG.normal(0, 0.4, (3 * HIDDEN, len(FEATURES))).astype(np.float32),
    recurrent=_RNG.normal(0, 0.4, (3 * HIDDEN, HIDDEN)).astype(np.float32),
    input_bias=_RNG.normal(0, 0.1, 3 * HIDDEN).astype(np.float32),
    recurrent_bias=_RNG.normal(0, 0.1, 3 * HIDDEN).astype(np.float32),
    head=_RNG.normal(0, 0.4, (2, HIDDEN)).astype(np.float32),
    head_bias=_RNG.normal(0, 0.1, 2).astype(np.float32),
)
NETWORK = OnnxNetwork(onnx_graph(WEIGHTS, SEQUENCE))
PAIRS = [pair_model(a, b, slots=3, beta=0.7) for a, b in (("AAA", "BBB"), ("BBB", "CCC"), ("AAA", "CCC"))]
panels = st.builds(
    lambda seed, share, bars: with_gaps(market(bars, seed=seed, slots=3), seed=seed, share=share),
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(SEQUENCE + 40, SEQUENCE + 90),
)


def served(bundle: Bundle, panel: Panel) -> tuple[ForecastState, list[Forecast]]:
    """Bar by bar, as the forecaster does it."""
    state, forecasts = initial_forecasts(bundle), []
    for bars in bar_sets(panel):
        state, new = step(state, bars, NETWORK)
        forecasts += new
    return state, forecasts


def trained_on(panel: Panel, bars: int) -> Bundle | None:
    """The bundle with the state after the first bars; None where a pair has not enough of them."""
    histories = fold(panel.before(bars), PAIRS)
    if min(len(history.spread) for history in histories) < SEQUENCE:
        return None
    empty = bundle_of(*PAIRS)
    mean, sd = np.array(empty.feature_mean), np.array(empty.feature_sd)
    starts = [history.start(SEQUENCE, mean, sd) for history in histories]
    pairs = [type(p)(**{f: getattr(p, f) for f in p.__slots__} | {"start": start}) for p, start in zip(PAIRS, starts, strict=True)]
    return bundle_of(*pairs, trained_to_ns=int(panel.close_ns[bars - 1]))


@settings(max_examples=25, deadline=None)
@given(panels)
def test_step_by_step_equals_the_batch_exactly(panel: Panel) -> None:
    """Serving from the bundle's state gives the numbers that one pass over all of the past gives, bit for bit, through gaps."""
    bundle = trained_on(panel, len(panel.close_ns) - 25)
    if bundle is None:
        return
    _, forecasts = served(bundle, panel)  # all bars: those of the training span must be ignored
    mean, sd = np.array(bundle.feature_mean), np.array(bundle.feature_sd)
    for pair, history in zip(bundle.pairs, fold(panel, PAIRS), strict=True):
        rows = np.flatnonzero(history.close_ns > bundle.trained_to_ns)
        windows = scaled(history.rows, mean, sd)[rows[:, None] + np.arange(1 - SEQUENCE, 1)]
        variance, probability = hybrid(bundle.calibration, history.garch_variance[rows], NETWORK(windows))
        own = [f for f in forecasts if f.pair == pair.pair]
        assert [f.variance for f in own] == variance.tolist()
        assert [f.garch_variance for f in own] == history.garch_variance[rows].tolist()
        assert [f.reversion_probability for f in own] == probability.tolist()
        assert [f.spread for f in own] == history.spread[rows].tolist()
        assert [f.bar_index for f in own] == list(range(len(rows)))


@settings(max_examples=15, deadline=None)
@given(panels)
def test_a_pair_does_not_depend_on_the_others(panel: Panel) -> None:
    """Alone in its bundle or among three: the same forecasts, bit for bit."""
    together = served(bundle_of(*PAIRS), panel)[1]
    for pair in PAIRS:
        assert served(bundle_of(pair), panel)[1] == [f for f in together if f.pair == pair.pair]


@settings(max_examples=15, deadline=None)
@given(panels, st.integers(0, 60))
def test_bars_delivered_again_change_nothing(panel: Panel, again: int) -> None:
    """Replaying a stretch of bars in the middle gives the same final state and no second forecast."""
    bars = bar_sets(panel)
    bundle = bundle_of(*PAIRS)
    state, plain = served(bundle, panel)
    repeated, forecasts = initial_forecasts(bundle), []
    for item in [*bars[:40], *bars[max(0, 40 - again) : 40], *bars[40:]]:
        repeated, new = step(repeated, item, NETWORK)
        forecasts += new
    assert forecasts == plain
    for name in ("window", "bars", "withheld"):
        assert np.array_equal(getattr(repeated, name), getattr(state, name))
    for part in fields(FilterState):
        assert np.array_equal(getattr(repeated.filter, part.name), getattr(state.filter, part.name))


@settings(max_examples=15, deadline=None)
@given(panels, st.floats(1e-3, 1e3))
def test_what_comes_out_is_finite(panel: Panel, jump: float) -> None:
    """Whatever a price does, a published number is finite and a variance above 0."""
    close = panel.close.copy()
    close[30] *= jump
    _, forecasts = served(bundle_of(*PAIRS), replace(panel, close=close))
    assert all(np.isfinite(f.variance) and f.variance > 0 and 0 <= f.reversion_probability <= 1 for f in forecasts)
