"""The kinds of fault that are done to processes and to the sockets between them. Each begins something and returns what ends it.

The others: faults_wire.py (what the recycler says), faults_inputs.py (what people and programs put in). All together: ways.py.
"""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg2
import redis

from chaos.play import End
from chaos.schedule import Fault, FaultKind
from chaos.sockets import Toxic
from chaos.stage import KEEPS_LOG, Stage

_T = TypeVar("_T")
Begin = Callable[[Stage, Fault], End | None]


@dataclass(frozen=True, slots=True)
class Way:
    """A kind of fault and its doing."""

    kind: FaultKind
    begin: Begin


def _kill(stage: Stage, fault: Fault) -> End | None:
    """kill -9, `amount` times: again as soon as it is ready, or while it still starts."""
    name = stage.named(fault.target)
    stage.kill(name)
    for _ in range(fault.amount - 1):
        stage.look()
        stage.until(f"{name} is started again", lambda: stage.lives(name), 30)
        time.sleep(fault.delay_ms / 100)
        stage.kill(name)
    return None


def _kill_two(stage: Stage, fault: Fault) -> End | None:
    """Two at the same moment."""
    for target in fault.target.split("+"):
        stage.kill(stage.named(target))
    return None


def _pause(stage: Stage, fault: Fault) -> End:
    """SIGSTOP, as long as it lasts."""
    name = stage.named(fault.target)
    stage.pause(name)
    return lambda: stage.resume(name)


def _stay_away(stage: Stage, fault: Fault) -> End:
    """Killed, and not started again before it is over."""
    stage.keep_down(fault.target, True)
    stage.kill(fault.target)
    return lambda: stage.keep_down(fault.target, False)


def _cut(stage: Stage, fault: Fault) -> End:
    """All connections closed, none taken."""
    stage.sockets.cut(fault.target)
    return lambda: stage.sockets.join(fault.target)


def _poisoned(toxic: Callable[[Fault], Toxic]) -> Begin:
    def begin(stage: Stage, fault: Fault) -> End:
        label = stage.sockets.poison(fault.target, toxic(fault))
        return lambda: stage.sockets.cure(fault.target, label)

    return begin


def _flush_redis(stage: Stage, fault: Fault) -> None:
    with closing(redis.Redis(port=stage.servers.ports.redis, socket_timeout=2)) as client:
        _once(stage, "redis is emptied", client.flushall, redis.ConnectionError)


def _end_sessions(stage: Stage, fault: Fault) -> None:
    """Every connection to Postgres is ended by its administrator: in the midst of a transaction, if there is one."""
    with closing(_session(stage, stage.servers.maintenance_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tandem' AND pid <> pg_backend_pid()")


def _lock_tables(stage: Stage, fault: Fault) -> End:
    """Somebody holds the portfolio's tables: writers wait, as behind a deadlock that is not found yet."""
    connection = _session(stage, stage.servers.postgres_url)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'; LOCK TABLE orders, entries IN SHARE MODE")

    def end() -> None:
        connection.rollback()
        connection.close()

    return end


def _session(stage: Stage, url: str) -> psycopg2.extensions.connection:
    """A session of ours with Postgres."""
    return _once(stage, "Postgres takes a session", lambda: psycopg2.connect(url), psycopg2.OperationalError)


def _once(stage: Stage, what: str, act: Callable[[], _T], away: type[Exception]) -> _T:
    """What `act` gives as soon as its server is there: another fault of the seed may have killed it a bar before."""
    given: list[_T] = []

    def tried() -> bool:
        with suppress(away):
            given.append(act())
        return bool(given)

    stage.until(what, tried)
    return given[0]


_SERVICES = ("ingestor", "recorder", "portfolio", "forecaster")
_WAYS: tuple[Way, ...] = (
    Way(FaultKind(name="kill_service", number=7, targets=("ingestor", "portfolio", "forecaster", "recorder")), _kill),
    Way(FaultKind(name="kill_service_again", number=7, targets=("ingestor", "portfolio", "forecaster"), amount=(2, 3)), _kill),
    Way(
        FaultKind(
            name="kill_two", number=7, targets=("ingestor+portfolio", "forecaster+portfolio", "forecaster+ingestor", "kafka+portfolio")
        ),
        _kill_two,
    ),
    Way(FaultKind(name="pause_service", number=7, targets=_SERVICES, lasts_ms=(200, 2_000)), _pause),
    Way(FaultKind(name="kill_kafka", number=8, targets=("kafka",)), _kill),
    Way(FaultKind(name="pause_kafka", number=8, targets=("kafka",), lasts_ms=(500, 3_000)), _pause),
    Way(FaultKind(name="cut_kafka", number=8, targets=("kafka",), lasts_ms=(100, 2_000)), _cut),
    Way(FaultKind(name="kill_redis", number=10, targets=("redis",)), _kill),
    Way(FaultKind(name="redis_away", number=10, targets=("redis",), lasts_ms=(500, 3_000)), _stay_away),
    Way(FaultKind(name="flush_redis", number=10, targets=("redis",)), _flush_redis),
    Way(
        FaultKind(name="slow_redis", number=10, targets=("redis",), lasts_ms=(500, 2_000), amount=(500, 10_000)),
        _poisoned(lambda f: Toxic("latency", {"latency": f.amount})),
    ),
    Way(FaultKind(name="kill_postgres", number=11, targets=("postgres",)), _kill),
    Way(FaultKind(name="pause_postgres", number=11, targets=("postgres",), lasts_ms=(300, 2_000)), _pause),
    Way(FaultKind(name="end_postgres_sessions", number=11, targets=("postgres",)), _end_sessions),
    Way(FaultKind(name="lock_postgres_tables", number=11, targets=("postgres",), lasts_ms=(200, 1_500)), _lock_tables),
    Way(
        FaultKind(name="lose_commit_reply", number=11, targets=("postgres",), lasts_ms=(100, 500), amount=(1, 20)),
        _poisoned(lambda f: Toxic("timeout", {"timeout": f.amount})),
    ),
    Way(FaultKind(name="cut_market", number=1, targets=("market",), lasts_ms=(50, 2_000)), _cut),
    Way(FaultKind(name="cut_market_a_minute", number=1, targets=("market",), lasts_ms=(60_000, 60_000)), _cut),
    Way(
        FaultKind(name="cut_market_mid_frame", number=1, targets=("market",), lasts_ms=(50, 500), amount=(10, 4_000)),
        _poisoned(lambda f: Toxic("limit_data", {"bytes": f.amount})),
    ),
    Way(
        FaultKind(name="mute_market", number=2, targets=("market",), lasts_ms=(500, 3_000)),
        _poisoned(lambda f: Toxic("timeout", {"timeout": 0})),
    ),
    Way(
        FaultKind(name="slow_market", number=25, targets=("market",), lasts_ms=(500, 2_000), amount=(20, 200)),
        _poisoned(lambda f: Toxic("latency", {"latency": f.amount, "jitter": f.amount // 2})),
    ),
    Way(
        FaultKind(name="slice_market", number=1, targets=("market",), lasts_ms=(500, 2_000), amount=(1, 200)),
        _poisoned(lambda f: Toxic("slicer", {"average_size": f.amount, "size_variation": 0, "delay": 100})),
    ),
    Way(FaultKind(name="cut_updates", number=14, targets=("updates",), lasts_ms=(50, 2_000)), _cut),
    Way(
        FaultKind(name="cut_updates_mid_frame", number=14, targets=("updates",), lasts_ms=(50, 500), amount=(10, 2_000)),
        _poisoned(lambda f: Toxic("limit_data", {"bytes": f.amount})),
    ),
    Way(
        FaultKind(name="mute_updates", number=14, targets=("updates",), lasts_ms=(300, 2_000)),
        _poisoned(lambda f: Toxic("timeout", {"timeout": 0})),
    ),
    Way(FaultKind(name="cut_rest", number=12, targets=("rest",), lasts_ms=(50, 2_000)), _cut),
    Way(
        FaultKind(name="lose_rest_replies", number=12, targets=("rest",), lasts_ms=(100, 1_000), amount=(1, 50)),
        _poisoned(lambda f: Toxic("timeout", {"timeout": f.amount})),
    ),
    Way(
        FaultKind(name="reset_rest", number=12, targets=("rest",), lasts_ms=(100, 1_000), amount=(0, 20)),
        _poisoned(lambda f: Toxic("reset_peer", {"timeout": f.amount})),
    ),
    Way(
        FaultKind(name="slow_rest", number=12, targets=("rest",), lasts_ms=(300, 2_000), amount=(50, 1_000)),
        _poisoned(lambda f: Toxic("latency", {"latency": f.amount})),
    ),
)
_WITH_LOG: tuple[Way, ...] = (
    Way(FaultKind(name="kill_recycler", number=7, targets=("recycler",)), _kill),
    Way(FaultKind(name="pause_recycler", number=2, targets=("recycler",), lasts_ms=(300, 2_000)), _pause),
)


def process_ways() -> tuple[Way, ...]:
    """The recycler only where it keeps its log: without one its death is the end of the replay."""
    return (*_WAYS, *(_WITH_LOG if KEEPS_LOG else ()))
