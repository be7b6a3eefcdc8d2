"""Alpaca's market-data stream through alpaca-py: raw payloads in a queue, with connects and losses in the same order.

alpaca-py keeps the connection: endpoint, authentication, subscription, backoff. Two of its habits are replaced here. It hands out one
message at a time through a coroutine, and an exception in a handler costs the rest of the payload; we hand over whole payloads and decide
nothing. And it only logs errors of the server; we pass them on as they came, because a refused subscription must be seen by /readyz.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import websockets
from alpaca.data.enums import DataFeed
from alpaca.data.live import StockDataStream
from websockets.frames import CloseCode

from tandem.domain.errors import BadSetting

QUEUE_PAYLOADS_MAX = 64  # between socket and consumer: a slow consumer is felt by the sender through TCP, not by our memory
_SOCKET_PAYLOADS_MAX = 32  # parsed by the websocket library and not yet taken
MESSAGE_BYTES_MAX = 1_048_576  # a larger one ends the connection; history knows what was in it
_RECEIVE_POLL_S = 1.0  # how often an idle socket looks whether it is stale
# What a failed connection raises: refused or reset, a broken handshake, and alpaca-py's ValueError for a refused authentication.
_CONNECTION_ERRORS = (OSError, ValueError, websockets.WebSocketException)
# alpaca-py raises the text of an error frame without its code. Alpaca's own words, by which its clients tell errors apart.
_CODES: Mapping[str, int] = {
    "not authenticated": 401,
    "auth failed": 402,
    "auth timeout": 404,
    "symbol limit exceeded": 405,
    "connection limit exceeded": 406,
    "slow client": 407,
    "v2 not enabled": 408,
    "insufficient subscription": 409,
}
_CLOSE_S_MAX = 2.0  # a server that hangs does not say goodbye; the library's 10 s, twice, would be most of a recovery
_BACKOFF_S_MAX = 10.0  # alpaca-py waits up to 30 s, which alone would use up the time that a recovery may take
_CONTROL_TYPES = frozenset({"success", "error", "subscription"})
_TIMESTAMP_AS_NS = 2  # msgpack.unpackb: timestamps become int nanoseconds, exact, without an object each


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """Authenticated, and the subscription was sent; the server's answer follows as a payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The connection is gone or could not be made. alpaca-py tries again by itself. code: of the error frame that says why, 0 for none."""

    reason: str
    code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One websocket message: a list of messages, whatever they are. Timestamps are int ns."""

    messages: list[Any]
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """One websocket message that is no msgpack list."""

    payload: bytes
    detail: str
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Put among the events by their reader: what stands before it had been received by this time."""

    at_ns: int


StreamEvent = Connected | Disconnected | Payload | Unreadable | Mark


def data_feed(name: str) -> DataFeed:
    """alpaca-py's feed by its name. Raises BadSetting."""
    try:
        return DataFeed(name)
    except ValueError as error:
        raise BadSetting(f"TANDEM_ALPACA_FEED {name!r}: allowed are iex and sip") from error


class TradeStream(StockDataStream):
    """What happens to the followed symbols, into `events`: trades with their corrections and cancels, statuses, price bands, and quotes
    where they are asked for. Runs on one event loop: `run_until_stopped` there, the rest from the same loop."""

    def __init__(
        self,
        events: "asyncio.Queue[StreamEvent]",
        *,
        key_id: str,
        secret_key: str,
        feed: str,
        url: str | None,
        mute_s_max: float | None,
        expects_data: Callable[[], bool],
        compress: bool,
    ) -> None:
        """url: url_override, None for Alpaca itself. mute_s_max: reconnect after so long without data while `expects_data`; None: never."""
        super().__init__(
            key_id,
            secret_key,
            raw_data=True,
            feed=data_feed(feed),
            url_override=url,
            data_timeout=mute_s_max,
            websocket_params={
                "ping_interval": 10,  # alpaca-py's own values
                "ping_timeout": 180,
                "close_timeout": _CLOSE_S_MAX,
                "max_queue": _SOCKET_PAYLOADS_MAX,
                "max_size": MESSAGE_BYTES_MAX,
                "compression": "deflate" if compress else None,
            },
        )
        logging.getLogger("alpaca.data.live.websocket").addFilter(_not_reported_here)
        self._events = events
        self._expects_data = expects_data
        self._reconnect_max_backoff = _BACKOFF_S_MAX
        self._leave = ""  # why the connection is to be given up
        self._sent: dict[str, set[str]] = {}  # by channel: the server was asked for these on this connection

    async def follow(self, symbols: Iterable[str], *, quotes: Iterable[str] = ()) -> None:
        """Make these the followed symbols, with quotes for some of them. While connected, the difference is sent at once."""
        names = sorted(symbols)
        wanted = {"trades": names, "statuses": names, "lulds": names, "quotes": sorted(quotes)}
        for channel, members in wanted.items():
            self._handlers[channel] = dict.fromkeys(members, _taken_from_the_queue)
        if self._running:
            await self._send_difference()

    async def ask_again(self) -> None:
        """Subscribe once more to what is followed: the server answers with its full list, or with what is wrong."""
        if self._running:
            await self._send_subscribe_msg()

    def reconnect(self, reason: str) -> None:
        """Give the connection up and make another: it is there and does not bring what it should."""
        self._leave = reason

    async def run_until_stopped(self) -> None:
        """Connect, and connect again after each loss, until `stop_now`. Returns early only if the account may not subscribe at all."""
        assert self._handlers["trades"], "follow at least one symbol first: alpaca-py spins until then"
        await self._run_forever()

    async def stop_now(self) -> None:
        """Close the socket and let `run_until_stopped` return."""
        await self.stop_ws()
        if self._ws is not None:
            await self._ws.close()

    async def _start_ws(self) -> None:
        try:
            await super()._start_ws()
        except _CONNECTION_ERRORS as error:
            await self._events.put(Disconnected(reason=f"cannot connect: {error}", code=_CODES.get(str(error), 0)))
            raise
        await self._events.put(Connected())

    async def _send_subscribe_msg(self) -> None:
        self._sent = {channel: set(members) for channel, members in self._handlers.items() if members}
        if self._sent:
            await super()._send_subscribe_msg()

    async def _send_difference(self) -> None:
        wanted = {channel: set(members) for channel, members in self._handlers.items() if members}
        gone = {channel: members - wanted.get(channel, set()) for channel, members in self._sent.items()}
        if any(members - self._sent.get(channel, set()) for channel, members in wanted.items()):
            await self._send_subscribe_msg()
        self._sent = wanted
        for channel, members in gone.items():
            await self._send_unsubscribe_msg(channel, sorted(members))

    async def close(self) -> None:
        """Close the socket, and say so in the queue if it was in use."""
        if self._running:
            await self._events.put(Disconnected(reason="connection closed"))
        await super().close()

    async def _consume(self) -> bool:
        """alpaca-py's receive loop with whole payloads; True asks it to reconnect because the socket is mute."""
        loop = asyncio.get_running_loop()
        self._data_received, self._leave = False, ""
        last_data_s = loop.time()
        await self._send_difference()  # symbols may have changed while the connection was made
        while self._stop_stream_queue.empty():
            if self._leave:
                return await self._left(self._leave)
            try:
                async with asyncio.timeout(_RECEIVE_POLL_S):
                    raw = await self._ws.recv()
            except websockets.ConnectionClosed:
                await self._tell_if_too_big()
                raise
            except TimeoutError:
                if not self._ws.open:  # we have ended it, and a server that goes on sending does not hear of it
                    await self._tell_if_too_big()
                    return await self._left("connection closed")
                if not self._expects_data():
                    last_data_s = loop.time()
                if self._data_timeout is not None and loop.time() - last_data_s >= self._data_timeout:
                    return await self._left(f"no data for {self._data_timeout} s")
                continue
            event = unpacked(raw, time.time_ns())
            if isinstance(event, Payload) and _has_data(event.messages):
                self._data_received = True
                last_data_s = loop.time()
            await self._events.put(event)
        self._stop_stream_queue.get_nowait()
        await self.close()
        return False

    async def _tell_if_too_big(self) -> None:
        """Hand over that a message was too large to be taken, if that is why the connection ended."""
        sent = self._ws.close_sent
        if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG:
            found = f"a message of more than {MESSAGE_BYTES_MAX} bytes, which ends the connection"
            await self._events.put(Unreadable(payload=b"", detail=found, received_ns=time.time_ns()))

    async def _left(self, reason: str) -> bool:
        """Close a connection that is of no use; True asks alpaca-py to make another."""
        await self._events.put(Disconnected(reason=reason))
        self._running = False  # said already: close() need not
        await self.close()
        return True


async def _taken_from_the_queue(_: object) -> None:
    """alpaca-py wants a handler for each symbol; ours is never called, as payloads go to the queue whole."""
    raise AssertionError("payloads are not dispatched one message at a time")


def _not_reported_here(record: logging.LogRecord) -> bool:
    """Keeps alpaca-py from writing a traceback for each failed connection, which is in our queue; everything else is logged."""
    return record.exc_info is None or not isinstance(record.exc_info[1], _CONNECTION_ERRORS)


def unpacked(raw: bytes | str, received_ns: int) -> Payload | Unreadable:
    """A websocket message as a list of messages."""
    if isinstance(raw, str):
        return Unreadable(payload=raw.encode(), detail="a text message where msgpack was asked for", received_ns=received_ns)
    try:
        messages = msgpack.unpackb(raw, timestamp=_TIMESTAMP_AS_NS)
    except (ValueError, msgpack.UnpackException) as error:
        return Unreadable(payload=raw, detail=f"not msgpack: {error}", received_ns=received_ns)
    if not isinstance(messages, list):
        return Unreadable(payload=raw, detail=f"a {type(messages).__name__} where a list was expected", received_ns=received_ns)
    return Payload(messages=messages, received_ns=received_ns)


def _has_data(messages: list[Any]) -> bool:
    """Whether it is market data, judged by the first message: the server never mixes control and data in a payload."""
    return bool(messages) and isinstance(messages[0], dict) and messages[0].get("T") not in _CONTROL_TYPES
