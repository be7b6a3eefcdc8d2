"""What a volatility protocol hands to the report: targets, forecasts of every model on the same days, and where they come from.

The protocols (paper, spx, spread) make it; research/report.py scores it. Nothing in it depends on which protocol made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TailForecast:
    """One model's forecast of the lower tail of one series' return: quantile and, where it has one, expected shortfall, both (n,).

    In units of the returns, signed: a 1 % quantile of -2.5 says that a return below -2.5 has probability 1 %. Shortfall is not above it.
    A two-sided band is told as the lower tail of minus the absolute value, with the probability of both sides as level.
    """

    level: float  # probability of a return below the quantile, in (0, 0.5)
    quantile: Vector
    shortfall: Vector | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProtocolResult:
    """Forecasts of several models for one or more series over the same test days. Checks itself; raises ValueError.

    All values finite; realised at least 0, forecasts above 0. They are variances, or volatilities where `volatility_scale`.
    `baseline` and the set of models are the same in each series.
    """

    protocol: str  # paper | spx | spread
    data_digest: str  # sha256 of the data that was read, hex
    dates: tuple[str, ...]  # (n,) ISO days (or times) of the labels, ascending
    realised: Mapping[str, Vector]  # series -> (n,)
    forecasts: Mapping[str, Mapping[str, Vector]]  # series -> model -> (n,); a model of several seeds: the mean over its seeds
    baseline: str  # the model that Diebold-Mariano compares with
    block: int  # mean block of the stationary bootstrap of the confidence set, in labels
    horizon: int  # labels that one target spans or overlaps: at least horizon - 1 lags in the tests
    seeds: Mapping[str, tuple[int, ...]]  # of the models that have any
    settings: Mapping[str, object]  # JSON values: what was run
    cpu_seconds: Mapping[str, float]  # model -> fit and forecast, all series
    volatility_scale: bool = False
    notes: tuple[str, ...] = ()  # sentences for the reader: what was left out and why
    members: Mapping[str, Mapping[str, Matrix]] = field(default_factory=dict)  # series -> model -> (seeds, n), order of `seeds`
    horizons: Mapping[str, int] = field(default_factory=dict)  # series whose horizon is another
    pooled: tuple[str, ...] = ()  # the series that the headline table averages; none: all
    returns: Mapping[str, Vector] = field(default_factory=dict)  # series -> (n,) signed returns that the tails are tested on
    tails: Mapping[str, Mapping[str, tuple[TailForecast, ...]]] = field(default_factory=dict)  # series -> model -> one per level
    nested: Mapping[str, str] = field(default_factory=dict)  # model -> the smaller model inside it, for Clark-West
    groups: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # name -> series that are also averaged apart, e.g. a sector's pairs

    def __post_init__(self) -> None:
        count = len(self.dates)
        if count < 1 or list(self.dates) != sorted(set(self.dates)):
            raise ValueError(f"{count} dates, need at least one, ascending and each once")
        if not self.realised or self.realised.keys() != self.forecasts.keys():
            raise ValueError(f"series {sorted(self.realised)} with forecasts for {sorted(self.forecasts)}, need the same, at least one")
        if self.horizon < 1 or self.block < 1 or any(horizon < 1 for horizon in self.horizons.values()):
            raise ValueError(f"horizon {self.horizon}, {dict(self.horizons)} and block {self.block}, must be at least 1")
        for series, realised in self.realised.items():
            _check(f"realised {series}", realised, (count,), low=0.0)
            if self.forecasts[series].keys() != set(self.models):
                raise ValueError(f"models {sorted(self.forecasts[series])} for {series}, {sorted(self.models)} for the first series")
            for model, forecast in self.forecasts[series].items():
                _check(f"forecast of {series} by {model}", forecast, (count,), low=np.finfo(float).tiny)
        self._check_names()
        self._check_members()
        self._check_tails()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in the order of the first series."""
        return tuple(next(iter(self.forecasts.values())))

    @property
    def headline(self) -> tuple[str, ...]:
        """The series that the headline table averages."""
        return self.pooled or tuple(self.realised)

    def horizon_of(self, series: str) -> int:
        """Horizon of one series."""
        return self.horizons.get(series, self.horizon)

    def _check_names(self) -> None:
        models = set(self.models)
        if self.baseline not in models:
            raise ValueError(f"baseline {self.baseline}, must be one of {sorted(models)}")
        named = {*self.seeds, *self.cpu_seconds, *self.nested, *self.nested.values()}
        if not named <= models:
            raise ValueError(f"seeds, seconds or nesting of {sorted(named - models)}, models are {sorted(models)}")
        grouped = {name for members in self.groups.values() for name in members}
        series = {*self.members, *self.horizons, *self.pooled, *self.returns, *self.tails, *grouped}
        if not series <= self.realised.keys():
            raise ValueError(f"series {sorted(series - self.realised.keys())} unknown, known are {sorted(self.realised)}")

    def _check_members(self) -> None:
        for series, by_model in self.members.items():
            for model, matrix in by_model.items():
                shape = (len(self.seeds.get(model, ())), len(self.dates))
                _check(f"members of {series} by {model}", matrix, shape, low=np.finfo(float).tiny)

    def _check_tails(self) -> None:
        count = len(self.dates)
        for series, returns in self.returns.items():
            _check(f"returns of {series}", returns, (count,))
        for series, by_model in self.tails.items():
            if series not in self.returns or not by_model.keys() <= set(self.models):
                raise ValueError(f"tails of {series} by {sorted(by_model)}, need its returns and known models")
            for model, tails in by_model.items():
                for tail in tails:
                    if not 0 < tail.level < 0.5:
                        raise ValueError(f"tail level {tail.level} of {series} by {model}, must be in (0, 0.5)")
                    _check(f"quantile of {series} by {model}", tail.quantile, (count,))
                    if tail.shortfall is not None:
                        _check(f"shortfall of {series} by {model}", tail.shortfall, (count,))
                        if np.any((tail.shortfall > tail.quantile) | (tail.shortfall >= 0)):
                            raise ValueError(f"shortfall of {series} by {model} above its quantile or no loss, must be neither")


def _check(what: str, values: NDArray[np.float64], shape: tuple[int, ...], *, low: float = -np.inf) -> None:
    if values.shape != shape:
        raise ValueError(f"{what} has shape {values.shape}, must be {shape}")
    bad = ~np.isfinite(values) | (values < low)
    if bad.any():
        raise ValueError(
            f"{what} holds {values[bad][0]} at place {int(np.flatnonzero(bad.ravel())[0])}, must be finite and at least {low:g}"
        )
