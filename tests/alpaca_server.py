"""A market-data server that speaks Alpaca's protocol and then does what a test says: for what the recycler never does, e.g. break it.

Used by the tests of the stream adapter and of the ingestor. Times in messages are int ns and leave as msgpack timestamps. Its history
(/v2/stocks/trades and /latest, on the same port) holds the trades that were sent, and those that a test says it knows besides.
"""

import asyncio
import http
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgpack
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tandem.domain.units import ns_of_rfc3339, rfc3339


@dataclass
class Session:
    """One connection, from its subscription on."""

    connection: ServerConnection
    number: int  # 0 for the first connection
    symbols: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    history: list[dict[str, Any]] = field(default_factory=list)  # the market's

    async def send(self, *messages: Any) -> None:
        """One payload of these messages."""
        self.history += [m for m in messages if isinstance(m, dict) and m.get("T") == "t" and m.get("p", 0) > 0 and "t" in m]
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
    history: list[dict[str, Any]] = field(default_factory=list)  # trades that the REST knows
    is_silent: bool = False  # a subscription is taken and not answered
    history_status: int = 200  # what the REST answers with; another than 200 is an error without an answer
    questions: list[dict[str, str]] = field(default_factory=list)  # that the REST was asked for trades of a span


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
    assert ready.wait(60)
    try:
        yield market
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


@asynccontextmanager
async def _serving(market: Market, script: Script) -> AsyncIterator[None]:
    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await _session(market, script, connection)

    def answer(_: ServerConnection, request: Request) -> Response | None:
        """Requests that are no websocket."""
        return None if request.headers.get("Upgrade") else _history(market, request.path)

    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=1, process_request=answer) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        market.url = f"ws://{host}:{port}/v2/iex"
        yield


def _history(market: Market, address: str) -> Response:
    """The trades of a span, or the last of each symbol; one page."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if market.history_status != http.HTTPStatus.OK:
        return _json(market.history_status, {"code": 50010000, "message": "not now"})
    if parts.path not in {"/v2/stocks/trades", "/v2/stocks/trades/latest"}:
        return _json(404, {"code": 40410000, "message": "endpoint not found"})
    names = query["symbols"].split(",")
    known = sorted((m for m in market.history if m["S"] in names), key=lambda m: m["t"])
    if parts.path.endswith("/latest"):
        return _json(200, {"trades": {m["S"]: _document(m) for m in known}})
    market.questions.append(query)
    from_ns, until_ns = ns_of_rfc3339(query["start"]), ns_of_rfc3339(query["end"])
    found: dict[str, list[dict[str, Any]]] = {}
    for message in known:
        if from_ns <= message["t"] <= until_ns:
            found.setdefault(message["S"], []).append(_document(message))
    return _json(200, {"trades": found, "next_page_token": None})


def _document(message: dict[str, Any]) -> dict[str, Any]:
    """A trade as the REST words it."""
    return {name: value for name, value in message.items() if name not in {"T", "S"}} | {"t": rfc3339(message["t"])}


def _json(status: int, document: dict[str, Any]) -> Response:
    body = orjson.dumps(document)
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, http.HTTPStatus(status).phrase, headers, body)


async def _session(market: Market, script: Script, connection: ServerConnection) -> None:
    session = Session(connection, len(market.sessions), history=market.history)
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
        if not market.is_silent:
            await session.send({"T": "subscription", "trades": sorted(session.symbols), "quotes": []})
        session.changed.set()
        if running is None:
            running = asyncio.ensure_future(script(session))
    if running is not None:
        running.cancel()


def _stamped(message: Any) -> Any:
    """The `t` of what happens to a symbol as a timestamp of msgpack."""
    if isinstance(message, dict) and message.get("T") in {"t", "q", "c", "x", "s", "l"} and isinstance(message.get("t"), int):
        return message | {"t": msgpack.Timestamp.from_unix_nano(message["t"])}
    return message
