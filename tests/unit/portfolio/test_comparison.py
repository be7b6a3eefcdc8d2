"""The ledger against the broker while trading goes on: missed executions, old snapshots, foreign trades, the way out of quarantine."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.errors import Transient
from tandem.domain.trading import Fill, OrderStatus, PairState, Position, Side
from tandem.portfolio.comparison import BrokerSnapshot, Comparison, Snapshots, take_snapshot
from tandem.portfolio.sender import Sender
from trading_cases import KO, PAIR, PEP, forecast
from trading_table import DAY, Table


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def comparison(table: Table) -> Comparison:
    return Comparison(table.books, Sender(table.broker, lambda: True))


def snapshot(table: Table, **changes: object) -> BrokerSnapshot:
    """The broker as it is, with cash as the ledger has it: the memory broker keeps none."""
    taken = replace(take_snapshot(table.books, table.broker, 0), cash_usd=table.books.book.total_cash_usd)
    return replace(taken, **changes)


def foreign(side: Side, qty: int, number: str = "x") -> Fill:
    return Fill(
        execution_id=number, client_order_id="by hand", symbol=KO, side=side, qty=Decimal(qty), price_usd=Decimal(50), event_ns=3 * DAY
    )


def codes(table: Table) -> list[str]:
    table.books.flush()
    return [event.code for changes in table.store.written for event in changes.risk_events.values()]


def test_a_missed_execution_is_booked_from_the_snapshot(table: Table, comparison: Comparison) -> None:
    """The stream told of PEP alone."""
    table.bar(1, forecast())
    table.fill(2, PEP)
    missed = table.broker.fill(KO, 2 * DAY)
    found = comparison.take(snapshot(table, fills=(missed,)), 2 * DAY)

    assert (found, table.state()) == ((), PairState.HEDGED)
    assert "updates_missed" in codes(table)


def test_an_order_whose_end_was_not_told_is_asked_about(table: Table, comparison: Comparison) -> None:
    table.bar(1, forecast())
    for symbol in (KO, PEP):
        table.broker.end(symbol, OrderStatus.EXPIRED)
    comparison.resolve_old(DAY)
    assert table.state() is PairState.OPENING, "orders of this bar are young"

    comparison.resolve_old(2 * DAY)
    assert table.state() is PairState.FLAT


def test_an_older_snapshot_says_nothing_about_what_was_booked_since(table: Table, comparison: Comparison) -> None:
    """Collected before the fills, taken twice after them: nothing is undone and nobody is quarantined."""
    table.bar(1, forecast())
    old = snapshot(table)
    table.fill(2, KO, PEP)

    assert comparison.take(old, 2 * DAY) == ()
    assert comparison.take(old, 2 * DAY) == ()
    assert table.state() is PairState.HEDGED
    assert not comparison.suspects


def test_a_difference_must_be_seen_twice_and_quarantines_the_pairs_of_its_symbol(table: Table, comparison: Comparison) -> None:
    table.opened()
    table.broker.held[KO] = Decimal(0)
    assert comparison.take(snapshot(table), 3 * DAY) == ()
    assert comparison.suspects
    assert table.state() is PairState.HEDGED

    found = comparison.take(snapshot(table), 3 * DAY)
    assert [(d.what, d.ledger, d.broker) for d in found] == [(KO, 200, 0)]
    assert table.state() is PairState.QUARANTINED
    assert table.books.book.shares[PAIR, KO] == 200, "nothing is corrected"
    assert "not_reconciled" in codes(table)


def test_a_difference_that_goes_away_was_none(table: Table, comparison: Comparison) -> None:
    table.opened()
    wrong = snapshot(table, positions=(Position(symbol=KO, qty=Decimal(150)), Position(symbol=PEP, qty=Decimal(-80))))
    assert comparison.take(wrong, 3 * DAY) == ()
    assert comparison.take(snapshot(table), 3 * DAY) == ()
    assert comparison.take(wrong, 3 * DAY) == ()
    assert table.state() is PairState.HEDGED


def test_a_release_needs_a_ledger_like_the_brokers(table: Table, comparison: Comparison) -> None:
    table.opened()
    assert "only a quarantined pair" in comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=False)
    table.broker.held[KO] = Decimal(0)
    for _ in range(2):
        comparison.take(snapshot(table), 3 * DAY)
    assert comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=True) == "KO: the ledger has 200, the broker 0"

    table.broker.held[KO] = Decimal(200)
    assert comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=False) == ""
    assert table.state() is PairState.HEDGED


def test_a_liquidation_is_adopted_and_the_rest_of_the_pair_unwound(table: Table, comparison: Comparison) -> None:
    """The broker sold the pair's KO. A person gives the sale to the pair; what is left of it is closed, and the ledger sums up."""
    table.opened()
    table.broker.held[KO] = Decimal(0)
    table.books.book_fill(foreign(Side.SELL, 200))
    assert "belong to no pair" in comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=False)
    assert comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=True) == ""
    assert table.state() is PairState.UNWINDING
    assert table.books.book.shares == {(PAIR, PEP): -80}

    table.bar(4, forecast(z=0.0))
    table.fill(5, PEP)
    assert table.state() is PairState.FLAT
    assert comparison.take(snapshot(table), 5 * DAY) == ()
    assert not comparison.suspects


def test_a_manual_trade_that_is_undone_by_hand_leaves_the_pair_as_it_was(table: Table, comparison: Comparison) -> None:
    table.opened()
    table.books.book_fill(foreign(Side.SELL, 10, "x"))
    table.books.book_fill(foreign(Side.BUY, 10, "y"))
    assert table.state() is PairState.QUARANTINED

    assert comparison.release(PAIR, snapshot(table), 3 * DAY, adopt=False) == ""
    assert table.state() is PairState.HEDGED


def test_snapshots_are_collected_until_stop_and_a_failed_one_is_none(table: Table) -> None:
    """A failed query is never handed on; what is to be confirmed is collected before its turn."""
    delivered, seen, calls = [], threading.Event(), []

    def collect() -> BrokerSnapshot:
        calls.append(1)
        if len(calls) == 1:
            raise Transient("away")
        return snapshot(table)

    def deliver(event: object) -> None:
        delivered.append(event)
        seen.set()

    snapshots = Snapshots(collect, deliver, every_s=0.01)
    snapshots.start()
    assert seen.wait(60)
    snapshots.stop()
    assert not snapshots.is_alive()
    assert len(delivered) >= 1
    assert all(isinstance(event, BrokerSnapshot) for event in delivered)
