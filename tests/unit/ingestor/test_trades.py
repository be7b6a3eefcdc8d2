"""Trade messages to ticks: a usable message becomes exactly one tick, an unusable one is parked with its reason and hurts no other."""

import msgpack
import numpy as np
import pytest

from tandem.domain.conditions import TRADE_UNCOUNTED, Sale
from tandem.domain.market import KIND_TRADE
from tandem.domain.units import NS_PER_S
from tandem.ingestor.trades import read_trades, unpriced

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
    (trade(p=2**1100), "price_invalid"),
    (trade(p=True), "price_invalid"),
    (trade(s=0), "size_invalid"),
    (trade(s=-3), "size_invalid"),
    (trade(s=2**32), "size_invalid"),
    (trade(s=float("nan")), "size_invalid"),
    (trade(s=float("inf")), "size_invalid"),
    (trade(s="1"), "size_invalid"),
    (trade(i="7"), "trade_id_invalid"),
    (trade(i=2**63), "trade_id_invalid"),
    (trade(i=7.0), "trade_id_invalid"),
    (trade(t="2025-11-24T16:00:00Z"), "time_invalid"),
    (trade(t=1_764_000_000), "time_invalid"),
    (trade(t=NOW_NS + 2 * 86_400 * NS_PER_S), "time_invalid"),
    (trade(t=2**63), "time_invalid"),
    (trade(t=2**70), "time_invalid"),
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


def test_what_has_no_form_in_the_dead_letter_is_kept_as_its_text():
    """A time after 2262, which MessagePack brings and does not take back; half a character, which JSON brings."""
    _, parked = read_trades([trade(t=2**70), trade(S="\ud800")], PLACES, NOW_NS)
    assert [msgpack.unpackb(each.payload) for each in parked] == [trade(t=str(2**70)), trade(S="\\ud800")]


def test_what_was_found_is_told_in_few_words():
    """A megabyte in one field would make a letter that Kafka does not take."""
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    _, parked = read_trades([trade(p="9" * 1_000_000), trade(p=deep)], PLACES, NOW_NS)
    assert [each.error.reason for each in parked] == ["price_invalid", "price_invalid"]
    assert max(len(each.error.detail) for each in parked) < 200


@pytest.mark.parametrize(("size", "shares"), [(100.0, 100), (12.75, 12), (0.25, 1), (1, 1)])
@pytest.mark.parametrize("beside", [(), ("GM",)], ids=["all at once", "one by one"])
def test_a_fraction_of_a_share_is_cut_off_and_less_than_one_is_one(size, shares, beside):
    """As the tape reported such trades before it had fractions; alpaca-py's own model of a trade has them."""
    ticks, _ = read_trades([trade(s=size), *(trade(S=symbol) for symbol in beside)], PLACES, NOW_NS)
    assert ticks["size"].tolist() == [shares]


def test_only_bad_messages_give_no_ticks():
    ticks, parked = read_trades([trade(p=0.0), trade(s=0)], PLACES, NOW_NS)
    assert (len(ticks), len(parked)) == (0, 2)


def test_one_by_one_equals_all_at_once():
    """A payload with a bad message goes the slow way; its good ticks are the same as on the fast way."""
    messages = [trade(i=i, p=60 + i / 7, t=NOW_NS - 1000 + i) for i in range(50)]
    fast, _ = read_trades(messages, PLACES, NOW_NS)
    slow, _ = read_trades([*messages, trade(S="GM")], PLACES, NOW_NS)
    assert np.array_equal(fast, slow)


CONDITIONED = [
    (["@"], "A", 0),
    ([" ", "F", "I"], "A", Sale.ODD_LOT),
    (["B"], "A", Sale.AVERAGE_PRICE),
    (["B"], "C", 0),
    (["@", "M"], "C", TRADE_UNCOUNTED | Sale.OFFICIAL_CLOSE),
    (["!"], "C", Sale.UNKNOWN_CODE),
    (None, "C", 0),
    ([["@"]], "C", Sale.UNKNOWN_CODE),
    (5, "C", Sale.UNKNOWN_CODE),
    ([], "", 0),
]


@pytest.mark.parametrize("beside", [(), ("GM",)], ids=["all at once", "one by one"])
@pytest.mark.parametrize("rows", [*([row] for row in CONDITIONED), CONDITIONED, CONDITIONED[:6]])
def test_a_trades_flags_say_what_its_conditions_forbid(rows, beside):
    """Together or alone, on the fast way and on the slow one; no trade is parked for its conditions."""
    messages = [trade(c=codes, z=tape) for codes, tape, _ in rows]
    ticks, parked = read_trades([*messages, *(trade(S=symbol) for symbol in beside)], PLACES, NOW_NS)
    assert ticks["flags"].tolist() == [int(flags) for _, _, flags in rows]
    assert len(parked) == len(beside)


@pytest.mark.parametrize("missing", [("c",), ("z",), ("c", "z")])
def test_without_conditions_every_trade_sets_prices(missing):
    bare = {key: value for key, value in trade().items() if key not in missing}
    ticks, parked = read_trades([bare, trade(c=["I"])], PLACES, NOW_NS)
    assert (ticks["flags"].tolist(), parked) == ([0, Sale.ODD_LOT], ())


def test_trades_without_a_tape_go_by_the_strictest():
    bare = {key: value for key, value in trade(c=["B"]).items() if key != "z"}
    assert read_trades([bare], PLACES, NOW_NS)[0]["flags"].tolist() == [Sale.AVERAGE_PRICE]


def test_trades_that_set_no_price_are_counted_by_reason():
    ticks, _ = read_trades([trade(c=["I"]), trade(c=["I"]), trade(), trade(c=["9"])], PLACES, NOW_NS)
    assert unpriced(ticks) == [("odd_lot", 2), ("corrected_close", 1)]
    assert unpriced(read_trades([trade()], PLACES, NOW_NS)[0]) == []
