"""Which pairs each policy would pick from a table of statistics, and why not the others.

  fdr    Engle-Granger in the better direction under false-discovery control over all tests made, with and without the edges of the span,
         a hedge ratio above 0, and a half-life within bounds
  seed   the old gates, put right (quant/composite.py): correlation of returns, p-value, composite score
  none   nothing; the statistics only

Every policy is computed, so that their picks can be compared; the caller names the one that chooses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.quant.composite import SeedRule, composite
from tandem.quant.rejections import FitRejected
from tandem.research.screen_statistics import Column, PairTable, Progress
from tandem.research.screen_universe import Universe

POLICIES = ("fdr", "seed", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class FdrRule:
    """Bounds of the policy fdr."""

    false_discovery_rate: float
    half_life_min_bars: float
    half_life_max_bars: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picks:
    """Of one policy, (P,) each: the reason is "" for a pick, else the code of the first gate that it fails."""

    reason: NDArray[np.str_]

    @property
    def picked(self) -> NDArray[np.bool_]:
        """(P,) pairs that pass all gates."""
        return self.reason == ""


def fdr_picks(table: PairTable, rule: FdrRule) -> Picks:
    """Codes: those of `untested`, q_value, edge (the q-value is gone without the edges of the span), hedge_ratio, half_life."""
    half_life = table.best("half_life_bars")
    inside = (half_life >= rule.half_life_min_bars) & (half_life <= rule.half_life_max_bars)
    lasts = table.columns["inner_q"] <= rule.false_discovery_rate
    opposed = table.best("beta_ols") > 0  # below 0 both legs are bought at once
    passed = np.where(lasts, np.where(opposed, np.where(inside, "", "half_life"), "hedge_ratio"), "edge")
    reason = np.where(table.columns["q_min"] <= rule.false_discovery_rate, passed, "q_value")
    return Picks(reason=np.where(table.tested, reason, table.columns["untested"]))


def seed_picks(universe: Universe, table: PairTable, rule: SeedRule, progress: Progress) -> tuple[Picks, dict[str, Column]]:
    """Codes: those of `untested`, correlation, p_value, the code of a fit that failed, composite. And the columns of the scores.

    The composite is computed for pairs that pass the first two gates.
    """
    columns = table.columns
    reason = np.where(columns["p_min"] < rule.p_value_max, "composite", "p_value").astype("U32")
    reason[~(columns["correlation_returns"] > rule.correlation_min)] = "correlation"
    reason = np.where(table.tested, reason, columns["untested"]).astype("U32")
    names = ("composite", "composite_criteria", "composite_forecast", "composite_backtest", "composite_diagnostics")
    scores = np.full((len(table.pairs), len(names)), np.nan)
    rows = np.flatnonzero(reason == "composite").tolist()
    best = table.best_pairs()
    for done, row in enumerate(rows):
        progress("composite scores", done, len(rows))
        legs = universe.log_close[:, best[row]]
        legs = legs[np.isfinite(legs).all(axis=1)]
        try:
            found = composite(legs[:, 0], legs[:, 1], rule)
        except FitRejected as error:
            reason[row] = error.reason
            continue
        scores[row] = found.score, found.criteria, found.forecast, found.backtest, found.diagnostics
        if found.score > rule.composite_min:
            reason[row] = ""
    progress("composite scores", len(rows), len(rows))
    return Picks(reason=reason), dict(zip(names, scores.T, strict=True))


def old_first_gates(table: PairTable, rule: SeedRule) -> NDArray[np.bool_]:
    """(P,) pairs that the first two gates let pass as they were: correlation of log price levels, p-value of the alphabetical direction."""
    return table.tested & (table.columns["correlation_levels"] > rule.correlation_min) & (table.columns["eg_p_ab"] < rule.p_value_max)
