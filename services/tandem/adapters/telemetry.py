"""Structured logs, Prometheus series and the small HTTP face (/livez, /readyz, /metrics) of services without an API of their own.

Every series of Tandem stands in METRICS (adapters/series.py), so that one place bounds names, labels and units.
"""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Generic, TypeVar

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tandem.adapters import secrets
from tandem.adapters.series import METRICS, Metric, series_of
from tandem.domain.errors import BadSetting

T = TypeVar("T")
__all__ = [
    "METRICS",
    "HttpThread",
    "configure_logging",
    "counter",
    "expose",
    "gauge",
    "health_app",
    "histogram",
    "lag_s",
    "metrics_response",
]


def counter(name: str) -> Counter:
    """The counter of this name from METRICS; created once per process."""
    return _COUNTERS.get(name)


def gauge(name: str) -> Gauge:
    """The gauge of this name from METRICS."""
    return _GAUGES.get(name)


def histogram(name: str) -> Histogram:
    """The histogram of this name from METRICS."""
    return _HISTOGRAMS.get(name)


def expose(service: str) -> None:
    """Make every series of a service at its start: what has no labels, or known ones, is at 0, so that an alert is silent, not blind."""
    for name in series_of(service):
        made = {"counter": counter, "gauge": gauge, "histogram": histogram}[METRICS[name].kind](name)
        for value in METRICS[name].known:
            made.labels(value)
    gauge("build_info").labels(service=service, release=version("tandem-trading")).set(1)


def lag_s(lag_records: int, newest_ms: int) -> float:
    """Age of the newest record that was read, by Kafka's time of it, where newer ones wait; 0 where none wait, or none was read yet."""
    return max(0.0, time.time() - newest_ms / 1_000) if lag_records and newest_ms else 0.0


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
    """One JSON object a line on stderr, each with the service's name. Libraries log through it from WARNING on.

    From here on no registered secret (adapters/secrets.py) reaches stderr, not even in a traceback.
    """
    secrets.guard_stderr()
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


def metrics_response(service: str, reason: str | None) -> Response:
    """The answer to /metrics. reason: why the service is not ready, None when it is."""
    gauge("service_ready").labels(service=service).set(reason is None)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


def health_app(service: str, ready: Callable[[], str | None]) -> Starlette:
    """/livez, /readyz and /metrics of a service, whose series it makes. `ready` returns None when ready, else the reason why not."""
    expose(service)

    def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    def readyz(_: Request) -> Response:
        reason = ready()
        return JSONResponse({"ready": reason is None, "reason": reason}, status_code=200 if reason is None else 503)

    def metrics(_: Request) -> Response:
        return metrics_response(service, ready())

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
_HISTOGRAMS: _Made[Histogram] = _Made("histogram", lambda name, m: Histogram(name, m.help, m.labels, buckets=m.buckets))
