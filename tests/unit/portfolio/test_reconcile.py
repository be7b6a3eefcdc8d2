"""Coming back: what the broker knows and we do not is booked, what it never got is sent or given up, and differences are named."""

from decimal import Decimal

import pytest

from tandem.domain.trading import Fill, OrderStatus, PairState
from tandem.portfolio import reconcile
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.sender import Sender
from trading_cases import KO, PEP, forecast
from trading_table import DAY, S, Table

REPLAY = Origin(source="recycled", capital_usd=Decimal(1_000_000), replay=True)
NEVER_NS = 2**63 - 1


class Crash(Exception):
    """The process dies here."""


def killed_before_sending() -> Table:
    """Intents and orders of day 1 are durable, nothing was sent."""
    table = Table()

    def die(_: object) -> None:
        raise Crash

    table.broker.answers[PEP] = die
    with pytest.raises(Crash):
        table.bar(1, forecast())
    assert len(table.store.orders) == 2
    assert table.broker.sent == []
    return table


def catch_up(table: Table, resend_from_ns: int | None) -> None:
    reconcile.catch_up(table.books, table.broker, Sender(table.broker, lambda: False), REPLAY, resend_from_ns=resend_from_ns)


def test_orders_of_the_bar_at_which_the_replay_stands_are_sent_after_all() -> None:
    """The exchange's clock still stands at their decision, so the run goes on as if nothing had happened."""
    table = killed_before_sending()
    catch_up(table, 1 * DAY)

    undisturbed = Table()
    undisturbed.bar(1, forecast())
    assert sorted(o.client_order_id for o in table.broker.sent) == sorted(o.client_order_id for o in undisturbed.broker.sent)
    assert table.state() is PairState.OPENING


@pytest.mark.parametrize("resend_from_ns", [2 * DAY, NEVER_NS])
def test_orders_of_a_past_bar_that_were_never_sent_are_given_up(resend_from_ns: int) -> None:
    table = killed_before_sending()
    catch_up(table, resend_from_ns)

    assert table.broker.posts == 1, "the one that died"
    assert table.state() is PairState.FLAT
    assert {s.status for s in table.store.orders.values()} == {OrderStatus.DENIED}


def test_after_a_reconnection_nothing_is_sent_or_given_up() -> None:
    """An order may be on its way at this moment."""
    table = killed_before_sending()
    catch_up(table, None)

    assert table.broker.posts == 1
    assert table.state() is PairState.OPENING


def test_a_missed_execution_is_booked_once() -> None:
    table = Table()
    table.bar(1, forecast())
    missed = (table.broker.fill(KO, 2 * DAY - S), table.broker.fill(PEP, 2 * DAY - S))
    table.broker.history = missed
    catch_up(table, None)
    catch_up(table, None)

    assert table.state() is PairState.HEDGED
    assert len(table.store.fills) == 2


def test_an_order_that_the_broker_once_had_is_not_given_up_when_it_is_not_found() -> None:
    table = Table()
    table.bar(1, forecast())
    table.broker.reports.clear()
    catch_up(table, NEVER_NS)

    assert {s.status for s in table.store.orders.values()} == {OrderStatus.ACCEPTED}


def test_a_difference_is_named_noted_and_written_down() -> None:
    table = Table().opened()
    table.broker.held[KO] += 3
    found = reconcile.compare(table.books, table.broker, run="r1", occasion="start", event_ns=5)
    table.books.flush()

    assert {d.what for d in found} == {"KO", "cash"}
    assert "KO: the ledger has 200, the broker 203" in reconcile.describe(found)
    (written,) = table.store.written[-1].reconciliations
    assert written.differences == found
    assert [event.code for event in table.store.written[-1].risk_events.values()] == ["not_reconciled"]


def test_equal_books_are_written_down_as_equal() -> None:
    table = Table()
    found = reconcile.compare(table.books, table.broker, run="r1", occasion="start", event_ns=5)

    assert found == ()
    assert not table.books.changes.risk_events


def test_fills_are_asked_for_from_the_last_one_on() -> None:
    table = Table().opened()
    asked: list[int] = []

    def fills(after_ns: int) -> tuple[Fill, ...]:
        asked.append(after_ns)
        return ()

    table.broker.fills = fills
    catch_up(table, None)

    assert asked == [2 * DAY - S - 1]
