"""Protocol C: what each forecast may see, what its label is, and that the baselines are not made weak."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_cases import market, pair_model, tiny_options
from tandem.adapters.calendar import session_grid
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.quant import garch
from tandem.quant.cointegration import fit_spread
from tandem.quant.history import fold
from tandem.quant.scores import diebold_mariano, newey_west_lags, qlike
from tandem.research.records import ProtocolResult
from tandem.research.report import document, markdown
from tandem.research.scoring import score
from tandem.research.spread import SpreadRule, run
from tandem.research.spread_labels import labels_of
from tandem.research.spread_universe import SpreadRequest, SpreadUniverse, load_spreads
from tandem.trainer.options import TrainingOptions

BARS, FIRST = 720, 600
RULE = SpreadRule(window_bars=500, refit_bars=60)
PAIRS = {SectorId("one"): (PairId("AAA-BBB"), PairId("AAA-CCC"))}


def universe(close: np.ndarray | None = None) -> SpreadUniverse:
    """Three symbols with 120 test bars."""
    panel = market(BARS, phi=0.8)
    panel = panel if close is None else replace(panel, close=close)
    return SpreadUniverse(panel=panel, slots=1, first_test=FIRST, pairs=PAIRS, rejections=(), data_digest="d" * 64)


def options(**network: float) -> TrainingOptions:
    """Small, and willing to correct."""
    return tiny_options(**({"hidden": 4, "epochs_max": 2, "learning_rate": 3e-3} | network))


@cache
def walked() -> ProtocolResult:
    """One run that the tests share."""
    return run(universe(), bar="1d", options=options(), rule=RULE)


def test_no_price_of_the_test_span_changes_a_forecast_before_it() -> None:
    """Other prices from bar 650 on: forecasts made before it are the same bit for bit in each model, later ones are not."""
    close = market(BARS, phi=0.8).close.copy()
    close[650:] *= np.exp(np.cumsum(0.05 * np.random.default_rng(5).standard_normal((BARS - 650, 3)), axis=0))
    other = run(universe(close), bar="1d", options=options(), rule=RULE)
    for pair in walked().realised:
        assert np.array_equal(walked().realised[pair][:50], other.realised[pair][:50])
        for model, forecast in walked().forecasts[pair].items():
            assert np.array_equal(forecast[:51], other.forecasts[pair][model][:51]), model
            assert not np.array_equal(forecast[51:], other.forecasts[pair][model][51:]), model


def test_the_label_is_the_next_bars_squared_innovation_by_the_last_refit() -> None:
    """Hedge ratio and AR(1) from the 500 bars before each refit."""
    panel = universe().panel
    for pair in walked().realised:
        leg_a, leg_b = (panel.log_close(leg) for leg in pair_legs(PairId(pair)))
        for start in (FIRST, FIRST + 60):
            window = slice(start - 500, start)
            fitted = fit_spread(leg_a[window], leg_b[window], bars_min=250)
            spread = leg_a - fitted.beta * leg_b - fitted.mu
            innovation = spread[1:] - fitted.intercept - fitted.phi * spread[:-1]
            labels = walked().realised[pair][start - FIRST : start - FIRST + 60]
            np.testing.assert_allclose(labels, innovation[start - 1 : start + 59] ** 2, rtol=1e-9, atol=1e-16)


def test_the_garch_baseline_moves_with_every_bar() -> None:
    """Trap of a frozen state: between refits each forecast is the recursion on the bar before, with the parameters of the refit."""
    panel, (pair, *_) = universe().panel, walked().realised
    leg_a, leg_b = (panel.log_close(leg)[FIRST - 500 : FIRST] for leg in pair_legs(PairId(pair)))
    fitted = garch.fit(fit_spread(leg_a, leg_b, bars_min=250).innovations)
    forecast, label = walked().forecasts[pair]["garch"][:60], walked().realised[pair][:60]
    stepped = fitted.omega * fitted.scale**2 + fitted.alpha * label[:-1] + fitted.beta * forecast[:-1]
    np.testing.assert_allclose(forecast[1:], stepped, rtol=1e-9)


def test_an_untrained_network_is_the_pairs_own_model() -> None:
    """Without epochs the network's column is that of the model chosen by BIC, bit for bit."""
    result = run(universe(), bar="1d", options=options(epochs_max=0), rule=RULE)
    for by_model in result.forecasts.values():
        assert np.array_equal(by_model["garch_gru"], by_model["bic"])


def test_every_model_is_there_and_the_bands_have_their_coverage() -> None:
    """A 5 % band holds 5 % of the labels outside, within what 240 labels can tell."""
    result = walked()
    assert result.models == ("garch_gru", "ewma", "garch", "gjr", "egarch", "bic", "har")
    assert result.baseline == "garch"
    assert result.settings["sectors"] == {"one": ["AAA-BBB", "AAA-CCC"]}
    for model in result.models:
        tails = [(result.returns[pair], result.tails[pair][model][0]) for pair in result.realised]
        outside = np.mean([np.mean(returns < tail.quantile) for returns, tail in tails])
        assert 0.01 < outside < 0.12, model


def test_har_forecasts_better_than_a_constant() -> None:
    """On a spread with GARCH innovations its levels say something."""
    pair = "AAA-BBB"
    realised, forecast = walked().realised[pair], walked().forecasts[pair]["har"]
    assert qlike(realised, forecast).mean() < qlike(realised, np.full(len(realised), 4 * realised.mean())).mean()
    assert len(np.unique(forecast)) == len(forecast)


def test_a_network_for_each_sector_sees_that_sector_only() -> None:
    """Not pooled: the other sector's prices change nothing."""
    apart = {SectorId("one"): (PairId("AAA-BBB"),), SectorId("two"): (PairId("CCC-DDD"),)}
    panel = market(BARS, phi=0.8, symbols=("AAA", "BBB", "CCC", "DDD"))
    close = panel.close.copy()
    close[:, 3] = close[::-1, 3]
    rule = replace(RULE, pooled=False, refit_bars=120)
    results = [
        run(replace(universe(), panel=replace(panel, close=prices), pairs=apart), bar="1d", options=options(), rule=rule)
        for prices in (panel.close, close)
    ]
    for model in results[0].models:
        assert np.array_equal(*(result.forecasts["AAA-BBB"][model] for result in results)), model


def write_closes(path: Path, sectors: dict[str, str] | None) -> Path:
    """Daily closes of five symbols over three years of sessions; AAA, BBB and EEE move together."""
    days = session_grid("1d", 1_400_000_000 * 10**9, 1_495_000_000 * 10**9).open_ns // 86_400_000_000_000
    rng = np.random.default_rng(3)
    common = rng.standard_normal(len(days))
    table: dict[str, list[object]] = {"symbol": [], "date": [], "close": []}
    for name, share in (("AAA", 0.9), ("BBB", 0.8), ("CCC", 0.0), ("DDD", 0.0), ("EEE", 0.7)):
        moves = 0.01 * (share * common + (1 - share) * rng.standard_normal(len(days)))
        table["symbol"] += [name] * len(days)
        table["date"] += days.tolist()
        table["close"] += np.exp(3 + np.cumsum(moves)).tolist()
    arrays = {"symbol": table["symbol"], "date": pa.array(table["date"], pa.int32()).cast(pa.date32()), "close": table["close"]}
    if sectors is not None:
        arrays["sector"] = [sectors[str(name)] for name in table["symbol"]]
    pq.write_table(pa.table(arrays), path)
    return path


def request(path: Path, **changes: object) -> SpreadRequest:
    """The last part of the file is tested on."""
    test = {"test_from_ns": 1_470_000_000 * 10**9, "test_to_ns": 1_494_000_000 * 10**9}
    sectors = {SectorId("left"): (Symbol("AAA"), Symbol("CCC")), SectorId("right"): (Symbol("BBB"), Symbol("DDD"), Symbol("ZZZ"))}
    return SpreadRequest(**({"data": path, "bar": "1d", "sectors": sectors} | test | changes))  # type: ignore[arg-type]  # of mixed values


def test_the_files_own_sectors_come_first_then_the_configurations_then_one_group(tmp_path: Path) -> None:
    """Pairs are made inside a sector only."""
    own = write_closes(tmp_path / "own.parquet", {"AAA": "X", "BBB": "X", "EEE": "X", "CCC": "Y", "DDD": "Y"})
    bare = write_closes(tmp_path / "bare.parquet", None)
    assert load_spreads(request(own)).pairs == {"x": ("AAA-BBB", "AAA-EEE", "BBB-EEE"), "y": ("CCC-DDD",)}
    assert load_spreads(request(bare)).pairs == {"left": ("AAA-CCC",), "right": ("BBB-DDD",)}
    assert len(load_spreads(request(bare, sectors={})).pairs["all"]) == 10
    assert load_spreads(request(own, sector=SectorId("y"))).pairs == {"y": ("CCC-DDD",)}


def test_of_many_pairs_the_most_correlated_before_the_test_are_taken(tmp_path: Path) -> None:
    """By what was known then."""
    path = write_closes(tmp_path / "bare.parquet", None)
    assert load_spreads(request(path, sectors={}, pairs_max=2)).pairs == {"all": ("AAA-BBB", "AAA-EEE")}


def test_too_little_before_the_test_span_is_said(tmp_path: Path) -> None:
    """Bars before it are needed to fit on."""
    path = write_closes(tmp_path / "bare.parquet", None)
    with pytest.raises(Permanent, match="bars before the test span"):
        load_spreads(request(path, test_from_ns=1_405_000_000 * 10**9))


def test_the_report_scores_each_sector_apart() -> None:
    """Diebold-Mariano over a sector's pairs is that of their losses averaged for each day."""
    result = replace(walked(), groups={"one": ("AAA-BBB", "AAA-CCC"), "first": ("AAA-BBB",)})
    found = score(result)
    losses = {
        model: np.mean([qlike(result.realised[pair], result.forecasts[pair][model]) for pair in result.groups["one"]], axis=0)
        for model in ("garch_gru", "garch")
    }
    by_hand = diebold_mariano(losses["garch_gru"], losses["garch"], horizon=1, lags=newey_west_lags(len(result.dates)))
    assert found.groups["one"]["garch_gru"]["dm_t_vs_garch"] == pytest.approx(by_hand.statistic, rel=1e-12)
    assert found.groups["first"] == found.series["AAA-BBB"]
    assert document(result, found)["groups"] == found.groups
    assert "Mean over one: AAA-BBB, AAA-CCC" in markdown(result, found)


def test_a_bar_that_one_model_has_no_forecast_for_has_no_label() -> None:
    """EGARCH can run into a variance of nothing: then that bar is nobody's, and the others stay with their own."""
    panel = universe().panel
    pairs = [pair_model("AAA", "BBB"), pair_model("AAA", "CCC")]
    (history, _) = fold(panel, pairs)
    whole = {"garch_gru": history.garch_variance, "egarch": history.garch_variance.copy()}
    whole["egarch"][699] = np.nan  # the forecast for bar 701 of the panel: the history begins with its second bar
    labels = labels_of(history, whole, from_ns=int(panel.close_ns[600]))
    assert set(panel.close_ns[600:]) - set(labels.close_ns) == {panel.close_ns[701]}
    assert np.isfinite(labels.forecasts["egarch"]).all()
