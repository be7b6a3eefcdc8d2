"""Stops, auctions, money amounts, partial fills, quotes, groups of orders, replacements and races at the paper exchange."""

from dataclasses import replace
from decimal import Decimal

import pytest

from exchange_cases import BUY, FREE, KO, PEP, RULES, SELL, account, clock, order, quoted, run, tick, usd
from tandem.flow.directives import Band, Halt, Race, Resume, ShortRestriction
from tandem.flow.exchange_events import (
    Accepted,
    Adjusted,
    Cancel,
    CancelRefused,
    Closed,
    Direct,
    Ending,
    Exit,
    Filled,
    Noted,
    Rejected,
    Released,
    Replace,
    Replaced,
    ReplaceRefused,
    Waiting,
)
from tandem.flow.exchange_records import Change, Hours, OrderClass, Rules, TimeInForce
from tandem.flow.order_checks import buying_power_usd, held_for_orders

HALF = replace(FREE, participation=Decimal("0.5"))


def plain(value):
    return f"{float(value):g}"


def fills(outputs):
    return [(o.event_ns, o.order.client_order_id, plain(o.qty), plain(o.price_usd)) for o in outputs if isinstance(o, Filled)]


def of(kind, outputs):
    return [o for o in outputs if isinstance(o, kind)]


def direct(at, directive):
    return Direct(event_ns=at, directive_id=f"d{at}", directive=directive)


# Stops


@pytest.mark.parametrize(
    ("side", "stop", "prices", "expected"),
    [
        (SELL, "59", ["59.50", "59", "58"], [(3, "58")]),  # the trade at 59 triggers, the next one fills
        (SELL, "59", ["58", "58.50"], [(2, "58.5")]),
        (BUY, "61", ["60.50", "62", "61.50"], [(3, "61.5")]),
        (BUY, "61", ["60.50", "60.90"], []),
    ],
)
def test_a_stop_is_triggered_by_a_trade_and_fills_on_the_next(side, stop, prices, expected):
    ticks = [tick(n + 1, price) for n, price in enumerate(prices)]
    _, outputs = run(FREE, account(), order(side, "1", stop_usd=usd(stop), id="s"), *ticks)
    assert [(at, price) for at, _, _, price in fills(outputs)] == expected


def test_a_stop_limit_waits_for_its_limit_after_the_trigger():
    _, outputs = run(
        FREE, account(), order(SELL, "1", limit="58.50", stop_usd=usd("59"), id="s"), tick(1, "59"), tick(2, "58"), tick(3, "58.60")
    )
    assert fills(outputs) == [(3, "s", "1", "58.6")]


@pytest.mark.parametrize(
    ("side", "trail", "prices", "expected"),
    [
        (SELL, {"trail_usd": usd("1")}, ["61", "62", "61.10", "61", "60.50"], [(5, "60.5")]),  # 62 - 1: the trade at 61 triggers
        (SELL, {"trail_percent": usd("10")}, ["70", "63.10", "63", "62"], [(4, "62")]),
        (BUY, {"trail_usd": usd("1")}, ["58", "58.90", "59", "59.20"], [(4, "59.2")]),
    ],
)
def test_a_trailing_stop_follows_the_best_price(side, trail, prices, expected):
    ticks = [tick(n + 1, price) for n, price in enumerate(prices)]
    _, outputs = run(FREE, account(), order(side, "1", id="t", **trail), *ticks)
    assert [(at, price) for at, _, _, price in fills(outputs)] == expected


def test_trades_outside_the_session_move_no_stop_and_fill_only_who_asked():
    orders = [
        order(BUY, "1", id="plain"),
        order(BUY, "2", limit="61", id="extended", extended_hours=True),
        order(SELL, "1", PEP, stop_usd=usd("160"), id="stop"),
    ]
    _, outputs = run(FREE, account(), *orders, tick(1, "60", is_extended=True), tick(2, "150", PEP, is_extended=True), tick(3, "60"))
    assert fills(outputs) == [(1, "extended", "2", "60"), (3, "plain", "1", "60")]


# Auctions


def test_an_opening_order_gets_the_sessions_first_trade_without_a_spread():
    hours = Hours(closed_ns=None, open_ns=10**15, close_ns=2 * 10**15)
    orders = [
        order(BUY, "1", id="moo", time_in_force=TimeInForce.OPG, hours=hours),
        order(BUY, "1", limit="50", id="loo", time_in_force=TimeInForce.OPG, hours=hours),
    ]
    _, outputs = run(RULES, account(), *orders, tick(1, "61", is_extended=True), tick(2, "60"), tick(3, "40"))
    assert fills(outputs) == [(2, "moo", "1", "60")]
    assert [(o.order.client_order_id, o.ending) for o in of(Closed, outputs)] == [("loo", Ending.AT_ONCE)]


def test_a_closing_order_gets_the_sessions_last_trade_at_its_end():
    hours = Hours(closed_ns=None, open_ns=0, close_ns=10**15)
    orders = [
        order(SELL, "1", id="moc", time_in_force=TimeInForce.CLS, expires_ns=100, hours=hours),
        order(SELL, "1", limit="70", id="loc", time_in_force=TimeInForce.CLS, expires_ns=100, hours=hours),
        order(BUY, "1", PEP, id="quiet", time_in_force=TimeInForce.CLS, expires_ns=100, hours=hours),
    ]
    _, outputs = run(RULES, account(), *orders, tick(1, "61"), tick(99, "60"), tick(101, "65"))
    assert fills(outputs) == [(100, "moc", "1", "60")]
    assert [(o.order.client_order_id, o.ending) for o in of(Closed, outputs)] == [("loc", Ending.EXPIRED), ("quiet", Ending.EXPIRED)]


MINUTE_NS = 60 * 10**9


@pytest.mark.parametrize(
    ("force", "minutes", "accepted"),
    [
        (TimeInForce.OPG, -3, True),
        (TimeInForce.OPG, -2, False),  # 09:28
        (TimeInForce.OPG, 100, False),
        (TimeInForce.CLS, 379, True),
        (TimeInForce.CLS, 380, False),  # 15:50
        (TimeInForce.OPG, -1051, False),  # 15:59 the day before, with the market closed since 13:00
        (TimeInForce.OPG, -1049, True),  # three hours after that close
    ],
)
def test_orders_for_auctions_come_in_time(force, minutes, accepted):
    """The session opens 2,000 minutes after the clock's zero; the one before closed 1,230 minutes before it."""
    opened = 2_000 * MINUTE_NS
    hours = Hours(closed_ns=opened - 1_230 * MINUTE_NS, open_ns=opened, close_ns=opened + 390 * MINUTE_NS)
    _, outputs = run(FREE, account(), order(BUY, "1", at=opened + minutes * MINUTE_NS, time_in_force=force, hours=hours))
    assert isinstance(outputs[0], Accepted) == accepted


# Quantities


def test_an_amount_of_money_becomes_shares_at_its_first_price():
    state, outputs = run(FREE, account(), order(BUY, "0", notional_usd=usd("100"), id="n"), tick(1, "64"))
    assert fills(outputs) == [(1, "n", "1.5625", "64")]
    assert state.cash_usd == 99_900


def test_a_large_order_fills_in_parts_and_cash_follows_each():
    state, outputs = run(HALF, account(), order(BUY, "120", id="x"), *(tick(n, "60", size=100) for n in (1, 2, 3)))
    assert fills(outputs) == [(1, "x", "50", "60"), (2, "x", "50", "60"), (3, "x", "20", "60")]
    assert len({o.execution_id for o in of(Filled, outputs)}) == 3
    assert [str(o.order.remaining) for o in of(Filled, outputs)] == ["70", "20", "0"]
    assert [o.cash_usd for o in of(Filled, outputs)] == [97_000, 94_000, 92_800]
    assert state.orders == {}


def test_orders_share_a_trades_room_in_the_order_of_acceptance():
    _, outputs = run(HALF, account(), order(BUY, "30", id="first"), order(BUY, "30", id="second"), tick(1, "60", size=100))
    assert fills(outputs) == [(1, "first", "30", "60"), (1, "second", "20", "60")]


@pytest.mark.parametrize(("force", "expected"), [(TimeInForce.IOC, [(1, "x", "50", "60")]), (TimeInForce.FOK, [])])
def test_at_once_takes_what_there_is_or_nothing(force, expected):
    state, outputs = run(HALF, account(), order(BUY, "80", id="x", time_in_force=force), tick(1, "60", size=100), tick(2, "60", size=500))
    assert fills(outputs) == expected
    assert [o.ending for o in of(Closed, outputs)] == [Ending.AT_ONCE]
    assert state.orders == {}


def test_a_partly_filled_order_holds_buying_power_for_its_rest_only():
    state, _ = run(HALF, account(), order(BUY, "100", limit="60", id="x"), tick(1, "60", size=100))
    assert [o.reserved_usd for o in state.orders.values()] == [3_000]
    assert buying_power_usd(FREE, state) == 2 * 100_000 - 3_000 - 3_000


# Quotes


def test_where_a_quote_stands_fills_come_from_it():
    orders = [order(BUY, "1", id="b"), order(SELL, "1", PEP, id="s")]
    events = [tick(1, "60", is_quoted=True), quoted(2, "59.90", "60.07"), quoted(3, "169.50", "170.10", PEP)]
    _, outputs = run(RULES, account(), *orders, *events)
    assert fills(outputs) == [(2, "b", "1", "60.07"), (3, "s", "1", "169.5")]


@pytest.mark.parametrize(("bid", "ask"), [("60.10", "60"), ("0", "60"), ("60", "0")])
def test_a_quote_that_is_not_sound_fills_nothing(bid, ask):
    _, outputs = run(FREE, account(), order(BUY, "1"), quoted(1, bid, ask))
    assert fills(outputs) == []


def test_a_quotes_size_bounds_what_it_fills():
    _, outputs = run(
        HALF, account(), order(BUY, "100", id="x"), quoted(1, "59", "60", sizes=(10, 60)), quoted(2, "59", "61", sizes=(10, 400))
    )
    assert fills(outputs) == [(1, "x", "30", "60"), (2, "x", "70", "61")]


def test_slippage_is_paid_by_orders_without_a_limit():
    rules = replace(FREE, slippage_bps=Decimal(10))
    _, outputs = run(rules, account(), order(BUY, "1", id="m"), order(BUY, "1", limit="61", id="l"), tick(1, "60"))
    assert fills(outputs) == [(1, "m", "1", "60.06"), (1, "l", "1", "60")]


# Halts, bands, short sale restrictions


def test_nothing_fills_during_a_halt_and_everything_after_it():
    _, outputs = run(
        FREE,
        account(),
        direct(1, Halt(symbol=KO)),
        order(BUY, "1", id="a", at=1),
        order(SELL, "1", PEP, id="other", at=1),
        tick(2, "60"),
        tick(3, "170", PEP),
        quoted(4, "59", "60"),
        direct(5, Resume(symbol=KO)),
        tick(5, "60"),
    )
    assert fills(outputs) == [(3, "other", "1", "170"), (5, "a", "1", "60")]


def test_a_market_wide_halt_stops_every_symbol():
    _, outputs = run(FREE, account(), direct(1, Halt()), order(BUY, "1", at=1), tick(2, "60"), direct(3, Resume()), tick(4, "61"))
    assert [at for at, *_ in fills(outputs)] == [4]


def test_no_fill_is_outside_the_price_band():
    events = [
        direct(1, Band(symbol=KO, low_usd=usd("59"), high_usd=usd("61"))),
        order(BUY, "1", id="b", at=1),
        order(SELL, "1", PEP, id="p", at=1),
    ]
    _, outputs = run(FREE, account(), *events, tick(2, "61.5"), tick(3, "100", PEP), tick(4, "61"))
    assert fills(outputs) == [(3, "p", "1", "100"), (4, "b", "1", "61")]


def test_a_restricted_short_sale_needs_a_limit_and_an_uptick():
    state, _ = run(FREE, account(), direct(0, ShortRestriction(symbol=KO, restricted=True)))
    _, refused = run(FREE, state, order(SELL, "1"))
    assert "short sale restriction" in refused[0].message
    _, outputs = run(FREE, state, order(SELL, "1", limit="60", id="s"), tick(1, "60"), tick(2, "60.01", is_uptick=True))
    assert fills(outputs) == [(2, "s", "1", "60.01")]


def test_who_sells_what_he_holds_is_not_restricted():
    state, _ = run(FREE, account(), order(BUY, "5"), tick(1, "60"), direct(2, ShortRestriction(symbol=KO, restricted=True)))
    _, outputs = run(FREE, state, order(SELL, "5", at=2, id="s"), tick(3, "59"))
    assert fills(outputs) == [(3, "s", "5", "59")]


# Groups


def bracket(**more):
    return order(
        BUY,
        "100",
        limit="60",
        id="entry",
        order_class=OrderClass.BRACKET,
        take_profit=Exit(client_order_id="profit", limit_usd=usd("66")),
        stop_loss=Exit(client_order_id="loss", stop_usd=usd("57")),
        **more,
    )


def test_exits_wait_for_their_entry_and_one_ends_the_other():
    state, outputs = run(FREE, account(), bracket(), tick(1, "66"), tick(2, "60"))
    assert [o.order.is_held for o in of(Accepted, outputs)] == [False, True, True]
    assert fills(outputs) == [(2, "entry", "100", "60")]
    assert [o.order.client_order_id for o in of(Released, outputs)] == ["profit", "loss"]
    assert held_for_orders(state, KO) == 100  # both want the same shares

    state, outputs = run(FREE, state, tick(3, "66.50"))
    assert fills(outputs) == [(3, "profit", "100", "66.5")]
    assert [(o.order.client_order_id, o.ending) for o in of(Closed, outputs)] == [("loss", Ending.SIBLING)]
    assert (state.orders, state.holdings) == ({}, {})


def test_a_stop_loss_ends_its_take_profit():
    state, _ = run(FREE, account(), bracket(), tick(1, "60"))
    state, outputs = run(FREE, state, tick(2, "57"), tick(3, "56"))
    assert fills(outputs) == [(3, "loss", "100", "56")]
    assert state.orders == {}


def test_an_exit_that_fills_in_part_makes_its_sibling_smaller():
    state, _ = run(FREE, account(), bracket(), tick(1, "60"))
    state, outputs = run(HALF, state, tick(2, "66", size=60))
    assert [str(o.order.qty) for o in of(Adjusted, outputs)] == ["70"]
    state, outputs = run(FREE, state, tick(3, "50"), tick(4, "50"))
    assert fills(outputs) == [(4, "loss", "70", "50")]
    assert (state.orders, state.holdings) == ({}, {})


def test_a_canceled_entry_takes_its_exits_along():
    state, outputs = run(FREE, account(), bracket())
    state, outputs = run(FREE, state, Cancel(event_ns=1, order_id=outputs[0].order.order_id))
    assert [o.ending for o in of(Closed, outputs)] == [Ending.REQUEST, Ending.SIBLING, Ending.SIBLING]
    assert state.orders == {}


def test_one_cancels_the_other():
    state, _ = run(FREE, account(), order(BUY, "10"), tick(1, "60"))
    oco = order(
        SELL, "10", at=1, limit="65", id="profit", order_class=OrderClass.OCO, stop_loss=Exit(client_order_id="loss", stop_usd=usd("55"))
    )
    state, outputs = run(FREE, state, oco, tick(2, "65"))
    assert fills(outputs) == [(2, "profit", "10", "65")]
    assert state.orders == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"take_profit": Exit(client_order_id="p", limit_usd=usd("60"))}, "take_profit.limit_price must be beyond"),
        ({"stop_loss": Exit(client_order_id="l", stop_usd=usd("60"))}, "stop_loss.stop_price must be behind"),
        ({"stop_loss": Exit(client_order_id="l", stop_usd=usd("67"))}, "wrong sides"),
        ({"time_in_force": TimeInForce.IOC}, "must be DAY or GTC"),
        ({"extended_hours": True}, "not allowed in extended hours"),
        ({"qty": usd("1.5")}, "fractional orders must be simple"),
        ({"stop_loss": Exit(client_order_id="l", stop_usd=usd("57.001"))}, "invalid stop_loss.stop_price"),
    ],
)
def test_a_bracket_that_makes_no_sense_is_refused(change, message):
    _, outputs = run(FREE, account(), replace(bracket(), **change))
    assert message in outputs[0].message


# Replacements and races


def asked(order_id, at=1, **change):
    return Replace(event_ns=at, order_id=order_id, change=Change(client_order_id="new", **change))


def test_a_replacement_is_a_new_order_that_works_on_later_trades():
    state, outputs = run(FREE, account(), order(BUY, "10", limit="50", id="old"))
    old = outputs[0].order
    state, outputs = run(FREE, state, asked(old.order_id, limit_usd=usd("61")), tick(1, "60"), tick(2, "60.50"))
    (replaced,) = of(Replaced, outputs)
    (new,) = of(Accepted, outputs)
    assert (replaced.order.order_id, replaced.new_order_id, new.order.replaces) == (old.order_id, new.order.order_id, old.order_id)
    assert new.order.order_id != old.order_id
    assert fills(outputs) == [(2, "new", "10", "60.5")]


def test_a_replacements_quantity_counts_what_is_filled():
    state, outputs = run(HALF, account(), order(BUY, "100", limit="60", id="old"), tick(1, "60", size=60))
    old = outputs[0].order
    _, refused = run(HALF, state, asked(old.order_id, qty=usd("30")))
    assert "qty must be > filled_qty" in refused[0].message
    state, outputs = run(FREE, state, asked(old.order_id, qty=usd("80")), tick(2, "60"))
    assert fills(outputs) == [(2, "new", "50", "60")]
    assert state.holdings[KO].qty == 80


@pytest.mark.parametrize(
    ("made", "change", "message"),
    [
        ({"limit": "50"}, {"stop_usd": usd("49")}, "stop_price cannot be set on a limit order"),
        ({}, {"limit_usd": usd("49")}, "limit_price cannot be set on a market order"),
        ({"limit": "50"}, {"trail": usd("1")}, "trail cannot be set"),
        ({"limit": "50"}, {"qty": usd("1.5")}, "qty of fractional orders"),
        ({"limit": "50"}, {"qty": usd("1000000")}, "insufficient buying power"),
        ({"limit": "50"}, {"limit_usd": usd("49.001")}, "sub-penny"),
    ],
)
def test_a_replacement_that_cannot_be_leaves_the_order(made, change, message):
    state, outputs = run(FREE, account(), order(BUY, "10", id="old", **made))
    after, refused = run(FREE, state, asked(outputs[0].order.order_id, **change))
    assert isinstance(refused[0], ReplaceRefused)
    assert message in refused[0].message
    assert after.orders == state.orders


def test_an_order_that_is_gone_cannot_be_replaced():
    _, outputs = run(FREE, account(), asked("nothing", qty=usd("1")))
    assert "not open" in outputs[0].message


def test_in_a_race_the_fill_may_win_over_the_cancel():
    state, outputs = run(FREE, account(), order(BUY, "10", id="x"), direct(0, Race(symbol=KO)))
    order_id = of(Accepted, outputs)[0].order.order_id
    state, outputs = run(FREE, state, Cancel(event_ns=1, order_id=order_id))
    assert [o.what for o in outputs] == [Waiting.CANCEL_PENDING]
    assert of(CancelRefused, run(FREE, state, Cancel(event_ns=1, order_id=order_id))[1])
    _, outputs = run(FREE, state, tick(2, "60"))
    assert fills(outputs) == [(2, "x", "10", "60")]
    assert [o.what for o in of(Noted, outputs)] == [Waiting.CANCEL_REJECTED]


def test_in_a_race_a_cancel_takes_effect_at_the_next_trade_that_does_not_fill():
    state, outputs = run(FREE, account(), order(BUY, "10", limit="50", id="x"), direct(0, Race(symbol=KO)))
    state, _ = run(FREE, state, Cancel(event_ns=1, order_id=of(Accepted, outputs)[0].order.order_id))
    state, outputs = run(FREE, state, tick(2, "60"))
    assert [(o.ending, o.event_ns) for o in of(Closed, outputs)] == [(Ending.REQUEST, 2)]
    assert state.orders == {}


def test_in_a_race_a_replacement_waits_and_a_part_may_fill_before_it():
    state, outputs = run(FREE, account(), order(BUY, "100", limit="60", id="x"), direct(0, Race(symbol=KO)))
    state, outputs = run(FREE, state, asked(of(Accepted, outputs)[0].order.order_id, limit_usd=usd("59")))
    assert [o.what for o in outputs] == [Waiting.REPLACE_PENDING]
    state, outputs = run(HALF, state, tick(2, "60", size=80))
    assert fills(outputs) == [(2, "x", "40", "60")]
    (new,) = of(Accepted, outputs)
    assert (new.order.qty, new.order.limit_usd) == (60, usd("59"))


def test_rules_out_of_their_bounds_are_refused():
    for bad in ({"participation": Decimal(2)}, {"slippage_bps": Decimal(-1)}, {"borrow_bps_year": Decimal(-1)}):
        with pytest.raises(ValueError, match="must be"):
            Rules(**bad)


def test_clock_alone_changes_nothing():
    state, outputs = run(FREE, account(), order(BUY, "1"), clock(5))
    assert len(state.orders) == 1
    assert not of(Rejected, outputs)
