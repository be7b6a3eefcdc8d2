"""Why a series cannot be fitted: one error for each reason, with the short code under which bundles and reports record it.

A caller with many series catches FitRejected, records `reason` and goes on with the rest.
"""

from tandem.domain.errors import Permanent


class FitRejected(Permanent):
    """A series cannot be fitted. `reason` is the short code that the bundle records."""

    reason = "fit_rejected"


class NotFinite(FitRejected):
    """The series holds NaN or infinite values."""

    reason = "not_finite"


class TooFewBars(FitRejected):
    """Fewer bars than the fit needs."""

    reason = "too_few_bars"


class ConstantSeries(FitRejected):
    """The series does not move, so nothing can be estimated."""

    reason = "constant_series"


class NotStationary(FitRejected):
    """The spread or its variance has no level to return to."""

    reason = "not_stationary"


class NotConverged(FitRejected):
    """The optimiser found no maximum."""

    reason = "not_converged"
