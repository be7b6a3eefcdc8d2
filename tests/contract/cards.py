"""The cards: each asks one thing through an unmodified TradingClient and checks the shape of the answer.

They run against the recycler in tests/integration/test_contract_cards.py, and against Alpaca's paper account where its keys are given.
Nothing is ever filled: orders are limits far from any market, and are canceled. What differs by the time of day (an order that waits for
the market to open cannot be replaced) is allowed for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID, uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

FAR_USD = "1.00"  # nobody sells KO for a dollar
OPEN = {"accepted", "new", "pending_new", "held"}
ORDER_KEYS = {
    *("id", "client_order_id", "created_at", "updated_at", "submitted_at", "filled_at", "expired_at", "expires_at", "canceled_at"),
    *("failed_at", "replaced_at", "replaced_by", "replaces", "asset_id", "symbol", "asset_class", "notional", "qty", "filled_qty"),
    *("filled_avg_price", "order_class", "order_type", "type", "side", "time_in_force", "limit_price", "stop_price", "status"),
    *("extended_hours", "legs", "trail_percent", "trail_price", "hwm"),
}
ACCOUNT_AMOUNTS = (
    *("cash", "equity", "last_equity", "buying_power", "regt_buying_power", "non_marginable_buying_power", "long_market_value"),
    *("short_market_value", "initial_margin", "maintenance_margin", "multiplier"),
)
ASSET_KEYS = {"id", "class", "exchange", "symbol", "status", "tradable", "marginable", "shortable", "easy_to_borrow", "fractionable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One promise. client: raw_data, so that the wire itself is looked at."""

    name: str
    check: Callable[[TradingClient], None]


CARDS: list[Card] = []


def card(check: Callable[[TradingClient], None]) -> Callable[[TradingClient], None]:
    CARDS.append(Card(name=check.__name__, check=check))
    return check


def refused(call: Callable[[], Any]) -> tuple[int, int, str]:
    """Status, code and message of an answer that is an error."""
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message


def is_amount(value: object) -> bool:
    try:
        return isinstance(value, str) and Decimal(value).is_finite()
    except InvalidOperation:
        return False


def body(**more: Any) -> dict[str, Any]:
    order = {"symbol": "KO", "qty": "1", "side": "buy", "type": "limit", "limit_price": FAR_USD, "time_in_force": "day"}
    return {**order, "client_order_id": f"card-{uuid4()}", **more}


class Placed:
    """An order that is canceled at the end, whatever happens."""

    def __init__(self, client: TradingClient, **more: Any) -> None:
        self.client, self.body = client, body(**more)

    def __enter__(self) -> dict[str, Any]:
        self.order: dict[str, Any] = self.client.post("/orders", self.body)
        return self.order

    def __exit__(self, *_: object) -> None:
        for order in self.client.get("/orders", {"status": "open", "nested": False, "symbols": "KO"}):
            if order["client_order_id"] == self.body["client_order_id"] or order["replaces"] == self.order["id"]:
                self.client.delete(f"/orders/{order['id']}")


@card
def the_account_is_in_text_amounts(client: TradingClient) -> None:
    account = client.get("/account")
    UUID(account["id"])
    assert account["currency"] == "USD"
    assert all(is_amount(account[name]) for name in ACCOUNT_AMOUNTS), account
    assert isinstance(account["shorting_enabled"], bool)


@card
def the_clock_tells_what_comes_next(client: TradingClient) -> None:
    clock = client.get("/clock")
    assert set(clock) >= {"timestamp", "is_open", "next_open", "next_close"}
    assert clock["next_open"][-6:] in {"-04:00", "-05:00"}


@card
def the_calendar_knows_half_days_and_holidays(client: TradingClient) -> None:
    days = client.get("/calendar", {"start": "2024-07-02", "end": "2024-07-05"})
    assert [(day["date"], day["open"], day["close"]) for day in days] == [
        ("2024-07-02", "09:30", "16:00"),
        ("2024-07-03", "09:30", "13:00"),
        ("2024-07-05", "09:30", "16:00"),
    ]


@card
def an_asset_says_what_may_be_done_with_it(client: TradingClient) -> None:
    asset = client.get("/assets/KO")
    assert set(asset) >= ASSET_KEYS
    assert (asset["symbol"], asset["class"], asset["status"]) == ("KO", "us_equity", "active")


@card
def an_unknown_asset_is_404(client: TradingClient) -> None:
    assert refused(lambda: client.get("/assets/NOSUCHNAME"))[:2] == (404, 40410000)


@card
def an_unknown_order_is_404(client: TradingClient) -> None:
    assert refused(lambda: client.get(f"/orders/{uuid4()}"))[:2] == (404, 40410000)
    assert refused(lambda: client.get("/orders:by_client_order_id", {"client_order_id": f"card-{uuid4()}"}))[:2] == (404, 40410000)


@card
def an_order_is_taken_found_and_canceled(client: TradingClient) -> None:
    with Placed(client) as order:
        assert set(order) >= ORDER_KEYS
        assert (order["symbol"], order["side"], order["type"], order["qty"], order["filled_qty"]) == ("KO", "buy", "limit", "1", "0")
        assert Decimal(order["limit_price"]) == Decimal(FAR_USD)
        assert order["status"] in OPEN
        assert None not in (order["created_at"], order["updated_at"], order["submitted_at"])
        found = client.get("/orders:by_client_order_id", {"client_order_id": order["client_order_id"]})
        assert found["id"] == order["id"]
        assert order["id"] in {one["id"] for one in client.get("/orders", {"status": "open", "symbols": "KO", "limit": 500})}
    done = client.get(f"/orders/{order['id']}")
    assert done["status"] in {"canceled", "pending_cancel"}


@card
def a_client_order_id_is_taken_once_for_ever(client: TradingClient) -> None:
    with Placed(client) as order:
        again = body(client_order_id=order["client_order_id"])
        status, code, message = refused(lambda: client.post("/orders", again))
        assert (status, code) == (422, 40010001)
        assert "client_order_id must be unique" in message


@card
def a_replacement_has_a_new_id_or_waits_for_the_market(client: TradingClient) -> None:
    with Placed(client) as order:
        try:
            new = client.patch(f"/orders/{order['id']}", {"limit_price": "1.01"})
        except APIError as error:
            if error.status_code != 422:  # out of hours the order is accepted, not new
                raise
            return
        assert new["id"] != order["id"]
        assert new["replaces"] == order["id"]
        assert Decimal(new["limit_price"]) == Decimal("1.01")


@card
def a_canceled_order_cannot_be_canceled_again(client: TradingClient) -> None:
    with Placed(client) as order:
        pass
    assert refused(lambda: client.delete(f"/orders/{order['id']}"))[0] == 422


@card
def a_bracket_has_two_legs_that_end_with_it(client: TradingClient) -> None:
    legs = {"order_class": "bracket", "take_profit": {"limit_price": "2.00"}, "stop_loss": {"stop_price": "0.50"}}
    with Placed(client, **legs) as order:
        assert order["order_class"] == "bracket"
        assert sorted(leg["type"] for leg in order["legs"]) == ["limit", "stop"]
        assert {leg["side"] for leg in order["legs"]} == {"sell"}
    nested = client.get(f"/orders/{order['id']}", {"nested": True})
    assert {leg["status"] for leg in nested["legs"]} <= {"canceled", "pending_cancel"}


@card
def a_price_between_the_ticks_is_refused(client: TradingClient) -> None:
    status, code, message = refused(lambda: client.post("/orders", body(limit_price="1.001")))
    assert (status, code) == (422, 42210000)
    assert "sub-penny" in message


@card
def more_than_the_account_can_pay_is_refused(client: TradingClient) -> None:
    status, code, message = refused(lambda: client.post("/orders", body(qty="999999999", limit_price=FAR_USD)))
    assert (status, code) == (403, 40310000)
    assert "insufficient buying power" in message


@card
def an_order_without_a_quantity_is_refused(client: TradingClient) -> None:
    assert refused(lambda: client.post("/orders", {k: v for k, v in body().items() if k != "qty"}))[0] in {400, 422}


@card
def a_short_sale_of_a_fraction_is_refused(client: TradingClient) -> None:
    """A limit that no buyer pays, should it ever be taken."""
    assert refused(lambda: client.post("/orders", body(side="sell", qty="0.5", limit_price="999.00")))[0] in {403, 422}


@card
def activities_are_a_list_of_what_was_booked(client: TradingClient) -> None:
    found = client.get("/account/activities/FILL", {"page_size": 5, "direction": "desc"})
    assert len(found) <= 5
    assert all({"id", "activity_type", "order_id", "symbol", "side", "price", "qty", "transaction_time"} <= set(one) for one in found)


@card
def positions_are_a_list_in_text_amounts(client: TradingClient) -> None:
    for position in client.get("/positions"):
        assert all(is_amount(position[name]) for name in ("qty", "qty_available", "avg_entry_price", "cost_basis"))
        assert position["side"] in {"long", "short"}
