"""Puts a recycler together and serves it: one process, one event loop, one port for both websockets and all of REST."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute

from tandem.adapters.calendar import bar_ns, session_grid
from tandem.adapters.telemetry import health_app
from tandem.adapters.tick_build import TickStore
from tandem.adapters.tick_store import StoreOptions, open_store
from tandem.domain.errors import BadSetting, InvariantBroken
from tandem.recycler.access import Keys
from tandem.recycler.data_api import DataApi
from tandem.recycler.exchange_api import ExchangeApi
from tandem.recycler.exchange_setup import Announcer, log_of, rate_of, rules_of, script_of, tape_of
from tandem.recycler.faults import Armory, faults_from
from tandem.recycler.faults_wire import FaultsApi, WireFaults
from tandem.recycler.feed import Feed
from tandem.recycler.feed_socket import FeedSocket
from tandem.recycler.history import History
from tandem.recycler.market import Market
from tandem.recycler.options import RecyclerOptions
from tandem.recycler.replay_api import ReplayApi
from tandem.recycler.replay_headers import ReplayHeaders
from tandem.recycler.replayer import Replayer
from tandem.recycler.trading_api import TradingApi
from tandem.recycler.updates import Updates

_AHEAD_NS = 7 * 86_400 * 1_000_000_000  # of the recording's end, so that the clock knows the next session
_GRACE_S = 5  # for clients to take their leave, of the ten seconds that a service has to stop

log = structlog.get_logger()


def serve(options: RecyclerOptions) -> int:
    """Serve until SIGINT or SIGTERM; the process's exit code. Raises BadSetting or BadRecord for what makes a start impossible."""
    listener = _listener(options.host, options.port)
    try:
        recycler = Recycler(options)
        server = uvicorn.Server(recycler.config())
        recycler.stop = lambda: setattr(server, "should_exit", True)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn stops at the signal, then raises it again for whoever came before: nobody, so that a clean stop is exit code 0.
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listener])
    finally:
        listener.close()
    return 1 if recycler.failed else 0


class Recycler:
    """The parts of one recycler and the application over them."""

    def __init__(self, options: RecyclerOptions) -> None:
        self.options = options
        self.armory = Armory(faults_from(options.faults))
        self.store = _store(options)
        data = self.store.data
        if data.ignored or data.empty_cells:
            log.warning("data_left_out", file=data.path.name, index_columns=data.ignored, empty_cells=data.empty_cells)
        first_ns, last_ns = int(self.store.event_ns[0]), int(self.store.event_ns[-1])
        grid = session_grid(options.bar, first_ns, last_ns + _AHEAD_NS)
        keys, history = Keys(options.key, options.secret, rate_per_min=rate_of(options)), History(self.store, grid)
        self.feed = Feed(self.store, history, send_limit_s=options.send_limit_s)
        script, self.exchange_log = script_of(options, data.symbols), log_of(options)
        self.market = Market(
            data, grid, rules_of(options), options.cash_usd, tape_of(self.store, grid), script=script, log=self.exchange_log
        )
        announcer = Announcer(self.feed, data.symbols)
        self.market.paper.on_directive = announcer.told
        self.replayer = Replayer(self.market, self.feed, options, announcer)
        self.feed.release(len(data.ticks))  # the schedule looked everywhere
        self.updates = Updates(
            keys,
            connections_max=options.connections_max,
            auth_limit_s=options.auth_limit_s,
            greeting=self.replayer.stream_heartbeat,
        )
        self.replayer.updates = self.updates
        self.market.on_update = self.updates.publish
        self.stop: Callable[[], None] = lambda: None
        self.failed = False
        feed_socket = FeedSocket(
            self.feed,
            keys,
            connections_max=options.connections_max,
            auth_limit_s=options.auth_limit_s,
            symbols_max=options.symbols_max,
            greeting=self.replayer.greeting,
            subscribed=self._subscribed,
        )
        self.app = Starlette(
            routes=[
                WebSocketRoute("/v2/{feed}", feed_socket.serve),
                WebSocketRoute("/stream", self.updates.serve),
                *DataApi(self.market, self.feed, history).routes(keys),
                *TradingApi(self.replayer).routes(keys),
                *ReplayApi(self.replayer).routes(keys),
                *ExchangeApi(self.replayer).routes(keys),
                *FaultsApi(self.armory).routes(keys),
                *health_app("recycler", lambda: None).routes,
            ],
            middleware=[Middleware(ReplayHeaders, replay_id=lambda: self.replayer.replay_id)],
            exception_handlers={HTTPException: _no_such_route, InvariantBroken: self._broken},
            lifespan=self._lifespan,
        )
        log.info("data_loaded", files=self.store.files, symbols=len(data.symbols), ticks=len(data.ticks), bar=data.bar, digest=data.digest)

    def config(self) -> uvicorn.Config:
        """How uvicorn serves it."""
        return uvicorn.Config(
            WireFaults(self.app, self.armory),
            log_level="warning",
            access_log=False,
            ws_per_message_deflate=False,  # costs more than the loopback or a cluster's network
            ws_ping_interval=None,  # a client that is slow is waited for, not cut off; clients ping by themselves
            timeout_graceful_shutdown=_GRACE_S,
        )

    def _subscribed(self) -> None:
        if self.options.start_on_subscribe:
            self.replayer.start()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        player = asyncio.create_task(self.replayer.run())
        player.add_done_callback(self._player_done)
        yield
        player.cancel()
        if self.exchange_log is not None:
            self.exchange_log.close()

    def _player_done(self, player: "asyncio.Task[None]") -> None:
        """The replay ends with the process only: a replay that broke must not look like a quiet market."""
        if not player.cancelled() and (error := player.exception()) is not None:
            self._fail(error)

    async def _broken(self, _: Request, error: Exception) -> Response:
        """A request found the exchange in a state that cannot be: the process stops, as after a broken replay."""
        self._fail(error)
        return JSONResponse({"code": 50010000, "message": str(error)}, status_code=500)

    def _fail(self, error: BaseException) -> None:
        log.error("recycler_failed", error=repr(error), exc_info=error)
        self.failed = True
        self.stop()


def _store(options: RecyclerOptions) -> TickStore:
    wanted = StoreOptions(symbols=options.symbols, session_only=options.session_only, twins=options.twins, bar_ns=bar_ns(options.bar))
    return open_store(options.data, wanted, folder=options.spool)


async def _no_such_route(_: Request, error: Exception) -> Response:
    """In JSON, which Alpaca's clients expect of every error."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"code": status * 100_000 + 10_000, "message": "endpoint not found"}, status_code=status)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle off for such sockets only; with it, every answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BadSetting(f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port") from error
    return listener
