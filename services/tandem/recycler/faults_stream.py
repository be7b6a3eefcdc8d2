"""Websocket frames that do not come as they should. One of these stands between a socket and its client; called by faults_wire.py.

Only frames of data are touched: those of trades, quotes and the like on the market's stream, trade_updates on the other. Handshakes,
subscriptions and the recycler's own heartbeats pass, in their order with the rest.
"""

import asyncio
from random import Random
from typing import Any

import msgpack
import orjson
from starlette.types import Message, Send

from tandem.recycler.faults import Armory, StreamFault
from tandem.recycler.faults_prints import misprinted, with_unpriced

_DATA = frozenset("tqbudslcx")  # of the market's stream: trades, quotes, bars of three kinds, statuses, bands, corrections, cancels
_CLOSING = (406, 407)
_FAR_OFF = 100  # times a price: a misplaced decimal point
_GARBAGE = b"\xc1\xff\x00 not a message \xc1"
_CLOSE_DEFAULT = 1011
_OVERSIZED_CHARS = 1_200_000  # the websocket library under alpaca-py takes messages up to 1 MiB


class Closed(Exception):
    """The stream was closed by a fault; the application is told that its client has gone."""


class FaultySend:
    """`send` of one websocket, with the faults that are armed for its stream."""

    def __init__(self, send: Send, armory: Armory, on: str) -> None:
        self._send, self._armory, self._on = send, armory, on
        self._held: Message | None = None  # a frame that is to come after the next one

    async def __call__(self, message: Message) -> None:
        """Send a frame, or what a fault makes of it. Raises Closed."""
        if message["type"] != "websocket.send" or not (self._held or self._armory.waits_for(self._on)):
            await self._send(message)
            return
        frame = _Frame(message)
        is_data = frame.has_data(self._on)
        if self._held is not None and not is_data:  # nothing overtakes what steers the stream
            await self._release()
        fault = self._armory.stream(self._on) if is_data else None
        if fault is None:
            await self._send(message)
            await self._release()
        else:
            await self._do(fault, message, frame)

    async def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._send(held)

    async def _do(self, fault: StreamFault, message: Message, frame: "_Frame") -> None:
        match fault.stream:
            case "drop":
                return
            case "swap":
                await self._release()
                self._held = message
                return
            case "late":
                await asyncio.sleep(fault.seconds)
            case "close":
                await self._close(fault.code or _CLOSE_DEFAULT)
            case "error":
                await self._send(frame.error(fault.code or 500, self._on))
                if fault.code in _CLOSING:
                    await self._close(_CLOSE_DEFAULT)
            case "garbled":
                await self._send(frame.raw(_GARBAGE))
            case "truncated":
                await self._send(frame.raw(frame.data[: len(frame.data) // 2]))
            case "oversized":
                await self._send(frame.oversized(self._on))
            case "shuffle" | "unknown" | "bad_values" | "bust" | "misprint" | "unpriced":
                message = frame.changed(fault.stream, self._on)
        await self._send(message)
        if fault.stream == "duplicate":
            await self._send(message)
        await self._release()

    async def _close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": ""})
        raise Closed


class _Frame:
    """A frame and what is in it."""

    def __init__(self, message: Message) -> None:
        self._text = message.get("text")
        self.data: bytes = message["bytes"] if message.get("bytes") is not None else str(self._text).encode()
        self._packed = self.data[:1] not in (b"[", b"{")
        self.content: Any = msgpack.unpackb(self.data) if self._packed else orjson.loads(self.data)

    def has_data(self, on: str) -> bool:
        """It tells of the market, or of an order."""
        if on == "updates":
            return isinstance(self.content, dict) and self.content.get("stream") == "trade_updates"
        return isinstance(self.content, list) and any(row.get("T") in _DATA for row in self.content)

    def error(self, code: int, on: str) -> Message:
        """An error frame in the stream's form."""
        row = {"T": "error", "code": code, "msg": "injected"}
        return self._encoded([row] if on == "market" else {"stream": "error", "data": row})

    def oversized(self, on: str) -> Message:
        """The frame with something beside its content that makes it larger than a client takes."""
        filler = {"zz": "z" * _OVERSIZED_CHARS}
        return self._encoded([*self.content, {"T": "zz", **filler}] if on == "market" else {**self.content, **filler})

    def changed(self, how: str, on: str) -> Message:
        """The frame with its messages in another order, or with others among them."""
        if on == "updates":
            return self._changed_update(how)
        rows = [dict(row) for row in self.content]
        if how == "shuffle":
            Random(len(self.data)).shuffle(rows)  # noqa: S311  reproducible on purpose
        elif how == "unknown":
            rows = [row | {"zz": {"new": [1]}} for row in rows]
            rows.insert(len(rows) // 2, {"T": "zz", "S": rows[0].get("S"), "zz": 1})
        elif how in {"bust", "misprint"}:
            rows = misprinted(rows, never_was=how == "bust")
        elif how == "unpriced":
            rows = with_unpriced(rows)
        else:
            middle = max(len(rows) // 2, 1)  # after the first, so that what a price was is known
            rows[middle:middle] = bad_messages(rows[0])
        return self._encoded(rows)

    def _changed_update(self, how: str) -> Message:
        """The other stream has one message a frame: the order of its fields is all that there is to shuffle."""
        data = dict(self.content["data"])
        if how == "shuffle":
            data = dict(reversed(data.items()))
        elif how == "unknown":
            data |= {"zz": {"new": [1]}, "order": {**data["order"], "zz": None, "order_class": "zz"}}
        elif how == "bad_values":
            data |= {"price": "NaN", "qty": "-1", "execution_id": None}
        return self._encoded({**self.content, "data": data})

    def raw(self, data: bytes) -> Message:
        """Bytes as a frame of the same type."""
        if self._text is None:
            return {"type": "websocket.send", "bytes": data}
        return {"type": "websocket.send", "text": data.decode(errors="replace")}

    def _encoded(self, content: Any) -> Message:
        return self.raw(bytes(msgpack.packb(content)) if self._packed else orjson.dumps(content))


def bad_messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages of the row's kind that no market can send: every one is to be parked, none to be traded on."""
    nan, infinite = float("nan"), float("inf")
    far = msgpack.Timestamp(2**40, 0) if isinstance(row.get("t"), msgpack.Timestamp) else "9999-12-31T23:59:59Z"
    price = "bp" if row.get("T") == "q" else "c" if row.get("T") in ("b", "u", "d") else "p"
    values: list[dict[str, Any]] = [
        {price: nan},
        {price: infinite},
        {price: 0.0},
        {price: -1.0},
        {price: "ten"},
        {price: None},
        {"S": 7},
        {price: row.get(price, 1.0) * _FAR_OFF},
        {"t": "soon"},
        {"t": far},
    ]
    if row.get("T") == "q":
        values.append({"bp": row["ap"] + 1, "ap": row["bp"]})  # crossed
    without = {name: value for name, value in row.items() if name != "t"}
    number = row.get("i")
    fresh = {} if not isinstance(number, int) else {"i": number + 1_000_000_000}
    return [row | fresh | value for value in values] + [without | fresh]
