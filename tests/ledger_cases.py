"""A trade as the portfolio writes it down: signal, intent, orders, fill, entry. For the tests of audit, backup and restore."""

from decimal import Decimal

from tandem.domain.ids import client_order_id
from tandem.domain.trading import Action, Fill, Order, OrderStatus, Side
from tandem.flow.accounting import fill_entry
from tandem.flow.decisions import Decision, LogPlace
from tandem.flow.journal import Changes, Intent, SignalRecord
from tandem.flow.orders import OrderState
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP

PLACE = LogPlace(
    topic="tandem.forecasts", partition=0, offset=77, sha256="ab" * 32, tick_topic="tandem.ticks.consumer", tick_first=5, tick_last=9
)


def trade(intent_id: str, action: Action, bar_close_ns: int, trade_id: str) -> Changes:
    """An intent with two orders, the first of them filled."""
    intent = Intent(
        intent_id=intent_id,
        run="r1",
        pair=PAIR,
        sector=CONSUMER,
        action=action,
        reason="test",
        bar_close_ns=bar_close_ns,
        trade_id=trade_id,
        model=MODEL,
    )
    signal = SignalRecord(
        run="r1",
        pair=PAIR,
        bar_close_ns=bar_close_ns,
        action=action,
        reason="test",
        refusal="",
        detail="",
        model=MODEL,
        z=-2.5,
        reversion_probability=0.7,
        variance=1e-4,
    )
    orders = [order(intent_id, leg, bar_close_ns) for leg in ("a", "b")]
    fill = Fill(
        execution_id=f"e-{intent_id}",
        client_order_id=orders[0].client_order_id,
        symbol=KO,
        side=Side.BUY,
        qty=Decimal(20),
        price_usd=Decimal("50.25"),
        event_ns=bar_close_ns + 5,
    )
    states = [
        OrderState(order=orders[0], status=OrderStatus.FILLED, filled=Decimal(20), broker_order_id=f"B-{intent_id}"),
        OrderState(order=orders[1], status=OrderStatus.REJECTED, reason="no buying power"),
    ]
    decision = Decision(
        intent_id=intent_id,
        pair=PAIR,
        price_a=Decimal("50.2"),
        price_b=Decimal("100"),
        half_spread_a=None,
        half_spread_b=None,
        beta=Decimal("0.8"),
        place=PLACE,
    )
    return Changes(
        signals=[signal],
        intents=[intent],
        decisions=[decision],
        new_orders=orders,
        orders={state.order.client_order_id: state for state in states},
        fills=[(fill, PAIR)],
        entries=[fill_entry(fill, PAIR)],
    )


def order(intent_id: str, leg: str, decided_ns: int) -> Order:
    return Order(
        client_order_id=client_order_id(intent_id, leg, 0),
        intent_id=intent_id,
        pair=PAIR,
        leg=leg,
        attempt=0,
        symbol=KO if leg == "a" else PEP,
        side=Side.BUY if leg == "a" else Side.SELL,
        qty=20 if leg == "a" else 8,
        limit_usd=None,
        decided_ns=decided_ns,
    )
