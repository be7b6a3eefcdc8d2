"""What happens to the account without an order: corporate actions, borrow, the broker's own trades, prepared refusals, borrow lists."""

from dataclasses import replace
from decimal import Decimal

import pytest

from exchange_cases import BUY, FREE, KO, PEP, SELL, account, order, run, tick, usd
from tandem.flow.directives import (
    AssetFlags,
    Band,
    Dividend,
    Liquidation,
    ManualTrade,
    PowerCut,
    RejectNext,
    Split,
)
from tandem.flow.exchange_events import Accepted, Booked, Booking, Closed, Direct, Ending, Filled, Happened, Mark, Rejected, Voided
from tandem.flow.exchange_records import Origin
from tandem.flow.order_checks import buying_power_usd, equity_usd


def direct(at, directive, **prices):
    return Direct(event_ns=at, directive_id=f"d{at}", directive=directive, prices_usd={name: usd(price) for name, price in prices.items()})


def holding(qty, symbol=KO):
    """An account that holds (or owes) shares bought at 60 or 170."""
    side = BUY if qty > 0 else SELL
    return run(FREE, account(), order(side, str(abs(qty)), symbol, id="h"), tick(1, "60" if symbol == KO else "170", symbol))[0]


@pytest.mark.parametrize(("qty", "amount"), [(100, "46"), (-100, "-46")])
def test_a_dividend_is_paid_to_who_is_long_and_by_who_is_short(qty, amount):
    before = holding(qty)
    state, outputs = run(FREE, before, direct(2, Dividend(symbol=KO, usd_per_share=usd("0.46"))))
    (booked,) = [o for o in outputs if isinstance(o, Booked)]
    assert (booked.kind, booked.amount_usd, booked.qty) == (Booking.DIVIDEND, usd(amount), qty)
    assert state.cash_usd == before.cash_usd + usd(amount)


def test_a_dividend_of_what_is_not_held_books_nothing():
    _, outputs = run(FREE, account(), direct(2, Dividend(symbol=KO, usd_per_share=usd("1"))))
    assert [type(o) for o in outputs] == [Happened]


@pytest.mark.parametrize(
    ("qty", "new", "old", "after", "cash"),
    [
        (100, 4, 1, "400", "0"),
        (-100, 4, 1, "-400", "0"),
        (101, 1, 10, "10", "60"),  # a tenth of a new share, worth 600
        (-101, 1, 10, "-10", "-60"),
        (5, 1, 10, None, "300"),
    ],
)
def test_a_split_keeps_what_the_position_is_worth(qty, new, old, after, cash):
    before = holding(qty)
    state, outputs = run(FREE, before, direct(2, Split(symbol=KO, new_shares=new, old_shares=old)))
    assert state.holdings.get(KO) is None if after is None else state.holdings[KO].qty == usd(after)
    assert state.cash_usd - before.cash_usd == usd(cash)
    assert equity_usd(state) == equity_usd(before)
    assert [o.new_qty for o in outputs if isinstance(o, Booked)] == [usd(after or "0")]


def test_a_split_cancels_the_symbols_orders_and_no_others():
    events = [order(BUY, "1", limit="50"), order(BUY, "1", PEP, limit="150"), direct(1, Split(symbol=KO, new_shares=2, old_shares=1))]
    state, outputs = run(FREE, account(), *events)
    assert [(o.order.symbol, o.ending) for o in outputs if isinstance(o, Closed)] == [(KO, Ending.SPLIT)]
    assert [o.symbol for o in state.orders.values()] == [PEP]


@pytest.mark.parametrize(
    ("qty", "nights", "hard", "fee"),
    [
        (-100, 1, False, "0.50"),  # 100 x 60 x 3 % / 360
        (-101, 1, False, "1.00"),  # lots of 100
        (-100, 3, False, "1.50"),  # over a weekend
        (-100, 1, True, "5.00"),
        (100, 3, False, "0"),
    ],
)
def test_what_is_short_at_the_end_of_a_session_is_borrowed(qty, nights, hard, fee):
    rules = replace(FREE, borrow_bps_year=Decimal(300), hard_borrow_bps_year=Decimal(3000))
    before = holding(qty)
    if hard:
        before, _ = run(rules, before, direct(2, AssetFlags(symbol=KO, easy_to_borrow=False)))
    state, _ = run(rules, before, Mark(event_ns=3, session_end=True, nights=nights))
    assert before.cash_usd - state.cash_usd == usd(fee)
    assert state.last_equity_usd == equity_usd(state)


@pytest.mark.parametrize(
    ("cash", "nights", "owed"),
    [
        ("-36000", 1, "7.00"),  # 36000 x 7 % / 360
        ("-36000", 3, "21.00"),  # over a weekend
        ("-36000.01", 1, "7.01"),  # rounded up to a cent
        ("-36000", 0, "0"),
        ("0", 3, "0"),
        ("36000", 3, "0"),  # nobody pays us
    ],
)
def test_cash_below_zero_at_the_end_of_a_session_is_lent(cash, nights, owed):
    rules = replace(FREE, margin_bps_year=Decimal(700))
    before = replace(holding(1_000), cash_usd=usd(cash))
    state, outputs = run(rules, before, Mark(event_ns=3, session_end=True, nights=nights))
    assert before.cash_usd - state.cash_usd == usd(owed)
    assert [(o.kind, o.symbol, -o.amount_usd) for o in outputs] == [(Booking.INTEREST, None, usd(owed))] * (usd(owed) > 0)
    assert state.last_equity_usd == equity_usd(state)
    assert run(FREE, before, Mark(event_ns=3, session_end=True, nights=nights))[0].cash_usd == before.cash_usd


def test_what_borrowing_costs_is_lent_over_the_night_too():
    """A cent of cash and half a dollar of borrow: 49 cents are owed, and cost a cent."""
    rules = replace(FREE, borrow_bps_year=Decimal(300), margin_bps_year=Decimal(700))
    before = replace(holding(-100), cash_usd=usd("0.01"))
    state, outputs = run(rules, before, Mark(event_ns=3, session_end=True, nights=1))
    assert [(o.kind, o.amount_usd) for o in outputs] == [(Booking.BORROW, usd("-0.50")), (Booking.INTEREST, usd("-0.01"))]
    assert state.cash_usd == usd("-0.50")


def test_a_liquidation_cancels_orders_and_sells_what_is_held():
    state, _ = run(FREE, holding(100), order(BUY, "7", at=1, limit="50", id="open"))
    state, outputs = run(FREE, state, direct(2, Liquidation(), KO="55"))
    assert [o.ending for o in outputs if isinstance(o, Closed)] == [Ending.BROKER]
    (fill,) = [o for o in outputs if isinstance(o, Filled)]
    assert (fill.order.origin, fill.order.side, fill.qty, fill.price_usd) == (Origin.LIQUIDATION, SELL, 100, 55)
    assert (state.holdings, state.orders) == ({}, {})


def test_a_part_of_a_short_position_may_be_bought_in():
    state, outputs = run(FREE, holding(-100), direct(2, Liquidation(symbol=KO, qty=usd("30")), KO="61"))
    assert state.holdings[KO].qty == -70
    assert [o.qty for o in outputs if isinstance(o, Filled)] == [30]


def test_somebody_else_trades_in_the_account():
    state, outputs = run(FREE, account(), direct(2, ManualTrade(symbol=KO, side=BUY, qty=usd("5")), KO="61"))
    assert state.holdings[KO].qty == 5
    assert [o.order.origin for o in outputs if isinstance(o, Filled)] == [Origin.MANUAL]


def test_a_prepared_refusal_is_used_up_by_the_order_it_is_for():
    state, _ = run(FREE, account(), direct(1, RejectNext(symbol=PEP, message="no")))
    state, outputs = run(FREE, state, order(BUY, "1", at=1), order(BUY, "1", PEP, at=1, id="p"), order(BUY, "1", PEP, at=1, id="q"))
    assert [type(o) for o in outputs] == [Accepted, Rejected, Accepted]
    assert (outputs[1].client_order_id, outputs[1].message, outputs[1].status) == ("p", "no", 403)
    assert state.conditions.rejects == ()


def test_a_late_refusal_accepts_first():
    state, outputs = run(FREE, account(), direct(1, RejectNext(count=2, late=True)), *(order(BUY, "1", at=1, id=i) for i in "abc"))
    assert [type(o) for o in outputs] == [Happened, Accepted, Voided, Accepted, Voided, Accepted]
    assert [o.client_order_id for o in state.orders.values()] == ["c"]


@pytest.mark.parametrize("flags", [{"shortable": False}, {"easy_to_borrow": False}])
def test_open_short_sales_of_what_cannot_be_borrowed_are_canceled(flags):
    state, _ = run(FREE, account(), order(SELL, "5", limit="70", id="short"), order(BUY, "5", limit="50", id="long"))
    state, outputs = run(FREE, state, direct(1, AssetFlags(symbol=KO, **flags)))
    assert [(o.order.client_order_id, o.ending) for o in outputs if isinstance(o, Closed)] == [("short", Ending.BORROW)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [({"tradable": False}, "not tradable"), ({"shortable": False}, "cannot be sold short")],
)
def test_the_brokers_flags_refuse_orders(flags, message):
    state, _ = run(FREE, account(), direct(1, AssetFlags(symbol=KO, **flags)))
    _, outputs = run(FREE, state, order(SELL, "5", at=1))
    assert message in outputs[0].message


def test_buying_power_may_be_cut_and_given_back():
    state, _ = run(FREE, account(), direct(1, PowerCut(usd=usd("100"))))
    assert buying_power_usd(FREE, state) == 100
    _, outputs = run(FREE, state, order(BUY, "2", at=1))
    assert "insufficient buying power" in outputs[0].message
    state, _ = run(FREE, state, direct(2, PowerCut(usd=None)))
    assert buying_power_usd(FREE, state) == 200_000


def test_an_account_of_too_large_positions_may_only_close():
    """Losses have made the position more than six times the equity."""
    state = replace(holding(100), cash_usd=usd("-5100"))
    _, outputs = run(FREE, state, order(BUY, "1", PEP, at=1), order(SELL, "100", at=1, id="close"))
    assert [type(o) for o in outputs] == [Rejected, Accepted]
    assert "closing orders" in outputs[0].message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Split(symbol=KO, new_shares=0, old_shares=1),
        lambda: Dividend(symbol=KO, usd_per_share=Decimal(0)),
        lambda: ManualTrade(symbol=KO, side=BUY, qty=Decimal(0)),
        lambda: Liquidation(qty=Decimal(0)),
        lambda: RejectNext(count=0),
        lambda: PowerCut(usd=Decimal(-1)),
        lambda: Band(symbol=KO, low_usd=Decimal(2), high_usd=Decimal(1)),
    ],
)
def test_a_directive_that_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match=r"must be|at least|above"):
        make()
