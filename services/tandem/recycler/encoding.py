"""The forms of the market-data stream: arrays of maps in MessagePack, or in JSON for a client that did not ask for MessagePack.

Documents that the stream and REST share, bars, control messages and requests. Ticks are the hot path: tick_encoding.py.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgpack
import orjson

from tandem.domain.ids import Symbol
from tandem.domain.units import rfc3339
from tandem.flow.trade_bars import BarTable

# Many messages share a payload, as one at a time the websocket itself is the cost. The client refuses 1 MiB: 1024 quotes are 110 kB.
MESSAGES_MAX = 1024


class Wire(StrEnum):
    """The two forms of the stream."""

    MSGPACK = "msgpack"
    JSON = "json"


def trade_document(symbol: Symbol | None, tick: Any, sale: tuple[str, str]) -> dict[str, Any]:
    """A trade in Alpaca's words; without S where the answer names the symbol elsewhere. sale: tape, and codes as a text."""
    named = {} if symbol is None else {"S": symbol}
    tape, codes = sale
    figures = {"i": int(tick["trade_id"]), "x": "", "p": float(tick["price"]), "s": int(tick["size"])}
    return {**named, **figures, "c": list(codes), "z": tape, "t": rfc3339(int(tick["event_ns"]))}


def quote_document(symbol: Symbol | None, bid: Any, ask: Any) -> dict[str, Any]:
    """A quote in Alpaca's words, from its two ticks."""
    named = {} if symbol is None else {"S": symbol}
    sides = {"bx": "", "bp": float(bid["price"]), "bs": int(bid["size"]), "ax": "", "ap": float(ask["price"]), "as": int(ask["size"])}
    return {**named, **sides, "c": [], "z": "", "t": rfc3339(int(bid["event_ns"]))}


def bar_document(table: BarTable, row: int) -> dict[str, Any]:
    """A bar in Alpaca's words, without its symbol. n and vw are null for bars of a file that does not say."""
    trades, vwap = int(table.trades[row]), float(table.vwap[row])
    return {
        "o": float(table.open[row]),
        "h": float(table.high[row]),
        "l": float(table.low[row]),
        "c": float(table.close[row]),
        "v": int(table.volume[row]),
        "n": trades if trades else None,
        "vw": vwap if vwap > 0 else None,
        "t": int(table.start_ns[row]),
    }


def bars_payload(wire: Wire, table: BarTable, rows: Sequence[int], kind: str = "b") -> bytes:
    """Bars as one payload of "b", "u" or "d" messages. The caller keeps it below MESSAGES_MAX."""
    messages = [{"T": kind, "S": table.symbols[int(table.symbol[row])], **bar_document(table, row)} for row in rows]
    if wire is Wire.MSGPACK:
        return _packed([{**message, "t": msgpack.Timestamp.from_unix_nano(message["t"])} for message in messages])
    return orjson.dumps([{**message, "t": rfc3339(message["t"])} for message in messages])


def control_payload(wire: Wire, message: Mapping[str, Any]) -> bytes:
    """A control message, which is an array of one."""
    return _packed([message]) if wire is Wire.MSGPACK else orjson.dumps([message])


def data_payload(wire: Wire, message: Mapping[str, Any], event_ns: int) -> bytes:
    """One message of market data and its time."""
    stamp = msgpack.Timestamp.from_unix_nano(event_ns) if wire is Wire.MSGPACK else rfc3339(event_ns)
    return control_payload(wire, {**message, "t": stamp})


def decode_request(wire: Wire, data: bytes) -> dict[str, Any]:
    """What a client sent. Raises ValueError if it is not a map in the form that the client chose."""
    try:
        request = msgpack.unpackb(data) if wire is Wire.MSGPACK else orjson.loads(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not readable as {wire}: {error}") from error
    if not isinstance(request, dict):
        raise ValueError(f"found a {type(request).__name__}, must be a map")
    return request


def array_head(count: int) -> bytes:
    """The beginning of a MessagePack array."""
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def _packed(messages: Sequence[Mapping[str, Any]]) -> bytes:
    return bytes(msgpack.packb(messages))
