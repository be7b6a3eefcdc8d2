"""The purged walk-forward: what reaches a fold's model, and what it is scored against."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from model_cases import market, tiny_options, with_gaps
from tandem.domain.ids import PairId, SectorId
from tandem.quant import garch, scores
from tandem.quant.history import fold
from tandem.quant.panel import Panel
from tandem.quant.volatility import Kind, Shocks
from tandem.trainer.baselines import ar1_probability, baseline_variances, unit_innovations
from tandem.trainer.evaluation import walk_forward_metrics
from tandem.trainer.forecasts import Forecasts, ScoredFold, by_time, joined
from tandem.trainer.pair_fits import fit_pairs
from tandem.trainer.span_fit import NoPairs, SectorTask, fit_span, samples_for
from tandem.trainer.walk_forward import borders, score, walk_forward

BARS = 700
TASK = SectorTask(sector=SectorId("consumer"), bar="1d", slots=1, declared=(PairId("AAA-CCC"),), data_digest="d" * 64)


@cache
def folds() -> tuple[ScoredFold, ...]:
    """Three folds of one declared pair and one that screening finds."""
    return tuple(walk_forward(TASK, market(BARS), tiny_options()))


def forecasts_of(scored: ScoredFold) -> Forecasts:
    """They are there."""
    assert scored.forecasts is not None
    return scored.forecasts


def other_after(panel: Panel, bars: int) -> Panel:
    """The panel with another market's prices from a bar on, joined without a jump."""
    other, close = market(BARS, seed=99).close, panel.close.copy()
    close[bars:] = other[bars:] * (close[bars - 1] / other[bars - 1])
    return replace(panel, close=close)


def test_the_test_parts_lie_side_by_side_at_the_end_of_the_span() -> None:
    """Each bar is tested once, and the first model has seen more than half of the span."""
    assert borders(1000, folds=3, test_share=0.15) == ((550, 700), (700, 850), (850, 1000))
    assert borders(1000, folds=0, test_share=0.15) == ()


def test_a_test_part_influences_nothing_but_its_scores() -> None:
    """Traps of full-sample scaling, profiles and GARCH, of stopping, seeds and thresholds by the test part, and of selection on it, in one.

    With other prices from its border on, a fold's pairs, parameters, scaler, weights and calibration are the same bit for bit.
    """
    panel, options = market(BARS), tiny_options()
    for border in borders(BARS, folds=3, test_share=0.15):
        one, two = (fit_span(TASK, p.before(border[0]), options) for p in (panel, other_after(panel, border[0])))
        assert one.fits == two.fits
        assert (one.onnx, one.calibration) == (two.onnx, two.calibration)
        np.testing.assert_array_equal(one.feature_mean, two.feature_mean)
        np.testing.assert_array_equal(one.feature_sd, two.feature_sd)
    here, there = (
        score(TASK, p, options, fitted=fit_span(TASK, p.before(595), options), border=(595, 700)) for p in (panel, other_after(panel, 595))
    )
    assert here.fold == there.fold
    assert not np.array_equal(forecasts_of(here).realised, forecasts_of(there).realised)


def test_what_comes_after_a_fold_does_not_reach_its_scores() -> None:
    """The first fold is the same whatever the prices of the second: its labels end before its border."""
    first = next(iter(walk_forward(TASK, other_after(market(BARS), 490), tiny_options())))
    assert borders(BARS, folds=3, test_share=0.15)[0] == (385, 490)
    assert first.fold == folds()[0].fold
    for name, values in forecasts_of(folds()[0]).variances.items():
        np.testing.assert_array_equal(forecasts_of(first).variances[name], values)
    np.testing.assert_array_equal(forecasts_of(first).profits["hybrid"], forecasts_of(folds()[0]).profits["hybrid"])


def test_windows_and_labels_do_not_cross_a_border() -> None:
    """Purged by ten bars of window before, and by the horizon after."""
    panel, options = market(BARS), tiny_options()
    for scored, (start, stop) in zip(folds(), borders(BARS, folds=3, test_share=0.15), strict=True):
        made = forecasts_of(scored).close_ns
        assert made.min() == panel.close_ns[start + options.network.sequence - 1]
        assert made.max() == panel.close_ns[stop - 1 - options.horizon_bars("1d") - 1]


def test_pairs_are_chosen_before_each_test_part() -> None:
    """Trap of pairs chosen on the period that they trade on: a pair that comes apart only later is still in the folds before."""
    panel = market(BARS)
    close = panel.close.copy()
    drift = np.cumsum(np.random.default_rng(5).normal(0, 0.03, BARS - 490))
    close[490:, 0] *= np.exp(drift)
    broken = tuple(walk_forward(TASK, replace(panel, close=close), tiny_options(epochs_max=0)))
    assert broken[0].fold.pairs == ("AAA-CCC", "AAA-BBB") == broken[1].fold.pairs
    assert "AAA-BBB" not in broken[2].fold.pairs


def test_a_model_sees_the_past_only_and_by_parameters_of_its_own_part() -> None:
    """Trap of a full-sample GARCH as "history": rows before the border are the same whether later bars are there or not."""
    panel, options = market(BARS), tiny_options()
    pairs = fit_pairs(panel.before(490), TASK.declared, 1, options).pairs
    short, long = fold(panel.before(490), pairs), fold(panel, pairs)
    for before, whole in zip(short, long, strict=True):
        np.testing.assert_array_equal(whole.rows[: len(before.rows)], before.rows)
    assert fit_pairs(panel, TASK.declared, 1, options).pairs[0].volatility != pairs[0].volatility


def test_the_realised_variance_is_of_the_one_bar_that_was_forecast() -> None:
    """Traps of centred or filled realised volatility, and of one day's sigma against several: one forecast, one bar, one square."""
    panel, options = with_gaps(market(BARS), seed=3, share=0.1), tiny_options()
    pairs = fit_pairs(panel, (PairId("AAA-BBB"),), 1, options).pairs
    (history,) = (h for h in fold(panel, pairs) if h.pair.pair == "AAA-BBB")
    samples = samples_for([history], TASK, options)
    number = dict(zip(panel.close_ns.tolist(), range(BARS), strict=True))
    logs = np.log(panel.close)
    pair = history.pair
    for made_ns, realised in zip(samples.close_ns.tolist(), samples.realised.tolist(), strict=True):
        t = number[made_ns]
        now, after = (logs[i, 0] - pair.beta * logs[i, 1] - pair.mu for i in (t, t + 1))  # NaN, had the next bar been filled
        assert realised == pytest.approx((after - pair.intercept - pair.phi * now) ** 2, rel=1e-9, abs=1e-18)


def test_the_baselines_move_with_every_bar_of_the_test_part() -> None:
    """Trap of a state that stands still between refits: a shock in the test part moves each baseline's next forecast at once."""
    panel, options = market(BARS), tiny_options()
    pairs = fit_pairs(panel.before(595), (PairId("AAA-BBB"),), 1, options).pairs
    close = panel.close.copy()
    close[650:, 0] *= 1.2
    shocked = replace(panel, close=close)
    calm, moved = (baseline_variances(p, fold(p, pairs), trained_to_ns=int(panel.close_ns[594])) for p in (panel, shocked))
    at = 650 - 1  # histories begin with the second bar
    for model in calm:
        np.testing.assert_array_equal(calm[model][:at], moved[model][:at])
        assert moved[model][at] > 1.5 * calm[model][at], model
    garch = [fold(p, pairs)[0].garch_variance[at] for p in (panel, shocked)]
    assert garch[1] > 1.5 * garch[0]


def test_ewma_is_riskmetrics() -> None:
    """h' = .94 h + .06 x^2, started at the training variance, to seven digits."""
    panel = market(BARS)
    pairs = fit_pairs(panel, (PairId("AAA-BBB"),), 1, tiny_options()).pairs[:1]
    histories = fold(panel, pairs)
    expected, level = [], 1.0
    for x in unit_innovations(histories[0]).tolist():
        level = 0.94 * level + 0.06 * x**2
        expected.append(level * pairs[0].volatility.scale ** 2)
    found = baseline_variances(panel, histories, trained_to_ns=int(panel.close_ns[-1]))["ewma"]
    assert found == pytest.approx(expected, rel=1e-6)


def test_har_is_least_squares_on_means_of_a_day_a_week_and_a_month() -> None:
    """By the definition, on the training rows; its level is that of what it was fitted on."""
    panel = market(BARS)
    pairs = fit_pairs(panel, (PairId("AAA-BBB"),), 1, tiny_options()).pairs[:1]
    histories = fold(panel, pairs)
    squares = unit_innovations(histories[0]) ** 2
    rows = [(1.0, squares[t], squares[t - 4 : t + 1].mean(), squares[t - 21 : t + 1].mean()) for t in range(21, len(squares))]
    design = np.array(rows)
    weights = np.linalg.lstsq(design[:-1], squares[22:], rcond=None)[0]
    expected = np.maximum(design @ weights, 0.05 * squares.mean()) * pairs[0].volatility.scale ** 2
    found = baseline_variances(panel, histories, trained_to_ns=int(panel.close_ns[-1]))["har"]
    assert found[21:] == pytest.approx(expected, rel=1e-9)


def test_percent_or_decimal_prices_make_no_difference() -> None:
    """Trap of units: with log prices a hundred times as large, the unit-scale parameters are the same and the scale is a hundredfold."""
    panel = market(BARS)
    hundredfold = replace(panel, close=np.exp(100 * (np.log(panel.close) - np.log(panel.close[0]))))
    decimal, percent = (fit_pairs(p, (PairId("AAA-BBB"),), 1, tiny_options()).pairs[0] for p in (panel, hundredfold))
    assert percent.beta == pytest.approx(decimal.beta, rel=1e-9)
    assert percent.volatility.scale == pytest.approx(100 * decimal.volatility.scale, rel=1e-9)
    found, expected = ((v.omega, v.alpha, v.gamma, v.beta) for v in (percent.volatility, decimal.volatility))
    assert found == pytest.approx(expected, abs=1e-5)


def test_gjr_is_filtered_as_if_it_were_served() -> None:
    """Its state moves by the serving step, from parameters of `garch.fit`: the path is that of the likelihood it was fitted by."""
    panel = market(BARS)
    pairs = fit_pairs(panel, (PairId("AAA-BBB"),), 1, tiny_options()).pairs[:1]
    histories = fold(panel, pairs)
    found = baseline_variances(panel, histories, trained_to_ns=int(panel.close_ns[-1]))["gjr"]
    own = garch.fit(unit_innovations(histories[0]), Kind.GJR, Shocks.STUDENT_T)
    scale = pairs[0].volatility.scale
    again = fold(panel, [replace(pairs[0], volatility=replace(own, scale=own.scale * scale))])[0]
    np.testing.assert_array_equal(found, again.garch_variance)
    path = garch.variance_path(unit_innovations(histories[0]) / own.scale, own)
    assert found[100:-1] == pytest.approx(path[101:] * (own.scale * scale) ** 2, rel=1e-3)  # the two start differently, which fades


def test_the_variance_model_is_the_best_by_bic_of_all_that_were_tried() -> None:
    """Nine by default, all on record, the best first."""
    pair = fit_pairs(market(BARS), (PairId("AAA-BBB"),), 1, tiny_options()).pairs[0]
    assert len({(one.kind, one.shocks) for one in pair.candidates}) == 9
    best = pair.candidates[0]
    assert (best.kind, best.shocks) == (pair.volatility.kind, pair.volatility.shocks)
    sound = [one.bic for one in pair.candidates if one.bic is not None and not one.rejected]
    assert best.bic == min(sound)


def test_an_ar1_predicts_reversions_of_an_ar1() -> None:
    """On its own process the baseline is calibrated; far from the mean a reversion is surer than near it."""
    panel, options = market(4000, phi=0.9), tiny_options()
    pairs = fit_pairs(panel, (PairId("AAA-BBB"),), 1, options).pairs[:1]
    histories = fold(panel, pairs)
    samples = samples_for(histories, TASK, options)
    cost = 2 * (1 + abs(pairs[0].beta)) * options.cost_bps * 1e-4
    chance = ar1_probability(pairs[0], histories[0].spread, horizon_bars=5, cost=cost)[samples.last_row]
    assert chance.mean() == pytest.approx(samples.reverted.mean(), abs=0.03)
    far = chance > np.quantile(chance, 0.8)
    assert samples.reverted[far].mean() == pytest.approx(chance[far].mean(), abs=0.06)
    assert samples.reverted[far].mean() > samples.reverted[~far].mean()


def test_a_fold_without_a_model_is_recorded_and_the_rest_goes_on() -> None:
    """A pair that is too young for the first fold: its reason stands in the record; later folds are scored."""
    panel = market(BARS)
    close = panel.close.copy()
    close[:180, 2] = np.nan
    young = tuple(walk_forward(TASK, replace(panel, close=close, symbols=panel.symbols), tiny_options(epochs_max=0)))
    only = replace(TASK, declared=(PairId("BBB-CCC"),))
    alone = tuple(
        walk_forward(only, replace(panel, close=np.delete(close, 0, axis=1), symbols=panel.symbols[1:]), tiny_options(epochs_max=0))
    )
    assert young[0].fold.pairs == ("AAA-BBB",)
    assert "too_few_bars" in alone[0].fold.skipped
    assert alone[0].forecasts is None
    assert [scored.fold.skipped for scored in alone[1:]] == ["", ""]
    metrics = walk_forward_metrics(alone, trials=1, horizon_bars=5)
    assert metrics["holdout_folds"] == 2.0
    assert "fold_1_qlike_hybrid" not in metrics


def test_without_any_model_the_last_reason_is_raised() -> None:
    """No fold, no score, no bundle."""
    with pytest.raises(NoPairs, match="no data for ZZZ"):
        list(
            walk_forward(
                replace(TASK, declared=(PairId("AAA-ZZZ"),)), market(BARS, symbols=("XXX", "YYY", "AAA"), phi=0.999), tiny_options()
            )
        )


def test_scores_of_one_bar_count_once() -> None:
    """Trap of a test that takes pairs for independent: Diebold-Mariano sees the mean over the pairs at each time."""
    np.testing.assert_allclose(by_time(np.array([1, 1, 2, 3, 3]), np.array([1.0, 3.0, 5.0, 0.0, 1.0])), [2.0, 5.0, 0.5])


def test_pooled_scores_are_over_all_folds() -> None:
    """And each baseline has its QLIKE, its MSE, its Diebold-Mariano and its place in the confidence set."""
    metrics = walk_forward_metrics(folds(), trials=1, horizon_bars=5)
    pooled = joined([forecasts_of(scored) for scored in folds()])
    assert metrics["holdout_windows"] == len(pooled) == sum(scored.fold.windows for scored in folds())
    for model in pooled.variances:
        per_fold = [metrics[f"fold_{number}_qlike_{model}"] for number in (1, 2, 3)]
        assert min(per_fold) <= metrics[f"holdout_qlike_{model}"] <= max(per_fold)
        assert 0 <= metrics[f"holdout_mcs_p_{model}"] <= 1
    assert max(metrics[f"holdout_mcs_p_{model}"] for model in pooled.variances) == 1.0
    assert {
        "holdout_dm_statistic",
        "holdout_dm_statistic_gjr",
        "holdout_dm_statistic_har",
        "holdout_dm_statistic_ewma",
        "holdout_auc_ar1",
        "holdout_brier_dm_p_value",
    } <= set(metrics)


def test_losses_that_hang_together_are_no_independent_proof() -> None:
    """Trap of a Diebold-Mariano test without lags: where losses persist, the test of the metrics is less sure than one that ignores it."""
    part = forecasts_of(folds()[0])
    times = np.arange(400, dtype=np.int64)
    wave = np.exp(0.8 * np.sin(times / 25))  # a forecast that is too low for months and too high for others
    flat = np.ones(400)
    realised = np.exp(np.random.default_rng(0).normal(0.3, 0.3, 400)) * wave
    slow = replace(
        part,
        pair=np.full(400, "AAA-BBB"),
        close_ns=times,
        unit_variance=flat,
        realised=realised,
        variances={"hybrid": 1.6 * flat, "garch": flat, "har": flat, "gjr": flat, "ewma": flat},
        reverted=times % 2 == 0,
        probabilities=dict.fromkeys(part.probabilities, 0.5 * flat),
    )
    metrics = walk_forward_metrics([ScoredFold(fold=folds()[0].fold, forecasts=slow)], trials=1, horizon_bars=5)
    naive = scores.diebold_mariano(scores.qlike(realised, 1.6 * flat), scores.qlike(realised, flat), horizon=1, lags=0)
    assert abs(metrics["holdout_dm_statistic"]) < 0.7 * abs(naive.statistic)


def test_all_tests_that_were_made_count_both_directions_of_each_pair() -> None:
    """Trap of multiple testing: a pair's q-value is its p-value times what was tested, of 2 x 3 tests here, not of its own two."""
    found = fit_pairs(market(BARS, phi=0.97), (), 1, tiny_options()).tests
    p_values = sorted(p for test in found for p in (test.p_value, test.p_value_reverse))
    assert len(p_values) == 6
    best = min(found, key=lambda test: test.q_value)
    expected = min(p * 6 / rank for rank, p in enumerate(p_values, start=1))
    assert best.q_value == pytest.approx(min(1.0, expected), rel=1e-9)
    assert any(test.p_value != test.p_value_reverse for test in found)
