"""Variance models against the `arch` library (Sheppard, version 8) on 220 real series of daily returns and 7 real spreads.

Source of the prices: the sp500_dataset inside the skfolio wheel (BSD-3), 20 US stocks, 1990-2022: each stock in 11 spans of some 755 days.
Tolerances: the likelihood function 1e-10 relative, its maximum 1e-6 relative, forecasts 1e-4 relative. Where arch's maximum is another one:
  - lower: ours may be better; arch is then started from ours, must stay there and forecast the same;
  - at an egarch's alpha below 0, which we do not allow as its filter does not forget its start: counted.
Persistence is let up to arch's limit here; the product's own limit is .9995.
"""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arch import arch_model
from arch.univariate import SkewStudent
from arch.univariate.base import ARCHModel, ARCHModelResult

from model_cases import pair_model
from tandem.quant import garch
from tandem.quant.cointegration import fit_spread
from tandem.quant.garch_forecast import horizon_variance, next_variance
from tandem.quant.garch_quantiles import probability, quantile
from tandem.quant.volatility import Kind, Shocks, Volatility

PAIRS = ["KO-PEP", "XOM-CVX", "BAC-JPM", "AAPL-MSFT", "JNJ-PFE", "WMT-HD", "MRK-LLY"]
SPANS = 11
OTHERS = [(kind, shocks) for kind in Kind for shocks in Shocks if kind is Kind.EGARCH or shocks is not Shocks.STUDENT_T]
ARCHS = 1 - 1e-9  # arch allows 1
FINE = {"disp": "off", "show_warning": False, "tol": 1e-10}


@pytest.fixture(scope="module")
def log_close() -> pd.DataFrame:
    """Log closes, 1990-2022."""
    spec = find_spec("skfolio")  # its path only: importing it takes seconds
    assert spec is not None
    assert spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "datasets/data/sp500_dataset.csv.gz", "rt") as file:
        return np.log(pd.read_csv(file, index_col=0, parse_dates=True))


@pytest.fixture(scope="module")
def returns(log_close: pd.DataFrame) -> list[np.ndarray]:
    """220 series without their mean."""
    spans = [span for name in log_close for span in np.array_split(np.diff(log_close[name].to_numpy()), SPANS)]
    return [span - span.mean() for span in spans]


def innovations(log_close: pd.DataFrame, pair: str) -> np.ndarray:
    """AR(1) innovations of the pair's spread, 2014-2018."""
    a, b = pair.split("-")
    years = log_close.loc["2014":"2018"]
    return fit_spread(years[a].to_numpy(), years[b].to_numpy(), bars_min=250).innovations


def reference(unit: np.ndarray, kind: Kind, shocks: Shocks) -> ARCHModel:
    """arch's model of a series at unit scale."""
    family = "EGARCH" if kind is Kind.EGARCH else "GARCH"
    return arch_model(unit, mean="Zero", vol=family, p=1, o=int(kind is not Kind.GARCH), q=1, dist=shocks.value, rescale=False)


def parameters(volatility: Volatility) -> list[float]:
    """In arch's order."""
    v = volatility
    news = [v.omega, v.alpha, v.beta] if v.kind is Kind.GARCH else [v.omega, v.alpha, v.gamma, v.beta]
    return news + [shape for shape in (v.nu, v.skew) if shape is not None]


def likelihood_at(unit: np.ndarray, volatility: Volatility) -> float:
    """arch's log likelihood of our model."""
    model = reference(unit, volatility.kind, volatility.shocks)
    return float(model.fix(parameters(volatility)).loglikelihood)


@dataclass
class Tally:
    """Series by how our maximum stands to arch's."""

    equal: int = 0
    better: int = 0
    held: int = 0  # egarch's alpha at 0
    worse: int = 0


def compare(series: list[np.ndarray], kind: Kind, shocks: Shocks) -> Tally:
    """Fit all with both; assert what must hold for each."""
    tally = Tally()
    for values, ours in zip(series, garch.fit_many(series, kind, shocks, persistence_max=ARCHS), strict=True):
        assert isinstance(ours, Volatility), ours
        unit = values / ours.scale
        value = garch.log_likelihood(unit, ours)
        assert likelihood_at(unit, ours) == pytest.approx(value, rel=1e-10)  # the function, not only its peak
        theirs = reference(unit, kind, shocks).fit(**FINE)
        first = gain_over(theirs, value)
        if kind is not Kind.EGARCH and ours.alpha > 1:  # better, and outside of arch's bounds
            assert first > 1e-6
            tally.better += 1
            continue
        if first > 1e-9:  # arch stopped short of this peak, or at another
            theirs = reference(unit, kind, shocks).fit(starting_values=np.array(parameters(ours)), **FINE)
        gain = gain_over(theirs, value)
        limited = kind is Kind.EGARCH and ours.alpha == 0 and theirs.params["alpha[1]"] < 0
        if gain < (-1e-9 if limited else -1e-6):
            tally.held += limited
            tally.worse += not limited
            continue
        tally.better += first > 1e-6
        tally.equal += first <= 1e-6
        forecast = next_variance(ours, float(unit[-1]), float(garch.variance_path(unit, ours)[-1]))
        assert forecast == pytest.approx(theirs.forecast(horizon=1).variance.iloc[-1, 0], rel=1e-4)
    return tally


def gain_over(theirs: ARCHModelResult, value: float) -> float:
    """Of our log likelihood over theirs, relative."""
    return (value - theirs.loglikelihood) / abs(value)


@pytest.mark.parametrize("kind", [Kind.GARCH, Kind.GJR])
def test_t_models_agree_with_arch_on_220_series(returns: list[np.ndarray], kind: Kind) -> None:
    """All equal, but 9 (garch) and 13 (gjr) where ours is better; none worse."""
    tally = compare(returns, kind, Shocks.STUDENT_T)
    assert tally.equal + tally.better == len(returns) == 220
    assert tally.equal >= 200


@pytest.mark.parametrize(("kind", "shocks"), OTHERS)
def test_every_other_model_agrees_with_arch_on_24_series(returns: list[np.ndarray], kind: Kind, shocks: Shocks) -> None:
    """Every ninth span: all stocks and all years come up."""
    tally = compare(returns[::9][:24], kind, shocks)
    assert tally.worse == 0
    assert tally.held <= (2 if kind is Kind.EGARCH else 0)
    assert tally.better <= 4


@pytest.mark.parametrize("pair", PAIRS)
def test_garch_t_agrees_with_arch_on_the_innovations_of_spreads(log_close: pd.DataFrame, pair: str) -> None:
    """What the trainer fits. WMT-HD has two peaks: arch ends at the lower."""
    tally = compare([innovations(log_close, pair)], Kind.GARCH, Shocks.STUDENT_T)
    assert (tally.equal, tally.better) == ((0, 1) if pair == "WMT-HD" else (1, 0))


@pytest.mark.parametrize("kind", list(Kind))
def test_the_variance_path_agrees_with_arch(returns: list[np.ndarray], kind: Kind) -> None:
    """The whole path of conditional variances."""
    unit, _ = garch.unit_scale(returns[3])
    ours = garch.fit(unit, kind, Shocks.STUDENT_T)
    theirs = reference(unit, kind, Shocks.STUDENT_T).fix(parameters(ours))
    np.testing.assert_allclose(garch.variance_path(unit, ours), theirs.conditional_volatility**2, rtol=1e-9)


@pytest.mark.parametrize("kind", [Kind.GARCH, Kind.GJR])
def test_forecasts_over_a_horizon_agree_with_arch(returns: list[np.ndarray], kind: Kind) -> None:
    """Ten days, symmetric shocks: arch's analytic forecast."""
    unit, _ = garch.unit_scale(returns[3])
    ours = garch.fit(unit, kind, Shocks.STUDENT_T)
    first = next_variance(ours, float(unit[-1]), float(garch.variance_path(unit, ours)[-1]))
    theirs = reference(unit, kind, Shocks.STUDENT_T).fix(parameters(ours)).forecast(horizon=10).variance.iloc[-1]
    np.testing.assert_allclose(horizon_variance(ours, first, 10), theirs, rtol=1e-9)


@pytest.mark.parametrize(("nu", "skew"), [(3.0, -0.3), (8.0, 0.0), (40.0, 0.6)])
def test_quantiles_agree_with_arch(nu: float, skew: float) -> None:
    """Of Hansen's skewed t."""
    model = Volatility(kind=Kind.GARCH, shocks=Shocks.SKEWED_T, omega=0.1, alpha=0.1, gamma=0.0, beta=0.8, nu=nu, skew=skew, scale=1.0)
    levels = np.array([0.001, 0.01, 0.05, 0.3, 0.5, 0.9, 0.99])
    np.testing.assert_allclose(quantile(model, levels), SkewStudent().ppf(levels, np.array([nu, skew])), rtol=1e-9, atol=1e-12)
    points = np.array([-4.0, -1.0, 0.0, 0.5, 3.0])
    np.testing.assert_allclose(probability(model, points), SkewStudent().cdf(points, np.array([nu, skew])), rtol=1e-9)


def test_parameters_of_a_simulated_series_are_recovered() -> None:
    """20,000 values of a known GARCH(1,1)-t: within four standard errors of a fit of this length (measured by arch: .02, .01, .015, .3)."""
    start = pair_model().volatility
    true = Volatility(
        kind=Kind.GARCH, shocks=Shocks.STUDENT_T, omega=0.05, alpha=0.10, gamma=0.0, beta=0.85, nu=6.0, skew=None, scale=start.scale
    )
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
