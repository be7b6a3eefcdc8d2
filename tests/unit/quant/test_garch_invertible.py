"""An EGARCH whose filter feeds on itself is not chosen: on a path other than the fitted one its variance falls to nothing."""

from dataclasses import replace

import numpy as np
import pytest

from tandem.quant import garch, garch_selection
from tandem.quant.garch_selection import select
from tandem.quant.volatility import Kind, Shocks, Volatility

# As the likelihood liked it best for a spread of two property shares over three years of days; in the next year it forecast 0.
FITTED = Volatility(
    kind=Kind.EGARCH, shocks=Shocks.STUDENT_T, omega=-0.0003, alpha=0.0, gamma=-0.0222, beta=0.9976, nu=7.6, skew=None, scale=1.0
)


def rising(bars: int) -> np.ndarray:
    """Shocks that are a little more often up than down, as in a spread that leaves its mean."""
    return 0.9 + 0.8 * np.random.default_rng(4).standard_normal(bars)


def test_without_invertibility_the_variance_falls_to_nothing() -> None:
    """The same year of shocks: alpha 0 runs away, alpha = |gamma| does not."""
    sound = replace(FITTED, alpha=0.0222)
    assert garch.filter_from(FITTED, rising(252), 1.0).min() < 1e-6
    assert garch.filter_from(sound, rising(252), 1.0).min() > 1e-3


def test_it_is_taken_only_when_nothing_else_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    """However good its likelihood; the table says why."""
    series = np.random.default_rng(1).standard_normal(400)
    plain = garch.fit(series, Kind.GARCH, Shocks.NORMAL)
    fits = {Kind.GARCH: replace(plain, omega=50 * plain.omega), Kind.EGARCH: FITTED}
    monkeypatch.setattr(garch_selection.garch, "fit_many", lambda many, kind, shocks: [fits[kind]] * len(many))
    chosen = select(series, kinds=[Kind.EGARCH, Kind.GARCH], shocks=[Shocks.NORMAL])
    assert chosen.volatility.kind is Kind.GARCH
    assert [candidate.rejected for candidate in chosen.table] == ["not_invertible", None]
    assert chosen.table[0].bic < chosen.table[1].bic
    assert select(series, kinds=[Kind.EGARCH], shocks=[Shocks.NORMAL]).volatility == FITTED
