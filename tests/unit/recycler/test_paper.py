"""The paper exchange along a tape: sessions and what is between them, recorded quotes and halts, questions that change nothing."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from paper_cases import DAY_NS, FREE, GRID, KO, MINUTE_NS, OPEN_NS, PEP, SESSION_NS, SYMBOLS, Bench, rows, steady
from tandem.adapters.alpaca_broker import _fee
from tandem.domain.ids import PairId
from tandem.domain.ledger import CASH
from tandem.domain.market import KIND_ASK, KIND_BID, KIND_STATUS, STATUS_HALTED, TICK_DTYPE
from tandem.domain.trading import Side
from tandem.domain.units import NS_PER_S
from tandem.flow.accounting import NO_PAIR, charge_entries
from tandem.flow.exchange_events import Booked, Booking
from tandem.flow.exchange_records import TimeInForce
from tandem.flow.tape import tape
from tandem.recycler import views
from tandem.recycler.book import Status
from tandem.recycler.order_body import ChangeBody

CLOSE_S = SESSION_NS // NS_PER_S
DAY_S = DAY_NS // NS_PER_S


def bench_of(*trades, rules=FREE):
    return Bench(tape(SYMBOLS, rows(*trades), GRID), rules)


def to(bench, second, *, session_ends=False):
    """Play everything before a second, and say that it has come."""
    moment_ns = OPEN_NS + second * NS_PER_S
    bench.paper.advance(bench.tape, int(np.searchsorted(bench.tape.event_ns, moment_ns)))
    bench.paper.reach(moment_ns)


def fills(bench):
    found = [a for _, a in bench.paper.book.activities(after_ns=0, until_ns=10**19) if hasattr(a, "execution_id") and hasattr(a, "qty")]
    return [(f.order.client_order_id, (f.event_ns - OPEN_NS) // NS_PER_S, str(f.price_usd)) for f in found]


def test_an_order_of_the_last_bar_waits_for_the_next_session():
    """A print after the close fills it no more, and does not fill the order that was given at the close, unless that asked for it."""
    bench = bench_of((CLOSE_S - 5, KO, 60.0), (CLOSE_S + 60, KO, 61.0), (DAY_S + 1, KO, 62.0))
    to(bench, CLOSE_S)
    bench.order("next day")
    bench.order("evening", limit_usd=Decimal("61.50"), extended_hours=True)
    to(bench, DAY_S)
    to(bench, DAY_S + 60)
    assert fills(bench) == [("evening", CLOSE_S + 60, "61.00"), ("next day", DAY_S + 1, "62.00")]


def test_auctions_fill_at_the_first_and_the_last_trade():
    bench = bench_of(
        (0, KO, 60.0), (30, KO, 60.5), (CLOSE_S - 5, KO, 61.0), (CLOSE_S + 9, KO, 99.0), (DAY_S + 3, KO, 62.0), (DAY_S + 4, KO, 63.0)
    )
    to(bench, 20)
    bench.order("close", time_in_force=TimeInForce.CLS)
    to(bench, CLOSE_S)
    assert fills(bench) == [("close", CLOSE_S, "61.0")]
    to(bench, CLOSE_S + 4 * 3600)
    bench.order("open", time_in_force=TimeInForce.OPG)
    to(bench, DAY_S + 60)
    assert fills(bench)[1:] == [("open", DAY_S + 3, "62.0")]


def test_borrow_is_paid_for_each_night_until_the_next_session():
    """100 shares of KO at 60, 36 % a year of 360 days: 6 USD a night. The holiday makes two of the third one."""
    trades = [(day * DAY_S + second, KO, 60.0) for day in range(3) for second in (1, 100)]
    bench = bench_of(*trades, rules=replace(FREE, borrow_bps_year=Decimal(3600)))
    to(bench, 60)
    bench.order("short", Side.SELL, "100")
    for close_ns in GRID.close_ns[:3]:
        to(bench, int(close_ns - OPEN_NS) // NS_PER_S)
    found = [a for _, a in bench.paper.book.activities(after_ns=0, until_ns=10**19) if isinstance(a, Booked)]
    assert [(b.kind, b.nights, b.amount_usd) for b in found] == [(Booking.BORROW, nights, Decimal(-6 * nights)) for nights in (1, 1, 2)]
    assert bench.paper.book.charges == len(found)


def test_interest_is_told_as_an_activity_that_the_ledger_books_to_the_cent():
    """What the exchange takes, the broker's adapter reads as interest, and the ledger's cash follows."""
    bench = bench_of((1, KO, 60.0), (100, KO, 60.0), (DAY_S + 1, KO, 60.0), rules=replace(FREE, margin_bps_year=Decimal(700)))
    to(bench, 60)
    cash_usd = bench.paper.state.cash_usd
    bench.order("long", qty=str(int(cash_usd / 60 * Decimal("1.5"))))
    to(bench, CLOSE_S)
    ((_, booked),) = [found for found in bench.paper.book.activities(after_ns=0, until_ns=10**19) if isinstance(found[1], Booked)]
    activity = views.activity(booked)
    assert (activity["activity_type"], activity["symbol"], booked.kind) == ("INT", None, Booking.INTEREST)
    (entry,) = charge_entries(_fee(activity), PairId(NO_PAIR), {})
    paid_usd = sum(posting.amount for posting in entry.postings if posting.account == CASH)
    assert paid_usd == booked.amount_usd < 0
    assert (entry.kind, entry.pair) == ("interest", NO_PAIR)


def quoted_tape(*more):
    """KO trades at 60; then quotes of 59.90 to 60.20, and after two minutes without one trades again."""
    found = [
        *((second, KO, 60.0, 100, 1, 0) for second in (1, 10)),
        *((20, KO, price, 300, kind, 0) for price, kind in ((59.9, KIND_BID), (60.2, KIND_ASK))),
        (25, KO, 60.0, 100, 1, 0),
        *((40, KO, price, 300, kind, 0) for price, kind in ((59.8, KIND_BID), (60.1, KIND_ASK))),
        *((50, KO, price, 300, kind, 0) for price, kind in ((60.5, KIND_BID), (60.4, KIND_ASK))),  # crossed
        (52, KO, 60.3, 100, 1, 0),
        (170, KO, 60.0, 100, 1, 0),
        *more,
    ]
    ticks = np.zeros(len(found), TICK_DTYPE)
    for row, (second, symbol, price, size, kind, flags) in zip(ticks, sorted(found, key=lambda f: f[0]), strict=True):
        row["event_ns"], row["symbol"], row["price"] = OPEN_NS + second * NS_PER_S, SYMBOLS.index(symbol), price
        row["size"], row["kind"], row["flags"] = size, kind, flags
    return tape(SYMBOLS, ticks, GRID)


@pytest.mark.parametrize(
    ("at", "filled"),
    [
        (5, (10, "60.00")),  # no quote has come yet: the next trade
        (15, (20, "60.2")),
        (22, (40, "60.1")),  # the trade between them moves no order: a fresh quote stands
        (45, (52, "60.30")),  # the crossed quote fills nothing and stands for nothing, so a trade does
        (60, (170, "60.00")),  # a minute without a quote
    ],
)
def test_fills_come_from_the_quote_where_a_fresh_one_stands(at, filled):
    bench = Bench(quoted_tape((2, PEP, 170.0, 100, 1, 0)))
    to(bench, at)
    bench.order("x")
    to(bench, 300)
    assert fills(bench) == [("x", *filled)]


def test_a_recorded_halt_stops_fills_until_it_ends():
    halt = [(21, KO, 0.0, 0, KIND_STATUS, STATUS_HALTED), (41, KO, 0.0, 0, KIND_STATUS, 0)]
    bench = Bench(quoted_tape(*halt))
    to(bench, 22)
    bench.order("x")
    to(bench, 300)
    assert fills(bench) == [("x", 52, "60.30")]
    assert [type(o.directive).__name__ for o in bench.paper.agenda.done] == ["Halt", "Resume"]


def test_questions_change_nothing():
    """An account that is looked at between all ticks ends as one that is not."""
    asked, quiet = (
        Bench(steady(), replace(FREE, participation=Decimal("0.05"))),
        Bench(steady(), replace(FREE, participation=Decimal("0.05"))),
    )
    for bench in (asked, quiet):
        bench.play(1)
        bench.order("a", Side.BUY, "40")
        bench.order("b", Side.SELL, "30", PEP, trail_percent=Decimal("0.5"))
        for minute in range(2, 11):
            bench.play(minute, block=1 if bench is asked else 100)
            if bench is asked:
                bench.paper.valued(PEP)
    assert asked.paper.state == replace(quiet.paper.state, marks=asked.paper.state.marks)
    assert asked.updates == quiet.updates


def test_a_replaced_order_is_found_under_both_ids():
    bench = Bench(steady())
    bench.play(1)
    bench.order("old", limit_usd=Decimal(1))
    bench.paper.replace(bench.record("old").order.order_id, ChangeBody(limit_usd=Decimal(2), client_order_id="new"))
    old, new = bench.record("old"), bench.record("new")
    assert (old.status, old.replaced_by, new.status, new.order.replaces) == (
        Status.REPLACED,
        new.order.order_id,
        Status.NEW,
        old.order.order_id,
    )


def test_generated_client_order_ids_differ():
    bench = Bench(steady())
    bench.play(1)
    answers = [bench.order(None) for _ in range(3)]
    assert len({answer.order.client_order_id for answer in answers}) == 3
    assert bench.paper.state.now_ns == OPEN_NS + MINUTE_NS


def test_a_trade_that_sets_no_price_fills_nothing_and_is_no_last_price():
    """An odd lot far off: the order waits for the next trade that sets a price, and the account is valued at the last that did."""
    ticks = rows((0, KO, 60.0), (20, KO, 40.0), (40, KO, 61.0))
    ticks["flags"][1] = 6
    bench = Bench(tape(SYMBOLS, ticks, GRID))
    to(bench, 10)
    bench.order("a")
    to(bench, 30)
    assert fills(bench) == []
    assert bench.paper.valued(KO).marks[KO] == 60
    to(bench, 60)
    assert fills(bench) == [("a", 40, "61.00")]
