"""The ingestor's composition root: `python -m tandem.ingestor.main`.

Market data (Alpaca or the recycler, TANDEM_ALPACA_DATA_URL) to tandem.ticks.<sector> for the pairs declared in tandem.control.
"""

import asyncio
import gc
import signal
import sys
import time

import structlog

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.adapters.alpaca_market import QUEUE_PAYLOADS_MAX, StreamEvent, TradeStream
from tandem.adapters.calendar import MarketHours
from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.market import Source
from tandem.ingestor.condition import Condition
from tandem.ingestor.intake import Intake
from tandem.ingestor.pump import SERVICE, Pump
from tandem.settings import Settings

log = structlog.get_logger()
# Each payload makes hundreds of small maps that die at once; collecting after every 700 of them costs a third of the throughput.
GC_THRESHOLDS = (50_000, 20, 100)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit code 2: a setting cannot be used; 1: a server is away or refuses for good."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        settings = settings_module.load()
        telemetry.configure_logging(SERVICE, settings.log_level)
        asyncio.run(serve(settings))
    except BadSetting as error:
        print(f"tandem {SERVICE}: {error}", file=sys.stderr)
        sys.exit(2)
    except TandemError as error:
        print(f"tandem {SERVICE}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


async def serve(settings: Settings) -> None:
    """HTTP and the pump, until a signal. Raises TandemError."""
    source, condition, stop = _checked(settings), Condition(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    http = telemetry.HttpThread(telemetry.health_app(condition.why_not_ready), settings.host, settings.port)
    http.start()
    try:
        await _pump(settings, source, condition, stop)
        log.info("stopped")
    finally:
        http.stop()


async def _pump(settings: Settings, source: Source, condition: Condition, stop: asyncio.Event) -> None:
    """Everything wired together."""
    servers, replay, hours = settings.kafka_bootstrap_servers, source is Source.RECYCLED, MarketHours()
    events: asyncio.Queue[StreamEvent] = asyncio.Queue(QUEUE_PAYLOADS_MAX)
    create_topics(servers, ())
    writer = KafkaWriter(servers, SERVICE)
    try:
        control = read_control(servers, SERVICE)
        log.info("started", source=source.value, url=settings.alpaca_data_url or "Alpaca", pairs=len(control[0].pairs))
        pump = Pump(
            servers=servers,
            intake=Intake(source),
            stream=TradeStream(
                events,
                key_id=settings.alpaca_key_id.get_secret_value(),
                secret_key=settings.alpaca_secret_key.get_secret_value(),
                feed=settings.alpaca_feed,
                url=settings.alpaca_data_url or None,
                mute_s_max=None if replay else settings.mute_s_max,  # a replay may pause for as long as it likes
                expects_data=lambda: hours.is_open(time.time_ns()),
                compress=not settings.alpaca_data_url.startswith("ws://"),  # unencrypted means near: there it only costs time
            ),
            events=events,
            writer=writer,
            control=control,
            condition=condition,
            lateness_ms=None if replay else settings.lateness_ms,
        )
        await pump.run(stop)
        control[1].close()
    finally:
        writer.close()


def _checked(settings: Settings) -> Source:
    """The source. Raises BadSetting with every fault that a look at the settings can find."""
    faults = []
    if settings.source not in set(Source):
        faults.append(f"TANDEM_SOURCE is {settings.source!r}, allowed are {', '.join(Source)}")
    if not settings.kafka_bootstrap_servers:
        faults.append("TANDEM_KAFKA_BOOTSTRAP_SERVERS is not set")
    if not settings.alpaca_key_id.get_secret_value() or not settings.alpaca_secret_key.get_secret_value():
        faults.append("TANDEM_ALPACA_KEY_ID and TANDEM_ALPACA_SECRET_KEY are not set (any text for the recycler)")
    if settings.source == Source.RECYCLED and not settings.alpaca_data_url:
        faults.append("TANDEM_SOURCE is recycled, but TANDEM_ALPACA_DATA_URL is not set: it would be Alpaca itself")
    if not settings.port:
        faults.append("TANDEM_PORT is not set")
    if faults:
        raise BadSetting("; ".join(faults))
    return Source(settings.source)


if __name__ == "__main__":
    main()
