"""From the forecasts of protocol A to the record that the report scores: test labels cut out, tails added, notes for the reader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tandem.research.paper_cells import NETWORKS
from tandem.research.paper_data import DATA_FROM, VALIDATION_SHARE, WINDOW, PaperSeries, Target
from tandem.research.records import ProtocolResult, TailForecast

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

BASELINE = "gjr_known"
TAIL_LEVEL = 0.05  # 252 days at 1 % expect 2.5 hits: no test has power there
_BLOCK = 10
_NOTES = (
    "1D, 3D and 7D are the paper's targets: 4, 2 and 0 of the label's five squared returns are known at the origin. "
    "'ahead' is the five days after the origin.",
    "garch and gjr: the one-day sigma that the paper compares with a five-day label. garch_known and gjr_known: the same model "
    "given the known squared returns.",
    "garch_gru and garch_lstm start at gjr_known; garch_gru_pipeline gets the GJR's sigma as a second input.",
    "GARCH, means and least squares are fitted on all labels before the test, networks on the first four fifths of them.",
    "Tails of 1D only: forecast volatility times the 5 % quantile of return / forecast on the training labels.",
    "A network's row is the mean forecast of its seeds; 'over seeds' is the mean and deviation of each seed's own score.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One index and target: forecasts of all labels, training to test, by model."""

    series: PaperSeries
    target: Target
    plain: dict[str, Vector] = field(default_factory=dict)  # model -> (labels,)
    members: dict[str, Matrix] = field(default_factory=dict)  # network -> (seeds, labels)

    @property
    def name(self) -> str:
        """Of the report's series."""
        return f"{self.series.name} {self.target.name}"

    @property
    def test(self) -> slice:
        """The test among the labels."""
        return slice(self.series.split.test - self.series.split.start, None)

    def realised(self) -> Vector:
        """(n_test,)"""
        return self.series.volatility[self.series.split.test : self.series.split.stop]

    def returns(self) -> Vector:
        """(n_test,) of the label days."""
        return self.series.returns[self.series.split.test : self.series.split.stop]

    def forecasts(self) -> dict[str, Vector]:
        """model -> (labels,); networks: the mean over their seeds."""
        return self.plain | {model: matrix.mean(axis=0) for model, matrix in self.members.items()}

    def tail(self, forecast: Vector) -> TailForecast:
        """Lower tail of the label day's return in the test, by the quantile of return / forecast on the training labels."""
        split = self.series.split
        standard = self.series.returns[split.start : split.validation] / forecast[: split.validation - split.start]
        quantile = float(np.quantile(standard, TAIL_LEVEL))
        shortfall = float(standard[standard <= quantile].mean())
        return TailForecast(level=TAIL_LEVEL, quantile=quantile * forecast[self.test], shortfall=shortfall * forecast[self.test])


def assemble(
    cases: Sequence[Case],
    *,
    digest: str,
    seeds: Mapping[str, tuple[int, ...]],
    seconds: Mapping[str, float],
    settings: Mapping[str, object],
) -> ProtocolResult:
    """The result of all cases; the headline is 1D, the paper's first table."""
    first = cases[0].series
    one_day = [case for case in cases if case.target.last == 1]
    return ProtocolResult(
        protocol="paper",
        data_digest=digest,
        dates=tuple(map(str, first.days[first.split.test : first.split.stop])),
        realised={case.name: case.realised() for case in cases},
        forecasts={case.name: {model: values[case.test] for model, values in case.forecasts().items()} for case in cases},
        baseline=BASELINE,
        block=_BLOCK,
        horizon=1,
        horizons={case.name: len(case.target.unknown) for case in cases},
        pooled=tuple(case.name for case in one_day),
        seeds=seeds,
        members={case.name: {model: matrix[:, case.test] for model, matrix in case.members.items()} for case in cases},
        nested={name: BASELINE for name in seeds if NETWORKS[name].garch_inside},
        settings=dict(settings) | _of_data(first),
        cpu_seconds=seconds,
        volatility_scale=True,
        notes=_NOTES,
        returns={case.name: case.returns() for case in one_day},
        tails={case.name: {model: (case.tail(values),) for model, values in case.forecasts().items()} for case in one_day},
    )


def _of_data(series: PaperSeries) -> dict[str, object]:
    split = series.split
    return {
        "returns": f"percent log returns from {DATA_FROM} less their mean before the test",
        "window": WINDOW,
        "validation_share": VALIDATION_SHARE,
        "training_labels": split.validation - split.start,
        "validation_from": str(series.days[split.validation]),
        "test_from": str(series.days[split.test]),
        "test_to": str(series.days[split.stop - 1]),
    }
