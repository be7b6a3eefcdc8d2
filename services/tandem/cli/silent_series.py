"""Series that have no samples on a platform without Kubernetes that trades over a recycled market of daily bars, and why.

Panels and rules over them show nothing there; over all others they must show something, which a test with a real Prometheus holds; another
holds it for the operator's, on a cluster. A reason that is not needed any more fails the test, too. Printed into
docs/reference/metrics.md by generate.py.
"""

from collections.abc import Mapping

from tandem.adapters.series import series_of
from tandem.cli.rules import levels

_NO_OPERATOR = "Of the operator: without Kubernetes there is none."
_EVERYWHERE = {"build_info", "service_ready"}

_NO_SESSION = "Counts in sessions only: a replay of daily bars stands at the closes, when none is open."

# By full name, recorded series too.
SILENT: Mapping[str, str] = {
    **{f"tandem_{name}": _NO_OPERATOR for name in series_of("operator") if name not in _EVERYWHERE},
    **dict.fromkeys((levels.MARKET_DATA_UP, *levels.ratios(levels.MARKET_DATA)), _NO_SESSION),
    "tandem_ingestor_delay_seconds": "Live feeds only: a replay's events are as old as its recording.",
    "tandem_ingestor_stale_symbols": "Live feeds only: a replay's symbols trade when its recording says.",
    "tandem_recycler_wire_faults_total": "From the first fault on that was done on purpose.",
}
# These depend on what happens: they may have samples, and need not.
EVENTUAL: Mapping[str, str] = {
    "tandem_ingestor_unpriced_trades_total": "From the first trade on whose sale conditions keep it from setting a price. "
    "Recordings without conditions have none.",
    "tandem_portfolio_pretrade_refusals_total": "From the first refusal of its kind on.",
    "tandem_recycler_participant_late": "From the first time on that a participant was waited for beyond the limit.",
}
