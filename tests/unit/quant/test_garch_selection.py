"""Choice among variance models: by BIC, among those that converged and have a level to return to."""

from dataclasses import replace

import numpy as np
import pytest

from model_cases import pair_model
from tandem.quant import garch
from tandem.quant.garch_quantiles import draws
from tandem.quant.garch_selection import select, select_many
from tandem.quant.volatility import Kind, Shocks, Volatility


def simulated(volatility: Volatility, count: int, seed: int) -> np.ndarray:
    """A path of garch or gjr."""
    shocks, series, variance = draws(volatility, (count,), np.random.default_rng(seed)), np.empty(count), 1.0
    for t, shock in enumerate(shocks):
        series[t] = np.sqrt(variance) * shock
        variance = volatility.omega + (volatility.alpha + volatility.gamma * (shock < 0)) * series[t] ** 2 + volatility.beta * variance
    return series


def test_the_true_form_of_a_long_series_is_found() -> None:
    """6,000 values with strong leverage and heavy, symmetric tails: neither a plainer nor a richer model is chosen."""
    true = replace(
        pair_model().volatility, kind=Kind.GJR, shocks=Shocks.STUDENT_T, omega=0.05, alpha=0.02, gamma=0.2, beta=0.83, nu=5.0, scale=1.0
    )
    chosen = select(simulated(true, 6_000, 3))
    assert (chosen.volatility.kind, chosen.volatility.shocks) == (Kind.GJR, Shocks.STUDENT_T)
    assert chosen.bic == min(candidate.bic for candidate in chosen.table)
    assert len(chosen.table) == 9


def test_a_fit_at_the_persistence_limit_is_taken_last() -> None:
    """Four times as wide from the middle on: garch-t has the best BIC but no level to return to, an egarch has one."""
    series = np.random.default_rng(1).standard_normal(600) * np.where(np.arange(600) < 300, 1.0, 4.0)
    alone = select(series, kinds=[Kind.GARCH])
    assert garch.at_limit(alone.volatility)
    assert [candidate.rejected for candidate in alone.table] == ["not_stationary"] * 3
    every = select(series)
    assert not garch.at_limit(every.volatility)
    assert every.bic > alone.bic


def test_a_series_without_a_model_gives_its_reason_and_the_others_go_on() -> None:
    """The rest of the universe is fitted."""
    good = np.random.default_rng(2).standard_normal(400)
    outcomes = select_many([good, np.zeros(400)], kinds=[Kind.GARCH], shocks=[Shocks.NORMAL, Shocks.STUDENT_T])
    assert outcomes[0].volatility.kind is Kind.GARCH
    assert outcomes[1].reason == "constant_series"
    with pytest.raises(garch.ConstantSeries):
        select(np.zeros(400))


def test_nothing_to_choose_from_is_said() -> None:
    """An empty list of kinds is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one"):
        select_many([np.ones(200)], kinds=[])
