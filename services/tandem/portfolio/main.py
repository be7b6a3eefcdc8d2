"""The portfolio's composition root: `python -m tandem.portfolio.main`.

tandem.forecasts and tandem.control in; orders at the broker, the ledger in Postgres and the HTTP API out.
"""

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import structlog

from tandem import settings as settings_module
from tandem.adapters import postgres, telemetry
from tandem.adapters.calendar import bar_ns
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.postgres_views import PortfolioViews
from tandem.adapters.redis_cache import RedisCache
from tandem.domain.control import TradingState
from tandem.domain.errors import BadSetting, TandemError, Transient
from tandem.domain.market import Source
from tandem.portfolio.api import make_app
from tandem.portfolio.api_parts import Parts
from tandem.portfolio.engine import ReplayChanged
from tandem.portfolio.feeds import SERVICE
from tandem.portfolio.manager import PortfolioManager
from tandem.portfolio.reconcile import NotReconciled
from tandem.portfolio.risk import Risk, load_risk
from tandem.portfolio.session import Condition, broker_of, run_session
from tandem.settings import Settings

log = structlog.get_logger()
_PAUSE_S_MIN, _PAUSE_S_MAX = 1.0, 10.0  # between attempts while a server is away: at most a third of what a recovery may take
_NOT_RECONCILED_PAUSE_S = 10.0
# A bar makes hundreds of records that die at once; the default looks for cycles after every 700 of them.
GC_THRESHOLDS = (50_000, 20, 100)
# How long a thread that reads an answer of the broker or serves a page may keep the interpreter from the decision thread; Python's own
# 5 ms are a third of the time from a forecast to its order.
_SWITCH_S = 0.0005


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit code 2: a setting cannot be used; 1: a server is away at the start, or state is broken."""
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_S)
    try:
        settings = settings_module.load()
        telemetry.configure_logging(SERVICE, settings.log_level)
        serve(settings)
    except BadSetting as error:
        print(f"tandem {SERVICE}: {error}", file=sys.stderr)
        sys.exit(2)
    except TandemError as error:
        print(f"tandem {SERVICE}: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


def serve(settings: Settings) -> None:
    """HTTP and one session after the other, until a signal. Raises TandemError."""
    risk, stop, condition = _checked(settings), threading.Event(), Condition()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    broker = broker_of(settings)
    cache = RedisCache(settings.redis_url.get_secret_value(), "tandem:portfolio")
    parts = Parts(
        condition=condition,
        manager=PortfolioManager(broker, cache),
        database=PortfolioViews(settings.postgres_url.get_secret_value()),
        publish=lambda state: _publish(settings, state),
        token=settings.api_token,
    )
    http = telemetry.HttpThread(make_app(parts), settings.host, settings.port)
    http.start()
    try:
        postgres.upgrade(settings.postgres_url.get_secret_value())
        create_topics(settings.kafka_bootstrap_servers, ())
        keep_trading(lambda: run_session(settings, risk, condition, stop.is_set), condition, stop)
        log.info("stopped")
    finally:
        http.stop()
        broker.close()
        cache.close()


def keep_trading(session: Callable[[], None], condition: Condition, stop: threading.Event) -> None:
    """Sessions until stop. Before the first one was ready a missing server ends the process; later it is waited for."""
    pause_s = 0.0
    while not stop.is_set():
        began_s = time.monotonic()
        try:
            session()
        except ReplayChanged as error:
            log.info("replay_changed", reason=str(error))
            continue
        except NotReconciled as error:
            condition.reason, pause_s = str(error), _NOT_RECONCILED_PAUSE_S
        except Transient as error:
            if not condition.was_ready:
                raise
            pause_s = next_pause_s(pause_s, time.monotonic() - began_s, traded=condition.traded)
            condition.reason = str(error)
        else:
            continue
        log.error("session_failed", reason=condition.reason, again_in_s=pause_s)
        stop.wait(pause_s)


def next_pause_s(pause_s: float, lasted_s: float, *, traded: bool) -> float:
    """The pause before the next session: twice the last one, and the shortest again after a session that was of use.

    It was when it outlived its pause or the market moved on under it: single failures are no server that is away, however near they are.
    """
    return _PAUSE_S_MIN if traded or lasted_s > pause_s else min(2 * pause_s, _PAUSE_S_MAX)


def _publish(settings: Settings, state: TradingState) -> None:
    """Write a trading state to the control topic, through a connection of its own: it is rare, and must not wait for anything."""
    writer = KafkaWriter(settings.kafka_bootstrap_servers, f"{SERVICE}-api")
    try:
        publish_control(writer, state)
    finally:
        writer.close()


def _checked(settings: Settings) -> Risk:
    """The limits. Raises BadSetting with every fault that a look at the settings can find."""
    faults = []
    if settings.source not in set(Source):
        faults.append(f"TANDEM_SOURCE is {settings.source!r}, allowed are {', '.join(Source)}")
    for name in ("kafka_bootstrap_servers", "postgres_url", "redis_url", "alpaca_key_id", "alpaca_secret_key"):
        value = getattr(settings, name)
        if not (value if isinstance(value, str) else value.get_secret_value()):
            faults.append(f"TANDEM_{name.upper()} is not set")
    if settings.source == Source.RECYCLED:
        faults += [
            f"TANDEM_SOURCE is recycled, but TANDEM_{name.upper()} is not set: it would be Alpaca itself"
            for name in ("alpaca_api_url", "alpaca_stream_url")
            if not getattr(settings, name)
        ]
    if not settings.port:
        faults.append("TANDEM_PORT is not set")
    try:
        if not Decimal(settings.capital_usd) > 0:
            faults.append(f"TANDEM_CAPITAL_USD is {settings.capital_usd}, must be above 0")
    except InvalidOperation:
        faults.append(f"TANDEM_CAPITAL_USD is {settings.capital_usd!r}, expected a decimal number")
    length_ns = risk = None
    try:
        length_ns = bar_ns(settings.bar)
    except BadSetting as error:
        faults.append(str(error))
    try:
        risk = load_risk(settings.config_dir, bar_ns=length_ns)
    except BadSetting as error:
        faults.append(str(error))
    if faults or risk is None:
        raise BadSetting("; ".join(faults))
    return risk


if __name__ == "__main__":
    main()
