"""Ticks on the wire: what a reader of MessagePack and of JSON gets back from the bytes, in the order of the recording."""

import msgpack
import numpy as np
import orjson
import pytest

from recorded_cases import OPEN_NS, events, quotes, times, write
from tandem.adapters.calendar import session_grid
from tandem.adapters.tick_store import open_store
from tandem.domain.market import STATUS_HALTED, STATUS_SHORT_RESTRICTED
from tandem.ingestor.trades import read_trades
from tandem.recycler.encoding import MESSAGES_MAX, Wire
from tandem.recycler.history import History
from tandem.recycler.past_trades import PastTrades
from tandem.recycler.tick_encoding import TickEncoder, status_texts


def stored(folder, count: int, symbols, *, seed: int = 3, more=()):
    """A recording of trades by seed, with ids, prices and sizes of all lengths."""
    random = np.random.default_rng(seed)
    path = write(
        folder / "trades.parquet",
        symbol=[symbols[n] for n in random.integers(0, len(symbols), count)],
        ts=times(OPEN_NS + np.sort(random.integers(0, 10**12, count))),
        price=(random.integers(1, 10**6, count) / 10_000).tolist(),
        size=random.integers(1, 2**32, count).tolist(),
        trade_id=random.integers(0, 2**53, count).tolist(),
    )
    return open_store([path, *more], folder=folder)


def every(store):
    return np.arange(len(store.data.ticks))


def stamped(row):
    return msgpack.Timestamp.from_unix_nano(int(row["event_ns"]))


@pytest.mark.parametrize("symbols", [("KO",), ("KO", "PG"), ("A", "KO", "BRK.B", "ABCDEFGHIJ")])
@pytest.mark.parametrize("count", [1, 15, 16, 1000])
def test_trades_in_messagepack_are_what_msgpack_itself_would_read(tmp_path, symbols, count):
    store = stored(tmp_path, count, symbols)

    (payload,) = TickEncoder(store).payloads(Wire.MSGPACK, every(store))

    expected = [
        {
            "T": "t", "S": store.data.symbols[row["symbol"]], "i": int(row["trade_id"]), "x": "", "p": float(row["price"]),
            "s": int(row["size"]), "c": [], "z": "", "t": stamped(row),
        }
        for row in store.data.ticks
    ]  # fmt: skip
    assert msgpack.unpackb(payload) == expected


def test_trades_in_json_carry_nanoseconds(tmp_path):
    path = write(tmp_path / "t.parquet", symbol=["KO"], ts=times([OPEN_NS + 123_456_789]), price=[60.5], size=[3])
    store = open_store([path], folder=tmp_path)

    (payload,) = TickEncoder(store).payloads(Wire.JSON, every(store))

    (message,) = orjson.loads(payload)
    assert message == {"T": "t", "S": "KO", "i": 1, "x": "", "p": 60.5, "s": 3, "c": [], "z": "", "t": "2024-07-01T13:30:00.123456789Z"}


def test_many_trades_are_cut_into_payloads_that_a_client_accepts(tmp_path):
    store = stored(tmp_path, 2 * MESSAGES_MAX + 1, ("A", "BB", "CCC"))

    payloads = list(TickEncoder(store).payloads(Wire.MSGPACK, every(store)))

    assert [len(msgpack.unpackb(p)) for p in payloads] == [MESSAGES_MAX, MESSAGES_MAX, 1]
    assert max(map(len, payloads)) < 1 << 20
    assert [m["i"] for p in payloads for m in msgpack.unpackb(p)] == store.data.ticks["trade_id"].tolist()


SALES = [("@", "C"), (" FI", "A"), ("", ""), ("@", "C"), ("4", "B")]


def conditioned(folder, count=40):
    """Trades of two symbols with conditions in turn, a quote after every third of them, and a correction and a cancel."""
    path = write(
        folder / "trades.parquet",
        symbol=["KO", "BRK.B"] * (count // 2),
        ts=times([OPEN_NS + 10 * n for n in range(count)]),
        price=[60.0 + n for n in range(count)],
        size=[1 + n for n in range(count)],
        trade_id=list(range(count)),
        conditions=[SALES[n % len(SALES)][0] for n in range(count)],
        tape=[SALES[n % len(SALES)][1] for n in range(count)],
    )
    book = quotes(folder / "q.parquet", [("KO", OPEN_NS + 30 * n + 1, 10.0 + n, 11.0 + n) for n in range(count // 3)])
    fixed = [
        ("KO", OPEN_NS + 105, "correction", {"trade_id": 6, "price": 61.5, "size": 7}),
        ("BRK.B", OPEN_NS + 106, "cancel", {"trade_id": 1}),
    ]
    return open_store([path, book, events(folder / "e.parquet", fixed)], folder=folder)


@pytest.mark.parametrize("wire", list(Wire))
def test_conditions_and_tape_go_out_as_they_were_recorded(tmp_path, wire):
    """Among quotes and rare messages, in both forms; a correction and a cancel name those of their trade."""
    store, unpack = conditioned(tmp_path), msgpack.unpackb if wire is Wire.MSGPACK else orjson.loads
    messages = [m for payload in TickEncoder(store).payloads(wire, every(store)) for m in unpack(payload)]
    found = [(m["i"], m["S"], m["p"], m["s"], m["c"], m["z"]) for m in messages if m["T"] == "t"]
    expected = [(n, ("KO", "BRK.B")[n % 2], 60.0 + n, 1 + n, list(SALES[n % 5][0]), SALES[n % 5][1]) for n in range(40)]
    assert found == expected
    assert [(m["oc"], m["cc"], m["z"]) for m in messages if m["T"] == "c"] == [([" ", "F", "I"], [" ", "F", "I"], "A")]
    assert [m["z"] for m in messages if m["T"] == "x"] == ["A"]
    assert [m["bp"] for m in messages if m["T"] == "q"] == [10.0 + n for n in range(13)]


def test_the_ingestor_decides_of_a_replay_what_the_recording_says(tmp_path):
    """What the recycler fills by and makes bars of is what who follows it does: the same flags, from the stream and from REST."""
    store = conditioned(tmp_path)
    wanted = {int(row["trade_id"]): int(row["flags"]) for row in store.data.ticks if row["kind"] == 1}
    places, late_ns = {"KO": 0, "BRK.B": 1}, OPEN_NS + 10**9
    sent = [
        message | {"t": message["t"].to_unix_nano()}
        for payload in TickEncoder(store).payloads(Wire.MSGPACK, every(store))
        for message in msgpack.unpackb(payload)
        if message["T"] == "t"
    ]
    streamed, _ = read_trades(sent, places, late_ns)
    past = PastTrades(History(store, session_grid("1min", OPEN_NS, OPEN_NS + 10**12)))
    rows = [past.documents(int(place), 0)[0] for name in places for place in store.trades[name]]
    asked, _ = read_trades([row | {"S": "KO", "t": OPEN_NS} for row in rows], places, late_ns)
    for ticks in (streamed, asked):
        assert dict(zip(ticks["trade_id"].tolist(), ticks["flags"].tolist(), strict=True)) == wanted
    assert set(wanted.values()) == {0, 6, 15}


@pytest.fixture
def mixed(tmp_path):
    """Trades, quotes, a halt, a band, a correction and a cancel of two symbols in one order of time."""
    random = np.random.default_rng(4)
    at = sorted(random.integers(0, 2_000, 900).tolist())
    book = quotes(tmp_path / "q.parquet", [("KO" if n % 3 else "PEP", OPEN_NS + t, 10.0 + n, 11.0 + n) for n, t in enumerate(at)])
    prints = write(
        tmp_path / "t.parquet",
        symbol=["KO", "PEP"] * 400,
        ts=times([OPEN_NS + 2 * n for n in range(800)]),
        price=[60.0 + n for n in range(800)],
        size=[1 + n for n in range(800)],
    )
    happened = events(
        tmp_path / "e.parquet",
        [
            ("KO", OPEN_NS + 100, "halt", {"reason": "T1"}),
            ("KO", OPEN_NS + 200, "resume", {}),
            ("PEP", OPEN_NS + 250, "short_restriction", {}),
            ("PEP", OPEN_NS + 300, "band", {"low": 55.0, "high": 65.0}),
            ("KO", OPEN_NS + 400, "correction", {"trade_id": 2, "price": 61.5, "size": 7}),
            ("KO", OPEN_NS + 400, "cancel", {"trade_id": 3}),
        ],
    )
    return open_store([prints, book, happened], folder=tmp_path)


def documents(store):
    """The same stream, written down the long way."""
    kinds = {1: "t", 2: "q", 4: "c", 5: "x", 6: "s", 7: "l"}
    return [
        (kinds[int(row["kind"])], store.data.symbols[row["symbol"]], int(row["event_ns"]))
        for row in store.data.ticks
        if int(row["kind"]) in kinds
    ]


def test_everything_goes_out_in_the_order_of_the_recording_in_both_forms(mixed):
    places = every(mixed)
    packed = [m for payload in TickEncoder(mixed).payloads(Wire.MSGPACK, places) for m in msgpack.unpackb(payload)]
    text = [m for payload in TickEncoder(mixed).payloads(Wire.JSON, places) for m in orjson.loads(payload)]

    assert [(m["T"], m["S"], m["t"].to_unix_nano()) for m in packed] == documents(mixed)
    assert [{k: v for k, v in m.items() if k != "t"} for m in packed] == [{k: v for k, v in m.items() if k != "t"} for m in text]
    assert all(m["t"].startswith("2024-07-01T13:30:00.00000") for m in text)


def test_a_quote_holds_both_sides(mixed):
    place = int(mixed.quotes["PEP"][0])
    (payload,) = TickEncoder(mixed).payloads(Wire.MSGPACK, np.array([place, place + 1]))
    bid, ask = mixed.data.ticks[place : place + 2]
    expected = {"T": "q", "S": "PEP", "bx": "", "bp": 10.0, "bs": 100, "ax": "", "ap": 11.0, "as": 100, "c": [], "z": "", "t": stamped(bid)}
    assert msgpack.unpackb(payload) == [expected]
    assert ask["price"] == 11.0


def test_rare_messages_have_all_of_alpacas_fields(mixed):
    places = every(mixed)
    rare = [m for p in TickEncoder(mixed).payloads(Wire.MSGPACK, places) for m in msgpack.unpackb(p) if m["T"] in "sxcl"]
    for message in rare:
        message.pop("t")
    assert rare == [
        {"T": "s", "S": "KO", "sc": "2", "sm": "Trading Halt", "rc": "", "rm": "T1", "z": ""},
        {"T": "s", "S": "KO", "sc": "3", "sm": "Trading Resume", "rc": "", "rm": "", "z": ""},
        {"T": "s", "S": "PEP", "sc": "E", "sm": "Short Sale Restriction", "rc": "A", "rm": "Short Sale Restriction Activated", "z": ""},
        {"T": "l", "S": "PEP", "u": 65.0, "d": 55.0, "i": "B", "z": ""},
        {"T": "c", "S": "KO", "x": "V", "oi": 2, "op": 62.0, "os": 3, "oc": [], "ci": 2, "cp": 61.5, "cs": 7, "cc": [], "z": ""},
        {"T": "x", "S": "KO", "i": 3, "x": "V", "p": 64.0, "s": 5, "a": "C", "z": ""},
    ]


@pytest.mark.parametrize("count", [MESSAGES_MAX - 1, MESSAGES_MAX, MESSAGES_MAX + 1])
def test_a_payload_never_parts_a_bid_from_its_ask(tmp_path, count):
    prints = write(tmp_path / "t.parquet", symbol=["KO"], ts=times([OPEN_NS - 1]), price=[1.0], size=[1])
    book = quotes(tmp_path / "q.parquet", [("KO", OPEN_NS + n, 1.0 + n, 2.0 + n) for n in range(count)])
    store = open_store([prints, book], folder=tmp_path)
    messages = [m for p in TickEncoder(store).payloads(Wire.MSGPACK, every(store)) for m in msgpack.unpackb(p)]
    assert [(m["bp"], m["ap"]) for m in messages[1:]] == [(1.0 + n, 2.0 + n) for n in range(count)]


@pytest.mark.parametrize(
    ("before", "after", "code", "reason"),
    [
        (0, STATUS_HALTED, "2", ""),
        (STATUS_HALTED, 0, "3", ""),
        (0, STATUS_SHORT_RESTRICTED, "E", "A"),
        (STATUS_SHORT_RESTRICTED, 0, "E", "D"),
        (STATUS_SHORT_RESTRICTED, STATUS_SHORT_RESTRICTED | STATUS_HALTED, "2", ""),
        (STATUS_SHORT_RESTRICTED | STATUS_HALTED, STATUS_HALTED, "E", "D"),
    ],
)
def test_a_change_of_state_has_the_code_of_tapes_a_and_b(before, after, code, reason):
    assert status_texts(before, after, "")[::2] == (code, reason)
