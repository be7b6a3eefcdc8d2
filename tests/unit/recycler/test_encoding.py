"""Market data on the wire: what a reader of MessagePack and of JSON gets back from the bytes."""

import msgpack
import numpy as np
import orjson
import pytest

from recorded_cases import OPEN_NS
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.flow.trade_bars import MINUTE_NS, by_length, trade_table
from tandem.recycler.encoding import MESSAGES_MAX, TradeEncoder, Wire, bars_payload, control_payload, decode_request


def ticks(count: int, symbols: int, *, seed: int = 3):
    random = np.random.default_rng(seed)
    rows = np.zeros(count, TICK_DTYPE)
    rows["event_ns"] = OPEN_NS + np.sort(random.integers(0, 10**12, count))
    rows["trade_id"] = random.integers(1, 2**62, count)
    rows["price"] = random.integers(1, 10**6, count) / 10_000
    rows["size"] = random.integers(1, 2**32, count)
    rows["symbol"], rows["kind"] = random.integers(0, symbols, count), KIND_TRADE
    return rows


@pytest.mark.parametrize("symbols", [("KO",), ("KO", "PG"), ("A", "KO", "BRK.B", "ABCDEFGHIJ")])
@pytest.mark.parametrize("count", [1, 15, 16, 1000])
def test_trades_in_messagepack_are_what_msgpack_itself_would_read(symbols, count):
    rows = ticks(count, len(symbols))

    (payload,) = TradeEncoder(tuple(map(Symbol, symbols))).payloads(Wire.MSGPACK, rows)

    expected = [
        {
            "T": "t", "S": symbols[row["symbol"]], "i": int(row["trade_id"]), "x": "", "p": float(row["price"]), "s": int(row["size"]),
            "c": [], "z": "", "t": msgpack.Timestamp.from_unix_nano(int(row["event_ns"])),
        }
        for row in rows
    ]  # fmt: skip
    assert msgpack.unpackb(payload) == expected


def test_trades_in_json_carry_nanoseconds():
    rows = ticks(1, 1)
    rows["event_ns"] = OPEN_NS + 123_456_789

    (payload,) = TradeEncoder((Symbol("KO"),)).payloads(Wire.JSON, rows)

    (message,) = orjson.loads(payload)
    assert message["t"] == "2024-07-01T13:30:00.123456789Z"
    assert (message["T"], message["S"], message["p"]) == ("t", "KO", float(rows["price"][0]))


def test_many_trades_are_cut_into_payloads_that_a_client_accepts():
    rows = ticks(2 * MESSAGES_MAX + 1, 3)

    payloads = list(TradeEncoder((Symbol("A"), Symbol("BB"), Symbol("CCC"))).payloads(Wire.MSGPACK, rows))

    assert [len(msgpack.unpackb(p)) for p in payloads] == [MESSAGES_MAX, MESSAGES_MAX, 1]
    assert max(map(len, payloads)) < 1 << 20
    assert [m["i"] for p in payloads for m in msgpack.unpackb(p)] == rows["trade_id"].tolist()


def test_a_bar_is_stamped_with_its_start():
    rows = ticks(1, 1)
    table = by_length(trade_table((Symbol("KO"),), rows), MINUTE_NS)

    (bar,) = msgpack.unpackb(bars_payload(Wire.MSGPACK, table, [0]))

    assert (bar["T"], bar["S"], bar["n"], bar["v"]) == ("b", "KO", 1, int(rows["size"][0]))
    assert bar["t"].to_unix_nano() == int(rows["event_ns"][0]) // MINUTE_NS * MINUTE_NS


def test_a_control_message_is_an_array_of_one():
    assert msgpack.unpackb(control_payload(Wire.MSGPACK, {"T": "success"})) == [{"T": "success"}]
    assert orjson.loads(control_payload(Wire.JSON, {"T": "success"})) == [{"T": "success"}]


@pytest.mark.parametrize(("wire", "data"), [(Wire.MSGPACK, b"\xc1"), (Wire.MSGPACK, b"\x01"), (Wire.JSON, b"{"), (Wire.JSON, b"[]")])
def test_a_request_that_is_no_map_is_refused(wire, data):
    with pytest.raises(ValueError, match=r"not readable|must be a map"):
        decode_request(wire, data)
