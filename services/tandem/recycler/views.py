"""Orders, positions, the account and the rest as Alpaca's REST words them. Numbers are text, times RFC 3339 of the replay's clock.

Only shapes values; every figure comes from flow/.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tandem.domain.ids import Symbol, derived_uuid
from tandem.domain.market import SessionGrid
from tandem.domain.units import CENT, NS_PER_S, rfc3339
from tandem.flow.exchange_records import Charged, ExchangeState, Filled, Holding, Rules
from tandem.flow.order_checks import buying_power_usd, equity_usd, gross_usd, held_for_orders
from tandem.recycler.book import Activity, OrderRecord, Status, Update, activity_id

ACCOUNT_ID = derived_uuid("account", "recycler")
_NEW_YORK = ZoneInfo("America/New_York")
_INITIAL_MARGIN = Decimal("0.5")  # Regulation T
_MAINTENANCE_LONG, _MAINTENANCE_SHORT = Decimal("0.25"), Decimal("0.30")  # FINRA rule 4210, as Alpaca applies it
_RATIO = Decimal("0.000001")


def asset_id(symbol: Symbol) -> str:
    """Stable for ever, so that a client may keep it."""
    return derived_uuid("asset", symbol)


def text(value: Decimal) -> str:
    """Exact, without an exponent and without zeros at the end."""
    return f"{value.normalize():f}" if value else "0"


def order(record: OrderRecord, *, status: str | None = None) -> dict[str, Any]:
    """An order with all the keys of Alpaca's; `status` overrides its status, for the answer to its submission."""
    working, fill = record.order, record.fill
    kind = "market" if working.limit_usd is None else "limit"
    accepted = rfc3339(working.accepted_ns)
    return {
        "id": working.order_id,
        "client_order_id": working.client_order_id,
        "created_at": accepted,
        "updated_at": rfc3339(record.updated_ns),
        "submitted_at": accepted,
        "filled_at": rfc3339(fill.event_ns) if fill else None,
        "expired_at": rfc3339(record.updated_ns) if record.status is Status.EXPIRED else None,
        "expires_at": rfc3339(working.expires_ns) if working.expires_ns is not None else None,
        "canceled_at": rfc3339(record.updated_ns) if record.status is Status.CANCELED else None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_id(working.symbol),
        "symbol": working.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": text(working.qty),
        "filled_qty": text(working.qty) if fill else "0",
        "filled_avg_price": text(fill.price_usd) if fill else None,
        "order_class": "",
        "order_type": kind,
        "type": kind,
        "side": working.side.value,
        "time_in_force": working.time_in_force.value,
        "limit_price": None if working.limit_usd is None else text(working.limit_usd),
        "stop_price": None,
        "status": status or record.status.value,
        "extended_hours": working.extended_hours,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": None,
    }


def update(found: Update) -> dict[str, Any]:
    """A message of the trade_updates stream."""
    data: dict[str, Any] = {"event": found.event, "order": order(found.record), "timestamp": rfc3339(found.event_ns)}
    fill = found.record.fill
    if fill is None:
        data["execution_id"] = derived_uuid("event", found.event, found.record.order.order_id)
    else:
        data |= {
            "execution_id": fill.execution_id,
            "price": text(fill.price_usd),
            "qty": text(fill.order.qty),
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


def asset(symbol: Symbol) -> dict[str, Any]:
    """An asset. The recording does not say where it is listed."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "shortable": True,
        "easy_to_borrow": True,
        "borrow_status": "easy_to_borrow",
        "fractionable": True,
        "maintenance_margin_requirement": 25,
        "attributes": [],
    }


def activity(found: Activity) -> dict[str, Any]:
    """A fill or a fee. A fee carries more than Alpaca's: its time, and the order and execution that it is for."""
    common = {"id": activity_id(found), "account_id": ACCOUNT_ID, "symbol": found.order.symbol, "order_id": found.order.order_id}
    match found:
        case Filled():
            return {
                **common,
                "activity_type": "FILL",
                "type": "fill",
                "transaction_time": rfc3339(found.event_ns),
                "price": text(found.price_usd),
                "qty": text(found.order.qty),
                "cum_qty": text(found.order.qty),
                "leaves_qty": "0",
                "side": found.order.side.value,
                "order_status": "filled",
                "execution_id": found.execution_id,
                "client_order_id": found.order.client_order_id,
            }
        case Charged():
            return {
                **common,
                "activity_type": "FEE",
                "date": f"{_local(found.event_ns):%Y-%m-%d}",
                "created_at": rfc3339(found.event_ns),
                "net_amount": text(-found.amount_usd),
                "description": f"{found.kind}: {found.description}",
                "status": "executed",
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
