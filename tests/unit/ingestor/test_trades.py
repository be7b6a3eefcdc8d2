"""Trade messages to ticks: a usable message becomes exactly one tick, an unusable one is parked with its reason and hurts no other."""

import msgpack
import numpy as np
import pytest

from tandem.domain.market import KIND_TRADE
from tandem.domain.units import NS_PER_S
from tandem.ingestor.trades import read_trades

NOW_NS = 1_764_000_000 * NS_PER_S
PLACES = {"KO": 0, "PEP": 3}


def trade(**changes: object) -> dict[str, object]:
    """A trade as it comes off the wire, with fields of Alpaca that we do not use."""
    message: dict[str, object] = {"T": "t", "S": "KO", "i": 7, "x": "V", "p": 61.25, "s": 100, "c": ["@"], "z": "A", "t": NOW_NS - 5}
    return message | changes


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in trade().items() if key != name}


def test_messages_become_ticks_in_their_order():
    ticks, parked = read_trades([trade(), trade(S="PEP", i=8, p=140, s=1, t=NOW_NS)], PLACES, NOW_NS)

    assert parked == ()
    assert ticks.tolist() == [(NOW_NS - 5, 7, 61.25, 100, 0, KIND_TRADE, 0), (NOW_NS, 8, 140.0, 1, 3, KIND_TRADE, 0)]


def test_nanoseconds_survive():
    stamp = 1_763_999_999_123_456_789
    assert read_trades([trade(t=stamp)], PLACES, NOW_NS)[0]["event_ns"].tolist() == [stamp]


BAD = [
    (trade(S="GM"), "symbol_unknown"),
    (trade(S=5), "symbol_unknown"),
    (trade(S=["KO"]), "symbol_unknown"),
    *((without(name), "field_missing") for name in ("t", "i", "p", "s", "S")),
    (trade(p=0.0), "price_invalid"),
    (trade(p=-1.0), "price_invalid"),
    (trade(p=float("nan")), "price_invalid"),
    (trade(p=float("inf")), "price_invalid"),
    (trade(p="61.25"), "price_invalid"),
    (trade(p=None), "price_invalid"),
    (trade(p=True), "price_invalid"),
    (trade(s=0), "size_invalid"),
    (trade(s=-3), "size_invalid"),
    (trade(s=2**32), "size_invalid"),
    (trade(s=1.5), "size_invalid"),
    (trade(s="1"), "size_invalid"),
    (trade(i="7"), "trade_id_invalid"),
    (trade(i=2**63), "trade_id_invalid"),
    (trade(i=7.0), "trade_id_invalid"),
    (trade(t="2025-11-24T16:00:00Z"), "time_invalid"),
    (trade(t=1_764_000_000), "time_invalid"),
    (trade(t=NOW_NS + 2 * 86_400 * NS_PER_S), "time_invalid"),
    (trade(t=2**63), "time_invalid"),
    (["T", "t"], "message_malformed"),
    ("t", "message_malformed"),
    (None, "message_malformed"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[f"{reason}-{i}" for i, (_, reason) in enumerate(BAD)])
def test_a_bad_message_is_parked_and_its_neighbours_are_kept(bad, reason):
    ticks, parked = read_trades([trade(i=1), bad, trade(i=2)], PLACES, NOW_NS)

    assert ticks["trade_id"].tolist() == [1, 2]
    assert [p.error.reason for p in parked] == [reason]


def test_a_parked_message_keeps_what_it_held():
    _, parked = read_trades([trade(S="GM")], PLACES, NOW_NS)
    assert msgpack.unpackb(parked[0].payload) == trade(S="GM")


def test_only_bad_messages_give_no_ticks():
    ticks, parked = read_trades([trade(p=0.0), trade(s=0)], PLACES, NOW_NS)
    assert (len(ticks), len(parked)) == (0, 2)


def test_one_by_one_equals_all_at_once():
    """A payload with a bad message goes the slow way; its good ticks are the same as on the fast way."""
    messages = [trade(i=i, p=60 + i / 7, t=NOW_NS - 1000 + i) for i in range(50)]
    fast, _ = read_trades(messages, PLACES, NOW_NS)
    slow, _ = read_trades([*messages, trade(S="GM")], PLACES, NOW_NS)
    assert np.array_equal(fast, slow)
