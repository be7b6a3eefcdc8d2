"""One-step variances of a pair's spread by models without a network, fitted on the bars before a refit and stepped by every bar after it.

All of them but HAR are run by the serving step itself (quant/features.py): the pair with another variance recursion in it. A baseline has
so the same innovations, gaps and slots as the network's own filter, and its state never stands still. Called by research/spread.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tandem.quant import garch
from tandem.quant.bundle import PairModel
from tandem.quant.garch_selection import select_many
from tandem.quant.history import PairHistory, fold
from tandem.quant.panel import Panel
from tandem.quant.rejections import FitRejected
from tandem.quant.volatility import Kind, Shocks, risk_metrics

Vector = NDArray[np.float64]
Variances = dict[str, list[Vector]]  # model -> one (n,) per pair: forecast of the next bar, along the rows of its history; NaN: none

HAR_BARS = (1, 5, 22)  # Corsi (2009)
_HAR_FLOOR = 0.05  # of the training variance: the logarithm of one squared return has no lower end
_HAR_RIDGE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classical:
    """The models' forecasts, and what each cost in CPU seconds."""

    variances: Variances
    seconds: dict[str, float]


def classical(panel: Panel, histories: Sequence[PairHistory], *, trained: int) -> Classical:
    """Forecasts of ewma, garch, gjr, egarch, bic and har. histories: of these pairs over the panel; its first `trained` bars are fitted on.

    A recursion that cannot be fitted leaves the pair's own model in its place: the one that the trainer chose by BIC.
    """
    pairs = [history.pair for history in histories]
    series = [_innovations(panel.before(trained), pair) for pair in pairs]
    fits: dict[str, Callable[[], list[PairModel]]] = {
        "ewma": lambda: [replace(pair, volatility=risk_metrics(pair.volatility.scale)) for pair in pairs],
        **{kind.value: partial(_recursion, pairs, series, kind) for kind in Kind},
        "bic": lambda: _selected(pairs, series),
    }
    clock = _Clock()
    models: dict[str, list[PairModel]] = {}
    for name, fit in fits.items():
        with clock.of(name):
            models[name] = fit()
    with clock.of(*fits):  # one walk for all, because the step costs the same for ten pairs as for fifty
        walked = fold(panel, [pair for model in models.values() for pair in model])
    with clock.of("har"):
        levels = [har(history, trained_to_ns=int(panel.close_ns[trained - 1])) for history in histories]
    count = len(pairs)
    variances = {
        name: [_along(own, other) for own, other in zip(histories, walked[place * count :], strict=False)]
        for place, name in enumerate(models)
    }
    return Classical(variances=variances | {"har": levels}, seconds=clock.seconds)


def _along(own: PairHistory, other: PairHistory) -> Vector:
    """The other model's forecasts at the bars of the pair's own history, NaN where it has none: its variance overflowed there."""
    variance = np.full(len(own.close_ns), np.nan)
    _, place, found = np.intersect1d(own.close_ns, other.close_ns, return_indices=True)
    variance[place] = other.garch_variance[found]
    return variance


class _Clock:
    """CPU seconds by model."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, *models: str) -> Iterator[None]:
        """Charge what is done to these models, in equal parts."""
        begun = time.process_time()
        yield
        for model in models:
            self.seconds[model] = self.seconds.get(model, 0.0) + (time.process_time() - begun) / len(models)


def har(history: PairHistory, *, trained_to_ns: int) -> Vector:
    """log-HAR on squared innovations, (n,): log h' = b0 + sum of b_k log of their mean over k bars, fitted by QLIKE up to trained_to_ns.

    By QLIKE and not by least squares of the logarithm, so that no bias is left to correct: a squared daily innovation is so noisy a measure
    that its logarithm says little.
    """
    squares = np.concatenate(([np.nan], (history.spread[1:] - history.expected_spread[:-1]) ** 2))
    trained = int(np.searchsorted(history.close_ns, trained_to_ns, side="right"))
    level = float(np.mean(squares[1:trained]))
    squares[0] = level
    total = np.concatenate(([0.0], np.cumsum(squares / level)))
    place = np.arange(1, len(squares) + 1)
    means = [(total[place] - total[np.maximum(place - bars, 0)]) / np.minimum(place, bars) for bars in HAR_BARS]
    design = np.column_stack([np.ones(len(squares)), *(np.log(np.maximum(mean, _HAR_FLOOR)) for mean in means)])
    rows = slice(max(HAR_BARS) - 1, trained - 1)
    ratio = squares[1:][rows] / level
    weights = _qlike_fit(design[rows], ratio)
    return level * np.exp(np.clip(design @ weights, np.log(_HAR_FLOOR), -np.log(_HAR_FLOOR) + 3))


def _qlike_fit(design: Vector, ratio: Vector) -> Vector:
    """Minimiser of the mean of ratio exp(-design w) + design w, which is convex, with a hair of ridge on the slopes."""
    ridge = np.concatenate(([0.0], np.full(design.shape[1] - 1, _HAR_RIDGE)))

    def loss(weights: Vector) -> tuple[float, Vector]:
        score = design @ weights
        part = ratio * np.exp(-np.clip(score, -30, 30))
        return float(np.mean(part + score) + ridge @ weights**2), design.T @ (1 - part) / len(ratio) + 2 * ridge * weights

    start = np.zeros(design.shape[1])
    start[0] = np.log(ratio.mean())
    return np.asarray(optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _innovations(panel: Panel, pair: PairModel) -> Vector:
    """The pair's innovations over the panel, each divided by the root of its slot's factor: what the recursions are fitted on."""
    spread = panel.log_close(pair.leg_a) - pair.beta * panel.log_close(pair.leg_b) - pair.mu
    both = np.isfinite(spread)
    slot = np.minimum(panel.slot[both], len(pair.profile) - 1)[1:]
    spread = spread[both]
    return (spread[1:] - pair.intercept - pair.phi * spread[:-1]) / np.sqrt(np.array(pair.profile)[slot])


def _recursion(pairs: Sequence[PairModel], series: Sequence[Vector], kind: Kind) -> list[PairModel]:
    found = garch.fit_many(series, kind, Shocks.STUDENT_T)
    return [pair if isinstance(one, FitRejected) else replace(pair, volatility=one) for pair, one in zip(pairs, found, strict=True)]


def _selected(pairs: Sequence[PairModel], series: Sequence[Vector]) -> list[PairModel]:
    found = select_many(series)
    return [
        pair if isinstance(one, FitRejected) else replace(pair, volatility=one.volatility) for pair, one in zip(pairs, found, strict=True)
    ]
