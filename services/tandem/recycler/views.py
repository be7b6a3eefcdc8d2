"""Orders, positions, the account and the rest as Alpaca's REST words them. Numbers are text, times RFC 3339 of the replay's clock.

Only shapes values; every figure comes from flow/.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tandem.domain.ids import Symbol, derived_uuid
from tandem.domain.market import SessionGrid
from tandem.domain.units import CENT, NS_PER_S, rfc3339
from tandem.flow.exchange_events import Booked, Booking, Charged, Filled
from tandem.flow.exchange_records import ExchangeState, Flags, Holding, Rules
from tandem.flow.order_checks import buying_power_usd, equity_usd, gross_usd, held_for_orders
from tandem.recycler.book import Activity, OrderRecord, Status, Update, activity_id

ACCOUNT_ID = derived_uuid("account", "recycler")
_NEW_YORK = ZoneInfo("America/New_York")
_INITIAL_MARGIN = Decimal("0.5")  # Regulation T
_MAINTENANCE_LONG, _MAINTENANCE_SHORT = Decimal("0.25"), Decimal("0.30")  # FINRA rule 4210, as Alpaca applies it
_RATIO = Decimal("0.000001")
_PRICE = Decimal("0.000000001")
EXECUTIONS = ("fill", "partial_fill")


def asset_id(symbol: Symbol) -> str:
    """Stable for ever, so that a client may keep it."""
    return derived_uuid("asset", symbol)


def text(value: Decimal) -> str:
    """Exact, without an exponent and without zeros at the end."""
    return f"{value.normalize():f}" if value else "0"


def order(record: OrderRecord, *, status: str | None = None, legs: Sequence[OrderRecord] | None = None) -> dict[str, Any]:
    """An order with all the keys of Alpaca's; `status` overrides its status, for the answer to its submission."""
    working, fill = record.order, record.fill
    accepted, updated = rfc3339(working.accepted_ns), rfc3339(record.updated_ns)
    return {
        "id": working.order_id,
        "client_order_id": working.client_order_id,
        "created_at": accepted,
        "updated_at": updated,
        "submitted_at": accepted,
        "filled_at": rfc3339(fill.event_ns) if fill and record.status is Status.FILLED else None,
        "expired_at": updated if record.status is Status.EXPIRED else None,
        "expires_at": rfc3339(working.expires_ns) if working.expires_ns is not None else None,
        "canceled_at": updated if record.status is Status.CANCELED else None,
        "failed_at": updated if record.status is Status.REJECTED else None,
        "replaced_at": updated if record.status is Status.REPLACED else None,
        "replaced_by": record.replaced_by or None,
        "replaces": working.replaces or None,
        "asset_id": asset_id(working.symbol),
        "symbol": working.symbol,
        "asset_class": "us_equity",
        "notional": _maybe(working.notional_usd),
        "qty": text(working.qty) if working.notional_usd is None else None,
        "filled_qty": text(working.filled_qty),
        "filled_avg_price": text((working.filled_usd / working.filled_qty).quantize(_PRICE)) if working.filled_qty else None,
        "order_class": working.order_class.value,
        "order_type": working.kind.value,
        "type": working.kind.value,
        "side": working.side.value,
        "time_in_force": working.time_in_force.value,
        "limit_price": _maybe(working.limit_usd),
        "stop_price": _maybe(working.stop_usd),
        "status": status or record.status.value,
        "extended_hours": working.extended_hours,
        "legs": [order(leg) for leg in legs] if legs else None,
        "trail_percent": _maybe(working.trail_percent),
        "trail_price": _maybe(working.trail_usd),
        "hwm": _maybe(working.mark_usd),
        "position_intent": None,
        **({"reject_reason": record.reason} if record.reason else {}),
    }


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else text(value)


def update(found: Update) -> dict[str, Any]:
    """A message of the trade_updates stream."""
    data: dict[str, Any] = {"event": found.event, "order": order(found.record), "timestamp": rfc3339(found.event_ns)}
    fill = found.record.fill
    if fill is None or found.event not in EXECUTIONS:
        data["execution_id"] = derived_uuid("event", found.event, found.record.order.order_id)
    else:
        data |= {
            "execution_id": fill.execution_id,
            "price": text(fill.price_usd),
            "qty": text(fill.qty),
            "position_qty": text(fill.position_qty),
        }
    return {"stream": "trade_updates", "data": data}


def position(state: ExchangeState, symbol: Symbol, holding: Holding) -> dict[str, Any]:
    """A position at the state's marks."""
    price = state.marks[symbol]
    value, gain = holding.qty * price, holding.qty * price - holding.cost_usd
    last = state.last_marks.get(symbol, holding.cost_usd / holding.qty)
    today = holding.qty * (price - last)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": "",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": text(holding.qty),
        "qty_available": text(holding.qty - held_for_orders(state, symbol) * (1 if holding.qty > 0 else -1)),
        "side": "long" if holding.qty > 0 else "short",
        "avg_entry_price": text((holding.cost_usd / holding.qty).quantize(_RATIO)),
        "market_value": text(value),
        "cost_basis": text(holding.cost_usd.quantize(_RATIO)),
        "unrealized_pl": text(gain.quantize(_RATIO)),
        "unrealized_plpc": text((gain / abs(holding.cost_usd)).quantize(_RATIO)),
        "unrealized_intraday_pl": text(today.quantize(_RATIO)),
        "unrealized_intraday_plpc": text(((price - last) / last).quantize(_RATIO)),
        "current_price": text(price),
        "lastday_price": text(last.quantize(_RATIO)),
        "change_today": text(((price - last) / last).quantize(_RATIO)),
    }


def account(rules: Rules, state: ExchangeState, created_ns: int) -> dict[str, Any]:
    """The account at the state's marks."""
    values = [holding.qty * state.marks[symbol] for symbol, holding in state.holdings.items()]
    long_value = sum((value for value in values if value > 0), Decimal(0))
    short_value = sum((value for value in values if value < 0), Decimal(0))
    power = buying_power_usd(rules, state)
    equity = equity_usd(state)
    return {
        "id": ACCOUNT_ID,
        "account_number": "RECYCLED",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": text(state.cash_usd),
        "equity": text(equity),
        "portfolio_value": text(equity),
        "last_equity": text(state.last_equity_usd),
        "buying_power": _cents(power),
        "regt_buying_power": _cents(power),
        "non_marginable_buying_power": _cents(power / rules.leverage),
        "long_market_value": text(long_value),
        "short_market_value": text(short_value),
        "initial_margin": text(gross_usd(state) * _INITIAL_MARGIN),
        "maintenance_margin": text(long_value * _MAINTENANCE_LONG - short_value * _MAINTENANCE_SHORT),
        "last_maintenance_margin": "0",
        "sma": "0",
        "multiplier": text(rules.leverage),
        "shorting_enabled": True,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "created_at": rfc3339(created_ns),
    }


def asset(symbol: Symbol, flags: Flags) -> dict[str, Any]:
    """An asset. The recording does not say where it is listed."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": flags.tradable,
        "marginable": True,
        "shortable": flags.shortable,
        "easy_to_borrow": flags.shortable and flags.easy_to_borrow,
        "borrow_status": _borrow_status(flags),
        "fractionable": True,
        "maintenance_margin_requirement": 25,
        "attributes": [],
    }


def _borrow_status(flags: Flags) -> str:
    if not flags.shortable:
        return "not_borrowable"
    return "easy_to_borrow" if flags.easy_to_borrow else "hard_to_borrow"


KINDS = {"FILL": "fills", "FEE": "fees and what borrowing costs", "DIV": "dividends", "INT": "interest on cash below 0", "SPLIT": "splits"}


def kind_of(found: Activity) -> str:
    """Alpaca's activity type."""
    match found:
        case Filled():
            return "FILL"
        case Charged() | Booked(kind=Booking.BORROW):
            return "FEE"
        case Booked(kind=Booking.DIVIDEND):
            return "DIV"
        case Booked(kind=Booking.INTEREST):
            return "INT"
        case Booked():
            return "SPLIT"


def activity(found: Activity) -> dict[str, Any]:
    """A fill, a fee or a booking. A fee carries more than Alpaca's: its time, and the order and execution that it is for."""
    common = {"id": activity_id(found), "account_id": ACCOUNT_ID, "activity_type": kind_of(found)}
    if isinstance(found, Filled):
        return {**common, **_fill(found)}
    dated = {"date": f"{_local(found.event_ns):%Y-%m-%d}", "created_at": rfc3339(found.event_ns), "status": "executed"}
    if isinstance(found, Charged):
        return {
            **common,
            **dated,
            "symbol": found.order.symbol,
            "order_id": found.order.order_id,
            "net_amount": text(-found.amount_usd),
            "description": f"{found.kind}: {found.description}",
            "execution_id": found.execution_id,
            "client_order_id": found.order.client_order_id,
        }
    return {
        **common,
        **dated,
        "symbol": found.symbol,
        "net_amount": text(found.amount_usd),
        "qty": text(found.qty if found.new_qty is None else found.new_qty),
        "per_share_amount": _maybe(found.per_share_usd),
        "description": f"BORROW: {found.description}" if found.kind is Booking.BORROW else found.description,
        **({} if found.new_qty is None else {"old_qty": text(found.qty)}),
    }


def _fill(found: Filled) -> dict[str, Any]:
    return {
        "symbol": found.order.symbol,
        "order_id": found.order.order_id,
        "type": "fill" if found.is_last else "partial_fill",
        "transaction_time": rfc3339(found.event_ns),
        "price": text(found.price_usd),
        "qty": text(found.qty),
        "cum_qty": text(found.order.filled_qty),
        "leaves_qty": text(found.order.remaining),
        "side": found.order.side.value,
        "order_status": "filled" if found.is_last else "partially_filled",
        "execution_id": found.execution_id,
        "client_order_id": found.order.client_order_id,
    }


def clock(grid: SessionGrid, now_ns: int) -> dict[str, Any]:
    """Whether the market is open on the replay's clock, and what comes next."""
    next_open = int(np.searchsorted(grid.open_ns, now_ns, side="right"))
    next_close = int(np.searchsorted(grid.close_ns, now_ns, side="right"))
    return {
        "timestamp": _local(now_ns).isoformat(),
        "is_open": next_close < next_open,
        "next_open": _local(_at(grid.open_ns.tolist(), next_open)).isoformat(),
        "next_close": _local(_at(grid.close_ns.tolist(), next_close)).isoformat(),
    }


def calendar(grid: SessionGrid, *, from_ns: int, to_ns: int) -> list[dict[str, str]]:
    """Sessions that open from one time to another, in New York time."""
    rows = np.flatnonzero((grid.open_ns >= from_ns) & (grid.open_ns <= to_ns))
    return [
        {
            "date": f"{_local(opened):%Y-%m-%d}",
            "open": f"{_local(opened):%H:%M}",
            "close": f"{_local(closed):%H:%M}",
            "session_open": "0400",
            "session_close": "2000",
        }
        for opened, closed in zip(grid.open_ns[rows].tolist(), grid.close_ns[rows].tolist(), strict=True)
    ]


def _at(times_ns: list[int], place: int) -> int:
    return times_ns[min(place, len(times_ns) - 1)]


def _local(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // NS_PER_S, _NEW_YORK)


def _cents(amount: Decimal) -> str:
    return f"{amount.quantize(CENT):f}"
