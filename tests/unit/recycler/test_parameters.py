"""Values in requests: times to the nanosecond, numbers through their text, and the keys that open the door."""

from decimal import Decimal

import pytest

from recorded_cases import OPEN_NS
from tandem.recycler.access import Keys, Refusal
from tandem.recycler.order_body import order_body
from tandem.recycler.parameters import amount, time_ns

ORDER = {"symbol": "KO", "qty": 10, "side": "buy", "type": "market", "time_in_force": "day"}


@pytest.mark.parametrize(
    ("text", "after_open_ns"),
    [
        ("2024-07-01T13:30:00Z", 0),
        ("2024-07-01T13:30:00", 0),
        ("2024-07-01T13:30:00.000000001Z", 1),
        ("2024-07-01T09:30:00.5-04:00", 500_000_000),
        ("2024-07-01", -48_600 * 10**9),
    ],
)
def test_times_are_read_to_the_nanosecond_and_are_utc_without_a_zone(text, after_open_ns):
    assert time_ns(text) == OPEN_NS + after_open_ns


@pytest.mark.parametrize("value", [0.1, "0.1", "0.10"])
def test_a_number_is_read_through_its_text(value):
    assert amount({"n": value}, "n") == Decimal("0.1")


@pytest.mark.parametrize("value", ["x", "NaN", "Infinity", "0.0000000001"])
def test_a_number_that_cannot_be_used_is_refused(value):
    with pytest.raises(Refusal, match="n: found"):
        amount({"n": value}, "n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qty": None}, "qty is required"),
        ({"symbol": ""}, "symbol is required"),
        ({"side": "hold"}, "side 'hold'"),
        ({"type": "stop"}, "order type 'stop' is not supported"),
        ({"type": "limit"}, "limit orders require a limit_price"),
        ({"limit_price": 5}, "market orders require no limit_price"),
        ({"order_class": "bracket"}, "order_class 'bracket' is not supported"),
        ({"extended_hours": True}, "extended hours order must be"),
        ({"client_order_id": "x" * 129}, "no more than 128 characters"),
    ],
)
def test_an_order_that_the_exchange_cannot_take_is_refused(change, message):
    with pytest.raises(Refusal, match=message):
        order_body(ORDER | change)


def test_an_order_is_read_as_it_came():
    body = order_body(ORDER | {"type": "limit", "limit_price": 100.1, "client_order_id": "id", "extended_hours": True})
    assert (body.symbol, body.qty, body.limit_usd, body.client_order_id, body.extended_hours) == ("KO", 10, Decimal("100.1"), "id", True)


def test_any_keys_open_unless_some_were_given():
    assert Keys().accept("a", "b")
    assert not Keys().accept("a", "")
    assert not Keys().accept(None, "b")
    assert Keys("k", "s").accept("k", "s")
    assert not Keys("k", "s").accept("k", "t")
