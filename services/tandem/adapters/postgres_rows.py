"""Rows of the portfolio's tables to records and back; what is in which column stands here only. Called by postgres_ledger.py."""

from typing import Any

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.flow.decisions import Decision
from tandem.flow.execution_records import Execution, Leg
from tandem.flow.journal import Trade
from tandem.flow.netting import Cross
from tandem.flow.orders import OrderState
from tandem.flow.signals import Held

CROSS_COLUMNS = (*("cross_id", "symbol", "qty", "buy_order", "sell_order", "priced_by", "mark_usd", "decided_ns", "price_usd", "event_ns"),)
ORDER_COLUMNS = (
    *("client_order_id", "intent_id", "pair", "leg", "attempt", "symbol", "side", "qty", "limit_usd", "decided_ns"),
    *("status", "filled_qty", "reported_qty", "broker_order_id", "reason", "crossed_qty", "inside_qty"),
)
STATE_COLUMNS = (
    *("pair", "sector", "state", "direction", "trade_id", "symbol_a", "symbol_b", "target_a", "target_b", "held_a", "held_b"),
    *("order_a", "order_b", "attempts", "waited_bars", "first_fill_ns", "last_fill_ns", "decided_ns", "opened_bar_index"),
    *("half_life_bars", "model_digest", "reason", "leaving", "completions"),
)
TRADE_COLUMNS = (
    *("trade_id", "pair", "sector", "direction", "model_name", "model_version", "model_digest", "opened_ns", "entry_z"),
    *("cash_at_open_usd", "hedged_ns", "closed_ns", "exit_z", "exit_reason", "unhedged_open_s", "unhedged_close_s", "pnl_usd"),
)


def model_row(model: ModelRef) -> tuple[str, str, str]:
    """The three columns of a model."""
    return model.name, model.version, model.digest


def _order_id(leg: Leg) -> str:
    return leg.order.order.client_order_id if leg.order else ""


def state_row(e: Execution) -> tuple[Any, ...]:
    """A pair's state in the order of STATE_COLUMNS."""
    held = e.held
    return (
        *(e.pair, e.sector, e.state, held.direction if held else 0, e.trade_id, e.a.symbol, e.b.symbol, e.a.target, e.b.target),
        *(e.a.held, e.b.held, _order_id(e.a), _order_id(e.b), e.attempts, e.waited_bars, e.first_fill_ns, e.last_fill_ns, e.decided_ns),
        *((held.opened_bar_index, held.half_life_bars, held.digest) if held else (0, 0.0, "")),
        *(e.reason, e.leaving, e.completions),
    )


def trade_row(t: Trade) -> tuple[Any, ...]:
    """A trade in the order of TRADE_COLUMNS."""
    return (
        *(t.trade_id, t.pair, t.sector, t.direction, *model_row(t.model), t.opened_ns, t.entry_z, t.cash_at_open_usd),
        *(t.hedged_ns, t.closed_ns, t.exit_z, t.exit_reason, t.unhedged_open_s, t.unhedged_close_s, t.pnl_usd),
    )


def execution(row: dict[str, Any], orders: dict[str, OrderState]) -> Execution:
    """A pair's state from its row; orders: those that it names."""
    held = (
        Held(
            direction=row["direction"],
            opened_bar_index=row["opened_bar_index"],
            half_life_bars=row["half_life_bars"],
            digest=row["model_digest"],
        )
        if row["direction"]
        else None
    )
    a, b = (
        Leg(symbol=Symbol(row[f"symbol_{x}"]), target=int(row[f"target_{x}"]), held=row[f"held_{x}"], order=orders.get(row[f"order_{x}"]))
        for x in "ab"
    )
    plain = ("trade_id", "attempts", "completions", "leaving", "waited_bars", "first_fill_ns", "last_fill_ns", "decided_ns", "reason")
    return Execution(
        pair=PairId(row["pair"]),
        sector=SectorId(row["sector"]),
        a=a,
        b=b,
        state=PairState(row["state"]),
        held=held,
        **{name: row[name] for name in plain},
    )


def decision_row(decision: Decision) -> tuple[Any, ...]:
    """The grounds of an intent as a row."""
    place = decision.place
    prices = (decision.intent_id, decision.price_a, decision.price_b, decision.half_spread_a, decision.half_spread_b, decision.beta)
    if place is None:
        return (*prices, *(None,) * 7)
    return (*prices, place.topic, place.partition, place.offset, place.sha256, place.tick_topic, place.tick_first, place.tick_last)


def cross_row(made: Cross, sale: Fill | None) -> tuple[Any, ...]:
    """A meeting in the order of CROSS_COLUMNS; sale: one side of it once it has happened."""
    happened = (sale.price_usd, sale.event_ns) if sale is not None else (None, None)
    rest = (made.buy_order, made.sell_order, made.priced_by, made.mark_usd, made.decided_ns)
    return (made.cross_id, made.symbol, made.qty, *rest, *happened)


def cross(row: tuple[Any, ...]) -> Cross:
    """A meeting from the first eight of CROSS_COLUMNS."""
    return Cross(
        cross_id=row[0],
        symbol=Symbol(row[1]),
        qty=int(row[2]),
        buy_order=row[3],
        sell_order=row[4],
        priced_by=row[5],
        mark_usd=row[6],
        decided_ns=row[7],
    )


def trade(row: dict[str, Any]) -> Trade:
    """A trade from its row."""
    model = ModelRef(name=row.pop("model_name"), version=row.pop("model_version"), digest=row.pop("model_digest"))
    return Trade(model=model, **row)


def order_state(row: tuple[Any, ...]) -> OrderState:
    """An order from its row in the order of ORDER_COLUMNS."""
    order = Order(
        client_order_id=row[0],
        intent_id=row[1],
        pair=PairId(row[2]),
        leg=row[3],
        attempt=row[4],
        symbol=Symbol(row[5]),
        side=Side(row[6]),
        qty=int(row[7]),
        limit_usd=row[8],
        decided_ns=row[9],
        crossed_qty=int(row[15]),
    )
    return OrderState(
        order=order,
        status=OrderStatus(row[10]),
        filled=row[11],
        reported=row[12],
        broker_order_id=row[13],
        reason=row[14],
        inside=row[16],
    )
