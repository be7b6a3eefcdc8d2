"""Quote messages to ticks: a bid and an ask of one time each, and nothing that is no market."""

import numpy as np
import pytest

from tandem.domain.market import KIND_ASK, KIND_BID
from tandem.domain.units import NS_PER_S
from tandem.ingestor.quotes import newest_of_each, read_quotes

NOW_NS = 1_764_000_000 * NS_PER_S
PLACES = {"KO": 0, "PEP": 3}


def quote(**changes: object) -> dict[str, object]:
    message: dict[str, object] = {"T": "q", "S": "KO", "bx": "V", "bp": 61.25, "bs": 3, "ax": "V", "ap": 61.26, "as": 4, "z": "A"}
    return message | {"c": ["R"], "t": NOW_NS - 5} | changes


def test_a_quote_becomes_its_bid_and_its_ask():
    ticks, parked = read_quotes([quote(), quote(S="PEP", bp=140, t=NOW_NS, ap=141.0)], PLACES, NOW_NS)
    assert parked == ()
    assert ticks.tolist() == [
        (NOW_NS - 5, 0, 61.25, 3, 0, KIND_BID, 0),
        (NOW_NS - 5, 0, 61.26, 4, 0, KIND_ASK, 0),
        (NOW_NS, 0, 140.0, 3, 3, KIND_BID, 0),
        (NOW_NS, 0, 141.0, 4, 3, KIND_ASK, 0),
    ]


@pytest.mark.parametrize("changes", [{"bp": 0.0, "bs": 0}, {"ap": 0.0, "as": 0}, {"bp": 61.26}], ids=["no bid", "no ask", "locked"])
def test_a_side_may_be_empty_and_a_market_locked(changes):
    ticks, parked = read_quotes([quote(**changes)], PLACES, NOW_NS)
    assert (len(ticks), parked) == (2, ())


BAD = [
    (quote(bp=61.27), "quote_crossed"),
    (quote(ap=float("nan")), "price_invalid"),
    (quote(bp=-1.0), "price_invalid"),
    (quote(bp="61"), "price_invalid"),
    (quote(bs=-1), "size_invalid"),
    (quote(**{"as": 2**32}), "size_invalid"),
    (quote(S="GM"), "symbol_unknown"),
    (quote(t=NOW_NS + 2 * 86_400 * NS_PER_S), "time_invalid"),
    ({"T": "q", "S": "KO", "t": NOW_NS}, "field_missing"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[f"{reason}-{i}" for i, (_, reason) in enumerate(BAD)])
def test_a_bad_quote_is_parked_and_its_neighbours_are_kept(bad, reason):
    ticks, parked = read_quotes([quote(t=NOW_NS - 2), bad, quote(t=NOW_NS - 1)], PLACES, NOW_NS)
    assert ticks["event_ns"].tolist() == [NOW_NS - 2, NOW_NS - 2, NOW_NS - 1, NOW_NS - 1]
    assert [p.error.reason for p in parked] == [reason]


def test_one_by_one_equals_all_at_once():
    messages = [quote(bp=60 + i / 7, ap=61 + i / 7, t=NOW_NS - 1000 + i) for i in range(50)]
    fast, _ = read_quotes(messages, PLACES, NOW_NS)
    slow, _ = read_quotes([*messages, quote(S="GM")], PLACES, NOW_NS)
    assert np.array_equal(fast, slow)


def test_conflation_keeps_the_newest_quote_of_each_symbol_in_order():
    messages = [quote(bs=1), quote(S="PEP", bs=2), quote(bs=3), {"no": "symbol"}, quote(S="PEP", bs=4)]
    assert newest_of_each(messages) == [messages[2], messages[3], messages[4]]
