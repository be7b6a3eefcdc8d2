"""The market-data websocket /v2/{feed}: Alpaca's handshake, authentication and subscriptions, error frames included.

One coroutine for each client. It only answers; market data goes out through feed.py.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tandem.recycler.access import Keys
from tandem.recycler.encoding import Wire, control_payload, decode_request
from tandem.recycler.feed import CHANNELS, EVERY, QUOTES, TRADES, Feed, Subscriber, refused

FEEDS = ("iex", "sip")
_MSGPACK_TYPE = "application/msgpack"


class FeedSocket:
    """Serves the clients of one feed."""

    def __init__(
        self,
        feed: Feed,
        keys: Keys,
        *,
        connections_max: int,
        auth_limit_s: float,
        symbols_max: int,
        greeting: Callable[[], list[Mapping[str, Any]]],
        subscribed: Callable[[], None],
    ) -> None:
        """symbols_max: that a client may ask trades and quotes of, 0: any number. greeting: what it is told after its first subscription.
        subscribed: called at each subscription to something."""
        self._feed, self._keys = feed, keys
        self._connections_max, self._auth_limit_s = connections_max, auth_limit_s
        self._symbols_max, self._greeting, self._subscribed = symbols_max, greeting, subscribed

    async def serve(self, socket: WebSocket) -> None:
        """One client, from its connection to its end."""
        await socket.accept()
        wire = Wire.MSGPACK if socket.headers.get("content-type", "").lower() == _MSGPACK_TYPE else Wire.JSON
        client = _Client(socket, wire)
        subscriber = Subscriber(wire=wire, send=client.send, dismiss=client.dismiss_slow)
        try:
            await client.say({"T": "success", "msg": "connected"})
            if await self._authenticated(client, socket.path_params["feed"]):
                self._feed.subscribers.append(subscriber)
                await client.say({"T": "success", "msg": "authenticated"})
                await self._converse(client, subscriber)
        except WebSocketDisconnect:
            pass  # the client's right
        finally:
            self._feed.drop(subscriber)

    async def _authenticated(self, client: "_Client", feed: str) -> bool:
        """True when the client may subscribe; else it was told why not, and the connection is closed."""
        try:
            async with asyncio.timeout(self._auth_limit_s):
                while (request := await client.request()) is None or request.get("action") != "auth":
                    if request is not None:
                        await client.error(401, "not authenticated")
        except TimeoutError:
            return await client.dismiss(404, "auth timeout")
        if not self._keys.accept(request.get("key"), request.get("secret")):
            return await client.dismiss(402, "auth failed")
        if feed not in FEEDS:
            return await client.dismiss(409, "insufficient subscription")
        if len(self._feed.subscribers) >= self._connections_max:
            return await client.dismiss(406, "connection limit exceeded")
        return True

    async def _converse(self, client: "_Client", subscriber: Subscriber) -> None:
        while True:
            request = await client.request()
            if request is None:
                continue
            action = request.get("action")
            channels = _channels(request)
            if action == "auth":
                await client.error(403, "already authenticated")
            elif action not in {"subscribe", "unsubscribe"} or channels is None:
                await client.error(400, "invalid syntax")
            elif action == "unsubscribe":
                for channel, names in channels.items():
                    subscriber.channels[channel] -= set(names)
                await client.say(_subscriptions(subscriber))
            else:
                await self._subscribe(client, subscriber, channels)

    async def _subscribe(self, client: "_Client", subscriber: Subscriber, channels: Mapping[str, list[str]]) -> None:
        """Take over what the recording can serve, name what it cannot, then tell where the replay is."""
        for code, message in refused(channels, self._feed):
            await client.error(code, message)
        is_first = not any(subscriber.channels.values())
        accepted = {
            channel: {name for name in names if name == EVERY or name in self._feed.symbols}
            for channel, names in channels.items()
            if self._feed.has(channel)
        }
        asked = {name for channel in (TRADES, QUOTES) for name in subscriber.channels[channel] | accepted.get(channel, set())}
        if self._symbols_max and (EVERY in asked or len(asked) > self._symbols_max):
            await client.error(405, "symbol limit exceeded")
            return
        for channel, names in accepted.items():
            subscriber.channels[channel] |= names
        await client.say(_subscriptions(subscriber))
        greeting = self._greeting()
        for told in greeting if is_first else greeting[:1]:
            await client.say(told)
        if any(subscriber.channels.values()):
            self._subscribed()


class _Client:
    """One websocket in the form that the client chose."""

    def __init__(self, socket: WebSocket, wire: Wire) -> None:
        self._socket, self._wire = socket, wire
        self._farewell: asyncio.Task[None] | None = None  # held, as the event loop does not

    async def send(self, payload: bytes) -> None:
        """Send bytes, as text to a client that speaks JSON; waits while the client is slow. Raises WebSocketDisconnect."""
        if self._socket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(1006)
        if self._wire is Wire.MSGPACK:
            await self._socket.send_bytes(payload)
        else:
            await self._socket.send_text(payload.decode())

    async def say(self, message: Mapping[str, Any]) -> None:
        await self.send(control_payload(self._wire, message))

    async def error(self, code: int, message: str) -> None:
        await self.say({"T": "error", "code": code, "msg": message})

    async def dismiss(self, code: int, message: str) -> bool:
        await self.error(code, message)
        await self._socket.close()
        return False

    async def dismiss_slow(self) -> None:
        """A client that does not read: it finds the reason and the end of the connection when it does. Nobody waits for that."""
        self._farewell = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it has gone in the meantime
            await self.dismiss(407, "slow client")

    async def request(self) -> dict[str, Any] | None:
        """The next request; None for one that could not be read, of which the client was told."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        try:
            return decode_request(self._wire, data if data is not None else message["text"].encode())
        except ValueError:
            await self.error(400, "invalid syntax")
            return None


def _channels(request: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """The channels of a request with their symbols; None if one is not a list of text or no channel."""
    channels = {}
    for channel, names in request.items():
        if channel == "action":
            continue
        if channel not in CHANNELS or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        channels[channel] = names
    return channels


def _subscriptions(subscriber: Subscriber) -> dict[str, Any]:
    """Every channel with its full list; corrections and cancelErrors follow trades, as Alpaca's do."""
    lists = {channel: sorted(names) for channel, names in subscriber.channels.items()}
    return {"T": "subscription", **lists, "corrections": lists[TRADES], "cancelErrors": lists[TRADES]}
