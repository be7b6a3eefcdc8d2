"""The trade_updates websocket /stream: Alpaca's handshake, then every update and, between them, the replay's heartbeats.

Each listener has a queue, so that what the exchange says keeps its order and an answer to an order never waits for a listener. The replay
waits before its next ticks while a queue is long: nothing is dropped.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from tandem.recycler import views
from tandem.recycler.access import Keys
from tandem.recycler.book import Update

TRADE_UPDATES = "trade_updates"
_QUEUE_LONG = 1_000  # messages of about 1.5 kB

log = structlog.get_logger()


class Updates:
    """All listeners to trade updates."""

    def __init__(self, keys: Keys, *, connections_max: int, auth_limit_s: float, greeting: Callable[[], Mapping[str, Any] | None]) -> None:
        """greeting: the last heartbeat, told to whoever begins to listen, so that nobody waits for one that has passed."""
        self._keys, self._greeting = keys, greeting
        self._connections_max, self._auth_limit_s = connections_max, auth_limit_s
        self._listeners: list[asyncio.Queue[bytes]] = []
        self._drained = asyncio.Event()

    def publish(self, updates: Sequence[Update]) -> None:
        """Queue updates for every listener."""
        for update in updates:
            self._queue(views.update(update))

    def tell(self, message: Mapping[str, Any]) -> None:
        """Queue any other message of the stream."""
        self._queue(message)

    async def drained(self) -> None:
        """Wait while a listener is far behind."""
        while any(queue.qsize() > _QUEUE_LONG for queue in self._listeners):
            self._drained.clear()
            await self._drained.wait()

    async def serve(self, socket: WebSocket) -> None:
        """One client, from its connection to its end."""
        await socket.accept()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        sender: asyncio.Task[None] | None = None
        try:
            if not await self._authorized(socket):
                return
            while True:
                request = await _request(socket)
                if request.get("action") != "listen":
                    continue
                data = request.get("data")
                asked = data.get("streams") if isinstance(data, dict) else None
                streams = [TRADE_UPDATES] if isinstance(asked, list) and TRADE_UPDATES in asked else []
                queue.put_nowait(orjson.dumps({"stream": "listening", "data": {"streams": streams}}))
                if streams and queue not in self._listeners:
                    self._listeners.append(queue)
                    if (heartbeat := self._greeting()) is not None:
                        queue.put_nowait(orjson.dumps(heartbeat))
                sender = sender or asyncio.create_task(self._send(socket, queue))
        except WebSocketDisconnect:
            pass  # the client's right
        finally:
            if queue in self._listeners:
                self._listeners.remove(queue)
            self._drained.set()
            if sender is not None:
                sender.cancel()

    async def _authorized(self, socket: WebSocket) -> bool:
        try:
            async with asyncio.timeout(self._auth_limit_s):
                request = await _request(socket)
        except TimeoutError:
            request = {}
        data = request.get("data", {})
        accepted = request.get("action") in {"authenticate", "auth"} and isinstance(data, dict)
        # Newer clients send the keys beside the action, older ones in data.
        accepted = accepted and self._keys.accept(data.get("key_id") or request.get("key"), data.get("secret_key") or request.get("secret"))
        accepted = accepted and len(self._listeners) < self._connections_max
        status = "authorized" if accepted else "unauthorized"
        await socket.send_bytes(orjson.dumps({"stream": "authorization", "data": {"status": status, "action": "authenticate"}}))
        if not accepted:
            await socket.close()
        return bool(accepted)

    async def _send(self, socket: WebSocket, queue: asyncio.Queue[bytes]) -> None:
        try:
            while True:
                await socket.send_bytes(await queue.get())  # binary frames that hold JSON, as Alpaca's paper stream sends
                self._drained.set()
        except WebSocketDisconnect:
            log.info("subscriber_gone", stream=TRADE_UPDATES)

    def _queue(self, message: Mapping[str, Any]) -> None:
        if not self._listeners:
            return
        payload = orjson.dumps(message)
        for queue in self._listeners:
            queue.put_nowait(payload)


async def _request(socket: WebSocket) -> dict[str, Any]:
    """The next request; one that cannot be read is an empty one, which asks for nothing."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    data = message.get("bytes")
    try:
        request = orjson.loads(data if data is not None else message["text"])
    except orjson.JSONDecodeError:
        return {}
    return request if isinstance(request, dict) else {}
