"""A report scores what it was given, in the promised shape, with no number that JSON cannot hold."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import orjson
import pytest

from tandem.domain.errors import BadSetting, InvariantBroken
from tandem.quant import scores
from tandem.research.records import ProtocolResult, TailForecast
from tandem.research.report import document, markdown, write_report
from tandem.research.scoring import score

N = 200
RNG = np.random.default_rng(11)
TRUE = np.exp(0.5 * RNG.standard_normal(N))
REALISED = TRUE * RNG.chisquare(5, N) / 5
MEMBERS = TRUE * np.exp(0.1 * RNG.standard_normal((3, N)))


def _result(**change: object) -> ProtocolResult:
    result = ProtocolResult(
        protocol="spx",
        data_digest="ab" * 32,
        dates=tuple(str(day) for day in np.arange("2014-01-01", "2014-07-20", dtype="datetime64[D]"))[:N],
        realised={"spx": REALISED},
        forecasts={"spx": {"log_har": np.full(N, 1.1), "garch_gru": MEMBERS.mean(axis=0), "twice": 2 * TRUE}},
        baseline="log_har",
        block=10,
        horizon=1,
        seeds={"garch_gru": (1, 2, 3)},
        settings={"window": 1000},
        cpu_seconds={"garch_gru": 2.0},
        members={"spx": {"garch_gru": MEMBERS}},
        notes=("Chosen before the test.",),
    )
    return replace(result, **change)


def test_the_document_has_the_promised_keys_and_the_scores_of_quant() -> None:
    found = document(_result(), score(_result()))
    assert list(found)[:4] == ["protocol", "data_digest", "n_test", "models"]
    row = found["models"]["garch_gru"]
    assert {"qlike", "mse", "mae", "r2", "dm_t_vs_log_har", "mcs_p"} <= row.keys()
    forecast = MEMBERS.mean(axis=0)
    assert row["qlike"] == pytest.approx(scores.qlike(REALISED, forecast).mean(), rel=1e-12)
    assert row["mse"] == pytest.approx(scores.mse(REALISED, forecast), rel=1e-12)
    assert row["r2"] == pytest.approx(scores.r2(REALISED, forecast), rel=1e-12)
    test = scores.diebold_mariano(
        scores.qlike(REALISED, forecast), scores.qlike(REALISED, np.full(N, 1.1)), horizon=1, lags=scores.newey_west_lags(N)
    )
    assert row["dm_t_vs_log_har"] == pytest.approx(test.statistic, rel=1e-12)
    assert found["models"]["log_har"]["dm_t_vs_log_har"] is None
    assert found["n_test"] == N
    assert "series" not in found  # one series: its table is the table
    json.loads(orjson.dumps(found))


def test_the_best_model_is_in_the_confidence_set_and_a_biased_one_is_not() -> None:
    found = document(_result(), score(_result()))
    assert found["confidence_set"]["models"] == ["garch_gru"]
    assert found["models"]["garch_gru"]["mcs_p"] == 1.0


def test_seeds_give_mean_and_deviation_of_each_seeds_own_score() -> None:
    row = score(_result()).pooled["garch_gru"]
    each = [scores.qlike(REALISED, member).mean() for member in MEMBERS]
    assert row["qlike_seed_mean"] == pytest.approx(np.mean(each), rel=1e-12)
    assert row["qlike_seed_sd"] == pytest.approx(np.std(each, ddof=1), rel=1e-12)
    assert row["seeds"] == [1, 2, 3]


def test_volatilities_are_squared_before_they_are_ranked() -> None:
    """QLIKE and Diebold-Mariano are those of the variances; MSE is in the scale that the forecasts have."""
    result = _result(
        volatility_scale=True,
        realised={"spx": np.sqrt(REALISED)},
        forecasts={"spx": {m: np.sqrt(f) for m, f in _result().forecasts["spx"].items()}},
        members={},
    )
    mine, plain = score(result).pooled["garch_gru"], score(_result()).pooled["garch_gru"]
    assert mine["qlike"] == pytest.approx(plain["qlike"], rel=1e-12)
    assert mine["dm_t_vs_log_har"] == pytest.approx(plain["dm_t_vs_log_har"], rel=1e-9)
    assert mine["mse"] == pytest.approx(scores.mse(np.sqrt(REALISED), np.sqrt(MEMBERS.mean(axis=0))), rel=1e-12)


def test_pooled_losses_are_day_means_over_the_headline_series() -> None:
    """Two series that are copies of one give the test of one: a common shock is not counted twice."""
    one = _result()
    two = _result(
        realised={"a": REALISED, "b": REALISED},
        forecasts={"a": one.forecasts["spx"], "b": one.forecasts["spx"]},
        members={},
    )
    pooled, single = score(two).pooled["garch_gru"], score(one).pooled["garch_gru"]
    assert pooled["dm_t_vs_log_har"] == pytest.approx(single["dm_t_vs_log_har"], rel=1e-9)
    found = document(two, score(two))
    assert set(found["series"]) == {"a", "b"}
    assert document(replace(two, pooled=("b",)), score(replace(two, pooled=("b",))))["pooled_series"] == ["b"]


def test_overlapping_targets_get_their_lags() -> None:
    """A horizon of 9 asks for 8 lags, more than the usual 4 of 200 labels."""
    wide = score(_result(horizon=9)).pooled["garch_gru"]["dm_t_vs_log_har"]
    losses = (scores.qlike(REALISED, MEMBERS.mean(axis=0)), scores.qlike(REALISED, np.full(N, 1.1)))
    assert wide == pytest.approx(scores.diebold_mariano(*losses, horizon=9, lags=8).statistic, rel=1e-12)


def test_tails_are_tested_per_level() -> None:
    returns = np.sqrt(TRUE) * RNG.standard_normal(N)
    tails = tuple(TailForecast(level=p, quantile=z * np.sqrt(TRUE), shortfall=s * np.sqrt(TRUE)) for p, z, s in _NORMAL)
    result = _result(returns={"spx": returns}, tails={"spx": {"garch_gru": tails}})
    row = score(result).pooled["garch_gru"]
    assert row["tails"]["0.05"]["kupiec_p"] == row["kupiec_p"] > 0.05
    assert {"christoffersen_p", "dynamic_quantile_p", "pinball", "acerbi_szekely_z2"} <= row["tails"]["0.01"].keys()
    assert "## Tails" in markdown(result, score(result))


_NORMAL = ((0.05, -1.6449, -2.0627), (0.01, -2.3263, -2.6652))


def test_small_variances_are_not_printed_as_zero() -> None:
    """The variance of a daily spread is about 1e-4, its MSE 1e-8."""
    small = {m: 1e-4 * f for m, f in _result().forecasts["spx"].items()}
    result = _result(realised={"spx": 1e-4 * REALISED}, forecasts={"spx": small}, members={})
    mse = score(result).pooled["garch_gru"]["mse"]
    assert 0 < mse < 1e-6
    assert f"{mse:.2e}" in markdown(result, score(result))


def test_clark_west_stands_beside_nested_models() -> None:
    assert score(_result(nested={"garch_gru": "log_har"})).pooled["garch_gru"]["clark_west_t_vs_log_har"] > 2


def test_a_realised_series_that_does_not_move_gives_null_with_its_reason() -> None:
    result = _result(realised={"spx": np.ones(N)})
    found = document(result, score(result))
    assert found["models"]["garch_gru"]["r2"] is None
    assert found["undefined"] == ["spx: r2 of a realised series that does not move"]


def test_too_few_labels_give_losses_without_tests() -> None:
    short = {m: f[:5] for m, f in _result().forecasts["spx"].items()}
    result = _result(dates=_result().dates[:5], realised={"spx": REALISED[:5]}, forecasts={"spx": short}, members={})
    row = score(result).pooled["garch_gru"]
    assert row["qlike"] > 0
    assert row["dm_t_vs_log_har"] is None
    assert row["mcs_p"] is None
    assert "5 labels" in score(result).undefined[0]


def test_a_number_that_is_not_finite_never_reaches_the_file() -> None:
    with pytest.raises(InvariantBroken, match=r"report\.settings\.x is nan"):
        document(_result(settings={"x": float("nan")}), score(_result()))


def test_three_files_lie_beside_each_other_and_the_same_result_gives_the_same_document(tmp_path: Path) -> None:
    backend = matplotlib.get_backend()
    files = write_report(_result(), tmp_path / "new" / "report.json")
    assert files.figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "| **garch_gru** |" in files.markdown.read_text()
    again = write_report(_result(), tmp_path / "again.json")
    assert files.document.read_bytes() == again.document.read_bytes()
    assert files.figure.read_bytes() == again.figure.read_bytes()
    assert matplotlib.get_backend() == backend
    with pytest.raises(BadSetting, match="must end in"):
        write_report(_result(), tmp_path / "report.txt")
