"""A market-data server that speaks Alpaca's protocol and then does what a test says: for what the recycler never does, e.g. break it.

Used by the tests of the stream adapter and of the ingestor. Times in messages are int ns and leave as msgpack timestamps.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgpack
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass
class Session:
    """One connection, from its subscription on."""

    connection: ServerConnection
    number: int  # 0 for the first connection
    symbols: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, *messages: Any) -> None:
        """One payload of these messages."""
        await self.send_raw(msgpack.packb([_stamped(message) for message in messages]))

    async def send_raw(self, payload: bytes | str) -> None:
        """One websocket message as it is."""
        await self.connection.send(payload)

    async def subscribed_to(self, *symbols: str) -> None:
        """Wait until the client follows exactly these."""
        while self.symbols != set(symbols):
            self.changed.clear()
            await self.changed.wait()

    async def drop(self) -> None:
        """Cut the connection without a goodbye."""
        self.connection.transport.abort()


Script = Callable[[Session], Awaitable[None]]


@dataclass
class Market:
    """What a test sees of the server."""

    url: str
    sessions: list[Session] = field(default_factory=list)
    greeting_error: dict[str, Any] | None = None  # answer to the authentication, e.g. an error 406


@contextmanager
def scripted_market(script: Script, *, greeting_error: dict[str, Any] | None = None) -> Iterator[Market]:
    """A server on a free port of 127.0.0.1 that runs `script` for each connection once it has subscribed."""
    ready: threading.Event = threading.Event()
    market = Market(url="", greeting_error=greeting_error)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with _serving(market, script):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="market")
    thread.start()
    assert ready.wait(10)
    try:
        yield market
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@asynccontextmanager
async def _serving(market: Market, script: Script) -> AsyncIterator[None]:
    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await _session(market, script, connection)

    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        market.url = f"ws://{host}:{port}/v2/iex"
        yield


async def _session(market: Market, script: Script, connection: ServerConnection) -> None:
    session = Session(connection, len(market.sessions))
    market.sessions.append(session)
    await session.send({"T": "success", "msg": "connected"})
    assert msgpack.unpackb(await connection.recv())["action"] == "auth"
    if market.greeting_error is not None:
        await session.send(market.greeting_error)
        return
    await session.send({"T": "success", "msg": "authenticated"})
    running: asyncio.Task[Any] | None = None
    async for raw in connection:
        message = msgpack.unpackb(raw)
        if message["action"] == "subscribe":
            session.symbols |= set(message.get("trades", []))
        else:
            session.symbols -= set(message.get("trades", []))
        await session.send({"T": "subscription", "trades": sorted(session.symbols), "quotes": []})
        session.changed.set()
        if running is None:
            running = asyncio.ensure_future(script(session))
    if running is not None:
        running.cancel()


def _stamped(message: Any) -> Any:
    """A trade's `t` as a timestamp of msgpack."""
    if isinstance(message, dict) and message.get("T") == "t" and isinstance(message.get("t"), int):
        return message | {"t": msgpack.Timestamp.from_unix_nano(message["t"])}
    return message
