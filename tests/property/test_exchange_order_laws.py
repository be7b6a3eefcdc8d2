"""Laws of the paper exchange over every kind of order and everything that may happen to it, in any order of events."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_cases import FEES
from tandem.domain.ids import Symbol
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TICK_DTYPE,
    SessionGrid,
)
from tandem.domain.trading import Side
from tandem.flow.directives import AssetFlags, Dividend, Halt, Liquidation, ManualTrade, PowerCut, Race, RejectNext, Resume, Split
from tandem.flow.exchange import opening, step
from tandem.flow.exchange_events import (
    Accepted,
    Booked,
    Cancel,
    Charged,
    Closed,
    Direct,
    Exit,
    Filled,
    Mark,
    Quoted,
    Replace,
    Replaced,
    Submit,
    Tick,
    Voided,
)
from tandem.flow.exchange_records import Change, OrderClass, Rules, TimeInForce
from tandem.flow.order_checks import reserved_usd
from tandem.flow.tape import tape
from tandem.flow.tape_match import events_at, match

SYMBOLS = (Symbol("A"), Symbol("BB"))
CASH = Decimal(50_000)
RULES = st.builds(
    Rules,
    fees=st.just(FEES),
    half_spread_bps=st.sampled_from([Decimal(0), Decimal("12.5")]),
    half_spread_min_usd=st.sampled_from([Decimal(0), Decimal("0.005")]),
    strict=st.booleans(),
    participation=st.sampled_from([Decimal(0), Decimal("0.3"), Decimal(1)]),
    slippage_bps=st.sampled_from([Decimal(0), Decimal(7)]),
    borrow_bps_year=st.sampled_from([Decimal(0), Decimal(300)]),
    margin_bps_year=st.sampled_from([Decimal(0), Decimal(700)]),
)
PRICES = st.integers(900, 1100).map(lambda c: Decimal(c) / 100)
SIZES = st.integers(1, 400)
NAMES = st.sampled_from(SYMBOLS)
PRICED = st.sampled_from(["market", "limit", "stop", "stop_limit", "trail", "percent"])
EXITS = st.sampled_from([OrderClass.SIMPLE, OrderClass.SIMPLE, OrderClass.BRACKET, OrderClass.OTO, OrderClass.OCO])


@st.composite
def orders(draw):
    """Terms of an order of any kind; prices near the market, so that most of them do something."""
    kind, force, grouped = draw(PRICED), draw(st.sampled_from(TimeInForce)), draw(EXITS)
    terms = {
        "symbol": draw(NAMES),
        "side": draw(st.sampled_from(Side)),
        "qty": draw(st.integers(1, 600).map(Decimal)),
        "time_in_force": force,
        "life_ns": draw(st.none() | st.integers(1, 30)),
        "extended_hours": draw(st.booleans()),
    }
    if kind in {"limit", "stop_limit"}:
        terms["limit_usd"] = draw(PRICES)
    if kind in {"stop", "stop_limit"}:
        terms["stop_usd"] = draw(PRICES)
    if kind == "trail":
        terms["trail_usd"] = draw(st.integers(1, 50).map(lambda c: Decimal(c) / 100))
    if kind == "percent":
        terms["trail_percent"] = draw(st.integers(1, 5).map(Decimal))
    if kind == "market" and draw(st.booleans()):
        terms |= {"notional_usd": draw(st.integers(1, 5_000).map(Decimal)), "qty": Decimal(0)}
    if grouped is not OrderClass.SIMPLE and kind in {"market", "limit"} and "notional_usd" not in terms:
        sign = terms["side"].sign if grouped is OrderClass.OCO else -terms["side"].sign
        base = terms.get("limit_usd", Decimal(10))
        terms |= {"order_class": grouped, "time_in_force": TimeInForce.DAY, "extended_hours": False}
        terms["limit_usd"] = base
        terms["stop_loss"] = ("loss", None, base + sign * Decimal("0.30"))
        if grouped is OrderClass.BRACKET:
            terms["take_profit"] = ("profit", base - sign * Decimal("0.30"), None)
    return terms


DIRECTIVES = st.one_of(
    st.builds(Halt, symbol=st.none() | NAMES),
    st.builds(Resume, symbol=st.none() | NAMES),
    st.builds(Race, symbol=NAMES),
    st.builds(RejectNext, symbol=st.none() | NAMES, late=st.booleans()),
    st.builds(PowerCut, usd=st.none() | st.integers(0, 20_000).map(Decimal)),
    st.builds(AssetFlags, symbol=NAMES, shortable=st.none() | st.booleans(), easy_to_borrow=st.none() | st.booleans()),
    st.builds(Dividend, symbol=NAMES, usd_per_share=st.integers(1, 99).map(lambda c: Decimal(c) / 100)),
    st.builds(Split, symbol=NAMES, new_shares=st.integers(1, 4), old_shares=st.integers(1, 4)),
    st.builds(Liquidation, symbol=st.none() | NAMES, qty=st.none() | st.integers(1, 300).map(Decimal)),
    st.builds(ManualTrade, symbol=NAMES, side=st.sampled_from(Side), qty=st.integers(1, 300).map(Decimal)),
)
ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(
            st.tuples(st.just("tick"), NAMES, PRICES, SIZES, st.booleans()),
            st.tuples(st.just("quote"), NAMES, PRICES, st.integers(0, 20), SIZES),
            st.tuples(st.just("order"), orders()),
            st.tuples(st.just("order"), orders()),
            st.tuples(st.just("cancel"), st.integers(0, 40)),
            st.tuples(st.just("replace"), st.integers(0, 40), st.none() | st.integers(1, 700).map(Decimal), st.none() | PRICES),
            st.tuples(st.just("direct"), DIRECTIVES),
            st.tuples(st.just("close"), st.integers(0, 3)),
        ),
    ),
    min_size=12,
    max_size=60,
)


def submitted(number, now, terms):
    """The order of these terms, with ids that tell which it is."""
    fields = dict(terms)
    life_ns = fields.pop("life_ns")
    for name in ("take_profit", "stop_loss"):
        if name in fields:
            role, limit, stop = fields[name]
            fields[name] = Exit(client_order_id=f"{number}-{role}", limit_usd=limit, stop_usd=stop)
    return Submit(event_ns=now, client_order_id=str(number), expires_ns=None if life_ns is None else now + life_ns, **fields)


def play(rules, actions):
    """Every (state before, event, state after, outputs)."""
    state = opening("replay", cash_usd=CASH, now_ns=0)
    now, number, known, history = 1, 0, [], []
    for symbol in SYMBOLS:
        state, _ = step(rules, state, Tick(event_ns=1, symbol=symbol, price_usd=Decimal(10)))
    for gap, action in actions:
        now, number = now + gap, number + 1
        match action:
            case ("tick", name, price, size, extended):
                event = Tick(event_ns=now, symbol=name, price_usd=price, size=size, is_extended=extended)
            case ("quote", name, price, spread, size):
                ask = price + Decimal(spread - 2) / 100  # some are crossed
                event = Quoted(event_ns=now, symbol=name, bid_usd=price, bid_size=size, ask_usd=ask, ask_size=size)
            case ("order", terms):
                event = submitted(number, now, terms)
            case ("cancel", place):
                event = Cancel(event_ns=now, order_id=known[place % len(known)] if known else "none")
            case ("replace", place, qty, limit):
                change = Change(client_order_id=str(number), qty=qty, limit_usd=limit)
                event = Replace(event_ns=now, order_id=known[place % len(known)] if known else "none", change=change)
            case ("direct", directive):
                event = Direct(event_ns=now, directive_id=str(number), directive=directive)
            case ("close", nights):
                event = Mark(event_ns=now, session_end=True, nights=nights)
        before = state
        state, made = step(rules, state, event)
        known += [o.order.order_id for o in made if isinstance(o, Accepted)]
        history.append((before, event, state, made))
    return state, history


def outputs_of(history):
    return [output for _, _, _, made in history for output in made]


@given(RULES, ACTIONS)
@settings(max_examples=80, deadline=None)
def test_cash_and_shares_are_what_was_said(rules, actions):
    """Fills, fees, dividends, borrow, interest and splits make the whole of cash and positions, to the last digit."""
    state, history = play(rules, actions)
    cash, shares = CASH, defaultdict(Decimal)
    for output in outputs_of(history):
        match output:
            case Filled():
                cash -= output.order.side.sign * output.qty * output.price_usd
                shares[output.order.symbol] += output.order.side.sign * output.qty
                assert (output.cash_usd, output.position_qty) == (cash, shares[output.order.symbol])
            case Charged():
                cash -= output.amount_usd
            case Booked():
                cash += output.amount_usd
                assert output.qty == shares[output.symbol]
                if output.new_qty is not None:
                    shares[output.symbol] = output.new_qty
    assert state.cash_usd == cash
    assert {name: held.qty for name, held in state.holdings.items()} == {name: qty for name, qty in shares.items() if qty}


@given(RULES, ACTIONS)
@settings(max_examples=80, deadline=None)
def test_the_executions_of_an_order_sum_up_to_what_it_says(rules, actions):
    """filled_qty is the sum of the executions, never above qty; ids differ; nothing fills before its time or after its end."""
    _, history = play(rules, actions)
    sums, ended, ids = defaultdict(Decimal), set(), set()
    for _, event, _, made in history:
        for output in made:
            if isinstance(output, Filled):
                order = output.order
                sums[order.order_id] += output.qty
                assert order.order_id not in ended
                assert output.qty > 0
                assert sums[order.order_id] == order.filled_qty <= order.qty
                assert output.execution_id not in ids
                ids.add(output.execution_id)
                assert order.limit_usd is None or (order.limit_usd - output.price_usd) * order.side.sign >= 0
                if not isinstance(event, Direct):
                    assert output.event_ns > order.works_after_ns
                if output.is_last:
                    ended.add(order.order_id)
            elif isinstance(output, Closed | Voided | Replaced):
                assert output.order.order_id not in ended
                ended.add(output.order.order_id)


@given(RULES, ACTIONS)
@settings(max_examples=80, deadline=None)
def test_no_reserve_is_below_zero_and_no_order_is_lost(rules, actions):
    """Every accepted order works, or has ended in a way that was said; what it holds is never negative; exits never outlive their group."""
    _, history = play(rules, actions)
    works = set()
    for _, _, state, made in history:
        for output in made:
            if isinstance(output, Accepted):
                works.add(output.order.order_id)
            elif isinstance(output, Closed | Voided | Replaced) or (isinstance(output, Filled) and output.is_last):
                works.discard(output.order.order_id)
        assert works == set(state.orders)
        assert reserved_usd(state) >= 0
        assert all(order.reserved_usd >= 0 and (order.remaining > 0 or order.notional_usd) for order in state.orders.values())
        exits = [order for order in state.orders.values() if order.is_exit]
        assert all(len({o.remaining for o in exits if o.group == order.group}) == 1 for order in exits)


@given(RULES, ACTIONS)
@settings(max_examples=60, deadline=None)
def test_a_halt_lets_nothing_fill(rules, actions):
    """While a symbol or the market is halted, no trade and no quote fills an order of it."""
    _, history = play(rules, actions)
    for before, event, _, made in history:
        if isinstance(event, Tick | Quoted) and before.conditions.is_halted(event.symbol):
            assert not [o for o in made if isinstance(o, Filled) and o.event_ns == event.event_ns and o.order.symbol == event.symbol]


@given(RULES, ACTIONS)
@settings(max_examples=60, deadline=None)
def test_our_share_of_a_trade_is_kept(rules, actions):
    """With a participation, the fills at one trade take no more than that share of it."""
    _, history = play(rules, actions)
    for _, event, _, made in history:
        if isinstance(event, Tick) and rules.participation:
            assert sum(o.qty for o in made if isinstance(o, Filled) and o.event_ns == event.event_ns) <= rules.participation * event.size


@given(RULES, ACTIONS)
@settings(max_examples=60, deadline=None)
def test_the_same_events_give_the_same_outputs(rules, actions):
    assert outputs_of(play(rules, actions)[1]) == outputs_of(play(rules, actions)[1])


ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(range(2)),
        st.sampled_from(["trade", "trade", "trade", "quote", "status", "band"]),
        PRICES,
        st.integers(-2, 10),
        SIZES,
    ),
    min_size=8,
    max_size=60,
)
WAITING = st.lists(orders(), max_size=8)
GRID = SessionGrid(open_ns=np.array([20, 120]), close_ns=np.array([60, 300]), bar_ns=10)


def ticks_of(rows):
    """Rows of all kinds in order of time; a quote and a band are two rows."""
    found, now = [], 10
    for gap, number, kind, price, width, size in rows:
        now += gap
        other = float(price) + width / 100
        match kind:
            case "trade":
                found.append((now, 1, float(price), size, number, KIND_TRADE, 6 if width == 3 else 0))  # an odd lot sets no price
            case "quote":
                found += [(now, 0, float(price), size, number, KIND_BID, 0), (now, 0, other, size, number, KIND_ASK, 0)]
            case "status":
                flags = (STATUS_HALTED if size % 2 else 0) | (STATUS_SHORT_RESTRICTED if width > 5 else 0)
                found.append((now, 0, 0.0, 0, number, KIND_STATUS, flags))
            case "band":
                low, high = sorted((float(price), other))
                found += [(now, 0, low, 0, number, KIND_BAND_LOW, 0), (now, 0, high, 0, number, KIND_BAND_HIGH, 0)]
    return np.array(found, TICK_DTYPE)


@given(RULES, ROWS, WAITING, st.lists(st.integers(0, 80), max_size=4))
@settings(max_examples=120, deadline=None)
def test_skipping_the_rows_that_cannot_matter_changes_nothing(rules, rows, waiting, cuts):
    """`match` over any cut of a tape of trades, quotes, halts and bands says what stepping over every row says."""
    ticks = ticks_of(rows)
    record = tape(SYMBOLS, ticks, GRID)
    state = opening("replay", cash_usd=CASH, now_ns=0)
    for symbol in SYMBOLS:
        state, _ = step(rules, state, Tick(event_ns=1, symbol=symbol, price_usd=Decimal(10)))
    for number, terms in enumerate(waiting):
        state, made = step(rules, state, submitted(number, 2, terms))
        if number < 2 and isinstance(made[-1], Accepted):  # a cancel and a replacement wait for the next trade
            order_id = made[0].order.order_id
            state, _ = step(rules, state, Direct(event_ns=2, directive_id="race", directive=Race(symbol=terms["symbol"])))
            replacing = Replace(event_ns=2, order_id=order_id, change=Change(client_order_id="new", limit_usd=Decimal(10)))
            state, _ = step(rules, state, replacing if number else Cancel(event_ns=2, order_id=order_id))

    full, expected = state, []
    for place in range(len(ticks)):
        for event in events_at(record, place, full.conditions):
            full, made = step(rules, full, event)
            expected += made
    end = Mark(event_ns=int(ticks["event_ns"][-1]) + 100)
    full, made = step(rules, full, end)
    expected += made

    found, place = [], 0
    for cut in sorted({*(c for c in cuts if c < len(ticks)), len(ticks)}):
        state, made = match(rules, state, record, place, cut)
        found += made
        place = cut
    state, made = step(rules, state, end)
    found += made

    assert found == expected
    assert replace(state, marks={}, traded_ns={}) == replace(full, marks={}, traded_ns={})


def test_a_pending_cancel_meets_the_next_trade_in_a_short_restriction_too():
    """A trade beyond the order's limit decides a cancel that waits, whatever else the search asks of the row."""
    quote = (0, 0, "quote", Decimal(9), 0, 1)
    ticks = ticks_of([quote, (0, 0, "status", Decimal(9), 6, 2), (0, 0, "trade", Decimal("10.01"), 0, 1), quote])
    record = tape(SYMBOLS, ticks, GRID)
    terms = {"symbol": SYMBOLS[0], "side": Side.BUY, "qty": Decimal(1), "limit_usd": Decimal(10), "time_in_force": TimeInForce.DAY}
    rules = Rules(fees=FEES, half_spread_bps=Decimal(0), half_spread_min_usd=Decimal(0), participation=Decimal(0), strict=False)
    state = opening("replay", cash_usd=CASH, now_ns=0)
    state, _ = step(rules, state, Tick(event_ns=1, symbol=SYMBOLS[0], price_usd=Decimal(10)))
    state, made = step(rules, state, submitted(0, 2, {**terms, "life_ns": None, "extended_hours": False}))
    state, _ = step(rules, state, Direct(event_ns=2, directive_id="race", directive=Race(symbol=SYMBOLS[0])))
    state, _ = step(rules, state, Cancel(event_ns=2, order_id=made[0].order.order_id))

    state, said = match(rules, state, record, 0, len(ticks))

    assert [type(one) for one in said][-1] is Closed
    assert not state.orders
