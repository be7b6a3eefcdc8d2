"""Protocol B's networks and the linear paths they correct: paths fitted every day, networks trained on every 63rd and used until the next.

Training starts at the first day that has a window, long before the test where the file allows it, and goes on from refit to refit: each
sees its window only. Called by research/spx.py.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tandem.quant import realised_gru, realised_reading
from tandem.quant.realised_gru import Networks, Rule
from tandem.quant.realised_reading import Path, Reading
from tandem.quant.realised_terms import Matrix
from tandem.research.spx_data import WINDOW_DAYS, RealisedDays
from tandem.research.spx_garch import RollingFits
from tandem.research.spx_tails import DayForecast, ModelForecasts, gathered, of_window, shape_of

REFIT_DAYS = 63
PATHS = {"log_har_leverage": Path.LEVERAGE, "log_har_leverage_gjr": Path.GARCH}
NETWORKS = {"gru": Path.HAR, "garch_gru": Path.GARCH}


class Readings:
    """Windows of one file as networks read them. fits: of the GARCH state, for the paths that have one."""

    def __init__(self, data: RealisedDays, fits: RollingFits) -> None:
        self._data, self._fits = data, fits

    def at(self, day: int, path: Path) -> Reading:
        """The window before a day. Raises FitRejected when the GARCH state cannot be fitted."""
        realised, returns = self._data.window(day)
        return realised_reading.read(realised, returns, self._fits.at(day) if path is Path.GARCH else None, path=path)

    @property
    def data(self) -> RealisedDays:
        """The days."""
        return self._data


def path_forecasts(readings: Readings, path: Path) -> ModelForecasts:
    """A path without a network."""
    data = readings.data
    days = []
    for day in data.test_days:
        reading = readings.at(day, path)
        days.append(of_window(data.window(day)[1], np.exp(realised_gru.clip_logs(reading.logs, reading))))
    return gathered(days)


def network_forecasts(
    readings: Readings, path: Path, *, seeds: Sequence[int], rule: Rule, on_refit: Callable[[int, int], None]
) -> ModelForecasts:
    """An ensemble, one member per seed. on_refit: called with refits done and their count."""
    data = readings.data
    refits = refit_days(data)
    networks: Networks | None = None
    days = []
    for done, refit in enumerate(refits, start=1):
        reading = readings.at(refit, path)
        if networks is None:
            networks = realised_gru.untrained(reading.inputs.shape[1], seeds, rule)
            networks = realised_gru.train(networks, reading, epochs=rule.first_epochs)
        else:
            networks = realised_gru.train(networks, reading, epochs=rule.epochs)
        shape = _shape(data, networks, reading, refit)
        for day in range(max(refit, data.first), min(refit + REFIT_DAYS, data.last + 1)):
            logs = realised_gru.next_logs(networks, readings.at(day, path))
            days.append(DayForecast(variances=np.exp(logs), shape=shape))
        on_refit(done, len(refits))
    return gathered(days)


def refit_days(data: RealisedDays) -> list[int]:
    """The first test day, every 63rd after it, and every 63rd before it that has a window."""
    return list(range(WINDOW_DAYS + (data.first - WINDOW_DAYS) % REFIT_DAYS, data.last + 1, REFIT_DAYS))


def _shape(data: RealisedDays, networks: Networks, reading: Reading, refit: int) -> Matrix:
    """Of the returns on which the networks were just trained."""
    variances = np.exp(realised_gru.training_logs(networks, reading)).mean(axis=0)
    return shape_of(data.window(refit)[1][-len(variances) :], variances)
