"""Looks after a stream that seems healthy: a mute replay, symbols without trades, trades that a connection swallowed.

A heartbeat and an open socket prove nothing about completeness; only a comparison with history does. Called by ingestor/main.py, beside
the pump.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from tandem.adapters import telemetry
from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.alpaca_market import TradeStream
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import Permanent, Transient
from tandem.domain.units import NS_PER_S
from tandem.ingestor.clock import WallClock
from tandem.ingestor.condition import Condition
from tandem.ingestor.fills import next_slice
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Output, Recovered

log = structlog.get_logger()
_NAMED_MAX = 20  # symbols in one line of the log
_SETTLED_NS = 15 * NS_PER_S  # what is younger, history may not know yet
_LOOK_EVERY_S = 5.0
_SESSION_EVERY_S = 1.0
_UNKNOWN_PAUSE_S = 60.0  # after a replay that does not say where it is


async def watch_replay(
    control: ReplayControl, stream: TradeStream, intake: Intake, condition: Condition, *, heard_s: Callable[[], float], mute_s_max: float
) -> None:
    """Reconnect when the replay has gone on and the socket has brought nothing of it. A replay that pauses may be silent."""
    while True:
        await asyncio.sleep(min(mute_s_max / 3, _LOOK_EVERY_S))
        if not condition.connected or not intake.is_whole or time.monotonic() - heard_s() < mute_s_max:
            continue
        try:
            status = await asyncio.to_thread(control.status)
        except (Transient, Permanent) as error:
            log.warning("replay_status_unknown", error=str(error))
            await asyncio.sleep(_UNKNOWN_PAUSE_S)
            continue
        if (status.replay_id, status.watermark_ns) != (intake.replay_id, intake.heard_ns) and status.watermark_ns > 0:
            log.error("stream_mute", replay_id=status.replay_id, watermark_ns=status.watermark_ns, heard_ns=intake.heard_ns)
            stream.reconnect(f"mute: the replay is at {status.watermark_ns} ns, the stream brought {intake.heard_ns} ns")


async def audit(
    history: MarketHistory, intake: Intake, publish: Callable[[tuple[Output, ...]], None], condition: Condition, every_s: float
) -> None:
    """Compare a live stream with history again and again; what is missing is published late, counted and told."""
    clock, from_ns = WallClock(), time.time_ns()
    clock.believed_ns(from_ns, time.monotonic_ns(), 0)
    while True:
        await asyncio.sleep(every_s)
        # A clock that is set ahead and back would leave what comes meanwhile without a comparison.
        until_ns = clock.believed_ns(time.time_ns(), time.monotonic_ns(), intake.last_event_ns) - _SETTLED_NS
        if not condition.subscribed or not intake.is_whole or until_ns <= from_ns:
            continue
        missed = 0
        try:
            slices = history.trades(sorted(condition.confirmed), max(from_ns, intake.covered_from_ns), until_ns)
            while (each := await asyncio.to_thread(next_slice, slices)) is not None:
                out = intake.fill(each.messages, time.time_ns())
                missed += sum(o.count for o in out if isinstance(o, Recovered))
                publish(out)
        except (Transient, Permanent) as error:
            telemetry.counter("ingestor_history_failures_total").inc()
            log.warning("audit_failed", error=str(error))
            continue
        from_ns = until_ns
        if missed:
            telemetry.counter("ingestor_missed_ticks_total").inc(missed)
            log.error("stream_incomplete", trades=missed, until_ns=until_ns)


async def watch_session(is_open: Callable[[int], bool], now_ns: Callable[[], int]) -> None:
    """Say whether a session of the exchange is open, at the time that counts for the feed."""
    while True:
        at_ns = now_ns()
        telemetry.gauge("ingestor_session_open").set(at_ns > 0 and is_open(at_ns))
        await asyncio.sleep(_SESSION_EVERY_S)


async def watch_symbols(intake: Intake, is_open: Callable[[int], bool], stale_s: float) -> None:
    """Say which symbols have had no trade for so long, while the exchange is open."""
    told: dict[str, tuple[str, ...]] = {}
    opened_ns = time.time_ns()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        now_ns = time.time_ns()
        if not is_open(now_ns):
            opened_ns = now_ns
        found = intake.stale(now_ns - int(stale_s * NS_PER_S)) if now_ns - opened_ns > stale_s * NS_PER_S else {}
        _tell(found, told, intake.sectors)


def _tell(found: Mapping[str, tuple[str, ...]], told: dict[str, tuple[str, ...]], sectors: tuple[str, ...]) -> None:
    for sector in sectors:
        names = found.get(sector, ())
        telemetry.gauge("ingestor_stale_symbols").labels(sector=sector).set(len(names))
        if names != told.get(sector, ()):
            log.warning("symbols_stale", sector=sector, count=len(names), symbols=names[:_NAMED_MAX])
        told[sector] = names
