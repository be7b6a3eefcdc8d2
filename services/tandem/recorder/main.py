"""The recorder's composition root: `python -m tandem.recorder.main`.

Ticks of all sectors and forecasts from Kafka to the tables bars, forecast_scores and consumer_positions in Postgres.
"""

import signal
import sys
import time
from contextlib import ExitStack
from types import FrameType

import structlog

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.adapters.calendar import service_grid
from tandem.adapters.control_log import read_control
from tandem.adapters.history_store import HistoryStore, Retention
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.postgres import upgrade
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.market import SessionGrid
from tandem.recorder.pump import SERVICE, Pump
from tandem.settings import Settings

log = structlog.get_logger()


class _Life:
    """What HTTP and the signal handlers need before and after the pump exists."""

    def __init__(self) -> None:
        self.pump: Pump | None = None
        self.stopping = False

    def why_not_ready(self) -> str | None:
        """None when ready, else the reason."""
        return "starting" if self.pump is None else self.pump.why_not_ready()

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signature of a signal handler
        """On SIGTERM and SIGINT."""
        self.stopping = True
        if self.pump is not None:
            self.pump.stop()


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit code 2: a setting cannot be used; 1: a server is away."""
    try:
        settings = settings_module.load()
        telemetry.configure_logging(SERVICE, settings.log_level)
        _serve(settings)
    except BadSetting as error:
        print(f"tandem {SERVICE}: {error}", file=sys.stderr)
        sys.exit(2)
    except TandemError as error:
        print(f"tandem {SERVICE}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


def _serve(settings: Settings) -> None:
    wanted = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "TANDEM_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "TANDEM_PORT": settings.port,
    }
    if missing := [name for name, value in wanted.items() if not value]:
        raise BadSetting(f"not set: {', '.join(missing)}")
    life = _Life()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, life.stop)
    grid = service_grid(settings.bar, time.time_ns())
    http = telemetry.HttpThread(telemetry.health_app("recorder", life.why_not_ready), settings.host, settings.port)
    http.start()
    try:
        _run(settings, grid, life)
        log.info("stopped")
    finally:
        http.stop()


def _run(settings: Settings, grid: SessionGrid, life: _Life) -> None:
    """Everything wired together, until a signal."""
    servers, url = settings.kafka_bootstrap_servers, settings.postgres_url.get_secret_value()
    log.info("started", schema=upgrade(url), bar=settings.bar)
    create_topics(servers, ())
    with ExitStack() as cleanup:
        writer = KafkaWriter(servers, SERVICE)
        cleanup.callback(writer.close)
        store = HistoryStore(url, SERVICE)
        cleanup.callback(store.close)
        control = read_control(servers, SERVICE)
        cleanup.callback(control[1].close)
        life.pump = Pump(
            servers=servers, store=store, writer=writer, control=control, grid=grid, timeframe=settings.bar, retention=_retention(settings)
        )
        if not life.stopping:
            life.pump.run()


def _retention(settings: Settings) -> Retention:
    return Retention(bars_days=settings.keep_bars_days, scores_days=settings.keep_scores_days, replays_days=settings.keep_replays_days)


if __name__ == "__main__":
    main()
