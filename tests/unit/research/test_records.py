"""A protocol's result cannot exist with holes, other shapes or unknown names."""

from dataclasses import replace

import numpy as np
import pytest

from tandem.research.records import ProtocolResult, TailForecast


def _result() -> ProtocolResult:
    return ProtocolResult(
        protocol="spx",
        data_digest="0" * 64,
        dates=("2014-01-02", "2014-01-03", "2014-01-06"),
        realised={"spx": np.array([1.0, 0.0, 2.0])},
        forecasts={"spx": {"log_har": np.array([1.0, 1.1, 1.2]), "gru": np.array([1.0, 1.2, 1.3])}},
        baseline="log_har",
        block=10,
        horizon=1,
        seeds={"gru": (1, 2)},
        settings={},
        cpu_seconds={"gru": 1.5},
    )


def test_a_whole_result_names_its_models_and_its_headline() -> None:
    assert _result().models == ("log_har", "gru")
    assert _result().headline == ("spx",)
    assert _result().horizon_of("spx") == 1
    assert replace(_result(), horizons={"spx": 5}).horizon_of("spx") == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dates": ("2014-01-02", "2014-01-02", "2014-01-06")}, "each once"),
        ({"dates": ("2014-01-03", "2014-01-02", "2014-01-06")}, "ascending"),
        ({"realised": {"spx": np.array([1.0, np.nan, 2.0])}}, "finite"),
        ({"realised": {"spx": np.array([1.0, -1.0, 2.0])}}, "at least 0"),
        ({"realised": {"dji": np.ones(3)}}, "need the same"),
        ({"forecasts": {"spx": {"log_har": np.array([1.0, 0.0, 1.0])}}}, "finite and at least"),
        ({"forecasts": {"spx": {"log_har": np.ones(2)}}}, "shape"),
        ({"baseline": "garch"}, "baseline garch"),
        ({"cpu_seconds": {"garch": 1.0}}, "seconds"),
        ({"horizon": 0}, "at least 1"),
        ({"members": {"spx": {"gru": np.ones((3, 3))}}}, "shape"),
        ({"pooled": ("dji",)}, "unknown"),
        ({"tails": {"spx": {"gru": ()}}}, "need its returns"),
    ],
)
def test_a_faulty_result_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(_result(), **change)


def test_shortfall_above_its_quantile_is_refused() -> None:
    tail = TailForecast(level=0.05, quantile=np.full(3, -2.0), shortfall=np.full(3, -1.0))
    with pytest.raises(ValueError, match="above its quantile"):
        replace(_result(), returns={"spx": np.zeros(3)}, tails={"spx": {"gru": (tail,)}})


def test_models_differ_between_series_is_refused() -> None:
    one = np.ones(3)
    with pytest.raises(ValueError, match="for the first series"):
        replace(_result(), realised={"a": one, "b": one}, forecasts={"a": {"log_har": one, "gru": one}, "b": {"log_har": one}})
