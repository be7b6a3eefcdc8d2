"""What happens to the account without an order of ours: directives, corporate actions, the broker's own trades, and what a night costs:
shares and cash that are lent.

Pure; called by flow/exchange.py. Each directive is told (Happened) before what it causes.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal

from tandem.domain.ids import derived_uuid
from tandem.domain.trading import Side
from tandem.domain.units import CENT, cents
from tandem.flow.directives import (
    AssetFlags,
    Band,
    Dividend,
    Halt,
    Liquidation,
    ManualTrade,
    PowerCut,
    Race,
    RejectNext,
    Resume,
    ShortRestriction,
    Split,
)
from tandem.flow.exchange_events import Booked, Booking, Direct, Ending, Happened, Output, Submit
from tandem.flow.exchange_fills import Step, close, fill
from tandem.flow.exchange_records import Conditions, ExchangeState, Flags, Holding, Origin, Rules, WorkingOrder
from tandem.flow.order_acceptance import accept
from tandem.flow.order_checks import FLAT, SHARE, quote

_LOT, _YEAR_DAYS, _BPS, _ZERO = Decimal(100), Decimal(360), Decimal(10_000), Decimal(0)
_MARK = Decimal("0.000001")


def direct(rules: Rules, state: ExchangeState, event: Direct) -> Step:
    """A directive takes effect."""
    state = replace(state, marks={**state.marks, **event.prices_usd})
    told: tuple[Output, ...] = (Happened(directive_id=event.directive_id, directive=event.directive, event_ns=event.event_ns),)
    match event.directive:
        case Split() as split:
            state, outputs = _split(state, split, event)
        case Dividend() as dividend:
            state, outputs = _dividend(state, dividend, event)
        case Liquidation() as liquidation:
            state, outputs = _liquidate(rules, state, liquidation, event)
        case ManualTrade() as asked:
            state, outputs = _traded(rules, state, event, asked, origin=Origin.MANUAL)
        case AssetFlags() as flags:
            state, outputs = _flagged(state, flags, event.event_ns)
        case other:
            state, outputs = replace(state, conditions=_conditions(state.conditions, other)), ()
    return state, told + outputs


Condition = Halt | Resume | Band | ShortRestriction | RejectNext | Race | PowerCut


def _conditions(found: Conditions, directive: Condition) -> Conditions:
    match directive:
        case Halt(symbol=symbol, reason=reason):
            if symbol is None:
                return replace(found, market_halt=reason)
            return replace(found, halted={**found.halted, symbol: reason})
        case Resume(symbol=None):
            return replace(found, market_halt=None)
        case Resume(symbol=symbol):
            return replace(found, halted={name: reason for name, reason in found.halted.items() if name != symbol})
        case Band(symbol=symbol):
            return replace(found, bands={**found.bands, symbol: directive})
        case ShortRestriction(symbol=symbol, restricted=restricted):
            return replace(found, restricted=found.restricted | {symbol} if restricted else found.restricted - {symbol})
        case RejectNext():
            return replace(found, rejects=(*found.rejects, directive))
        case Race(symbol=symbol):
            return replace(found, races=found.races | {symbol})
        case PowerCut(usd=usd):
            return replace(found, power_cap_usd=usd)


def _flagged(state: ExchangeState, asked: AssetFlags, event_ns: int) -> Step:
    """New flags; open short sales of what cannot be borrowed (easily) any more are canceled, as Alpaca does it."""
    old = state.conditions.of(asked.symbol)
    new = Flags(
        tradable=old.tradable if asked.tradable is None else asked.tradable,
        shortable=old.shortable if asked.shortable is None else asked.shortable,
        easy_to_borrow=old.easy_to_borrow if asked.easy_to_borrow is None else asked.easy_to_borrow,
    )
    state = replace(state, conditions=replace(state.conditions, flags={**state.conditions.flags, asked.symbol: new}))
    if (old.shortable and not new.shortable) or (old.easy_to_borrow and not new.easy_to_borrow):
        holding = state.holdings.get(asked.symbol, FLAT)
        shorts = [o for o in state.orders.values() if o.symbol == asked.symbol and o.side is Side.SELL and holding.qty <= 0]
        return _closed(state, [order for order in shorts if not order.is_held], Ending.BORROW, event_ns)
    return state, ()


def _closed(state: ExchangeState, orders: Sequence[WorkingOrder], ending: Ending, event_ns: int) -> Step:
    outputs: list[Output] = []
    for order in orders:
        if order.order_id in state.orders:
            state, made = close(state, state.orders[order.order_id], ending, event_ns)
            outputs += made
    return state, tuple(outputs)


def _split(state: ExchangeState, split: Split, event: Direct) -> Step:
    name, new, old = split.symbol, Decimal(split.new_shares), Decimal(split.old_shares)
    state, outputs = _closed(state, [o for o in state.orders.values() if o.symbol == name], Ending.SPLIT, event.event_ns)
    marks = {symbol: (price * old / new).quantize(_MARK) if symbol == name else price for symbol, price in state.marks.items()}
    last = {symbol: (price * old / new).quantize(_MARK) if symbol == name else price for symbol, price in state.last_marks.items()}
    state = replace(state, marks=marks, last_marks=last)
    if (holding := state.holdings.get(name)) is None:
        return state, outputs
    exact = holding.qty * new / old
    is_whole = holding.qty == holding.qty.to_integral_value()
    qty = exact.quantize(Decimal(1) if is_whole else SHARE, rounding=ROUND_DOWN)
    cash = cents((exact - qty) * marks[name]) if is_whole else _ZERO
    holdings = {symbol: held for symbol, held in state.holdings.items() if symbol != name}
    if qty:
        holdings[name] = Holding(qty=qty, cost_usd=holding.cost_usd * qty / exact)
    booked = Booked(
        activity_id=derived_uuid("split", state.replay_id, event.directive_id, name),
        kind=Booking.SPLIT,
        symbol=name,
        qty=holding.qty,
        new_qty=qty,
        amount_usd=cash,
        event_ns=event.event_ns,
        description=f"{split.new_shares} for {split.old_shares}",
    )
    return replace(state, holdings=holdings, cash_usd=state.cash_usd + cash), (*outputs, booked)


def _dividend(state: ExchangeState, dividend: Dividend, event: Direct) -> Step:
    if (holding := state.holdings.get(dividend.symbol)) is None:
        return state, ()
    amount = cents(holding.qty * dividend.usd_per_share)
    booked = Booked(
        activity_id=derived_uuid("dividend", state.replay_id, event.directive_id, dividend.symbol),
        kind=Booking.DIVIDEND,
        symbol=dividend.symbol,
        qty=holding.qty,
        amount_usd=amount,
        event_ns=event.event_ns,
        description=f"dividend of {dividend.usd_per_share} USD a share",
        per_share_usd=dividend.usd_per_share,
    )
    return replace(state, cash_usd=state.cash_usd + amount), (booked,)


def _liquidate(rules: Rules, state: ExchangeState, asked: Liquidation, event: Direct) -> Step:
    outputs: list[Output] = []
    for symbol in sorted(state.holdings):
        if asked.symbol not in (None, symbol):
            continue
        state, made = _closed(state, [o for o in state.orders.values() if o.symbol == symbol], Ending.BROKER, event.event_ns)
        outputs += made
        held = state.holdings[symbol].qty
        qty = abs(held) if asked.qty is None else min(asked.qty, abs(held))
        side = Side.SELL if held > 0 else Side.BUY
        if not qty:
            continue
        wanted = ManualTrade(symbol=symbol, side=side, qty=qty)
        state, made = _traded(rules, state, event, wanted, origin=Origin.LIQUIDATION)
        outputs += made
    return state, tuple(outputs)


def _traded(rules: Rules, state: ExchangeState, event: Direct, wanted: ManualTrade, *, origin: Origin) -> Step:
    """An order that fills whole at the last price. Nothing if the symbol has no price yet."""
    symbol, side, qty = wanted.symbol, wanted.side, wanted.qty
    if symbol not in state.marks:
        return state, ()
    client_order_id = derived_uuid(origin.value, event.directive_id, symbol)
    request = Submit(event_ns=event.event_ns, client_order_id=client_order_id, symbol=symbol, side=side, qty=qty)
    state, accepted = accept(rules, state, request, origin=origin)
    order = state.orders[derived_uuid("order", state.replay_id, client_order_id)]
    price = quote(rules, state.marks[symbol], side)
    state, filled = fill(rules, state, order, qty=qty, price_usd=price, event_ns=event.event_ns)
    return state, accepted + filled


def borrowed(rules: Rules, state: ExchangeState, nights: int) -> Step:
    """A session ends: what is short is borrowed in lots of 100 for some nights, at the closing price; rounded up to a cent."""
    outputs: list[Output] = []
    for symbol, holding in sorted(state.holdings.items()):
        rate = rules.borrow_bps_year if state.conditions.of(symbol).easy_to_borrow else rules.hard_borrow_bps_year
        if holding.qty >= 0 or not rate or not nights:
            continue
        lots = (-holding.qty / _LOT).to_integral_value(rounding=ROUND_CEILING)
        amount = (lots * _LOT * state.marks[symbol] * rate / _BPS / _YEAR_DAYS * nights).quantize(CENT, rounding=ROUND_CEILING)
        state = replace(state, cash_usd=state.cash_usd - amount)
        outputs.append(
            Booked(
                activity_id=derived_uuid("borrow", state.replay_id, state.now_ns, symbol),
                kind=Booking.BORROW,
                symbol=symbol,
                qty=holding.qty,
                amount_usd=-amount,
                event_ns=state.now_ns,
                description=f"borrow of {symbol} at {rate} bps a year, {nights} nights",
                nights=nights,
            )
        )
    return state, tuple(outputs)


def indebted(rules: Rules, state: ExchangeState, nights: int) -> Step:
    """A session ends: what cash is below 0 is lent for some nights; rounded up to a cent. Called after what else the night costs."""
    rate = rules.margin_bps_year
    if state.cash_usd >= 0 or not rate or not nights:
        return state, ()
    amount = (-state.cash_usd * rate / _BPS / _YEAR_DAYS * nights).quantize(CENT, rounding=ROUND_CEILING)
    booked = Booked(
        activity_id=derived_uuid("interest", state.replay_id, state.now_ns),
        kind=Booking.INTEREST,
        symbol=None,
        qty=_ZERO,
        amount_usd=-amount,
        event_ns=state.now_ns,
        description=f"interest on {-state.cash_usd:f} USD at {rate} bps a year, {nights} nights",
        nights=nights,
    )
    return replace(state, cash_usd=state.cash_usd - amount), (booked,)
