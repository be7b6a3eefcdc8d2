"""Service levels: what share of events may be bad, recorded over seven windows, and alerts on how fast that share is used up.

A month's budget that burns 14.4 times too fast over an hour, or 6 times over six hours, wakes somebody; 3 times over a day or at its own
pace over three days waits for the morning. Both windows of a pair must burn: the long one says that it matters, the short one that it
still goes on. Outside the exchange's sessions, and without events, the recorded ratios are absent, so that no night and no weekend
divides zero by zero or fills a window with idle hours. Each namespace has its own budget: what burns in one does not drown in the good
events of another. A Prometheus outside Kubernetes sets no namespace, and all is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tandem.cli.rules.alert import Alert

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
FAST = ((14.4, "1h", "5m"), (6, "6h", "30m"))
SLOW = ((3, "1d", "2h"), (1, "3d", "6h"))
SESSION, MARKET_DATA_UP = "tandem:session_open", "tandem:market_data_up"
IN_SESSION = f"and on (namespace) {SESSION} == 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """bad: PromQL of the share of bad events, with WINDOW for the window; absent where there were no events."""

    name: str  # of the recorded series
    alert: str
    objective: float
    bad: str
    page: str
    what: str


def _slow(histogram: str, le: str) -> str:
    """Share of observations above a bucket's bound, if there were any."""
    within, total = (_events(f"tandem_{histogram}_{part}") for part in (f'bucket{{le="{le}"}}', "count"))
    return f"(1 - {within} / {total}) and {total} > 0"


def _events(counter: str) -> str:
    """How many there were, in each namespace."""
    return f"sum by (namespace) (increase({counter}[WINDOW]))"


MARKET_DATA = Level(
    name="market_data",
    alert="TandemMarketData",
    objective=0.999,
    bad=f"1 - avg_over_time({MARKET_DATA_UP}[WINDOW])",
    page="market-data",
    what="of the sessions' time without market data",
)
LEVELS = (
    MARKET_DATA,
    Level(
        name="completeness",
        alert="TandemCompleteness",
        objective=0.9999,
        bad=f"{_events('tandem_ingestor_missed_ticks_total')} / {_events('tandem_ingestor_ticks_total')} "
        f"and {_events('tandem_ingestor_ticks_total')} > 0",
        page="market-data",
        what="of the ticks missing while the stream looked healthy",
    ),
    Level(
        name="forecasts",
        alert="TandemForecasts",
        objective=0.99,
        bad=_slow("tick_to_forecast_seconds", "0.1"),
        page="forecasts",
        what="of the batches later than 0.1 s after the receipt of what completed them",
    ),
    Level(
        name="orders",
        alert="TandemOrders",
        objective=0.99,
        bad=_slow("forecast_to_order_seconds", "1.0"),
        page="orders",
        what="of the orders not answered by the broker within 1 s of their forecast",
    ),
)


def records() -> list[dict[str, Any]]:
    """The recorded series of all levels, and what they are masked by."""
    hits, reads = (f"sum by (namespace) (rate(tandem_portfolio_cache_requests_total{which}[5m]))" for which in ('{result="hit"}', ""))
    mask: list[dict[str, Any]] = [
        {"record": SESSION, "expr": "max by (namespace) (tandem_ingestor_session_open)"},
        {"record": MARKET_DATA_UP, "expr": f"max by (namespace) (tandem_ingestor_connected) {IN_SESSION}"},
        {"record": "tandem:cache_hit:ratio_rate5m", "expr": f"{hits} / {reads} and {reads} > 0"},
    ]
    return mask + [{"record": ratio(level, window), "expr": level.bad.replace("WINDOW", window)} for level in LEVELS for window in WINDOWS]


def ratio(level: Level, window: str) -> str:
    """The name of a level's recorded share of bad events."""
    return f"tandem:{level.name}_bad:ratio_{window}"


def ratios(level: Level) -> tuple[str, ...]:
    """The names of all of them."""
    return tuple(ratio(level, window) for window in WINDOWS)


def alerts() -> Iterator[Alert]:
    """Two for each level: one that wakes somebody, one that waits."""
    for level in LEVELS:
        for suffix, pairs, severity in (("BurnsFast", FAST, "critical"), ("BurnsSlowly", SLOW, "warning")):
            yield Alert(
                name=f"{level.alert}{suffix}",
                expr=" or ".join(_burns(level, factor, long, short) for factor, long, short in pairs),
                severity="critical" if severity == "critical" else "warning",
                page=level.page,
                summary=f"{{{{ $value | humanizePercentage }}}} {level.what}",
                description=f"The objective is {level.objective:.2%} over 30 days. docs/runbooks/index.md has the burn rates.",
            )


def _burns(level: Level, factor: float, long: str, short: str) -> str:
    limit = f"{factor} * {round(1 - level.objective, 6)}"
    return f"({ratio(level, long)} > {limit} and {ratio(level, short)} > {limit} {IN_SESSION})"
