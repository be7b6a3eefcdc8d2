"""The ingestor's composition root: `python -m tandem.ingestor.main`.

Market data (Alpaca or the recycler, TANDEM_ALPACA_DATA_URL) to tandem.ticks.<sector> for the pairs declared in tandem.control.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

import structlog

from tandem import settings as settings_module
from tandem.adapters import telemetry
from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.alpaca_market import QUEUE_PAYLOADS_MAX, StreamEvent, TradeStream
from tandem.adapters.calendar import MarketHours
from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import BadSetting, TandemError
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor.condition import Condition
from tandem.ingestor.fills import Filler, settle_of
from tandem.ingestor.intake import Intake
from tandem.ingestor.pump import SERVICE, Pump
from tandem.ingestor.watch import audit, watch_replay, watch_session, watch_symbols
from tandem.settings import Settings

log = structlog.get_logger()
# Each payload makes hundreds of small maps that die at once; collecting after every 700 of them costs a third of the throughput.
GC_THRESHOLDS = (50_000, 20, 100)
_CLOSE_S = 2.0  # the pump has waited for what was under way
_REPLAY_HOURS_MAX = 24.0 * 366 * 100  # a replay's hours are not ours: a bar of it may be a month


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
    http = telemetry.HttpThread(telemetry.health_app("ingestor", condition.why_not_ready), settings.host, settings.port)
    http.start()
    try:
        await _pump(settings, source, condition, stop)
        log.info("stopped")
    finally:
        http.stop()


async def _pump(settings: Settings, source: Source, condition: Condition, stop: asyncio.Event) -> None:
    """Everything wired together."""
    servers, replay = settings.kafka_bootstrap_servers, source is Source.RECYCLED
    overlap_ns = 0 if replay else int(settings.overlap_s * NS_PER_S)
    create_topics(servers, ())
    writer = KafkaWriter(servers, SERVICE)
    try:
        control = read_control(servers, SERVICE)
        log.info("started", source=source.value, url=settings.alpaca_data_url or "Alpaca", pairs=len(control[0].pairs))
        events: asyncio.Queue[StreamEvent] = asyncio.Queue(QUEUE_PAYLOADS_MAX)
        intake = Intake(source, overlap_ns=overlap_ns, fills=True, verifies=replay and settings.verify_bars)
        hours = MarketHours()
        stream = _stream(settings, events, hours)
        pump = Pump(
            servers=servers,
            intake=intake,
            stream=stream,
            events=events,
            writer=writer,
            control=control,
            condition=condition,
            lateness_ms=None if replay else settings.lateness_ms,
            overlap_ns=overlap_ns,
            quotes=frozenset(settings.quotes.split(",")) - {""},
            keep_ticks_ms=int(settings.keep_ticks_days * 86_400_000) or -1,
        )
        history = _history(settings)
        pump.filler = Filler(
            history,
            intake,
            condition,
            pump.publish_at_once,
            settle_ms=0 if replay else settle_of(settings.lateness_ms),
            hours_max=_REPLAY_HOURS_MAX if replay else settings.fill_hours_max,
        )
        watches = _watches(settings, intake=intake, pump=pump, stream=stream, condition=condition, history=history, hours=hours)
        await pump.run(stop, *watches)
        control[1].close()
    finally:
        writer.close(_CLOSE_S)


def _stream(settings: Settings, events: "asyncio.Queue[StreamEvent]", hours: MarketHours) -> TradeStream:
    return TradeStream(
        events,
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        feed=settings.alpaca_feed,
        url=settings.alpaca_data_url or None,
        # A replay may pause for as long as it likes; whether it is mute, its own status tells.
        mute_s_max=None if settings.source == Source.RECYCLED else settings.mute_s_max,
        expects_data=lambda: hours.is_open(time.time_ns()),
        compress=not settings.alpaca_data_url.startswith("ws://"),  # unencrypted means near: there it only costs time
    )


def _history(settings: Settings) -> MarketHistory:
    return MarketHistory(
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        feed=settings.alpaca_feed,
        url=history_url(settings),
    )


def history_url(settings: Settings) -> str | None:
    """Where the historical REST is: as set, else beside a recycled stream, else Alpaca itself."""
    if settings.alpaca_history_url or settings.source != Source.RECYCLED:
        return settings.alpaca_history_url or None
    parts = urlsplit(settings.alpaca_data_url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"


def _watches(
    settings: Settings,
    *,
    intake: Intake,
    pump: Pump,
    stream: TradeStream,
    condition: Condition,
    history: MarketHistory,
    hours: MarketHours,
) -> list[Coroutine[Any, Any, None]]:
    """What looks after the stream while it seems healthy."""
    if settings.source == Source.RECYCLED:
        url, session = history_url(settings) or "", watch_session(MarketHours().is_open, lambda: intake.heard_ns)
        if not url.startswith("http://"):
            return [session]
        key, secret = settings.alpaca_key_id.get_secret_value(), settings.alpaca_secret_key.get_secret_value()
        control = ReplayControl(url, key_id=key, secret_key=secret, name=SERVICE)
        mute_s_max = settings.mute_s_max
        return [session, watch_replay(control, stream, intake, condition, heard_s=lambda: pump.heard_s, mute_s_max=mute_s_max)]
    watches = [watch_session(hours.is_open, time.time_ns), watch_symbols(intake, hours.is_open, settings.stale_s)]
    if settings.audit_s > 0:
        watches.append(audit(history, intake, pump.publish_at_once, condition, settings.audit_s))
    return watches


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
