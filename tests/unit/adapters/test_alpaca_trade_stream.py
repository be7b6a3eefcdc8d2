"""Messages of the trade_updates stream as events: the parser is tolerant of what it does not need and strict about money."""

from decimal import Decimal

import pytest

from tandem.adapters.alpaca_trade_stream import BrokerHeartbeat, TradeUpdate, Unusable, parse
from tandem.domain.trading import OrderStatus, Side

ORDER = {"id": "B1", "client_order_id": "tdm-1", "symbol": "KO", "side": "buy", "status": "filled", "filled_qty": "10", "a_new_field": {}}
FILL = {
    "event": "fill",
    "execution_id": "e1",
    "order": ORDER,
    "timestamp": "2022-03-01T14:30:00.123456789Z",
    "price": "50.25",
    "qty": "10",
    "position_qty": "10",
}


def update(**changes: object) -> object:
    return parse({"stream": "trade_updates", "data": {**FILL, **changes}})


def test_a_fill_keeps_its_decimals_and_nanoseconds() -> None:
    found = update()

    assert isinstance(found, TradeUpdate)
    assert found.fill is not None
    assert (found.fill.execution_id, found.fill.side, found.fill.qty, found.fill.price_usd) == (
        "e1",
        Side.BUY,
        Decimal(10),
        Decimal("50.25"),
    )
    assert found.fill.event_ns == 1_646_145_000_123_456_789
    assert found.report.status is OrderStatus.FILLED


@pytest.mark.parametrize("event", ["new", "canceled", "pending_cancel", "an_event_of_tomorrow"])
def test_an_event_without_an_execution_is_a_report_only(event: str) -> None:
    found = update(event=event, order={**ORDER, "status": "canceled"}, price=None, qty=None)

    assert isinstance(found, TradeUpdate)
    assert found.fill is None
    assert found.report.status is OrderStatus.CANCELED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": "0"}, "fill_malformed"),
        ({"qty": None}, "number_malformed"),
        ({"price": "NaN"}, "number_malformed"),
        ({"order": {**ORDER, "status": "a_status_of_tomorrow"}}, "order_malformed"),
        ({"order": None}, "order_malformed"),
        ({"timestamp": "noon"}, "fill_malformed"),
    ],
)
def test_an_update_that_cannot_be_used_is_kept_with_its_reason(changes: dict[str, object], reason: str) -> None:
    found = update(**changes)

    assert isinstance(found, Unusable)
    assert found.error.reason == reason
    assert b"trade_updates" in found.payload


@pytest.mark.parametrize(
    "message", [None, [], "text", {"stream": "else", "data": {}}, {"data": {}}, {"stream": "tandem.heartbeat", "data": {}}]
)
def test_a_message_of_any_other_shape_is_kept_too(message: object) -> None:
    assert isinstance(parse(message), Unusable)


def test_a_heartbeat_of_the_recycler_is_seen() -> None:
    data = {"replay_id": "r1", "watermark_ns": 7, "lockstep": True, "end_of_stream": False, "charges": 3}

    assert parse({"stream": "tandem.heartbeat", "data": data}) == BrokerHeartbeat(**data)
