"""Protocol A's data: index closes to mean-adjusted percent log returns, labels of realised volatility, and the split by label day.

A label of day l is the volatility of five days ahead of the forecast's origin t: for "1D", "3D" and "7D" the days l - 4 .. l with l = t + h
(Wei, Yang and Cui 2025), of which those up to t are KNOWN at the origin; for "ahead" the days t + 1 .. t + 5, none of them known.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord
from tandem.research.daily_table import DailyTable, Days, read_daily_by

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

WINDOW = 22  # days that a network sees
SPAN = 5  # days of a label
TEST_LABELS = 252
VALIDATION_SHARE = 0.2
DATA_FROM = np.datetime64("2010-01-01")
_TRAIN_LABELS_MIN = 250  # a year; below it neither GARCH nor a network has anything to fit


class Definition(StrEnum):
    """What "realised volatility" of five days is: the paper does not say which."""

    RMS = "rms"  # root mean square
    STD = "std"  # standard deviation about the five days' own mean, divisor 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which five days a label spans, counted from the origin: days `first` .. `last` ahead (0 is the origin, whose return is known)."""

    name: str
    first: int
    last: int

    @property
    def unknown(self) -> tuple[int, ...]:
        """The days ahead that are not known at the origin."""
        return tuple(range(max(self.first, 1), self.last + 1))


TARGETS = (
    Target(name="1D", first=-3, last=1),
    Target(name="3D", first=-1, last=3),
    Target(name="7D", first=3, last=7),
    Target(name="ahead", first=1, last=5),
)
LAST_MAX = max(target.last for target in TARGETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Places of the labels in the series of returns: training [start, validation), validation [validation, test), test [test, stop)."""

    start: int
    validation: int
    test: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaperSeries:
    """One index, ready for every model. All arrays (n,), place i for day i."""

    name: str
    days: Days
    returns: Vector  # percent log returns less their mean before the test
    mean: float  # that mean, percent
    volatility: Vector  # of the five days that end on the place; NaN for the first four
    split: Split

    def known_square_sum(self, target: Target) -> Vector:
        """(n,) for each ORIGIN: sum of the squared returns among the label's days that are known at it; 0 where none are."""
        known = target.last - max(target.first, 1) + 1
        return _rolling_sum(self.returns**2, SPAN - known) if known < SPAN else np.zeros(len(self.returns))

    def labels(self) -> NDArray[np.int64]:
        """Places of all labels, training to test."""
        return np.arange(self.split.start, self.split.stop)


def paper_series(
    path: Path | None, *, test_from: np.datetime64 | None, test_to: np.datetime64 | None, definition: Definition
) -> tuple[tuple[PaperSeries, ...], str]:
    """The indices of a file (columns date, close and, for several, index), or without one the two of the `arch` package; and their digest.

    From 2010 on, as the paper. Test: labels of days in [test_from, test_to], default the last 252 of the data; what is later is not read.
    Raises BadRecord for bad rows, too few days, or indices whose test days differ.
    """
    tables = read_daily_by(path, "index", positive=("close",), default=path.stem) if path is not None else _wheel()
    series = tuple(_series(name, table, test_from, test_to, definition) for name, table in tables.items())
    tests = [one.days[one.split.test : one.split.stop] for one in series]
    for one, days in zip(series, tests, strict=True):
        if not np.array_equal(days, tests[0]):
            raise BadRecord(
                "bad_time",
                f"test days of {one.name} ({len(days)}, {days[0]} to {days[-1]}) and {series[0].name} "
                f"({len(tests[0])}, {tests[0][0]} to {tests[0][-1]}) differ, must be the same",
            )
    return series, next(iter(tables.values())).digest


def split_of(days: Days, *, test_from: np.datetime64 | None, test_to: np.datetime64 | None) -> Split:
    """The split by label day. Raises BadRecord when a part is too short."""
    stop = len(days) if test_to is None else int(np.searchsorted(days, test_to, side="right"))
    test = stop - TEST_LABELS if test_from is None else int(np.searchsorted(days, test_from))
    start = WINDOW - 1 + LAST_MAX
    if test >= stop or test - start < _TRAIN_LABELS_MIN:
        raise BadRecord(
            "too_few_rows",
            f"{max(test - start, 0)} labels before the test and {max(stop - test, 0)} in it "
            f"({days[0]} to {days[-1]}, {len(days)} returns), need at least {_TRAIN_LABELS_MIN} and 1",
        )
    validation = test - round((test - start) * VALIDATION_SHARE)
    return Split(start=start, validation=validation, test=test, stop=stop)


def realised_volatility(returns: Vector, definition: Definition) -> Vector:
    """(n,) volatility of the five returns that end on each place; NaN for the first four. Backward windows only: nothing is centred."""
    result = np.full(len(returns), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(returns, SPAN)
    result[SPAN - 1 :] = np.sqrt(np.mean(windows**2, axis=1)) if definition is Definition.RMS else windows.std(axis=1, ddof=1)
    return result


def _series(
    name: str, table: DailyTable, test_from: np.datetime64 | None, test_to: np.datetime64 | None, definition: Definition
) -> PaperSeries:
    recent = table.days >= DATA_FROM
    days, closes = table.days[recent], table.columns["close"][recent]
    if len(days) < 2:
        raise BadRecord("too_few_rows", f"{name}: {len(days)} closes since {DATA_FROM}, need at least 2")
    days, returns = days[1:], 100 * np.diff(np.log(closes))
    split = split_of(days, test_from=test_from, test_to=test_to)
    stuck = np.flatnonzero(np.ptp(np.lib.stride_tricks.sliding_window_view(returns[: split.stop], SPAN), axis=1) == 0)
    if len(stuck):
        raise BadRecord("constant_series", f"{name}: {SPAN} equal returns up to {days[stuck[0] + SPAN - 1]}, their volatility is 0")
    mean = float(returns[: split.test].mean())
    adjusted = returns[: split.stop] - mean
    volatility = realised_volatility(adjusted, definition)
    return PaperSeries(name=name, days=days[: split.stop], returns=adjusted, mean=mean, volatility=volatility, split=split)


def _rolling_sum(values: Vector, count: int) -> Vector:
    """(n,) sum of the `count` values that end on each place; NaN for the first."""
    result = np.full(len(values), np.nan)
    result[count - 1 :] = np.lib.stride_tricks.sliding_window_view(values, count).sum(axis=1)
    return result


def _wheel() -> Mapping[str, DailyTable]:
    """S&P 500 and NASDAQ Composite closes 1999-2018 that the `arch` package carries."""
    frames = {name: import_module(f"arch.data.{name}").load() for name in ("nasdaq", "sp500")}
    numbers = {name: np.ascontiguousarray(frame["Close"].to_numpy(), dtype=np.float64) for name, frame in frames.items()}
    digest = hashlib.sha256(b"".join(closes.tobytes() for closes in numbers.values())).hexdigest()
    return {
        name: DailyTable(
            path=Path(f"arch.data.{name}"),
            digest=digest,
            days=frames[name].index.to_numpy().astype("datetime64[D]"),
            columns={"close": closes},
        )
        for name, closes in numbers.items()
    }
