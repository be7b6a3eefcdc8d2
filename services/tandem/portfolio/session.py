"""One run of the portfolio from its start to its stop or first failure: everything made, reconciled, wired, and let go in the end.

A failure is answered by a new session, which is the normal start: state from Postgres, the broker's truth by REST, forecasts from the
committed offset. Called by main.py.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

import structlog

from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.alpaca_trade_stream import AlpacaTradeStream
from tandem.adapters.calendar import bar_ns
from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.adapters.replay_control import ReplayControl, ReplayStatus
from tandem.domain.errors import Transient
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.flow.barrier import Barrier
from tandem.portfolio import reconcile
from tandem.portfolio.books import Books
from tandem.portfolio.desk import Desk
from tandem.portfolio.engine import Engine
from tandem.portfolio.feeds import SERVICE, ControlFeed, ForecastFeed, Inbox
from tandem.portfolio.reconcile import NotReconciled, Origin
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from tandem.settings import Settings

log = structlog.get_logger()
_NEVER_NS = 2**63 - 1
_SESSION_NS = 6.5 * 3600 * NS_PER_S  # regular trading hours of the New York Stock Exchange


@dataclass(slots=True)
class Condition:
    """What the outside may see: the engine while there is one, and why the service is not ready."""

    engine: Engine | None = None
    book: str = ""
    reason: str = "starting"
    was_ready: bool = False

    def why_not_ready(self) -> str | None:
        """None when ready."""
        engine = self.engine
        return self.reason or (engine.stream_lost if engine is not None else "starting") or None


def broker_of(settings: Settings) -> AlpacaBroker:
    """A connection to the broker of the settings; one for each thread that talks to it."""
    return AlpacaBroker(
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        url=settings.alpaca_api_url or None,
        paper=settings.source != Source.LIVE,
    )


def run_session(settings: Settings, risk: Risk, condition: Condition, stopping: Callable[[], bool]) -> None:
    """Trade until stop. Raises NotReconciled, Transient, InvariantBroken; what was not finished is finished by the next session."""
    with ExitStack() as stack:
        engine = _Start(settings, risk, stack).engine(condition, stopping)
        condition.engine, condition.reason, condition.was_ready = engine, "", True
        try:
            engine.run(stopping)
        finally:
            condition.engine, condition.reason = None, "stopped"


class _Start:
    """The steps of a start. Everything made is closed by `stack`, the last thing first."""

    def __init__(self, settings: Settings, risk: Risk, stack: ExitStack) -> None:
        self._settings, self._risk, self._stack = settings, risk, stack
        self._broker = broker_of(settings)
        stack.callback(self._broker.close)
        self._replay = _replay_control(settings, stack)
        self._status: ReplayStatus | None = None

    def engine(self, condition: Condition, stopping: Callable[[], bool]) -> Engine:
        """The engine with its threads running and its book reconciled."""
        settings, servers, inbox = self._settings, self._settings.kafka_bootstrap_servers, Inbox()
        writer = KafkaWriter(servers, SERVICE)
        self._stack.callback(writer.close)
        control, control_reader = read_control(servers, SERVICE)
        control_feed = ControlFeed(control_reader, inbox.put)
        self._stack.callback(control_feed.stop)
        feed = ForecastFeed(servers, writer, inbox.put, account=settings.account)
        self._stack.callback(feed.stop)
        if self._replay is not None:
            self._status = self._replay.status()
            if self._status.watermark_ns == 0:  # nobody can have forecast anything yet: it is of an earlier replay, maybe of the same id
                feed.skip_old()
        account, sender = self._broker.account().account_id, Sender(self._broker, stopping)
        origin = Origin(source=settings.source, capital_usd=Decimal(settings.capital_usd), replay=self._replay is not None)
        store, books = self._reconciled(account, sender, origin)
        condition.book = store.book
        engine = Engine(
            inbox=inbox,
            books=books,
            desk=Desk(
                books,
                sender,
                self._risk,
                bars_per_day=max(_SESSION_NS / bar_ns(settings.bar), 1.0),
                live_run=account,
                account=settings.account,
            ),
            broker=self._broker,
            sender=sender,
            control=control,
            feed=feed,
            writer=writer,
            origin=origin,
            replay=self._replay,
            barrier=self._barrier(store),
        )
        stream = _stream_of(settings, inbox)
        self._stack.callback(stream.stop)
        self._stack.callback(inbox.close)
        for part in (control_feed, feed, stream):
            part.start()
        if self._replay is not None:
            self._replay.register()
        log.info("started", book=store.book, source=settings.source, pairs=len(control.pairs), sectors=sorted(control.pointers))
        return engine

    def _reconciled(self, account: str, sender: Sender, origin: Origin) -> tuple[PortfolioStore, Books]:
        store = PortfolioStore(self._settings.postgres_url.get_secret_value(), account)
        self._stack.callback(store.close)
        if not store.lock():
            raise Transient(f"another portfolio trades account {account}")
        broker, status = self._broker, self._status
        books = reconcile.open_books(store, broker, origin, self._risk.patience, broker_is_new=not broker.orders_view(1))
        # Orders of the bar at which a replay stands may still be sent; on a live feed what was not sent in time is given up.
        reconcile.catch_up(books, broker, sender, origin, resend_from_ns=status.watermark_ns if status else _NEVER_NS)
        run = status.replay_id if status else account
        found = reconcile.compare(books, broker, run=run, occasion="start", event_ns=status.watermark_ns if status else 0)
        books.flush()
        if found:
            raise NotReconciled(f"book {store.book}: {reconcile.describe(found)}")
        return store, books

    def _barrier(self, store: PortfolioStore) -> Barrier:
        """The barrier at the point that the replay has reached: bars before it have been acknowledged, the one it waits at has not."""
        if self._status is None:
            return Barrier()
        _, ended = store.decided(self._status.replay_id) or (0, False)
        return Barrier(replay_id=self._status.replay_id, decided_ns=self._status.watermark_ns - 1, end_decided=ended)


def _stream_of(settings: Settings, inbox: Inbox) -> AlpacaTradeStream:
    return AlpacaTradeStream(
        inbox.put,
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        url=settings.alpaca_stream_url or None,
        paper=settings.source != Source.LIVE,
    )


def _replay_control(settings: Settings, stack: ExitStack) -> ReplayControl | None:
    if settings.source != Source.RECYCLED:
        return None
    replay = ReplayControl(
        settings.alpaca_api_url,
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        name=SERVICE,
    )
    stack.callback(replay.close)
    return replay
