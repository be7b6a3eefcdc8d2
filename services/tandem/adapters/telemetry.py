"""Structured logs, Prometheus series and the small HTTP face (/livez, /readyz, /metrics) of services without an API of their own.

Every series of Tandem stands in METRICS, so that one place bounds names, labels and units. Label values are bounded: sectors, versions,
topics, reasons from a fixed list. Never a pair x leg x version product.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tandem.domain.errors import BadSetting

T = TypeVar("T")
_LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One series: its name without the prefix `tandem_`, and its labels with what bounds them."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    # recycler
    "recycler_ticks_sent_total": Metric(kind="counter", help="Ticks sent to market-data subscribers."),
    "recycler_watermark_seconds": Metric(kind="gauge", help="Event time that the replay has reached, Unix seconds."),
    "recycler_participant_late": Metric(
        kind="gauge", help="1 while a lockstep participant is waited for beyond the limit (at most 16).", labels=("participant",)
    ),
    "recycler_orders_total": Metric(
        kind="counter", help="Orders that the paper exchange took, by what became of them.", labels=("status",)
    ),
    # ingestor
    "ingestor_ticks_total": Metric(kind="counter", help="Ticks written to the sector's topic.", labels=("sector",)),
    "ingestor_frames_total": Metric(kind="counter", help="Frames written to the sector's topic.", labels=("sector",)),
    "ingestor_parked_total": Metric(kind="counter", help="Messages parked in the dead letter topic.", labels=("reason",)),
    "ingestor_stream_errors_total": Metric(kind="counter", help="Error frames of the market-data stream.", labels=("code",)),
    "ingestor_duplicates_total": Metric(kind="counter", help="Ticks that were there already, e.g. after a reconnect; left out."),
    "ingestor_connected": Metric(kind="gauge", help="1 while the market-data stream is subscribed."),
    "ingestor_watermark_seconds": Metric(kind="gauge", help="Event time of the last heartbeat, Unix seconds."),
    # recorder
    "recorder_bars_total": Metric(kind="counter", help="Bars written to Postgres that were not there."),
    "recorder_scores_total": Metric(kind="counter", help="Forecasts written to Postgres, and again when their outcome was known."),
    "recorder_late_ticks_total": Metric(kind="counter", help="Ticks that came after their bar had closed; parked.", labels=("sector",)),
    "recorder_parked_total": Metric(kind="counter", help="Records parked in the dead letter topic.", labels=("reason",)),
    "recorder_lag_records": Metric(kind="gauge", help="Records of a topic that have had no effect in Postgres yet.", labels=("topic",)),
    # forecaster
    "forecaster_ticks_total": Metric(kind="counter", help="Ticks read.", labels=("sector", "version")),
    "forecaster_forecasts_total": Metric(kind="counter", help="Forecasts published.", labels=("sector", "version")),
    "forecaster_lag_records": Metric(kind="gauge", help="Records of the tick topic not yet read.", labels=("sector", "version")),
    "forecaster_model_info": Metric(kind="gauge", help="1 for the version that runs.", labels=("sector", "version", "digest")),
    "tick_to_forecast_seconds": Metric(
        kind="histogram", help="From the ingestor's receipt to the forecast's publication.", labels=("sector",)
    ),
    # portfolio
    "portfolio_signals_total": Metric(kind="counter", help="Signals that asked for an action, by outcome.", labels=("outcome",)),
    "portfolio_forecasts_acted_total": Metric(
        kind="counter", help="Forecasts that a pair's decision was made of, by the version that made them.", labels=("sector", "version")
    ),
    "portfolio_forecasts_repeated_total": Metric(
        kind="counter", help="Forecasts of a bar that another version had decided already; left out.", labels=("sector",)
    ),
    "portfolio_routing_epoch": Metric(
        kind="gauge", help="Epoch of the routing pointer under which a forecast was acted on last.", labels=("sector",)
    ),
    "portfolio_orders_total": Metric(kind="counter", help="Orders by final status.", labels=("status",)),
    "portfolio_fills_total": Metric(kind="counter", help="Executions booked."),
    "portfolio_open_pairs": Metric(kind="gauge", help="Pairs that are not flat."),
    "portfolio_equity_usd": Metric(kind="gauge", help="Equity of the book at the last marks."),
    "portfolio_reconcile_mismatches_total": Metric(kind="counter", help="Differences found between the ledger and the broker."),
    "portfolio_cache_requests_total": Metric(kind="counter", help="Reads through the cache.", labels=("result",)),
    "forecast_to_order_seconds": Metric(kind="histogram", help="From a forecast's publication to the broker's answer to the order."),
    # operator; kinds are the four of tandem.trading, results and reasons come from fixed lists
    "operator_leader": Metric(kind="gauge", help="1 while this process holds the lease and may write."),
    "operator_objects": Metric(kind="gauge", help="Objects of a kind in the namespace.", labels=("kind",)),
    "operator_not_ready": Metric(kind="gauge", help="Objects of a kind whose condition Ready is not True.", labels=("kind",)),
    "operator_reconciles_total": Metric(
        kind="counter",
        help="Looks at an object, by how they ended: ok, transient, permanent, crashed, broken.",
        labels=("kind", "result"),
    ),
    "operator_reconcile_seconds": Metric(kind="histogram", help="How long a look at an object took.", labels=("kind",)),
    "operator_queue_waiting": Metric(kind="gauge", help="Objects that are due to be looked at, or in hand.", labels=("kind",)),
    "operator_api_requests_total": Metric(
        kind="counter", help="Requests to the API server by verb and status; `none` without an answer.", labels=("verb", "code")
    ),
    "operator_control_writes_total": Metric(
        kind="counter", help="Records written to the control topic: pair, routing, trading or rollout.", labels=("record",)
    ),
    "operator_drift_repaired_total": Metric(
        kind="counter", help="Control records that somebody else had changed and that were put back.", labels=("record",)
    ),
    "operator_events_total": Metric(kind="counter", help="Kubernetes Events by reason (a fixed list).", labels=("reason",)),
    "operator_rollout_step": Metric(kind="gauge", help="1 for the step of the rollout that runs in a sector.", labels=("sector", "step")),
    "operator_rollouts_total": Metric(kind="counter", help="Rollouts that have ended, by outcome.", labels=("outcome",)),
    "operator_gate_p_value": Metric(
        kind="gauge", help="Anytime-valid p-value of the statistical gate at its newest look; NaN without one.", labels=("sector",)
    ),
    "operator_gate_bars": Metric(kind="gauge", help="Paired bars that the statistical gate has looked at.", labels=("sector",)),
    "operator_dependency_up": Metric(
        kind="gauge", help="1 while the operator reaches it: kafka, postgres, mlflow or kubernetes.", labels=("dependency",)
    ),
}


def counter(name: str) -> Counter:
    """The counter of this name from METRICS; created once per process."""
    return _COUNTERS.get(name)


def gauge(name: str) -> Gauge:
    """The gauge of this name from METRICS."""
    return _GAUGES.get(name)


def histogram(name: str) -> Histogram:
    """The histogram of this name from METRICS, with latency buckets from 1 ms to 5 s."""
    return _HISTOGRAMS.get(name)


class _Made(Generic[T]):
    """Metrics made so far in this process; prometheus_client refuses to make one twice."""

    def __init__(self, kind: str, make: Callable[[str, Metric], T]) -> None:
        self._kind, self._make = kind, make
        self._made: dict[str, T] = {}

    def get(self, name: str) -> T:
        metric = METRICS[name]
        if metric.kind != self._kind:
            raise TypeError(f"{name} is a {metric.kind}, not a {self._kind}")
        if name not in self._made:
            self._made[name] = self._make(f"tandem_{name}", metric)
        return self._made[name]


def configure_logging(service: str, level: str = "INFO") -> None:
    """One JSON object a line on stderr, each with the service's name. Libraries log through it from WARNING on."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)


def health_app(ready: Callable[[], str | None]) -> Starlette:
    """/livez, /readyz and /metrics. `ready` returns None when ready, else the reason why not."""

    def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    def readyz(_: Request) -> Response:
        reason = ready()
        return JSONResponse({"ready": reason is None, "reason": reason}, status_code=200 if reason is None else 503)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


class HttpThread:
    """An ASGI app served by uvicorn in a thread of its own, without touching the process's signal handlers."""

    def __init__(self, app: object, host: str, port: int) -> None:
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="auto")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Serve in the background. Raises BadSetting if the address cannot be taken, e.g. because another process has the port."""
        config = self._server.config
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        # With the protocol named, asyncio switches Nagle off; without, every answer waits 40 ms for an ACK.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((config.host, config.port))
        except OSError as error:
            self._socket.close()
            raise BadSetting(f"TANDEM_HOST, TANDEM_PORT: cannot listen on {config.host}:{config.port}: {error.strerror}") from error
        self._thread.start()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Finish running requests and stop."""
        self._server.should_exit = True
        self._thread.join(timeout=5)


_COUNTERS: _Made[Counter] = _Made("counter", lambda name, m: Counter(name, m.help, m.labels))
_GAUGES: _Made[Gauge] = _Made(
    # The mode counts only in prometheus_client's multiprocess mode, which BentoML switches on: without it each gauge gets a pid label.
    "gauge",
    lambda name, m: Gauge(name, m.help, m.labels, multiprocess_mode="mostrecent"),
)
_HISTOGRAMS: _Made[Histogram] = _Made("histogram", lambda name, m: Histogram(name, m.help, m.labels, buckets=_LATENCY_S))
