"""One wrong thing in a trade update or in an answer of the broker: it is told as unusable, refused, or harmless; nothing else is raised."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.adapters.alpaca_broker import order_report
from tandem.adapters.alpaca_trade_stream import BrokerHeartbeat, TradeUpdate, Unusable, parse
from tandem.domain.errors import BadRecord

_ORDER = {
    "id": "o1",
    "client_order_id": "c1",
    "symbol": "KO",
    "side": "buy",
    "qty": "10",
    "filled_qty": "4",
    "filled_avg_price": "60.1",
    "status": "partially_filled",
    "updated_at": "2024-07-03T09:46:40.123456789Z",
}
_FILL = {"event": "partial_fill", "execution_id": "e1", "price": "60.1", "qty": "4", "timestamp": _ORDER["updated_at"], "order": _ORDER}
_BEAT = {"replay_id": "r1", "watermark_ns": 1_720_000_000_000_000_000, "lockstep": True, "end_of_stream": False, "charges": 2}
# What json.loads makes of a text: NaN and Infinity are among it, and whole numbers of any length.
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["NaN", "-1", "1e999999", "9" * 40, "soon"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _with_one_wrong_thing(document: dict[str, Any], data: st.DataObject) -> Any:
    """Anything in any place at any depth, or nothing there."""
    document = json.loads(json.dumps(document))
    holder, field = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(holder[field], dict) and data.draw(st.integers(0, 3)):
        holder = holder[field]
        field = data.draw(st.sampled_from(sorted(holder)))
    if data.draw(st.booleans()):
        del holder[field]
    else:
        holder[field] = data.draw(_ANYTHING)
    return document


@pytest.mark.parametrize(
    "document", [{"stream": "trade_updates", "data": _FILL}, {"stream": "tandem.heartbeat", "data": _BEAT}], ids=["fill", "heartbeat"]
)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_message_of_the_stream_is_an_event(document: dict[str, Any], data: st.DataObject) -> None:
    event = parse(_with_one_wrong_thing(document, data))

    assert isinstance(event, TradeUpdate | BrokerHeartbeat | Unusable)
    if isinstance(event, TradeUpdate) and event.fill is not None:
        assert 0 < event.fill.qty < 10**15
        assert 0 < event.fill.price_usd < 10**15
        assert isinstance(event.fill.symbol, str)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_an_order_of_an_answer_is_read_or_refused(data: st.DataObject) -> None:
    try:
        report = order_report(_with_one_wrong_thing(_ORDER, data))
    except BadRecord:
        return
    assert 0 <= Decimal(report.filled_qty) < 10**15
