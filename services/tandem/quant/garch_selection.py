"""Choice of a series' variance model by BIC among those that converged and are stationary.

Called by the trainer and the research protocols.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.quant import garch
from tandem.quant.rejections import FitRejected
from tandem.quant.volatility import Kind, Shocks, Volatility

Vector = NDArray[np.float64]

ALL_KINDS, ALL_SHOCKS = tuple(Kind), tuple(Shocks)
_PARAMETERS = {Kind.GARCH: 3, Kind.GJR: 4, Kind.EGARCH: 4, Shocks.NORMAL: 0, Shocks.STUDENT_T: 1, Shocks.SKEWED_T: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the models tried. A rejected one has its reason and no numbers."""

    kind: Kind
    shocks: Shocks
    log_likelihood: float | None  # at unit scale
    bic: float | None  # lower is better
    rejected: str | None  # reason code of quant/rejections.py; `not_stationary`, `not_invertible`: fitted, but see `_fault`


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The model chosen, and what it was chosen from, in the order tried."""

    volatility: Volatility
    bic: float
    table: tuple[Candidate, ...]


def select(series: Vector, *, kinds: Sequence[Kind] = ALL_KINDS, shocks: Sequence[Shocks] = ALL_SHOCKS) -> Selection:
    """The model of lowest BIC of a series (T,) with mean zero, any scale.

    One with its persistence at the limit, or an EGARCH that is not invertible, is taken only when no other converged. Raises the rejection
    of the series when none did.
    """
    outcome = select_many([series], kinds=kinds, shocks=shocks)[0]
    if isinstance(outcome, FitRejected):
        raise outcome
    return outcome


def select_many(
    series: Sequence[Vector], *, kinds: Sequence[Kind] = ALL_KINDS, shocks: Sequence[Shocks] = ALL_SHOCKS
) -> tuple[Selection | FitRejected, ...]:
    """`select` for each of these series, in their order. A series without a model gives its rejection: none is raised."""
    if not kinds or not shocks:
        raise ValueError(f"kinds {kinds} and shocks {shocks}, each must name at least one")
    fits = [garch.fit_many(series, kind, shock) for kind in kinds for shock in shocks]
    models = [(kind, shock) for kind in kinds for shock in shocks]
    return tuple(_chosen(one, models, [fit[place] for fit in fits]) for place, one in enumerate(series))


def _chosen(series: Vector, models: Sequence[tuple[Kind, Shocks]], outcomes: Sequence[Volatility | FitRejected]) -> Selection | FitRejected:
    table: list[Candidate] = []
    fitted: list[tuple[bool, float, int, Volatility]] = []
    for (kind, shocks), outcome in zip(models, outcomes, strict=True):
        if isinstance(outcome, FitRejected):
            table.append(Candidate(kind=kind, shocks=shocks, log_likelihood=None, bic=None, rejected=outcome.reason))
            continue
        value = garch.log_likelihood(np.asarray(series) / outcome.scale, outcome)
        bic = (_PARAMETERS[kind] + _PARAMETERS[shocks]) * math.log(len(series)) - 2 * value
        fault = _fault(outcome)
        table.append(Candidate(kind=kind, shocks=shocks, log_likelihood=value, bic=bic, rejected=fault))
        fitted.append((fault is not None, bic, len(fitted), outcome))
    if not fitted:
        return next(outcome for outcome in outcomes if isinstance(outcome, FitRejected))
    _, bic, _, best = min(fitted, key=lambda one: one[:3])
    return Selection(volatility=best, bic=bic, table=tuple(table))


def _fault(volatility: Volatility) -> str | None:
    """Why a fitted model must not run on past its data: no level to return to, or, of EGARCH, a filter that feeds on itself.

    With |gamma| above alpha shocks of one sign lower the variance, which enlarges the next standardised shock, which lowers it further: on
    another path than the fitted one it falls to nothing. Wintenberger (2013) needs alpha >= |gamma| for the filter to forget its start.
    """
    if garch.at_limit(volatility):
        return "not_stationary"
    if volatility.kind is Kind.EGARCH and abs(volatility.gamma) > volatility.alpha:
        return "not_invertible"
    return None
