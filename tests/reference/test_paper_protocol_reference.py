"""Protocol A's rows without a network: test 2019, to the digits first measured with fits by `arch`; and 2018 on the data inside `arch`.

MSE and MAE of volatilities in percent. GARCH rows agree to the last digit; least squares to 0.0005, as its training rows are not stated.
"""

import numpy as np
import pytest

from recorded_cases import shared_data
from tandem.quant.scores import mae, mse
from tandem.quant.volatility import Kind
from tandem.research.paper_baselines import baselines, filtered_variance
from tandem.research.paper_data import TARGETS, Definition, PaperSeries, paper_series

# (index, target, definition): model -> MSE, MAE
MEASURED = {
    ("SP500", "1D", "std"): {
        "persistence": (0.0505, 0.1361),
        "garch": (0.0721, 0.2208),
        "garch_known": (0.0273, 0.1158),
        "gjr_known": (0.0253, 0.1092),
        "ols": (0.0270, 0.1061),
    },
    ("SP500", "1D", "rms"): {
        "persistence": (0.0368, 0.1098),
        "garch": (0.0578, 0.1924),
        "garch_known": (0.0162, 0.0928),
        "gjr_known": (0.0151, 0.0877),
        "ols": (0.0162, 0.0875),
    },
    ("SP500", "3D", "rms"): {
        "persistence": (0.1020, 0.2194),
        "garch": (0.0966, 0.2533),
        "garch_known": (0.0655, 0.2022),
        "gjr_known": (0.0550, 0.1837),
        "ols": (0.0593, 0.1823),
    },
    ("SP500", "7D", "rms"): {
        "persistence": (0.1863, 0.3261),
        "garch": (0.1637, 0.3394),
        "garch_known": (0.1635, 0.3343),
        "gjr_known": (0.1391, 0.3033),
        "ols": (0.1392, 0.2946),
    },
    ("DJI", "1D", "rms"): {
        "persistence": (0.0370, 0.1116),
        "garch": (0.0550, 0.1842),
        "garch_known": (0.0169, 0.0945),
        "gjr_known": (0.0160, 0.0898),
        "ols": (0.0167, 0.0893),
    },
    ("NASDAQ", "1D", "rms"): {
        "persistence": (0.0529, 0.1318),
        "garch": (0.0853, 0.2389),
        "garch_known": (0.0243, 0.1110),
        "gjr_known": (0.0229, 0.1040),
        "ols": (0.0252, 0.1063),
    },
}


def _rows(series: PaperSeries, target_name: str) -> dict[str, tuple[float, float]]:
    (target,) = (target for target in TARGETS if target.name == target_name)
    test = slice(series.split.test - series.split.start, None)
    realised = series.volatility[series.split.test : series.split.stop]
    models = baselines(filtered_variance(series, Kind.GARCH), filtered_variance(series, Kind.GJR))
    found = {name: model(series, target)[test] for name, model in models.items()}
    return {name: (mse(realised, forecast), mae(realised, forecast)) for name, forecast in found.items()}


@pytest.mark.parametrize("case", MEASURED, ids=" ".join)
def test_the_rows_of_2019(case: tuple[str, str, str]) -> None:
    name, target, definition = case
    path = shared_data("daily_ohlcv_indices_2000_2019.parquet")
    indices, _ = paper_series(path, test_from=None, test_to=None, definition=Definition(definition))
    (series,) = (one for one in indices if one.name == name)
    assert (str(series.days[series.split.test]), str(series.days[-1])) == ("2019-01-02", "2019-12-31")
    found = _rows(series, target)
    for model, expected in MEASURED[case].items():
        assert found[model] == pytest.approx(expected, abs=0.0005 if model == "ols" else 0.00006), model


def test_the_statistics_of_the_returns() -> None:
    """Mean and standard deviation of the percent log returns 2010-2019."""
    path = shared_data("daily_ohlcv_indices_2000_2019.parquet")
    indices, _ = paper_series(path, test_from=None, test_to=None, definition=Definition.RMS)
    measured = {one.name: (float((one.returns + one.mean).mean()), float(one.returns.std(ddof=1))) for one in indices}
    for name, expected in {"SP500": (0.0417, 0.9317), "DJI": (0.0394, 0.8869), "NASDAQ": (0.0540, 1.0758)}.items():
        assert measured[name] == pytest.approx(expected, abs=0.00006)


# Ours, 2018: the closes inside the arch package end there. MSE, MAE, 1D, rms.
WHEEL = {
    "sp500": {"persistence": (0.0495, 0.1352), "garch": (0.0755, 0.2018), "garch_known": (0.0290, 0.1073), "gjr_known": (0.0280, 0.1078)},
    "nasdaq": {"persistence": (0.0697, 0.1684), "garch": (0.1218, 0.2580), "garch_known": (0.0400, 0.1308), "gjr_known": (0.0382, 0.1297)},
}


@pytest.mark.parametrize("name", list(WHEEL))
def test_the_rows_of_2018_on_the_data_inside_arch(name: str) -> None:
    indices, digest = paper_series(None, test_from=None, test_to=None, definition=Definition.RMS)
    (series,) = (one for one in indices if one.name == name)
    assert len(digest) == 64
    assert str(series.days[-1]) == "2018-12-31"
    found = _rows(series, "1D")
    for model, expected in WHEEL[name].items():
        assert found[model] == pytest.approx(expected, abs=0.0001), model
    assert np.argmin([found[m][0] for m in ("garch", "persistence", "garch_known")]) == 2
