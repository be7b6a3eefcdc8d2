"""Values in requests: times to the nanosecond, numbers through their text, and the keys that open the door."""

import asyncio
from decimal import Decimal

import pytest
from starlette.requests import Request

from recorded_cases import OPEN_NS
from tandem.recycler.access import Keys, Refusal
from tandem.recycler.order_body import order_body
from tandem.recycler.parameters import amount, body_of, time_ns

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


def asked(*parts: bytes) -> Request:
    """A request whose body comes in these parts."""
    told = [{"type": "http.request", "body": part, "more_body": True} for part in parts] + [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, object]:
        return told.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


@pytest.mark.parametrize(("parts", "document"), [((), {}), ((b'{"a"', b": 1}"), {"a": 1}), ((b"null",), {})])
def test_a_body_may_come_in_parts_or_not_at_all(parts, document):
    assert asyncio.run(body_of(asked(*parts))) == document


@pytest.mark.parametrize(
    "parts",
    [(b"{",), (b"\xff",), (b"[]",), (b"7",), (b"[" * 100_000,), (b'{"a": ' * 50_000,), (b" " * 600_000,) * 2],
    ids=["half", "no text", "a list", "a number", "deep", "deep maps", "long"],
)
def test_a_body_that_is_no_object_of_bounded_size_is_refused(parts):
    with pytest.raises(Refusal, match="request body format is invalid"):
        asyncio.run(body_of(asked(*parts)))


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
        ({"type": "iceberg"}, "type 'iceberg' is not supported"),
        ({"type": "stop"}, "stop orders require a stop_price"),
        ({"type": "stop_limit", "stop_price": 1}, "stop_limit orders require a limit_price"),
        ({"type": "trailing_stop"}, "either a trail_price or a trail_percent"),
        ({"trail_price": 1}, "either a trail_price or a trail_percent"),
        ({"notional": 5}, "qty and notional: give one of them"),
        ({"qty": "1e15"}, "at most 12 digits"),
        ({"legs": []}, "legs: orders of several symbols"),
        ({"take_profit": {"limit_price": 5}}, "simple orders require neither"),
        ({"order_class": "bracket", "take_profit": {"limit_price": 5}}, "bracket orders require take_profit and stop_loss"),
        ({"order_class": "oto"}, "oto orders require either"),
        ({"order_class": "oto", "stop_loss": {"limit_price": 5}}, "stop_loss requires a stop_price"),
        ({"order_class": "oto", "take_profit": 5}, "take_profit must be an object"),
        ({"order_class": "oco", "stop_loss": {"stop_price": 5}}, "oco orders must be limit orders"),
        ({"type": "limit"}, "limit orders require a limit_price"),
        ({"limit_price": 5}, "market orders require no limit_price"),
        ({"order_class": "mleg"}, "order_class 'mleg' is not supported"),
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
