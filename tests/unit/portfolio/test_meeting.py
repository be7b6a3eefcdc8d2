"""Pairs that trade one symbol against each other at a bar: one order outside, the rest between their sub-ledgers."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.trading import OrderStatus, PairState, Side
from tandem.portfolio.sender import reported
from trading_cases import KO, PAIR, PEP, SPEC, forecast
from trading_fakes import rejected
from trading_table import DAY, OTHER, PG, Table

S = 1_000_000_000


@pytest.fixture
def table() -> Table:
    return Table()


def meet(table: Table, notional_usd: int = 18_000) -> list[tuple[str, Side, int]]:
    """KO-PEP closes (sells KO 200, buys PEP 80) as KO-PG opens (buys KO, sells PG). What went out."""
    table.opened()
    before = len(table.broker.sent)
    table.desk.specs = {PAIR: SPEC, OTHER: replace(SPEC, pair=OTHER, leg_b=PG, notional_usd=Decimal(notional_usd))}
    table.bar(3, forecast(z=-0.1), forecast(pair=OTHER, leg_b=PG))
    return [(order.symbol, order.side, order.outside_qty) for order in table.broker.sent[before:]]


def test_equal_orders_meet_at_the_mark_and_never_leave(table: Table) -> None:
    assert meet(table) == [(PEP, Side.BUY, 80), (PG, Side.SELL, 80)]
    assert table.books.book.shares == {(PAIR, PEP): -80, (OTHER, KO): 200}
    assert (table.state(), table.state(OTHER)) == (PairState.CLOSING, PairState.OPENING)

    table.fill(4, PEP, PG)
    assert (table.state(), table.state(OTHER)) == (PairState.FLAT, PairState.HEDGED)
    assert {p.symbol: p.qty for p in table.broker.positions()} == {KO: 200, PG: -80}


def test_what_is_left_goes_out_and_its_price_is_that_of_the_meeting(table: Table) -> None:
    """KO-PG wants 150 KO only: 50 of the sale leave, and the 150 pass at their price."""
    sent = meet(table, 13_500)
    (ko,) = [row for row in sent if row[0] == KO]
    assert ko == (KO, Side.SELL, 50)
    assert table.books.book.shares[PAIR, KO] == 200

    cash_usd = table.books.book.total_cash_usd
    table.books.book_fill(table.broker.fill(KO, 4 * DAY - S, "49.87"))
    assert table.books.book.shares[OTHER, KO] == 150
    assert (PAIR, KO) not in table.books.book.shares
    assert table.books.book.total_cash_usd == cash_usd + 50 * Decimal("49.87"), "what passes inside moves no cash of the account"
    assert table.books.book.cash_usd[OTHER] == -150 * Decimal("49.87")
    table.fill(4, PEP, PG)
    assert (table.state(), table.state(OTHER)) == (PairState.FLAT, PairState.HEDGED)
    assert {p.symbol: p.qty for p in table.broker.positions()}[KO] == 150
    table.books.flush()
    assert [sale is not None for _, sale in table.store.crosses.values()] == [True]


def test_a_meeting_happens_at_the_mark_when_what_should_price_it_is_refused(table: Table) -> None:
    """The 50 that went out are rejected: 150 have passed all the same, and the rest of the exit is tried again."""
    table.opened()
    table.broker.answers[KO] = rejected
    table.desk.specs = {PAIR: SPEC, OTHER: replace(SPEC, pair=OTHER, leg_b=PG, notional_usd=Decimal(13_500))}
    table.bar(3, forecast(z=-0.1), forecast(pair=OTHER, leg_b=PG))

    assert table.books.book.shares[OTHER, KO] == 150
    assert table.books.book.shares[PAIR, KO] == 50
    assert table.state() is PairState.UNWINDING
    table.fill(4, PG, PEP)
    table.bar(4, forecast(z=-0.1))
    table.fill(5, KO)
    assert (table.state(), table.state(OTHER)) == (PairState.FLAT, PairState.HEDGED)


def test_a_report_that_overtakes_its_execution_does_not_end_an_order_that_met_others(table: Table) -> None:
    """Partly executed outside, met inside, reported as filled: the last execution is still waited for."""
    meet(table, 13_500)
    table.books.book_fill(table.broker.fill(KO, 4 * DAY - S, qty=20))
    last = table.broker.fill(KO, 4 * DAY - S)
    table.books.tell(PAIR, reported(table.broker.reports[last.client_order_id]), 4 * DAY)
    assert table.state() is PairState.CLOSING

    table.books.book_fill(last)
    table.fill(4, PEP)
    assert table.state() is PairState.FLAT


def test_the_exit_goes_ahead_of_an_entry_that_works_at_the_broker_on_the_other_side(table: Table) -> None:
    """KO-PG is buying KO since yesterday; KO-PEP wants out of it: the entry's order is canceled, the exit leaves."""
    table.opened()
    table.bar(3, forecast(z=-1.5), forecast(pair=OTHER, leg_b=PG))
    assert table.state(OTHER) is PairState.OPENING
    entry = table.broker.live(KO)
    table.bar(4, forecast(z=-0.1))

    assert table.broker.reports[entry.client_order_id].status is OrderStatus.CANCELED
    assert table.state() is PairState.CLOSING
    assert table.broker.live(KO).side is Side.SELL
    table.fill(5, KO, PEP)
    assert table.state() is PairState.FLAT
    assert table.state(OTHER) in (PairState.FLAT, PairState.UNWINDING)


def opposed(table: Table, notional_usd: int) -> None:
    """KO-PEP holds 200 KO; KO-PG wants to be short of KO."""
    table.opened()
    table.desk.specs = {PAIR: SPEC, OTHER: replace(SPEC, pair=OTHER, leg_b=PG, notional_usd=Decimal(notional_usd))}
    table.bar(3, forecast(z=-1.5), forecast(pair=OTHER, leg_b=PG, z=2.5))


def test_pairs_hold_opposite_sides_of_a_symbol_and_the_account_their_sum(table: Table) -> None:
    opposed(table, 13_500)
    table.fill(4, KO, PG)

    assert table.state(OTHER) is PairState.HEDGED
    assert (table.books.book.shares[PAIR, KO], table.books.book.shares[OTHER, KO]) == (200, -150)
    assert {p.symbol: p.qty for p in table.broker.positions()}[KO] == 50


def test_an_exit_through_zero_leaves_in_two_steps(table: Table) -> None:
    """The account holds 50 KO, the pair 200: 50 are sold, and when that is done the other 150 short."""
    opposed(table, 13_500)
    table.fill(4, KO, PG)
    table.bar(4, forecast(z=-0.1), forecast(pair=OTHER, leg_b=PG, z=1.5))
    first = table.broker.live(KO)
    assert (first.side, first.qty) == (Side.SELL, 50)
    table.fill(5, KO, PEP)
    assert table.state() is PairState.UNWINDING
    table.bar(5, forecast(z=-0.1), forecast(pair=OTHER, leg_b=PG, z=1.5))

    rest = table.broker.live(KO)
    assert (rest.side, rest.qty) == (Side.SELL, 150)
    table.fill(6, KO)
    assert (table.state(), table.state(OTHER)) == (PairState.FLAT, PairState.HEDGED)
    assert {p.symbol: p.qty for p in table.broker.positions()}[KO] == -150
    assert table.books.trades[PAIR].exit_reason == "exit_z"


def test_both_pairs_out_at_once_meet_and_leave_the_net(table: Table) -> None:
    """Sell 200, buy 150: 150 meet, and the 50 that the account holds are sold."""
    opposed(table, 13_500)
    table.fill(4, KO, PG)
    table.bar(4, forecast(z=-0.1), forecast(pair=OTHER, leg_b=PG, z=0.1))
    assert table.broker.live(KO).outside_qty == 50
    table.fill(5, KO, PEP, PG)

    assert (table.state(), table.state(OTHER)) == (PairState.FLAT, PairState.FLAT)
    assert table.books.book.shares == {}
    assert table.broker.positions() == ()


def test_an_entry_through_zero_is_refused(table: Table) -> None:
    """Short 250 KO while the account holds 200: its second half would wait, and the pair stand bare."""
    opposed(table, 22_500)
    table.books.flush()

    assert OTHER not in table.books.executions
    assert table.store.signals()[-1] == (OTHER, "open_short", "opposes_other_pair")
