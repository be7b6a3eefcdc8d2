"""GARCH(1,1)-t against the `arch` library (Sheppard, version 8) on the real spreads of 20 US stocks, 2014-2018, daily closes.

Source of the prices: the sp500_dataset inside the skfolio wheel (BSD-3). Tolerances: log likelihood 1e-6 relative, forecasts 1e-4 relative.
"""

import gzip
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arch import arch_model

from model_cases import pair_model
from tandem.quant import garch
from tandem.quant.cointegration import fit_spread

PAIRS = ["KO-PEP", "XOM-CVX", "BAC-JPM", "AAPL-MSFT", "JNJ-PFE", "WMT-HD", "MRK-LLY"]


@pytest.fixture(scope="module")
def log_close() -> pd.DataFrame:
    """Log closes, 2014-2018."""
    spec = find_spec("skfolio")  # its path only: importing it takes seconds
    assert spec is not None
    assert spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "datasets/data/sp500_dataset.csv.gz", "rt") as file:
        return np.log(pd.read_csv(file, index_col=0, parse_dates=True).loc["2014":"2018"])


def innovations(log_close: pd.DataFrame, pair: str) -> np.ndarray:
    """AR(1) innovations of the pair's spread."""
    a, b = pair.split("-")
    return fit_spread(log_close[a].to_numpy(), log_close[b].to_numpy(), bars_min=250).innovations


@pytest.mark.parametrize("pair", PAIRS)
def test_fit_likelihood_and_forecast_agree_with_arch(log_close: pd.DataFrame, pair: str) -> None:
    """Our optimum is arch's, and so is the variance forecast for the next bar."""
    fitted = garch.fit(innovations(log_close, pair))
    unit = innovations(log_close, pair) / fitted.scale
    reference = arch_model(unit, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off", tol=1e-10)
    ours = garch.log_likelihood(unit, fitted)
    assert ours == pytest.approx(reference.loglikelihood, rel=1e-6)
    omega, alpha, beta, nu = reference.params
    theirs = replace(fitted, omega=omega, alpha=alpha, beta=beta, nu=nu)
    assert garch.log_likelihood(unit, theirs) == pytest.approx(reference.loglikelihood, rel=1e-10)  # the function, not only its peak
    last = garch.variance_path(unit, fitted)[-1]
    forecast = fitted.omega + fitted.alpha * unit[-1] ** 2 + fitted.beta * last
    assert forecast == pytest.approx(reference.forecast(horizon=1).variance.iloc[-1, 0], rel=1e-4)


def test_the_variance_path_agrees_with_arch(log_close: pd.DataFrame) -> None:
    """Given arch's parameters, the whole path of conditional variances is arch's."""
    unit = innovations(log_close, "BAC-JPM")
    unit = unit / unit.std()
    reference = arch_model(unit, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off")
    omega, alpha, beta, nu = reference.params
    path = garch.variance_path(unit, replace(pair_model().volatility, omega=omega, alpha=alpha, beta=beta, nu=nu, scale=1.0))
    np.testing.assert_allclose(path, reference.conditional_volatility**2, rtol=1e-9)


def test_parameters_of_a_simulated_series_are_recovered() -> None:
    """20,000 values of a known GARCH(1,1)-t: within four standard errors of a fit of this length (measured by arch: .02, .01, .015, .3)."""
    true = replace(pair_model().volatility, omega=0.05, alpha=0.10, beta=0.85, nu=6.0, scale=1.0)
    rng = np.random.default_rng(5)
    shocks = rng.standard_t(true.nu, 20_000) * np.sqrt((true.nu - 2) / true.nu)
    series, variance = np.empty(20_000), 1.0
    for t, shock in enumerate(shocks):
        series[t] = np.sqrt(variance) * shock
        variance = true.omega + true.alpha * series[t] ** 2 + true.beta * variance
    found = garch.fit(series)
    assert (found.alpha, found.beta, found.nu) == (
        pytest.approx(true.alpha, abs=0.04),
        pytest.approx(true.beta, abs=0.06),
        pytest.approx(true.nu, abs=1.2),
    )
