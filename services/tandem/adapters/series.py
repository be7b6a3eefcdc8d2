"""Every Prometheus series of Tandem: kind, unit, labels, meaning, which services serve it, and what bounds its labels.

adapters/telemetry.py makes them; docs/reference/metrics.md is made of this table. A label's values come from a list that somebody keeps
short (adapters/series_labels.py): sectors, versions that run, topics, reasons from an enumeration. Never a pair x leg x version product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tandem.domain.trading import OrderStatus
from tandem.flow.breakers import Breaker
from tandem.rollout.state import Outcome

LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
UNHEDGED_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
SLIPPAGE_BPS = (-20.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SERVICES = ("recycler", "ingestor", "recorder", "forecaster", "portfolio", "operator")
STREAM_CODES = (*range(400, 411), 500)  # of Alpaca's stream; any other is counted as `other`
_FORECASTERS = ("tick_to_forecast_seconds",)
_PORTFOLIOS = ("forecast_to_order_seconds",)
_EVERYWHERE = ("build_info", "service_ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One series. buckets: upper bounds of a histogram, in its unit.

    known: values of its only label that are there at 0 from the start. Prometheus sees a rise only where something lower was before it:
    without them the first event of all would raise no alert.
    """

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_S
    known: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    # every service
    "build_info": Metric(kind="gauge", unit="0 or 1", help="1 for what runs here.", labels=("service", "release")),
    "service_ready": Metric(kind="gauge", unit="0 or 1", help="1 when /readyz says so, asked at the scrape.", labels=("service",)),
    # recycler
    "recycler_ticks_sent_total": Metric(kind="counter", unit="ticks", help="Ticks sent to market-data subscribers."),
    "recycler_watermark_seconds": Metric(kind="gauge", unit="s", help="Event time that the replay has reached, Unix seconds."),
    "recycler_participant_late": Metric(
        kind="gauge",
        unit="0 or 1",
        help="1 while a lockstep participant is waited for beyond the limit (at most 16).",
        labels=("participant",),
    ),
    "recycler_wire_faults_total": Metric(
        kind="counter", unit="faults", labels=("kind",), help="Wire faults that were done to a client, by kind (recycler/faults.py)."
    ),
    "recycler_orders_total": Metric(
        kind="counter", unit="orders", help="Orders that the paper exchange took, by what became of them.", labels=("status",)
    ),
    # ingestor
    "ingestor_ticks_total": Metric(kind="counter", unit="ticks", help="Ticks written to the sector's topic.", labels=("sector",)),
    "ingestor_frames_total": Metric(kind="counter", unit="frames", help="Frames written to the sector's topic.", labels=("sector",)),
    "ingestor_unpriced_trades_total": Metric(
        kind="counter",
        unit="trades",
        help="Trades whose sale conditions keep them from setting prices, by reason; they are in the topic, and count in ticks_total.",
        labels=("sector", "reason"),
    ),
    "ingestor_parked_total": Metric(
        kind="counter",
        unit="messages",
        help="Messages parked in the dead letter topic.",
        labels=("reason",),
        known=("message_malformed",),  # one is enough: the alert adds reasons up before it looks for a rise
    ),
    "ingestor_stream_errors_total": Metric(
        kind="counter",
        unit="frames",
        help="Error frames of the market-data stream.",
        labels=("code",),
        known=(*map(str, STREAM_CODES), "other"),
    ),
    "ingestor_duplicates_total": Metric(
        kind="counter", unit="ticks", help="Ticks that were there already, e.g. after a reconnect; left out."
    ),
    "ingestor_recovered_ticks_total": Metric(
        kind="counter",
        unit="ticks",
        help="Ticks that history had and the stream had not brought: after a reconnect, a restart or an audit.",
    ),
    "ingestor_missed_ticks_total": Metric(
        kind="counter", unit="ticks", help="Recovered ticks that were missing while the stream looked healthy."
    ),
    "ingestor_history_failures_total": Metric(
        kind="counter", unit="requests", help="Questions to the history REST without an answer; asked again."
    ),
    "ingestor_holes_left_total": Metric(
        kind="counter", unit="holes", help="Holes longer than history may be asked for; their begin stays open."
    ),
    "ingestor_conflated_quotes_total": Metric(
        kind="counter",
        unit="quotes",
        help="Quotes of a live feed that a newer one replaced while the ingestor was behind. Trades are never left out.",
    ),
    "ingestor_connections_lost_total": Metric(
        kind="counter", unit="connections", help="Market-data connections that were lost or could not be made."
    ),
    "ingestor_unacknowledged_records": Metric(
        kind="gauge", unit="records", help="Records that Kafka has not confirmed yet; the socket waits at 512."
    ),
    "ingestor_stale_symbols": Metric(
        kind="gauge", unit="symbols", help="Symbols without a trade for TANDEM_STALE_S while the exchange is open.", labels=("sector",)
    ),
    "ingestor_connected": Metric(kind="gauge", unit="0 or 1", help="1 while the market-data stream is subscribed."),
    "ingestor_watermark_seconds": Metric(kind="gauge", unit="s", help="Event time of the last heartbeat, Unix seconds."),
    "ingestor_session_open": Metric(
        kind="gauge",
        unit="0 or 1",
        help="1 while a session of the exchange is open: by the clock on a live feed, by the replay's time on a recycled one.",
    ),
    "ingestor_last_frame_seconds": Metric(
        kind="gauge", unit="Unix s", help="Wall time at which a sector's newest frame was handed to Kafka.", labels=("sector",)
    ),
    "ingestor_delay_seconds": Metric(
        kind="histogram", unit="s", help="From a frame's first event to its receipt. Live feeds only.", labels=("sector",)
    ),
    # recorder
    "recorder_bars_total": Metric(kind="counter", unit="bars", help="Bars written to Postgres that were not there."),
    "recorder_market_events_total": Metric(
        kind="counter", unit="events", help="Corrections, cancels, halts and bands written to Postgres."
    ),
    "recorder_bars_revised_total": Metric(
        kind="counter", unit="bars", help="Stored bars that a later correction or cancel changed; the old one is kept."
    ),
    "recorder_scores_total": Metric(
        kind="counter", unit="scores", help="Forecasts written to Postgres, and again when their outcome was known."
    ),
    "recorder_late_ticks_total": Metric(
        kind="counter", unit="ticks", help="Ticks that came after their bar had closed; parked.", labels=("sector",)
    ),
    "recorder_parked_total": Metric(
        kind="counter", unit="records", help="Records parked in the dead letter topic.", labels=("reason",), known=("tick_late",)
    ),
    "recorder_lag_records": Metric(
        kind="gauge", unit="records", help="Records of a topic that have had no effect in Postgres yet.", labels=("topic",)
    ),
    "recorder_lag_seconds": Metric(
        kind="gauge", unit="s", help="Age of the newest record that was read, where newer ones wait; else 0.", labels=("topic",)
    ),
    "recorder_last_save_seconds": Metric(kind="gauge", unit="Unix s", help="Wall time of the newest transaction."),
    # forecaster
    "forecaster_ticks_total": Metric(kind="counter", unit="ticks", help="Ticks read.", labels=("sector", "version")),
    "forecaster_forecasts_total": Metric(kind="counter", unit="forecasts", help="Forecasts published.", labels=("sector", "version")),
    "forecaster_forecasts_withheld_total": Metric(
        kind="counter",
        unit="forecasts",
        help="Forecasts that were not finite and therefore not published.",
        labels=("sector", "version"),
    ),
    "forecaster_late_ticks_total": Metric(
        kind="counter",
        unit="ticks",
        help="Ticks, corrections and cancels that came after their bar had closed; no bar changed.",
        labels=("sector", "version"),
    ),
    "forecaster_lag_records": Metric(
        kind="gauge", unit="records", help="Records of the tick topic not yet read.", labels=("sector", "version")
    ),
    "forecaster_lag_seconds": Metric(
        kind="gauge", unit="s", help="Age of the newest record that was read, where newer ones wait; else 0.", labels=("sector", "version")
    ),
    "forecaster_last_forecast_seconds": Metric(
        kind="gauge", unit="Unix s", help="Wall time at which forecasts were published last.", labels=("sector", "version")
    ),
    "forecaster_parked_total": Metric(
        kind="counter", unit="records", help="Records parked in the dead letter topic.", labels=("sector", "version")
    ),
    "forecaster_model_info": Metric(
        kind="gauge", unit="0 or 1", help="1 for the version that runs.", labels=("sector", "version", "digest")
    ),
    "tick_to_forecast_seconds": Metric(
        kind="histogram", unit="s", help="From the ingestor's receipt to the forecast's publication.", labels=("sector",)
    ),
    # portfolio
    "portfolio_signals_total": Metric(
        kind="counter",
        unit="signals",
        help="Signals that asked for an action, by outcome.",
        labels=("outcome",),
        known=("taken", "refused"),
    ),
    "portfolio_forecasts_acted_total": Metric(
        kind="counter",
        unit="forecasts",
        help="Forecasts that a pair's decision was made of, by the version that made them.",
        labels=("sector", "version"),
    ),
    "portfolio_forecasts_repeated_total": Metric(
        kind="counter", unit="forecasts", help="Forecasts of a bar that another version had decided already; left out.", labels=("sector",)
    ),
    "portfolio_routing_epoch": Metric(
        kind="gauge", unit="epoch", help="Epoch of the routing pointer under which a forecast was acted on last.", labels=("sector",)
    ),
    "portfolio_orders_total": Metric(
        kind="counter",
        unit="orders",
        help="Orders by final status.",
        labels=("status",),
        known=tuple(status.value for status in OrderStatus if status.is_final),
    ),
    "portfolio_fills_total": Metric(kind="counter", unit="fills", help="Executions booked."),
    "portfolio_open_pairs": Metric(kind="gauge", unit="pairs", help="Pairs that are not flat."),
    "portfolio_equity_usd": Metric(kind="gauge", unit="USD", help="Equity of the book at the last marks."),
    "portfolio_crossed_shares_total": Metric(
        kind="counter", unit="shares", help="Shares that passed from one pair to another without a broker."
    ),
    "portfolio_comparisons_total": Metric(
        kind="counter", unit="comparisons", help="Comparisons of the ledger with the broker while trading."
    ),
    "portfolio_fills_healed_total": Metric(kind="counter", unit="fills", help="Executions that the trade-updates stream had not told."),
    "portfolio_transitions_refused_total": Metric(
        kind="counter", unit="events", help="Events that the tables of orders and pairs do not allow."
    ),
    "portfolio_reconcile_mismatches_total": Metric(
        kind="counter", unit="differences", help="Differences found between the ledger and the broker."
    ),
    "portfolio_cache_requests_total": Metric(
        kind="counter", unit="requests", help="Reads through the cache.", labels=("result",), known=("hit", "miss", "error")
    ),
    "portfolio_active": Metric(kind="gauge", unit="0 or 1", help="1 while this process may write for the account; 0 stands by."),
    "portfolio_fenced_total": Metric(
        kind="counter", unit="transactions", help="Transactions that were refused because another process writes for the account now."
    ),
    "portfolio_lag_records": Metric(kind="gauge", unit="records", help="Records of the forecast topic that were not read yet."),
    "portfolio_lag_seconds": Metric(
        kind="gauge", unit="s", help="Age of the newest forecast record that was read, where newer ones wait; else 0."
    ),
    "portfolio_last_forecast_seconds": Metric(kind="gauge", unit="Unix s", help="Wall time at which forecasts were taken in last."),
    "portfolio_last_comparison_seconds": Metric(
        kind="gauge", unit="Unix s", help="Wall time at which ledger and broker were compared last, at the start or while trading."
    ),
    "portfolio_slippage_bps": Metric(
        kind="histogram",
        unit="basis points",
        help="How much worse than the price of its decision an execution was; below 0 is better.",
        labels=("sector",),
        buckets=SLIPPAGE_BPS,
    ),
    "portfolio_unhedged_seconds": Metric(
        kind="histogram",
        unit="s",
        help="Event time from the first execution of an opening or closing to its last.",
        labels=("sector",),
        buckets=UNHEDGED_S,
    ),
    "portfolio_hedge_error_usd": Metric(
        kind="gauge", unit="USD", help="What the fuller legs of open pairs hold beyond what the other leg answers, at the last marks."
    ),
    "portfolio_quarantined_pairs": Metric(kind="gauge", unit="pairs", help="Pairs that wait for a person."),
    "portfolio_gross_usd": Metric(kind="gauge", unit="USD", help="Value of all positions, long and short added, at the last marks."),
    "portfolio_trading_mode": Metric(
        kind="gauge", unit="0 or 1", help="1 for the account's trading mode: active, reducing, flattening or halted.", labels=("mode",)
    ),
    # portfolio: risk
    "portfolio_pretrade_refusals_total": Metric(
        kind="counter",
        unit="refusals",
        help="Things that spoke against sending orders, by code and by what the orders were for.",
        labels=("code", "purpose"),
    ),
    "portfolio_breaker_tripped": Metric(kind="gauge", unit="0 or 1", help="1 while a breaker stands.", labels=("breaker",)),
    "portfolio_breaker_trips_total": Metric(
        kind="counter",
        unit="trips",
        help="How often each breaker has tripped.",
        labels=("breaker",),
        known=tuple(breaker.value for breaker in Breaker),
    ),
    "portfolio_drawdown_share": Metric(kind="gauge", unit="share", help="Share of the highest equity that is lost; 0 at it."),
    "portfolio_pairs_drifting": Metric(
        kind="gauge", unit="pairs", help="Pairs whose spread comes back slower than their model can explain."
    ),
    "portfolio_pairs_resting": Metric(kind="gauge", unit="pairs", help="Pairs that were stopped and wait for a new excursion."),
    "forecast_to_order_seconds": Metric(
        kind="histogram", unit="s", help="From a forecast's publication to the broker's answer to the order."
    ),
    # operator; kinds are the four of tandem.trading, results and reasons come from fixed lists
    "operator_leader": Metric(kind="gauge", unit="0 or 1", help="1 while this process holds the lease and may write."),
    "operator_objects": Metric(kind="gauge", unit="objects", help="Objects of a kind in the namespace.", labels=("kind",)),
    "operator_not_ready": Metric(
        kind="gauge", unit="objects", help="Objects of a kind whose condition Ready is not True.", labels=("kind",)
    ),
    "operator_reconciles_total": Metric(
        kind="counter",
        unit="reconciles",
        help="Looks at an object, by how they ended: ok, transient, permanent, crashed, broken.",
        labels=("kind", "result"),
    ),
    "operator_reconcile_seconds": Metric(kind="histogram", unit="s", help="How long a look at an object took.", labels=("kind",)),
    "operator_queue_waiting": Metric(
        kind="gauge", unit="objects", help="Objects that are due to be looked at, or in hand.", labels=("kind",)
    ),
    "operator_api_requests_total": Metric(
        kind="counter",
        unit="requests",
        help="Requests to the API server by verb and status; `none` without an answer.",
        labels=("verb", "code"),
    ),
    "operator_control_writes_total": Metric(
        kind="counter", unit="records", help="Records written to the control topic: pair, routing, trading or rollout.", labels=("record",)
    ),
    "operator_drift_repaired_total": Metric(
        kind="counter", unit="records", help="Control records that somebody else had changed and that were put back.", labels=("record",)
    ),
    "operator_events_total": Metric(kind="counter", unit="events", help="Kubernetes Events by reason (a fixed list).", labels=("reason",)),
    "operator_rollout_step": Metric(
        kind="gauge", unit="0 or 1", help="1 for the step of the rollout that runs in a sector.", labels=("sector", "step")
    ),
    "operator_rollouts_total": Metric(
        kind="counter",
        unit="rollouts",
        help="Rollouts that have ended, by outcome.",
        labels=("outcome",),
        known=tuple(outcome.value for outcome in Outcome if outcome is not Outcome.RUNNING),
    ),
    "operator_gate_p_value": Metric(
        kind="gauge",
        unit="probability",
        help="Anytime-valid p-value of the statistical gate at its newest look; NaN without one.",
        labels=("sector",),
    ),
    "operator_gate_bars": Metric(
        kind="gauge", unit="bars", help="Paired bars that the statistical gate has looked at.", labels=("sector",)
    ),
    "operator_gate_sessions": Metric(kind="gauge", unit="sessions", help="Trading sessions that those bars come from.", labels=("sector",)),
    "operator_gate_effect": Metric(
        kind="gauge",
        unit="QLIKE",
        help="Mean QLIKE of the candidate minus the stable version's at the newest look, below 0 is better; NaN without one.",
        labels=("sector",),
    ),
    "operator_gate_statistic": Metric(
        kind="gauge", unit="Diebold-Mariano", help="Statistic over all paired bars, for people; NaN without one.", labels=("sector",)
    ),
    "operator_gate_verdict": Metric(
        kind="gauge", unit="0 or 1", help="1 for the verdict of the statistical gate.", labels=("sector", "verdict")
    ),
    "operator_shadow_divergence": Metric(
        kind="gauge",
        unit="share",
        help="Share of the forecasts of candidate and stable version whose variances differ by more than the policy calls ordinary, at the "
        "newest comparison; NaN below 100 of them.",
        labels=("sector",),
    ),
    "operator_alias_behind": Metric(
        kind="gauge",
        unit="0 or 1",
        help="1 while the alias that a sector follows, or its pinned version, names another version than the one that is acted on.",
        labels=("sector",),
    ),
    "operator_rollout_step_since_seconds": Metric(
        kind="gauge", unit="Unix s", help="Wall time at which the running rollout entered its step; 0 without one.", labels=("sector",)
    ),
    "operator_dependency_up": Metric(
        kind="gauge", unit="0 or 1", help="1 while the operator reaches it: kafka, postgres, mlflow or kubernetes.", labels=("dependency",)
    ),
}


def served_by(name: str) -> tuple[str, ...]:
    """The services whose /metrics has this series."""
    if name in _EVERYWHERE:
        return SERVICES
    if name in _FORECASTERS:
        return ("forecaster",)
    if name in _PORTFOLIOS:
        return ("portfolio",)
    return (name.partition("_")[0],)


def series_of(service: str) -> tuple[str, ...]:
    """The series that a service serves."""
    return tuple(name for name in METRICS if service in served_by(name))
