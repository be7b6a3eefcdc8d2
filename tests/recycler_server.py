"""A recycler in a thread of the test's process, on a free port, and the unmodified clients of alpaca-py pointed at it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from recorded_cases import CONFIG
from tandem.recycler.app import Recycler
from tandem.recycler.options import MAX_SPEED, RecyclerOptions

LIMIT_S = 120.0  # a process takes ten seconds to start where every core has five others to serve
HEADERS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def wait_until(ready: Callable[[], Any], what: str) -> Any:
    """The first true value of `ready`, asked again and again for at most LIMIT_S."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := ready()):
        assert time.monotonic() < deadline, f"waited {LIMIT_S} s for {what}"
        time.sleep(0.005)
    return found


class Server:
    """One running recycler and ways to talk to it."""

    def __init__(self, recycler: Recycler, port: int) -> None:
        self.recycler, self.port = recycler, port
        self.http, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"

    def get(self, path: str, **query: Any) -> Any:
        answer = requests.get(self.http + path, params=query, headers=HEADERS, timeout=LIMIT_S)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        return requests.post(self.http + path, json=body, headers=HEADERS, timeout=LIMIT_S)

    def status(self) -> dict[str, Any]:
        return self.get("/tandem/v1/replay")

    def button(self, path: str, /, **body: Any) -> dict[str, Any]:
        answer = self.post(f"/tandem/v1/replay/{path}", body)
        answer.raise_for_status()
        return answer.json()

    def until(self, **fields: Any) -> dict[str, Any]:
        """The status once these fields have these values."""
        return wait_until(lambda: (s := self.status()) and all(s[k] == v for k, v in fields.items()) and s, f"{fields}")

    def trading(self, **more: Any) -> TradingClient:
        return TradingClient("key", "secret", url_override=self.http, **more)

    def history(self, **more: Any) -> StockHistoricalDataClient:
        return StockHistoricalDataClient("key", "secret", url_override=self.http, **more)


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.serve(sockets=[listener])
    for connection in list(server.server_state.connections):  # a client that never read: a process would end here and close it
        connection.transport.abort()
    await asyncio.sleep(0)


@contextmanager
def serving(*data: Path, **options: Any) -> Iterator[Server]:
    """A recycler over files; at full speed and held unless told otherwise."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    defaults = {"speed": MAX_SPEED, "hold": True, "fees": CONFIG / "fees.yaml"}
    recycler = Recycler(RecyclerOptions(data=data, port=port, **defaults | options))
    server = uvicorn.Server(recycler.config())
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, listener)), name="recycler")
    thread.start()
    try:
        wait_until(lambda: server.started, "the server")
        yield Server(recycler, port)
    finally:
        server.should_exit = True
        thread.join(LIMIT_S)
        listener.close()
        assert not thread.is_alive(), "the server does not stop"
    assert not recycler.failed


@contextmanager
def running(stream: StockDataStream | TradingStream) -> Iterator[None]:
    """A stream's own event loop in a thread, once the server has answered what it asked for: what it only sent may come after a start."""
    is_answered, dispatch = threading.Event(), stream._dispatch

    async def noticing(message: dict[str, Any]) -> None:
        await dispatch(message)
        if message.get("T") == "subscription" or message.get("stream") == "listening":
            is_answered.set()

    stream._dispatch = noticing
    thread = threading.Thread(target=stream.run, name="stream")
    thread.start()
    try:
        wait_until(is_answered.is_set, "the stream's subscription")
        yield
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(_leave(stream), stream._loop)
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "the stream does not stop"


async def _leave(stream: StockDataStream | TradingStream) -> None:
    """Both in one: the stream's loop may end as soon as it knows of the wish, of which it learns at once only when its socket closes."""
    await stream.stop_ws()
    await stream.close()


class MarketListener:
    """StockDataStream with everything that it was told, control messages included, in order."""

    def __init__(self, server: Server, *, feed: str = "iex", **options: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        outer = self

        class Stream(StockDataStream):
            async def _dispatch(self, msg: dict[str, Any]) -> None:
                outer.messages.append(dict(msg))
                await super()._dispatch(msg)

        self.stream = Stream("key", "secret", url_override=f"{server.ws}/v2/{feed}", **options)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("T") == kind]

    @property
    def has_ended(self) -> bool:
        return any(message.get("end_of_stream") for message in self.messages)


class UpdateListener:
    """TradingStream with every message of the socket, heartbeats included, in order."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        self.updates: list[Any] = []
        outer = self

        class Stream(TradingStream):
            async def _dispatch(self, msg: dict[str, Any]) -> None:
                outer.messages.append(msg)
                await super()._dispatch(msg)

        async def remember(update: Any) -> None:
            self.updates.append(update)

        self.stream = Stream("key", "secret", url_override=f"{server.ws}/stream", **options)
        self.stream.subscribe_trade_updates(remember)

    @property
    def is_listening(self) -> bool:
        return any(message["stream"] == "listening" for message in self.messages)

    def events(self) -> list[tuple[str, Any]]:
        """("new" or "fill" ..., client_order_id) and ("heartbeat", watermark) in the order in which they came."""
        found: list[tuple[str, Any]] = []
        for message in self.messages:
            data = message["data"]
            if message["stream"] == "trade_updates":
                found.append((data["event"], data["order"]["client_order_id"]))
            elif message["stream"] == "tandem.heartbeat":
                found.append(("heartbeat", data["watermark_ns"]))
        return found
