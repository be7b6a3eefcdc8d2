"""Daily realised variance and return of one index as protocol B reads them: checked, in percent, with the test days marked. Reads a file.

Columns `date`, `rv5` (realised variance of the day, squared daily fraction) and `open_to_close` (return over the same hours, daily
fraction); no other column is looked at. Called by research/spx.py.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.domain.errors import BadRecord, BadSetting
from tandem.quant.realised_terms import Vector
from tandem.research.daily_table import DailyTable, Days, read_daily

WINDOW_DAYS = 1_000  # all that a forecast may look at
TEST_DAYS_MIN = 10  # below it no test of equal forecasts is defined
_PERCENT = 100.0
_MEDIAN_MAX = 0.01  # of rv5 as a fraction squared: 10 % a day. Beyond it the column is in percent.
_RETURN_SHARE = (0.2, 5.0)  # mean squared return over mean rv5: both measure one variance, beyond it their units differ
_EQUAL_SHARE_MAX = 0.2  # of days with the variance of the day before: a measure made of ticks does not repeat itself


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealisedDays:
    """One index. The test days are those from `first` to `last`, both included; WINDOW_DAYS or more lie before them."""

    digest: str  # sha256 of the file, hex
    days: Days  # (T,)
    realised: Vector  # (T,) percent squared
    returns: Vector  # (T,) percent
    first: int
    last: int

    @property
    def test_days(self) -> range:
        """Places of the test days."""
        return range(self.first, self.last + 1)

    def window(self, day: int) -> tuple[Vector, Vector]:
        """Realised variances and returns of the WINDOW_DAYS before a day: all that its forecast may know."""
        return self.realised[day - WINDOW_DAYS : day], self.returns[day - WINDOW_DAYS : day]


def read_table(path: Path) -> DailyTable:
    """The file's three columns. Raises BadRecord and BadSetting as read_daily does."""
    return read_daily(path, positive=("rv5",), real=("open_to_close",))


def of_table(table: DailyTable, *, test_from: np.datetime64, test_to: np.datetime64) -> RealisedDays:
    """Days up to test_to, in percent. What lies after test_to is dropped here, so that nothing can look at it.

    Raises BadSetting when the test span has too few days, or too few lie before it; BadRecord when the units or the values cannot be right.
    """
    if test_from > test_to:
        raise BadSetting(f"--test-from {test_from} is after --test-to {test_to}")
    kept = table.days <= test_to
    days = table.days[kept]
    realised, returns = table.columns["rv5"][kept], table.columns["open_to_close"][kept]
    first = int(np.searchsorted(days, test_from))
    if len(days) - first < TEST_DAYS_MIN:
        raise BadSetting(f"{table.path}: {len(days) - first} days from {test_from} to {test_to}, need at least {TEST_DAYS_MIN}")
    if first < WINDOW_DAYS:
        raise BadSetting(f"{table.path}: {first} days before {test_from}, need at least {WINDOW_DAYS}")
    _check_units(table.path, realised, returns)
    return RealisedDays(
        digest=table.digest,
        days=days,
        realised=realised * _PERCENT**2,
        returns=returns * _PERCENT,
        first=first,
        last=len(days) - 1,
    )


def _check_units(path: Path, realised: Vector, returns: Vector) -> None:
    median = float(np.median(realised))
    if median > _MEDIAN_MAX:
        raise BadRecord("bad_unit", f"{path}: median rv5 {median:.3g}, must be below {_MEDIAN_MAX}: squared daily fractions, not percent")
    share = float(np.mean(returns**2) / realised.mean())
    if not _RETURN_SHARE[0] <= share <= _RETURN_SHARE[1]:
        raise BadRecord(
            "bad_unit",
            f"{path}: mean squared open_to_close is {share:.3g} times mean rv5, must be within {_RETURN_SHARE}: both of one day's hours, "
            "as fractions",
        )
    equal = float(np.mean(realised[1:] == realised[:-1]))
    if equal > _EQUAL_SHARE_MAX:
        raise BadRecord("stale", f"{path}: rv5 repeats the day before on {equal:.0%} of the days, at most {_EQUAL_SHARE_MAX:.0%}: filled?")
