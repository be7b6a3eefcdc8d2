"""Protocol B on made data: forward only, repeatable, free of units, and refused where the file or the span cannot be used."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from realised_cases import made_file
from tandem.domain.errors import BadRecord, BadSetting
from tandem.quant.volatility import Kind
from tandem.research import spx, spx_garch, spx_linear, spx_networks
from tandem.research.daily_table import DailyTable
from tandem.research.records import ProtocolResult
from tandem.research.spx_data import RealisedDays, of_table, read_table

DAYS = 1_140
FIRST = 1_070  # one refit of the networks before the test, one at its start, one in it
MODELS = {*spx_linear.LINEAR, *spx_garch.MODELS, *spx_networks.PATHS, *spx_networks.NETWORKS}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DailyTable:
    return read_table(made_file(tmp_path_factory.mktemp("spx") / "made.parquet", DAYS))


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    """Steps that the run of `result` told of."""
    return []


@pytest.fixture(scope="module")
def result(table: DailyTable, told: list[tuple[str, int, int]]) -> ProtocolResult:
    return _run(table, progress=lambda *step: told.append(step))


def _run(table: DailyTable, *, last: int = DAYS - 1, progress: spx.Progress | None = None) -> ProtocolResult:
    return spx.run(table, test_from=table.days[FIRST], test_to=table.days[last], seeds=2, progress=progress)


def _changed(table: DailyTable, **columns: np.ndarray) -> DailyTable:
    return DailyTable(path=table.path, digest=table.digest, days=table.days, columns=table.columns | columns)


def _data(table: DailyTable, last: int = DAYS - 1) -> RealisedDays:
    return of_table(table, test_from=table.days[FIRST], test_to=table.days[last])


def _forecasts(result: ProtocolResult) -> Mapping[str, np.ndarray]:
    return result.forecasts["spx"]


def test_every_model_forecasts_every_test_day(result: ProtocolResult, table: DailyTable) -> None:
    assert set(result.models) == MODELS
    assert result.dates == tuple(map(str, table.days[FIRST:]))
    assert result.baseline == "log_har"
    assert result.horizon == 1  # trap 6: a one-day variance against a one-day target
    np.testing.assert_allclose(result.realised["spx"], table.columns["rv5"][FIRST:] * 1e4, rtol=1e-12)
    assert {model: len(seeds) for model, seeds in result.seeds.items()} == {"gru": 2, "garch_gru": 2}
    for model, members in result.members["spx"].items():
        np.testing.assert_allclose(members.mean(axis=0), _forecasts(result)[model], rtol=1e-12)


def test_no_forecast_knows_its_day_or_a_later_one(result: ProtocolResult, table: DailyTable) -> None:
    """Traps 2, 3, 4 and 7: what comes after the 65th test day is another market, and the first 66 forecasts stay bit for bit."""
    seen = FIRST + 65
    rv5, returns = table.columns["rv5"].copy(), table.columns["open_to_close"].copy()
    rv5[seen:] = rv5[seen:][::-1] * 9
    returns[seen:] = -3 * returns[seen:]

    other = _run(_changed(table, rv5=rv5, open_to_close=returns))

    for model, forecast in _forecasts(result).items():
        assert np.array_equal(_forecasts(other)[model][:66], forecast[:66]), model
        assert not np.array_equal(_forecasts(other)[model][66:], forecast[66:]), model
    for model, tails in result.tails["spx"].items():
        for tail, again in zip(tails, other.tails["spx"][model], strict=True):
            assert np.array_equal(tail.quantile[:66], again.quantile[:66]), model


def test_a_shorter_test_span_gives_the_same_forecasts(result: ProtocolResult, table: DailyTable) -> None:
    """Nothing is fitted on the count or the end of the test days; and a second run repeats the first, seeds included."""
    short = _run(table, last=DAYS - 20)

    for model, forecast in _forecasts(result).items():
        assert np.array_equal(_forecasts(short)[model], forecast[:-19]), model


def test_the_window_ends_the_day_before(table: DailyTable) -> None:
    data = _data(table)

    realised, returns = data.window(FIRST)

    assert len(realised) == len(returns) == 1_000
    assert realised[-1] == data.realised[FIRST - 1]
    assert data.last == DAYS - 1


def test_the_garch_state_moves_every_day_between_refits(table: DailyTable) -> None:
    """Trap 5: a state frozen at the refit would forecast the same variance until the next."""
    data = _data(table)
    fits = spx_garch.RollingFits(data, Kind.GJR)

    forecasts = spx_garch.forecasts(data, fits).variances[: spx_garch.REFIT_DAYS]

    assert {fits.refit_day(day) for day in range(FIRST, FIRST + spx_garch.REFIT_DAYS)} == {FIRST}
    assert len(set(forecasts.tolist())) == len(forecasts)


def test_refits_lie_on_one_grid_through_the_first_test_day(table: DailyTable) -> None:
    data = _data(table)
    fits = spx_garch.RollingFits(data, Kind.GARCH)

    assert spx_networks.refit_days(data) == [1_007, 1_070, 1_133]
    served = {1_000: 1_000, 1_003: 1_000, 1_004: 1_004, 1_069: 1_048, 1_070: 1_070, 1_091: 1_070, 1_092: 1_092}
    assert {day: fits.refit_day(day) for day in served} == served


def test_units_play_no_part_in_linear_and_garch_forecasts(table: DailyTable) -> None:
    """Trap 8: a market of half the volatility is forecast at half of it, a quarter of the variance."""
    calm = _changed(table, rv5=table.columns["rv5"] / 4, open_to_close=table.columns["open_to_close"] / 2)
    data, other = _data(table, FIRST + 30), _data(calm, FIRST + 30)

    for model in spx_linear.LINEAR:
        np.testing.assert_allclose(
            spx_linear.forecasts(other, model).variances, spx_linear.forecasts(data, model).variances / 4, rtol=1e-8, err_msg=model
        )
    gjr, gjr_other = (spx_garch.forecasts(d, spx_garch.RollingFits(d, Kind.GJR)).variances for d in (data, other))
    np.testing.assert_allclose(gjr_other, gjr / 4, rtol=1e-4)


def test_garch_is_fitted_on_returns_of_the_same_hours_as_the_target(table: DailyTable) -> None:
    """Trap 11: the returns are open to close as rv5 is, so forecasts and target have one level and nothing is rescaled."""
    data = _data(table)

    variances = spx_garch.forecasts(data, spx_garch.RollingFits(data, Kind.GARCH)).variances

    assert variances.mean() / data.realised[FIRST:].mean() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"rv5": lambda t: t.columns["rv5"] * 1e4}, "bad_unit"),  # trap 8: percent squared
        ({"open_to_close": lambda t: t.columns["open_to_close"] * 100}, "bad_unit"),  # percent
        ({"rv5": lambda t: np.repeat(t.columns["rv5"][::2], 2)}, "stale"),  # trap 3: filled forward
    ],
)
def test_a_file_in_other_units_or_filled_forward_is_refused(table: DailyTable, columns: dict, reason: str) -> None:
    broken = _changed(table, **{name: make(table) for name, make in columns.items()})

    with pytest.raises(BadRecord, match=reason):
        _data(broken)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [(999, 1_100, "999 days before .* need at least 1000"), (1_100, 1_105, "6 days .* need at least 10"), (1_100, 1_050, "is after")],
)
def test_a_span_without_enough_days_is_refused(table: DailyTable, first: int, last: int, message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        of_table(table, test_from=table.days[first], test_to=table.days[last])


@pytest.mark.parametrize("value", [0.0, -1e-5, float("nan"), float("inf")])
def test_a_variance_that_cannot_be_is_refused_with_its_day(tmp_path: Path, value: float) -> None:
    path = made_file(tmp_path / "made.parquet", 50)
    content = pq.read_table(path).to_pydict()
    content["rv5"][30] = value
    pq.write_table(pa.table(content), path)

    with pytest.raises(BadRecord, match=str(content["date"][30])):
        read_table(path)


def test_fewer_than_one_seed_is_refused(table: DailyTable) -> None:
    with pytest.raises(BadSetting, match="--seeds 0"):
        spx.run(table, test_from=table.days[FIRST], test_to=table.days[-1], seeds=0)


def test_progress_is_told_for_every_model(result: ProtocolResult, told: list[tuple[str, int, int]]) -> None:
    assert {model for model, *_ in told} == set(result.models)
    assert all(0 <= done <= count for _, done, count in told)
    assert ("garch_gru", 3, 3) in told
