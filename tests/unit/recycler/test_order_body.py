"""Order bodies survive the log: what was read from a request, written down and read again is the same order."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.trading import Side
from tandem.flow.exchange_records import OrderClass, OrderKind, TimeInForce
from tandem.recycler.access import Refusal
from tandem.recycler.order_body import change_body, change_document, order_body, order_document

BASE = {"symbol": "KO", "side": "buy", "time_in_force": "day"}


@pytest.mark.parametrize(
    ("document", "kind", "order_class"),
    [
        ({"type": "market", "qty": 1.5}, OrderKind.MARKET, OrderClass.SIMPLE),
        ({"type": "market", "notional": "100.10"}, OrderKind.MARKET, OrderClass.SIMPLE),
        ({"type": "limit", "qty": 1, "limit_price": 0.1, "extended_hours": True}, OrderKind.LIMIT, OrderClass.SIMPLE),
        ({"type": "stop", "qty": 1, "stop_price": "9.99", "client_order_id": "x"}, OrderKind.STOP, OrderClass.SIMPLE),
        ({"type": "stop_limit", "qty": 1, "stop_price": 9, "limit_price": 8}, OrderKind.STOP_LIMIT, OrderClass.SIMPLE),
        ({"type": "trailing_stop", "qty": 1, "trail_percent": 2.5}, OrderKind.TRAILING_STOP, OrderClass.SIMPLE),
        ({"type": "trailing_stop", "qty": 1, "trail_price": 2}, OrderKind.TRAILING_STOP, OrderClass.SIMPLE),
        (
            {
                "type": "market",
                "qty": 1,
                "order_class": "bracket",
                "take_profit": {"limit_price": 11},
                "stop_loss": {"stop_price": 9, "limit_price": 8.5},
            },
            OrderKind.MARKET,
            OrderClass.BRACKET,
        ),
        (
            {"type": "limit", "qty": 1, "order_class": "oco", "take_profit": {"limit_price": 11}, "stop_loss": {"stop_price": 9}},
            OrderKind.LIMIT,
            OrderClass.OCO,
        ),
        (
            {"type": "limit", "qty": 1, "limit_price": 9, "order_class": "oto", "stop_loss": {"stop_price": 8}},
            OrderKind.LIMIT,
            OrderClass.OTO,
        ),
    ],
)
def test_an_order_is_read_back_as_it_was(document, kind, order_class):
    body = order_body(BASE | document)
    assert (body.kind, body.order_class) == (kind, order_class)
    assert order_body(order_document(body)) == body


@given(st.fixed_dictionaries({}, optional={name: st.integers(1, 10**6).map(str) for name in ("qty", "limit_price", "stop_price", "trail")}))
def test_a_replacement_is_read_back_as_it_was(document):
    if not document:
        with pytest.raises(Refusal, match="no field to replace"):
            change_body(document)
        return
    body = change_body(document | {"time_in_force": "gtc", "client_order_id": "new"})
    assert body.time_in_force is TimeInForce.GTC
    assert change_body(change_document(body)) == body


@pytest.mark.parametrize("document", [{"qty": 0}, {"limit_price": "-1"}, {"time_in_force": "week"}, {"client_order_id": "only"}])
def test_a_replacement_of_nothing_is_refused(document):
    with pytest.raises(Refusal):
        change_body(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("symbol", "side", "type", "qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent", "time_in_force")
MORE = ("order_class", "take_profit", "stop_loss", "extended_hours", "client_order_id", "legs")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: JSON | st.sampled_from(["1", 5, "buy", "limit", "day", "KO"]) for name in FIELDS},
            **{name: JSON | st.sampled_from(["oto", {"limit_price": 5}, {"stop_price": "7"}]) for name in MORE},
        },
    )
)
def test_whatever_comes_is_an_order_or_a_refusal(document):
    """No body breaks the reader; one that is taken has a side, a quantity or an amount, and prices that are numbers."""
    try:
        body = order_body(document)
    except Refusal:
        return
    assert isinstance(body.side, Side)
    assert all(value is None or isinstance(value, Decimal) for value in (body.limit_usd, body.stop_usd, body.trail_usd))
