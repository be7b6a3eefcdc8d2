"""The statistical part of a model: which pairs, and each one's hedge ratio, AR(1), variance profile and GARCH. Sees one span only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId, pair_legs
from tandem.quant.bundle import PairModel, PairStart, PairTest, RejectedSymbol, Rejection, VolatilityCandidate
from tandem.quant.cointegration import ScreeningRule, SpreadFit, chosen, fit_spread, screen
from tandem.quant.diurnal import variance_profile
from tandem.quant.garch_selection import Selection, select, select_many
from tandem.quant.panel import Panel
from tandem.quant.rejections import FitRejected
from tandem.trainer.options import TrainingOptions

Vector = NDArray[np.float64]

_NO_START = PairStart(
    spread=0.0, variance=1.0, missed=0, levels=(1.0, 1.0), leg_logs=(0.0, 0.0), leg_levels=(1.0, 1.0), bars=0, window=()
)  # replaced once the filter has run over the span


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFits:
    """What one span says of a sector's pairs."""

    pairs: tuple[PairModel, ...]  # without their start
    tests: tuple[PairTest, ...]
    rejections: tuple[Rejection, ...]


def fit_pairs(
    panel: Panel, declared: Sequence[PairId], slots: int, options: TrainingOptions, *, rejected: Sequence[RejectedSymbol] = ()
) -> PairFits:
    """Screen and fit on this panel. A pair that cannot be fitted is recorded with its reason; the others go on.

    rejected: why symbols are not in the panel, for the reason of declared pairs with such a leg.
    """
    rule = ScreeningRule(bars_min=options.bars_min, **options.screening.model_dump())
    tests = screen({name: panel.log_close(name) for name in panel.symbols}, declared, rule)
    spreads: list[_Spread] = []
    rejections: list[Rejection] = []
    for pair in chosen(tests, declared, rule):
        if defect := next((symbol for symbol in rejected if symbol.symbol in pair_legs(pair)), None):
            rejections.append(Rejection(pair=pair, reason=defect.reason, detail=f"{defect.symbol}: {defect.detail}"))
            continue
        try:
            spreads.append(_spread(panel, pair, slots, options))
        except FitRejected as error:
            rejections.append(Rejection(pair=pair, reason=error.reason, detail=str(error)))
    pairs: list[PairModel] = []
    tried = select_many([spread.unit for spread in spreads], kinds=options.volatility.kinds, shocks=options.volatility.shocks)
    for spread, found in zip(spreads, tried, strict=True):
        if isinstance(found, FitRejected):
            rejections.append(Rejection(pair=spread.pair, reason=found.reason, detail=str(found)))
        else:
            pairs.append(_pair_model(spread, found))
    return PairFits(pairs=tuple(pairs), tests=tests, rejections=tuple(rejections))


def fit_pair(panel: Panel, pair: PairId, slots: int, options: TrainingOptions) -> PairModel:
    """One pair on this panel. Raises FitRejected."""
    spread = _spread(panel, pair, slots, options)
    return _pair_model(spread, select(spread.unit, kinds=options.volatility.kinds, shocks=options.volatility.shocks))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spread:
    """A pair up to its variance model."""

    pair: PairId
    fitted: SpreadFit
    leg_scales: tuple[float, float]
    profile: Vector  # (slots,)
    unit: Vector  # (n,) innovations without the profile


def _spread(panel: Panel, pair: PairId, slots: int, options: TrainingOptions) -> _Spread:
    """One pair on this panel. Raises FitRejected."""
    leg_a, leg_b = pair_legs(pair)
    if missing := [leg for leg in (leg_a, leg_b) if leg not in panel.symbols]:
        raise NoData(f"no data for {' and '.join(missing)}")
    log_a, log_b = panel.log_close(leg_a), panel.log_close(leg_b)
    both = np.isfinite(log_a) & np.isfinite(log_b)
    fitted = fit_spread(log_a[both], log_b[both], bars_min=options.bars_min)
    slot = np.minimum(panel.slot[both], slots - 1)[1:]
    profile = variance_profile(fitted.innovations**2, slot, slots, options.profile_prior_observations)
    return _Spread(
        pair=pair,
        fitted=fitted,
        leg_scales=(_leg_scale(log_a[both]), _leg_scale(log_b[both])),
        profile=profile,
        unit=fitted.innovations / np.sqrt(profile[slot]),
    )


def _pair_model(spread: _Spread, found: Selection) -> PairModel:
    leg_a, leg_b = pair_legs(spread.pair)
    fitted = spread.fitted
    best_first = sorted(found.table, key=lambda one: (one.rejected is not None, math.inf if one.bic is None else one.bic))
    return PairModel(
        pair=spread.pair,
        leg_a=leg_a,
        leg_b=leg_b,
        beta=fitted.beta,
        mu=fitted.mu,
        spread_sd=fitted.spread_sd,
        intercept=fitted.intercept,
        phi=fitted.phi,
        half_life_bars=fitted.half_life_bars,
        volatility=found.volatility,
        leg_scales=spread.leg_scales,
        profile=tuple(spread.profile.tolist()),
        start=_NO_START,
        candidates=tuple(
            VolatilityCandidate(
                kind=one.kind, shocks=one.shocks, log_likelihood=one.log_likelihood, bic=one.bic, rejected=one.rejected or ""
            )
            for one in best_first
        ),
    )


def _leg_scale(log_close: Vector) -> float:
    """Standard deviation about zero of the one-bar returns. A leg that never moves has failed `fit_spread` before."""
    return float(np.sqrt(np.mean(np.diff(log_close) ** 2)))


def with_start(pair: PairModel, start: PairStart) -> PairModel:
    """The pair with the state at the end of training."""
    return replace(pair, start=start)


class NoData(FitRejected):
    """The data hold no bar of a leg."""

    reason = "no_data"
