"""Market data on the wire: what a reader of MessagePack and of JSON gets back from the bytes."""

import msgpack
import numpy as np
import orjson
import pytest

from recorded_cases import OPEN_NS
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.flow.trade_bars import MINUTE_NS, by_length, trade_table
from tandem.recycler.encoding import Wire, bars_payload, control_payload, decode_request


def ticks(count: int, symbols: int, *, seed: int = 3):
    random = np.random.default_rng(seed)
    rows = np.zeros(count, TICK_DTYPE)
    rows["event_ns"] = OPEN_NS + np.sort(random.integers(0, 10**12, count))
    rows["trade_id"] = random.integers(1, 2**62, count)
    rows["price"] = random.integers(1, 10**6, count) / 10_000
    rows["size"] = random.integers(1, 2**32, count)
    rows["symbol"], rows["kind"] = random.integers(0, symbols, count), KIND_TRADE
    return rows


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
