"""Protocol B's GARCH family: Student-t fits on the returns of the window every 22 days, the state filtered every day.

Returns are open to close, as rv5 is, so that both measure one variance and nothing is rescaled. Called by research/spx.py and
research/spx_networks.py.
"""

import numpy as np

from tandem.quant import garch
from tandem.quant.realised_garch import log_variances
from tandem.quant.realised_terms import LOST
from tandem.quant.rejections import FitRejected
from tandem.quant.volatility import Kind, Shocks, Volatility
from tandem.research.spx_data import WINDOW_DAYS, RealisedDays
from tandem.research.spx_tails import DayForecast, ModelForecasts, gathered, of_window

REFIT_DAYS = 22
MODELS = {"garch_t": Kind.GARCH, "gjr_t": Kind.GJR, "egarch_t": Kind.EGARCH}


class RollingFits:
    """Parameters of one kind by the day that they serve: refitted on days first, first + 22, first - 22, ... with enough days before."""

    def __init__(self, data: RealisedDays, kind: Kind) -> None:
        self._data, self._kind = data, kind
        self._fits: dict[int, Volatility] = {}

    def at(self, day: int) -> Volatility:
        """Of the last refit at or before a day. Raises FitRejected when no window from there back can be fitted."""
        anchor = self.refit_day(day)
        if anchor not in self._fits:
            self._fits[anchor] = self._fit(anchor)
        return self._fits[anchor]

    def refit_day(self, day: int) -> int:
        """The last refit's day at or before a day. Its fit sees the days before it only."""
        anchor = day - (day - self._data.first) % REFIT_DAYS
        return anchor if anchor >= WINDOW_DAYS else WINDOW_DAYS

    def _fit(self, anchor: int) -> Volatility:
        """A window without a maximum keeps the parameters of the refit before it, as a desk would."""
        _, returns = self._data.window(anchor)
        try:
            return garch.fit(returns, self._kind, Shocks.STUDENT_T)
        except FitRejected:
            if anchor - REFIT_DAYS < WINDOW_DAYS:
                raise
            return self.at(anchor - REFIT_DAYS)


def forecasts(data: RealisedDays, fits: RollingFits) -> ModelForecasts:
    """Of the test days, the state filtered over the window before each."""
    return gathered([_forecast(data, fits.at(day), day) for day in data.test_days])


def _forecast(data: RealisedDays, volatility: Volatility, day: int) -> DayForecast:
    _, returns = data.window(day)
    return of_window(returns, np.exp(log_variances(volatility, returns)[LOST + 1 :]))
