"""One run of the portfolio from its start to its stop or first failure: everything made, reconciled, wired, and let go in the end.

A failure is answered by a new session, which is the normal start: state from Postgres, the broker's truth by REST, forecasts from the
committed offset. Called by main.py.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

import structlog

from tandem.adapters import telemetry
from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.alpaca_facts import AlpacaFacts
from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.alpaca_rate import RateBudget
from tandem.adapters.alpaca_trade_stream import AlpacaTradeStream
from tandem.adapters.calendar import bar_ns, service_grid
from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import KafkaWriter
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.adapters.replay_control import ReplayControl, ReplayStatus
from tandem.adapters.writer_lease import WriterLease
from tandem.domain.control import PairSpec
from tandem.domain.ids import PairId
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.flow.barrier import Barrier
from tandem.portfolio import measures, reconcile
from tandem.portfolio.books import Books
from tandem.portfolio.comparison import Snapshots, take_snapshot
from tandem.portfolio.desk import Desk
from tandem.portfolio.dispatch import Dispatch
from tandem.portfolio.engine import Engine
from tandem.portfolio.feeds import SERVICE, ControlFeed, ForecastFeed, Inbox
from tandem.portfolio.gate import Gate
from tandem.portfolio.guard import Guard
from tandem.portfolio.memory import settle_memory
from tandem.portfolio.morning import Morning
from tandem.portfolio.reconcile import NotReconciled, Origin
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from tandem.settings import Settings

log = structlog.get_logger()
_NEVER_NS = 2**63 - 1
_CONNECTIONS = 4  # for orders: with two legs a pair, a bar of eight pairs takes four answers one after the other
_TURN_POLL_S = 0.5  # how long a lease may be free before somebody takes it
_SESSION_NS = 6.5 * 3600 * NS_PER_S  # regular trading hours of the New York Stock Exchange


@dataclass(slots=True)
class Condition:
    """What the outside may see: the engine while there is one, and why the service is not ready."""

    engine: Engine | None = None
    book: str = ""
    reason: str = "starting"
    was_ready: bool = False
    traded: bool = False  # whether the market has moved on in the newest session
    writer: str = ""  # host:port of the one that writes, while this process stands by

    def why_not_ready(self) -> str | None:
        """None when ready."""
        engine = self.engine
        return self.reason or (engine.stream_lost if engine is not None else "starting") or None


def broker_of(settings: Settings, rate: RateBudget | None = None) -> AlpacaBroker:
    """A connection to the broker of the settings; one for each thread that talks to it."""
    return AlpacaBroker(
        key_id=settings.alpaca_key_id.get_secret_value(),
        secret_key=settings.alpaca_secret_key.get_secret_value(),
        url=settings.alpaca_api_url or None,
        paper=settings.source != Source.LIVE,
        rate=rate,
    )


def address_of(settings: Settings) -> str:
    """Where others reach this process's API; "" if they cannot know: it listens everywhere, and nobody told it its own address."""
    host = settings.advertised_host or ("" if settings.host in ("0.0.0.0", "::") else settings.host)  # noqa: S104 nothing is bound here
    return f"{f'[{host}]' if ':' in host else host}:{settings.port}" if host else ""


def run_session(settings: Settings, risk: Risk, condition: Condition, stopping: Callable[[], bool]) -> None:
    """Trade until stop. Raises NotReconciled, Transient, InvariantBroken; what was not finished is finished by the next session."""
    condition.traded = False
    with ExitStack() as stack:
        start = _Start(settings, risk, stack)
        try:
            if not start.await_turn(condition, stopping):
                return
        finally:
            condition.writer = ""  # ours to answer from here on, or nobody knows whose
        engine = start.engine(condition, stopping)
        settle_memory()
        condition.engine, condition.reason, condition.was_ready = engine, "", True
        measures.show(engine.books.executions.values(), engine.books.price_usd)
        telemetry.gauge("portfolio_active").set(1)
        try:
            engine.run(stopping)
        finally:
            telemetry.gauge("portfolio_active").set(0)
            condition.engine, condition.reason, condition.traded = None, "stopped", engine.has_traded


class _Start:
    """The steps of a start. Everything made is closed by `stack`, the last thing first."""

    def __init__(self, settings: Settings, risk: Risk, stack: ExitStack) -> None:
        self._settings, self._risk, self._stack = settings, risk, stack
        self._rate = RateBudget()
        self._broker = broker_of(settings, self._rate)
        stack.callback(self._broker.close)
        self._replay = _replay_control(settings, stack)
        self._status: ReplayStatus | None = None
        self._account = ""
        self._lease: WriterLease  # from await_turn on, like the next
        self._stopping: Callable[[], bool]

    def await_turn(self, condition: Condition, stopping: Callable[[], bool]) -> bool:
        """Stand by until this process may write for the account; False if it is to stop before. Raises Transient."""
        self._account = self._broker.account().account_id
        settings = self._settings
        url, address = settings.postgres_url.get_secret_value(), address_of(settings)
        lease = WriterLease(url, self._account, lease_s=settings.lease_s, address=address)
        self._stack.callback(lease.release)
        while not lease.try_take():
            # A missing server ends a process that has never been of use; one that stands by is.
            condition.reason, condition.was_ready = f"standing by: {lease.holder} writes for the account", True
            condition.writer = lease.holder_address
            if stopping():
                return False
            time.sleep(_TURN_POLL_S)
        condition.reason, self._lease, self._stopping = "starting", lease, stopping
        return True

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
        sender = Sender(self._broker, stopping, may_send=self._lease.check)
        origin = Origin(source=settings.source, capital_usd=Decimal(settings.capital_usd), replay=self._replay is not None)
        store, desk = self._reconciled(sender, origin, {PairId(pair): spec for pair, spec in control.pairs.items()})
        condition.book, books = store.book, desk.books
        engine = Engine(
            inbox=inbox,
            books=books,
            desk=desk,
            broker=self._broker,
            sender=sender,
            control=control,
            feed=feed,
            writer=writer,
            origin=origin,
            replay=self._replay,
            barrier=self._barrier(store),
            snapshots=self._snapshots(books, origin, inbox),
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

    def _dispatch(self, sender: Sender) -> Dispatch:
        """Orders over several connections at once; each is opened with its first order."""
        brokers = [broker_of(self._settings, self._rate) for _ in range(_CONNECTIONS - 1)]
        for broker in brokers:
            self._stack.callback(broker.close)
        dispatch = Dispatch(sender, [Sender(broker, self._stopping, may_send=self._lease.check) for broker in brokers])
        self._stack.callback(dispatch.close)
        return dispatch

    def _snapshots(self, books: Books, origin: Origin, inbox: Inbox) -> Snapshots | None:
        """Live feeds only: a thread that looks at the broker's account, over a connection of its own."""
        if self._replay is not None:
            return None
        broker = broker_of(self._settings, self._rate)
        self._stack.callback(broker.close)
        every_s, overlap_ns = self._settings.reconcile_s, origin.overlap_ns
        snapshots = Snapshots(lambda: take_snapshot(books, broker, books.last_fill_ns - overlap_ns), inbox.put, every_s=every_s)
        self._stack.callback(snapshots.stop)
        snapshots.start()
        return snapshots

    def _desk(self, books: Books, sender: Sender) -> Desk:
        """Everything that decides, over these books."""
        settings, risk = self._settings, self._risk
        grid, facts = service_grid(settings.bar, time.time_ns()), facts_of(settings)
        self._stack.callback(facts.close)
        return Desk(
            books,
            sender,
            risk,
            bars_per_day=max(_SESSION_NS / bar_ns(settings.bar), 1.0),
            live_run=self._account,
            account=settings.account,
            gate=Gate(books, risk.pretrade, grid=grid, requests_left=lambda: self._rate.left),
            guard=Guard(books, risk.breakers, grid=grid),
            dispatch=self._dispatch(sender),
            morning=lambda gate, watch: Morning(books, gate, watch, facts, limits=risk.pretrade, grid=grid),
        )

    def _reconciled(self, sender: Sender, origin: Origin, specs: Mapping[PairId, PairSpec]) -> tuple[PortfolioStore, Desk]:
        account = self._account
        url, name = self._settings.postgres_url.get_secret_value(), self._settings.account
        store = PortfolioStore(url, account, epoch=self._lease.epoch, trading_account=name)
        self._stack.callback(store.close)
        broker, status = self._broker, self._status
        books = reconcile.open_books(store, broker, origin, self._risk.patience, broker_is_new=not broker.orders_view(1))
        # Orders of the bar at which a replay stands may still be sent; on a live feed what was not sent in time is given up.
        reconcile.catch_up(books, broker, sender, origin, resend_from_ns=status.watermark_ns if status else _NEVER_NS)
        desk, now_ns = self._desk(books, sender), status.watermark_ns if status else time.time_ns()
        if desk.morning is not None and now_ns:
            desk.morning.settle(specs, broker.positions(), now_ns)  # a split while we were away is no difference
        run = status.replay_id if status else account
        found = reconcile.compare(books, broker, run=run, occasion="start", event_ns=status.watermark_ns if status else 0)
        books.flush()
        if found:
            raise NotReconciled(f"book {store.book}: {reconcile.describe(found)}")
        return store, desk

    def _barrier(self, store: PortfolioStore) -> Barrier:
        """The barrier at the point that the replay has reached: bars before it have been acknowledged, the one it waits at has not."""
        if self._status is None:
            return Barrier()
        _, ended = store.decided(self._status.replay_id) or (0, False)
        return Barrier(replay_id=self._status.replay_id, decided_ns=self._status.watermark_ns - 1, end_decided=ended)


def facts_of(settings: Settings) -> AlpacaFacts:
    """Who tells the facts of the morning. Volumes and betas are asked of Alpaca only: a recording seldom reaches back far enough."""
    key_id, secret_key = settings.alpaca_key_id.get_secret_value(), settings.alpaca_secret_key.get_secret_value()
    data_url = settings.alpaca_history_url or settings.alpaca_api_url or None
    history = None
    if settings.source != Source.RECYCLED:
        history = MarketHistory(key_id=key_id, secret_key=secret_key, feed=settings.alpaca_feed, url=data_url)
    return AlpacaFacts(
        key_id=key_id,
        secret_key=secret_key,
        url=settings.alpaca_api_url or None,
        data_url=data_url,
        paper=settings.source != Source.LIVE,
        history=history,
    )


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
