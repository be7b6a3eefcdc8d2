"""Market data as Alpaca's stream sends it: arrays of maps in MessagePack, or in JSON for a client that did not ask for MessagePack.

Trades are the hot path: all fields of a trade but its symbol have a fixed width in MessagePack, so that numpy fills a table with one row
of bytes per trade, and no Python object is made for any. The symbol stands last because its length varies.
A file of trades says nothing of exchange, conditions and tape: x and z are "", c is [].
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgpack
import numpy as np
import orjson
from numpy.typing import NDArray

from tandem.domain.ids import Symbol
from tandem.domain.market import TickArray
from tandem.domain.units import NS_PER_S, rfc3339
from tandem.flow.trade_bars import BarTable

# Many messages share a payload, as one at a time the websocket itself is the cost. The client refuses 1 MiB: 1024 trades are 80 kB.
MESSAGES_MAX = 1024

_HEAD = b"\x89\xa1T\xa1t\xa1x\xa0\xa1c\x90\xa1z\xa0"  # map of 9; T, x, c, z are constants
_ID = len(_HEAD) + 3  # after the key and the type byte of a uint64
_PRICE = _ID + 8 + 3  # float64
_SIZE = _PRICE + 8 + 3  # uint32
_TIME = _SIZE + 4 + 4  # fixext8 with the type -1
_SYMBOL = _TIME + 8 + 2
_TEMPLATE = _HEAD + b"\xa1i\xcf" + bytes(8) + b"\xa1p\xcb" + bytes(8) + b"\xa1s\xce" + bytes(4) + b"\xa1t\xd7\xff" + bytes(8) + b"\xa1S"
assert len(_TEMPLATE) == _SYMBOL


class Wire(StrEnum):
    """The two forms of the stream."""

    MSGPACK = "msgpack"
    JSON = "json"


class TradeEncoder:
    """Encodes the trades of a fixed list of symbols."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = symbols
        names = [bytes([0xA0 | len(name)]) + name.encode() for name in symbols]  # fixstr: at most 31 bytes, symbols have 10
        width = _SYMBOL + max(map(len, names))
        rows = b"".join((_TEMPLATE + name).ljust(width, b"\0") for name in names)
        self._rows = np.frombuffer(rows, np.uint8).reshape(len(names), width)
        lengths = np.array([_SYMBOL + len(name) for name in names])
        self._used: NDArray[np.bool_] | None = np.arange(width) < lengths[:, None]
        if len(set(lengths.tolist())) == 1:
            self._used = None  # all rows have the same length: nothing to cut

    def payloads(self, wire: Wire, ticks: TickArray) -> Iterator[bytes]:
        """Payloads of at most MESSAGES_MAX trades each, in the order of the ticks."""
        encode = self._msgpack if wire is Wire.MSGPACK else self._json
        return (encode(ticks[start : start + MESSAGES_MAX]) for start in range(0, len(ticks), MESSAGES_MAX))

    def _msgpack(self, ticks: TickArray) -> bytes:
        number = ticks["symbol"]
        rows = self._rows[number]  # a copy
        seconds, nanoseconds = np.divmod(ticks["event_ns"], NS_PER_S)
        _put(rows, _ID, ticks["trade_id"], ">i8")
        _put(rows, _PRICE, ticks["price"], ">f8")
        _put(rows, _SIZE, ticks["size"], ">u4")
        _put(rows, _TIME, nanoseconds << 34 | seconds, ">i8")
        body = rows if self._used is None else rows[self._used[number]]
        return _array_head(len(ticks)) + body.tobytes()

    def _json(self, ticks: TickArray) -> bytes:
        columns = zip(
            ticks["symbol"].tolist(),
            ticks["trade_id"].tolist(),
            ticks["price"].tolist(),
            ticks["size"].tolist(),
            ticks["event_ns"].tolist(),
            strict=True,
        )
        return orjson.dumps([{"T": "t", **trade_document(self._symbols[n], *rest)} for n, *rest in columns])


def trade_document(symbol: Symbol | None, trade_id: int, price: float, size: int, event_ns: int) -> dict[str, Any]:
    """A trade in Alpaca's words; without S where the answer names the symbol elsewhere."""
    named = {} if symbol is None else {"S": symbol}
    return {**named, "i": trade_id, "x": "", "p": price, "s": size, "c": [], "z": "", "t": rfc3339(event_ns)}


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


def bars_payload(wire: Wire, table: BarTable, rows: Sequence[int]) -> bytes:
    """Bars as one payload of "b" messages. The caller keeps it below MESSAGES_MAX."""
    messages = [{"T": "b", "S": table.symbols[int(table.symbol[row])], **bar_document(table, row)} for row in rows]
    if wire is Wire.MSGPACK:
        return _packed([{**message, "t": msgpack.Timestamp.from_unix_nano(message["t"])} for message in messages])
    return orjson.dumps([{**message, "t": rfc3339(message["t"])} for message in messages])


def control_payload(wire: Wire, message: Mapping[str, Any]) -> bytes:
    """A control message, which is an array of one."""
    return _packed([message]) if wire is Wire.MSGPACK else orjson.dumps([message])


def decode_request(wire: Wire, data: bytes) -> dict[str, Any]:
    """What a client sent. Raises ValueError if it is not a map in the form that the client chose."""
    try:
        request = msgpack.unpackb(data) if wire is Wire.MSGPACK else orjson.loads(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not readable as {wire}: {error}") from error
    if not isinstance(request, dict):
        raise ValueError(f"found a {type(request).__name__}, must be a map")
    return request


def _packed(messages: Sequence[Mapping[str, Any]]) -> bytes:
    return bytes(msgpack.packb(messages))


def _array_head(count: int) -> bytes:
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def _put(rows: NDArray[np.uint8], offset: int, values: NDArray[Any], form: str) -> None:
    """Write each value big-endian into its row."""
    encoded = np.ascontiguousarray(values).astype(form)
    rows[:, offset : offset + encoded.itemsize] = encoded.view(np.uint8).reshape(len(rows), encoded.itemsize)
