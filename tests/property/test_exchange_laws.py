"""Laws of the paper exchange, over random orders and trades: nothing is lost, nothing fills too early or too dear."""

from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_cases import FEES
from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.domain.trading import Side
from tandem.flow.exchange import opening, step
from tandem.flow.exchange_events import Accepted, Cancel, Charged, Filled, Mark, Submit, Tick
from tandem.flow.exchange_records import Rules, TimeInForce
from tandem.flow.order_checks import buying_power_usd, equity_usd
from tandem.flow.tape import tape
from tandem.flow.tape_match import match

SYMBOLS = (Symbol("A"), Symbol("BB"), Symbol("CCC"))
CASH = Decimal(50_000)
RULES = st.builds(
    Rules,
    fees=st.just(FEES),
    half_spread_bps=st.sampled_from([Decimal(0), Decimal(1), Decimal("12.5")]),
    half_spread_min_usd=st.sampled_from([Decimal(0), Decimal("0.005")]),
    strict=st.booleans(),
)
PRICES = st.integers(900, 1100).map(lambda c: Decimal(c) / 100) | st.integers(1, 30).map(lambda c: Decimal(c) / 1000)
ORDERS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS),
        "side": st.sampled_from(Side),
        "qty": st.integers(1, 600).map(Decimal),
        "limit_usd": st.none() | st.integers(900, 1100).map(lambda c: Decimal(c) / 100),
        "time_in_force": st.sampled_from([TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
        "life_ns": st.none() | st.integers(1, 30),
    }
)
ACTIONS = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.tuples(st.sampled_from(SYMBOLS), PRICES), ORDERS, st.integers(1, 20))),
    min_size=1,
    max_size=60,
)


def events_of(actions):
    """Events in ascending time: a trade of each symbol first, so that every order has a price to be checked against."""
    now, number = 1, 0
    events = [Tick(event_ns=1, symbol=symbol, price_usd=Decimal(10)) for symbol in SYMBOLS]
    for gap, action in actions:
        now += gap
        if isinstance(action, tuple):
            events.append(Tick(event_ns=now, symbol=action[0], price_usd=action[1]))
        elif isinstance(action, dict):
            number += 1
            life_ns = action["life_ns"]
            fields = {key: value for key, value in action.items() if key != "life_ns"}
            expires_ns = None if life_ns is None else now + life_ns
            events.append(Submit(event_ns=now, client_order_id=str(number), expires_ns=expires_ns, **fields))
        else:
            events.append(("cancel", now, action))
    return events


def play(rules, actions):
    """Every (state before, event, state after, outputs), and all outputs."""
    state, history, outputs = opening("replay", cash_usd=CASH, now_ns=0), [], []
    accepted = []
    for found in events_of(actions):
        event = found
        if isinstance(found, tuple):
            if not accepted:
                continue
            event = Cancel(event_ns=found[1], order_id=accepted[found[2] % len(accepted)])
        after, made = step(rules, state, event)
        accepted += [output.order.order_id for output in made if isinstance(output, Accepted)]
        history.append((state, event, after, made))
        outputs += made
        state = after
    return state, history, outputs


@given(RULES, ACTIONS)
@settings(max_examples=150, deadline=None)
def test_cash_and_shares_are_what_fills_and_fees_made_of_them(rules, actions):
    """Money and shares are conserved: the account is the opening cash plus the sum of all fills less all fees, to the last digit."""
    state, _, outputs = play(rules, actions)
    fills = [o for o in outputs if isinstance(o, Filled)]
    fees = [o for o in outputs if isinstance(o, Charged)]

    cash = CASH - sum(f.order.side.sign * f.order.qty * f.price_usd for f in fills) - sum(f.amount_usd for f in fees)
    assert state.cash_usd == cash
    for symbol in SYMBOLS:
        qty = sum(f.order.side.sign * f.order.qty for f in fills if f.order.symbol == symbol)
        assert (state.holdings[symbol].qty if symbol in state.holdings else 0) == qty


@given(RULES, ACTIONS)
@settings(max_examples=150, deadline=None)
def test_a_fill_is_after_its_acceptance_within_its_limit_and_never_better_than_the_trade(rules, actions):
    """Time, limit and spread hold for every fill; an order fills at most once and not after it has ended."""
    _, history, outputs = play(rules, actions)
    for _, event, _, made in history:
        for fill in (o for o in made if isinstance(o, Filled)):
            order = fill.order
            assert isinstance(event, Tick)
            assert event.symbol == order.symbol
            assert fill.event_ns == event.event_ns > order.accepted_ns
            assert order.expires_ns is None or fill.event_ns < order.expires_ns
            assert (fill.price_usd - event.price_usd) * order.side.sign >= 0 or fill.price_usd == Decimal("0.0001")
            assert order.limit_usd is None or (order.limit_usd - fill.price_usd) * order.side.sign >= 0
    ended = [o.order.order_id for o in outputs if not isinstance(o, Accepted | Charged) and hasattr(o, "order")]
    assert len(ended) == len(set(ended))


@given(RULES, ACTIONS)
@settings(max_examples=80, deadline=None)
def test_an_accepted_order_was_within_buying_power(rules, actions):
    """What an order reserves was there when it was accepted."""
    _, history, _ = play(rules, actions)
    for before, event, _, made in history:
        for accepted in (o for o in made if isinstance(o, Accepted)):
            now, _ = step(rules, before, Mark(event_ns=event.event_ns))
            assert accepted.order.reserve_usd <= buying_power_usd(rules, now)


@given(RULES, ACTIONS)
@settings(max_examples=50, deadline=None)
def test_the_same_events_give_the_same_outputs(rules, actions):
    """Nothing but the events decides: same ids, prices, times and order."""
    assert play(rules, actions)[2] == play(rules, actions)[2]


@given(RULES, ACTIONS)
@settings(max_examples=80, deadline=None)
def test_equity_is_cash_and_holdings_at_the_last_prices(rules, actions):
    """Equity has no other part."""
    state, _, _ = play(rules, actions)
    assert equity_usd(state) == state.cash_usd + sum(h.qty * state.marks[s] for s, h in state.holdings.items())


TRADES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(range(3)), PRICES), min_size=1, max_size=80)
WAITING = st.lists(ORDERS, max_size=8)


@given(RULES, TRADES, WAITING, st.lists(st.integers(0, 80), max_size=4))
@settings(max_examples=200, deadline=None)
def test_skipping_the_trades_that_cannot_matter_changes_nothing(rules, trades, waiting, cuts):
    """`match` over any cut of a tape into pieces, then the clock, says what stepping over every trade says."""
    ticks = np.zeros(len(trades), TICK_DTYPE)
    ticks["event_ns"] = 10 + np.cumsum([gap for gap, _, _ in trades])
    ticks["symbol"], ticks["price"], ticks["kind"] = [s for _, s, _ in trades], [float(p) for _, _, p in trades], KIND_TRADE
    state = opening("replay", cash_usd=CASH, now_ns=0)
    start_events = events_of([(0, order) for order in waiting])
    for event in start_events:
        state, _ = step(rules, state, event)

    full, expected = state, []
    for row in ticks:
        event = Tick(event_ns=int(row["event_ns"]), symbol=SYMBOLS[row["symbol"]], price_usd=Decimal(repr(float(row["price"]))))
        full, made = step(rules, full, event)
        expected += made
    end = Mark(event_ns=int(ticks["event_ns"][-1]) + 100)
    full, made = step(rules, full, end)
    expected += made

    record, found, place = tape(SYMBOLS, ticks), [], 0
    for cut in sorted({*(c for c in cuts if c < len(ticks)), len(ticks)}):
        state, made = match(rules, state, record, place, cut)
        found += made
        place = cut
    state, made = step(rules, state, end)
    found += made

    assert found == expected
    assert (state.cash_usd, state.holdings, state.orders) == (full.cash_usd, full.holdings, full.orders)
