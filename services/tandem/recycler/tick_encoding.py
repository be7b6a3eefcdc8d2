"""Ticks as Alpaca's stream sends them: trades, quotes, statuses, price bands, corrections and cancels, in the order of the recording.

Trades and quotes are the hot path: all their fields but the symbol have a fixed width in MessagePack, so that numpy fills a table with one
row of bytes per message, and no Python object is made for any. The symbol stands last because its length varies. The rest is rare.
Recordings say nothing of exchanges: x is "". Conditions and tape, c and z, are as recorded, and [] and "" where nothing was. Trades of one
tape and conditions share a template, which is made when the first of them goes out. Alpaca's client refuses corrections and cancels without
an exchange: theirs is that of the feed iex. Statuses speak the codes of tapes A and B.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
import orjson
from numpy.typing import NDArray

from tandem.adapters.tick_build import Fix, TickStore
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TickArray,
)
from tandem.domain.units import NS_PER_S, rfc3339
from tandem.recycler.encoding import MESSAGES_MAX, Wire, array_head, quote_document, trade_document

_SECOND_ROWS = (KIND_ASK, KIND_BAND_HIGH)  # of a pair, which is one message
_FIX_EXCHANGE = "V"  # IEX
_FIXES = (KIND_CORRECTION, KIND_CANCEL)
_Encoded = tuple[NDArray[np.uint8], NDArray[np.int64]]  # a row of bytes for each message, and how many of them are used


class _Template:
    """One kind of message: a row of bytes for each symbol, into which numbers are put at fixed offsets."""

    def __init__(self, symbols: Sequence[Symbol], head: bytes, fields: Sequence[tuple[bytes, bytes, int]]) -> None:
        """fields: key, type byte and width in bytes of each number, in order."""
        body, self.offsets = head, []
        for key, kind, width in fields:
            body += bytes([0xA0 | len(key)]) + key + kind
            self.offsets.append(len(body))
            body += bytes(width)
        body += b"\xa1S"
        names = [bytes([0xA0 | len(name)]) + name.encode() for name in symbols]  # fixstr: at most 31 bytes, symbols have 10
        self.width = len(body) + max(map(len, names))
        rows = b"".join((body + name).ljust(self.width, b"\0") for name in names)
        self.rows = np.frombuffer(rows, np.uint8).reshape(len(names), self.width)
        self.lengths = np.array([len(body) + len(name) for name in names])

    def filled(self, number: NDArray[Any], values: Sequence[tuple[NDArray[Any], str]]) -> NDArray[np.uint8]:
        """A row for each message. values: numbers and their form, in the order of the fields."""
        rows = self.rows[number]  # a copy
        for offset, (column, form) in zip(self.offsets, values, strict=True):
            encoded = np.ascontiguousarray(column).astype(form)
            rows[:, offset : offset + encoded.itemsize] = encoded.view(np.uint8).reshape(len(rows), encoded.itemsize)
        return rows


_TIME = (b"t", b"\xd7\xff", 8)  # fixext8 with the type -1
_TRADE_HEAD = b"\x89\xa1T\xa1t\xa1x\xa0"  # map of 9; T, x, and then c and z are constants
_TRADE_FIELDS = ((b"i", b"\xcf", 8), (b"p", b"\xcb", 8), (b"s", b"\xce", 4), _TIME)
_QUOTE_HEAD = b"\x8b\xa1T\xa1q\xa2bx\xa0\xa2ax\xa0\xa1c\x90\xa1z\xa0"  # map of 11; T, bx, ax, c, z are constants
_QUOTE_FIELDS = ((b"bp", b"\xcb", 8), (b"bs", b"\xce", 4), (b"ap", b"\xcb", 8), (b"as", b"\xce", 4), _TIME)


class TickEncoder:
    """Encodes the ticks of one recording."""

    def __init__(self, store: TickStore) -> None:
        self._ticks, self._symbols = store.data.ticks, store.data.symbols
        self._sale, self._sales = store.sale, store.sales
        self._by_sale: dict[int, _Template] = {}
        self._trade = self._template(0)
        self._quote = _Template(self._symbols, _QUOTE_HEAD, _QUOTE_FIELDS)
        self._fixes = {fix.place: fix for fix in store.fixes}
        self._states = _status_texts(store)

    def _template(self, sale: int) -> _Template:
        """Of trades with these conditions."""
        if sale not in self._by_sale:
            tape, codes = self._sales[sale]
            head = _TRADE_HEAD + b"\xa1c" + msgpack.packb(list(codes)) + b"\xa1z" + msgpack.packb(tape)
            self._by_sale[sale] = _Template(self._symbols, head, _TRADE_FIELDS)
        return self._by_sale[sale]

    def payloads(self, wire: Wire, places: NDArray[np.int64]) -> Iterator[bytes]:
        """Payloads of at most MESSAGES_MAX messages each for the ticks at these ascending places; both rows of a pair or none."""
        encode = self._msgpack if wire is Wire.MSGPACK else self._json
        ticks = self._ticks[places]
        start = 0
        while start < len(places):
            stop = min(start + MESSAGES_MAX, len(places))
            if stop < len(places) and ticks["kind"][stop] in _SECOND_ROWS:
                stop -= 1
            if (payload := encode(ticks[start:stop], places[start:stop])) is not None:
                yield payload
            start = stop

    def _msgpack(self, ticks: TickArray, places: NDArray[np.int64]) -> bytes | None:
        kind = ticks["kind"]
        rare = np.flatnonzero((kind != KIND_TRADE) & (kind != KIND_BID) & (kind != KIND_ASK))
        if len(rare) == 0:
            count, body = self._frequent(ticks, places)
            return array_head(count) + body
        count, parts, last = 0, [], 0
        for at in rare.tolist():
            more, body = self._frequent(ticks[last:at], places[last:at])
            document = self._rare(ticks, places, at)
            if document is not None:
                event_ns = int(ticks["event_ns"][at])
                body += bytes(msgpack.packb({**document, "t": msgpack.Timestamp.from_unix_nano(event_ns)}))
            parts.append(body)
            count += more + (document is not None)
            last = at + 1
        more, body = self._frequent(ticks[last:], places[last:])
        count += more
        return array_head(count) + b"".join([*parts, body]) if count else None

    def _frequent(self, ticks: TickArray, places: NDArray[np.int64]) -> tuple[int, bytes]:
        """Trades and quotes: how many messages, and their bytes."""
        if len(ticks) == 0:
            return 0, b""
        bids = np.flatnonzero(ticks["kind"] == KIND_BID)
        if len(bids) == 0:
            return len(ticks), _cut(*self._trades(ticks, places))
        quotes, lengths = self._quotes(ticks[bids], ticks[bids + 1]), self._quote.lengths[ticks["symbol"][bids]]
        prints = np.flatnonzero(ticks["kind"] == KIND_TRADE)
        if len(prints) == 0:
            return len(bids), _cut(quotes, lengths)
        rows, all_lengths = _together((quotes, lengths), self._trades(ticks[prints], places[prints]))
        order = np.argsort(np.concatenate((bids, prints)))
        return len(order), _cut(rows[order], all_lengths[order])

    def _trades(self, ticks: TickArray, places: NDArray[np.int64]) -> _Encoded:
        """A row for each trade, and how much of it is used."""
        if self._sale is None:
            return self._of_sale(ticks, self._trade)
        sales = self._sale[places]
        numbers = np.unique(sales).tolist()
        parts = [np.flatnonzero(sales == sale) for sale in numbers]
        made = [self._of_sale(ticks[own], self._template(sale)) for sale, own in zip(numbers, parts, strict=True)]
        rows, lengths = _together(*made)
        order = np.argsort(np.concatenate(parts))
        return rows[order], lengths[order]

    def _of_sale(self, ticks: TickArray, template: _Template) -> _Encoded:
        values = ((ticks["trade_id"], ">i8"), (ticks["price"], ">f8"), (ticks["size"], ">u4"), (_stamps(ticks), ">i8"))
        return template.filled(ticks["symbol"], values), template.lengths[ticks["symbol"]]

    def _quotes(self, bids: TickArray, asks: TickArray) -> NDArray[np.uint8]:
        sides = [(side[name], form) for side in (bids, asks) for name, form in (("price", ">f8"), ("size", ">u4"))]
        return self._quote.filled(bids["symbol"], (*sides, (_stamps(bids), ">i8")))

    def _json(self, ticks: TickArray, places: NDArray[np.int64]) -> bytes | None:
        documents = []
        for at in range(len(ticks)):
            row = ticks[at]
            kind, name, event_ns = int(row["kind"]), self._symbols[int(row["symbol"])], int(row["event_ns"])
            if kind == KIND_TRADE:
                sale = ("", "") if self._sale is None else self._sales[int(self._sale[places[at]])]
                document = {"T": "t", **trade_document(name, row, sale)}
            elif kind == KIND_BID:
                document = {"T": "q", **quote_document(name, row, ticks[at + 1])}
            elif (rare := self._rare(ticks, places, at)) is not None:
                document = {**rare, "t": rfc3339(event_ns)}
            else:
                continue
            documents.append(document)
        return orjson.dumps(documents) if documents else None

    def _rare(self, ticks: TickArray, places: NDArray[np.int64], at: int) -> dict[str, Any] | None:
        """The message that begins at a row, without its time; None for what is no message of its own."""
        row = ticks[at]
        name, kind, place = self._symbols[int(row["symbol"])], int(row["kind"]), int(places[at])
        if kind == KIND_STATUS:
            code, text, reason, why = self._states[place]
            return {"T": "s", "S": name, "sc": code, "sm": text, "rc": reason, "rm": why, "z": ""}
        if kind == KIND_BAND_LOW:
            return band_document(name, float(row["price"]), float(ticks["price"][at + 1]))
        if kind in _FIXES and place in self._fixes:
            fix = self._fixes[place]
            return self._fix(name, fix, ("", "") if self._sale is None else self._sales[int(self._sale[fix.trade])])
        return None

    def _fix(self, name: Symbol, fix: Fix, sale: tuple[str, str]) -> dict[str, Any]:
        """sale: tape and codes of the trade; a recording corrects price and size only."""
        tape, codes = sale[0], list(sale[1])
        wrong = self._ticks[fix.trade]
        trade_id, price, size = int(wrong["trade_id"]), float(wrong["price"]), int(wrong["size"])
        if fix.cancels:
            return {"T": "x", "S": name, "i": trade_id, "x": _FIX_EXCHANGE, "p": price, "s": size, "a": "C", "z": tape}
        before = {"oi": trade_id, "op": price, "os": size, "oc": codes}
        after = {"ci": trade_id, "cp": fix.price, "cs": fix.size, "cc": codes}
        return {"T": "c", "S": name, "x": _FIX_EXCHANGE, **before, **after, "z": tape}


def band_document(name: Symbol, low: float, high: float) -> dict[str, Any]:
    """Limit up, limit down, without its time."""
    return {"T": "l", "S": name, "u": high, "d": low, "i": "B", "z": ""}


def status_texts(before: int, after: int, reason: str) -> tuple[str, str, str, str]:
    """Code and words of a change of state, reason's code and words: a halt or its end goes before a change of the short sale rule."""
    if (before ^ after) & STATUS_SHORT_RESTRICTED and not (before ^ after) & STATUS_HALTED:
        is_on = bool(after & STATUS_SHORT_RESTRICTED)
        return "E", "Short Sale Restriction", "A" if is_on else "D", reason or f"Short Sale Restriction {'A' if is_on else 'Dea'}ctivated"
    if after & STATUS_HALTED:
        return "2", "Trading Halt", "", reason
    return "3", "Trading Resume", "", reason


def _status_texts(store: TickStore) -> Mapping[int, tuple[str, str, str, str]]:
    """Texts of each status row, by its place."""
    before: dict[int, int] = {}
    found = {}
    rows = store.data.ticks[store.events]
    for at in np.flatnonzero(rows["kind"] == KIND_STATUS).tolist():
        number, flags = int(rows["symbol"][at]), int(rows["flags"][at])
        found[int(store.events[at])] = status_texts(before.get(number, 0), flags, store.reasons[int(rows["trade_id"][at])])
        before[number] = flags
    return found


def _together(*parts: _Encoded) -> _Encoded:
    """Rows of several widths as one array of the widest."""
    if len(parts) == 1:
        return parts[0]
    rows = np.zeros((sum(len(part) for part, _ in parts), max(part.shape[1] for part, _ in parts)), np.uint8)
    start = 0
    for part, _ in parts:
        rows[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return rows, np.concatenate([lengths for _, lengths in parts])


def _cut(rows: NDArray[np.uint8], lengths: NDArray[np.int64]) -> bytes:
    """The used part of each row, one after the other."""
    width = int(lengths[0])
    if np.all(lengths == width):
        return np.ascontiguousarray(rows[:, :width]).tobytes()
    return rows[np.arange(rows.shape[1]) < lengths[:, None]].tobytes()


def _stamps(ticks: TickArray) -> NDArray[np.int64]:
    seconds, nanoseconds = np.divmod(ticks["event_ns"], NS_PER_S)
    return np.asarray(nanoseconds << 34 | seconds)
