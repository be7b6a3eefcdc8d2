"""Training as a whole, with a tiny network: reproducible, scored before it is fitted, and open about what it rejected."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model_cases import bar_sets, market, tiny_options
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.flow.forecast import initial_forecasts, step
from tandem.quant.bundle import Bundle, RejectedSymbol, decode, encode
from tandem.quant.features import FEATURES
from tandem.quant.history import fold, samples_of
from tandem.quant.panel import Panel
from tandem.trainer.card import model_card, model_summary
from tandem.trainer.card_figures import card_of
from tandem.trainer.main import NoPairs, SectorTask, SpanTooShort, fit_span, train, train_sector

BARS = 700
DECLARED = (PairId("AAA-CCC"),)


def task(*declared: str) -> SectorTask:
    """A sector with these pairs declared."""
    return SectorTask(sector=SectorId("consumer"), bar="1d", slots=1, declared=tuple(map(PairId, declared)), data_digest="d" * 64)


@cache
def trained() -> Bundle:
    """One declared pair, and one that screening finds."""
    return train_sector(task(*DECLARED), market(BARS), tiny_options())


def test_declared_pairs_are_always_in_and_others_when_they_pass() -> None:
    """AAA-CCC is no pair, yet declared; AAA-BBB passes; BBB-CCC does neither. All tests are on record."""
    bundle = trained()
    assert [p.pair for p in bundle.pairs] == ["AAA-CCC", "AAA-BBB"]
    assert len(bundle.tests) == 3
    assert {t.pair: t.passed for t in bundle.tests}["AAA-CCC"] is False


def test_another_seed_is_another_model() -> None:
    """The digest covers the network's weights and the settings."""
    assert train_sector(task(*DECLARED), market(BARS), tiny_options(seed=5)).digest != trained().digest


def test_features_are_scaled_by_the_training_part_alone() -> None:
    """Trap of scaling on everything: mean of the rows before the validation part, not of the rows in it. carry is left as it is."""
    options, span = tiny_options(), market(BARS)
    bundle = trained()
    samples = samples_of(fold(span, bundle.pairs), sequence=10, horizon_bars=bundle.horizon_bars, cost_bps=bundle.cost_bps)
    border_ns = int(span.close_ns[int(BARS * (1 - options.validation_share))])
    training = samples.take(from_ns=0, to_ns=border_ns)
    scaled = np.array([name != "carry" for name in FEATURES])
    mean = np.array(bundle.feature_mean)
    assert mean[scaled] == pytest.approx(training.rows[training.last_row].mean(axis=0)[scaled], abs=1e-12)
    assert mean[scaled] != pytest.approx(samples.rows[samples.last_row].mean(axis=0)[scaled], abs=1e-6)
    assert (mean[~scaled].tolist(), np.array(bundle.feature_sd)[~scaled].tolist()) == ([0.0], [1.0])


def test_the_bundle_is_fitted_on_the_whole_span_and_its_scores_are_not() -> None:
    """Served parameters are fresh: they are those of a fit on everything; each fold ends before what it was scored on."""
    bundle, panel = trained(), market(BARS)
    assert bundle.pairs[0].beta == fit_span(task(*DECLARED), panel, tiny_options()).fits.pairs[0].beta
    assert bundle.trained_to_ns == int(panel.close_ns[-1])
    assert [fold.trained_to_ns < fold.tested_from_ns for fold in bundle.folds] == [True] * 3
    assert bundle.folds[0].tested_from_ns == bundle.holdout_from_ns


def test_progress_counts_the_fits() -> None:
    """Three folds and the bundle: what a progress bar shows."""
    seen: list[tuple[int, int]] = []
    options = tiny_options(epochs_max=0)
    train_sector(task(*DECLARED), market(BARS), options, progress=lambda done, count: seen.append((done, count)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_training_without_folds_has_no_scores() -> None:
    """For callers that score for themselves: a backtest fits at each of its steps."""
    options = tiny_options(epochs_max=0)
    unscored = options.model_copy(update={"walk_forward": options.walk_forward.model_copy(update={"folds": 0})})
    bundle = train_sector(task(*DECLARED), market(BARS), unscored)
    assert bundle.folds == ()
    assert not [name for name in bundle.metrics if name.startswith(("holdout", "fold"))]
    assert "not scored" in model_card(bundle)


def test_the_number_of_trials_is_recorded_and_charged_for() -> None:
    """The same returns are worth less when they are the best of a hundred tries."""
    once, often = (train_sector(replace(task(*DECLARED), trials=count), market(BARS), tiny_options()) for count in (1, 100))
    assert (once.trials, often.trials) == (1, 100)
    assert often.metrics["holdout_deflated_sharpe_always_1"] < once.metrics["holdout_deflated_sharpe_always_1"]


def test_a_rejected_symbol_is_on_record_with_its_declared_pairs() -> None:
    """With the reason that the quality check gave, not with a bare lack of data."""
    stale = RejectedSymbol(symbol=Symbol("ZZZ"), reason="stale", detail="the close stays the same for 40 bars")
    bundle = train_sector(replace(task("AAA-ZZZ", "AAA-BBB"), rejected=(stale,)), market(BARS), tiny_options(epochs_max=0))
    assert bundle.rejected_symbols == (stale,)
    assert [(r.pair, r.reason) for r in bundle.rejections] == [("AAA-ZZZ", "stale")]
    assert "ZZZ: stale: the close stays the same for 40 bars" in model_card(bundle)


def test_serving_goes_on_where_training_ended() -> None:
    """The state in the bundle equals the one that the training bars and the next bar make together."""
    panel = market(BARS + 1)
    bundle = train_sector(task(*DECLARED), panel.before(BARS), tiny_options())
    assert bundle.trained_to_ns == int(panel.close_ns[BARS - 1])
    state, forecasts = step(initial_forecasts(bundle), bar_sets(panel)[-1], OnnxNetwork(bundle.onnx))
    assert [f.pair for f in forecasts] == [p.pair for p in bundle.pairs]
    pair = bundle.pairs[0]
    last = np.log(panel.close[BARS - 1])
    assert pair.start.spread == pytest.approx(last[0] - pair.beta * last[2] - pair.mu, abs=1e-12)
    assert pair.start.bars == BARS
    assert state.bars.tolist() == [1, 1]


def test_a_pair_that_cannot_be_fitted_is_recorded_and_the_rest_goes_on() -> None:
    """A leg without data, a leg that never moves: each with its reason."""
    panel = market(BARS, symbols=("AAA", "BBB", "CCC", "DDD"))
    close = panel.close.copy()
    close[:, 3] = 20.0
    bundle = train_sector(task("AAA-DDD", "AAA-ZZZ", "AAA-BBB"), replace(panel, close=close), tiny_options())
    assert bundle.pairs[0].pair == "AAA-BBB"
    assert {r.pair: r.reason for r in bundle.rejections} == {"AAA-DDD": "constant_series", "AAA-ZZZ": "no_data"}


def test_a_sector_without_any_pair_is_an_error_that_says_why() -> None:
    """Nothing declared fits, nothing passes."""
    with pytest.raises(NoPairs, match="AAA-ZZZ: no_data: no data for ZZZ"):
        train_sector(task("AAA-ZZZ"), market(BARS, symbols=("XXX", "YYY", "AAA"), phi=0.999), tiny_options())


def test_a_span_that_is_too_short_is_an_error_that_says_so() -> None:
    """180 bars leave too little for any test part with a horizon of 30 bars."""
    options = tiny_options()
    long_horizon = options.model_copy(update={"bars": {"1d": options.bars["1d"].model_copy(update={"horizon_bars": 30})}, "bars_min": 100})
    with pytest.raises(SpanTooShort, match="at least 10 are needed"):
        train_sector(task("AAA-BBB"), market(180), long_horizon)


def test_the_bundle_of_a_training_survives_its_files() -> None:
    """What is registered is what was trained."""
    assert decode(encode(trained())) == trained()


def test_the_card_names_what_a_reader_must_know() -> None:
    """Span, every test made, the baseline beside each score, and a verdict that follows the p-value."""
    card = model_card(trained())
    for text in ("AAA-CCC", "AAA-BBB", "declared", "screened", "plain GARCH", "always-1", trained().digest, "over all 6 tests"):
        assert text in card
    significant = replace(trained(), metrics=trained().metrics | {"holdout_dm_statistic": 3.0, "holdout_dm_p_value": 0.003})
    assert "plain GARCH forecasts the variance better than the hybrid" in model_card(significant)
    vague = replace(trained(), metrics=trained().metrics | {"holdout_dm_p_value": 0.4})
    assert "cannot be told apart" in model_card(vague)


def test_intraday_training_learns_the_profile_of_the_session() -> None:
    """Bars with slots: one factor per slot, and forecasts that step through them."""
    panel: Panel = market(1500, slots=5)
    options = tiny_options()
    bundle = train_sector(replace(task("AAA-BBB"), bar="5min", slots=5), panel, options)
    assert [len(p.profile) for p in bundle.pairs] == [5] * len(bundle.pairs)
    assert bundle.horizon_bars == options.horizon_bars("5min")


def test_the_cards_figures_lie_beside_it_and_are_named_in_it() -> None:
    """One picture per spread and three of the scores; the same training gives the same bytes; none of it is in the digest."""
    training = train(task(*DECLARED), market(BARS), tiny_options())
    card = card_of(training)
    assert set(card.figures) == {"spread_AAA-BBB.png", "spread_AAA-CCC.png", "variance.png", "calibration.png", "qlike_by_fold.png"}
    assert all(f"]({name})" in card.text for name in card.figures)
    assert all(content.startswith(b"\x89PNG") for content in card.figures.values())
    assert card_of(training).figures == card.figures
    assert card.text.startswith(card.summary)
    assert training.bundle.digest == trained().digest


def test_the_registrys_description_of_a_version_has_room_for_the_summary() -> None:
    """MLflow holds 5,000 characters."""
    assert len(model_summary(trained())) < 4_500


def test_a_card_of_a_training_without_scores_draws_the_spreads_alone() -> None:
    """Nothing to calibrate, nothing to compare."""
    options = tiny_options(epochs_max=0)
    unscored = options.model_copy(update={"walk_forward": options.walk_forward.model_copy(update={"folds": 0})})
    card = card_of(train(task("AAA-BBB"), market(BARS), unscored))
    assert list(card.figures) == ["spread_AAA-BBB.png"]
