"""Breakers in the portfolio: what they set is a trading mode, it is stored with its reason, and a restart finds it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.forecasts import MarketState
from tandem.domain.trading import PairState, TradingMode
from tandem.flow.barrier import Decidable
from tandem.flow.breakers import Breaker, BreakerLimits, Compared, Reset
from tandem.portfolio.books import Books
from tandem.portfolio.desk import Desk
from tandem.portfolio.guard import Guard
from tandem.portfolio.sender import Sender
from trading_cases import KO, PAIR, PEP, batch, forecast
from trading_fakes import rejected, stored
from trading_table import DAY, OTHER, PG, RISK, S, Table


@pytest.fixture
def table() -> Table:
    return Table()


def states(table: Table) -> dict[str, TradingMode]:
    return {scope: state.mode for scope, state in table.books.trading_states.items()}


def alarms(table: Table) -> list[tuple[str, str]]:
    found = [event for changes in (*table.store.written, table.books.changes) for event in changes.risk_events.values()]
    return [(event.scope, event.code) for event in found if event.code.startswith("breaker")]


def opened(table: Table) -> None:
    """KO-PEP is hedged at its marks on day 2."""
    table.bar(1, forecast())
    for symbol, price in ((KO, "50"), (PEP, "100")):
        table.books.book_fill(table.broker.fill(symbol, 2 * DAY - S, price))
    table.bar(2, forecast(z=-1.5))


def lose(table: Table, day: int) -> None:
    """KO falls from 50 to half of it: 200 shares of a million lose half a percent."""
    table.bar(day, forecast(z=-2.5, price_a=25.0))


def test_a_loss_of_the_day_opens_nothing_and_closes_as_before(table: Table) -> None:
    table.desk.guard = Guard(table.books, BreakerLimits(daily_loss_max=Decimal("0.004")))
    opened(table)
    lose(table, 3)

    assert states(table) == {"breaker/daily_loss": TradingMode.REDUCING}
    assert alarms(table) == [("breaker/daily_loss", "breaker_tripped")]
    opens = forecast(pair=OTHER, leg_b=PG, price_a=25.0)
    table.desk.trade(
        Decidable(replay_id="r1", bar_close_ns=3 * DAY, lockstep=True, end_of_stream=False, batches=(batch(3 * DAY, opens),)), 0
    )
    assert table.desk.reasons[OTHER] == "mode_reducing"

    table.bar(4, forecast(z=-0.1, price_a=25.0))  # the next session
    assert table.state() is PairState.CLOSING
    assert states(table) == {}
    assert alarms(table)[-1] == ("breaker/daily_loss", "breaker_ended")


def test_a_tripped_breaker_is_in_the_transaction_of_its_bar_and_found_by_a_restart(table: Table) -> None:
    table.desk.guard = Guard(table.books, BreakerLimits(daily_loss_max=Decimal("0.004")))
    opened(table)
    lose(table, 3)
    table.books.flush()
    written = table.store.written[-1]
    assert written.trading_states["breaker/daily_loss"].reason.startswith("0.5")

    guards = {key: record.document for changes in table.store.written for key, record in changes.guards.items()}
    again = Books(table.store, replace(stored(), trading_states=dict(table.books.trading_states), guards=guards), RISK.patience)
    desk = Desk(again, Sender(table.broker, lambda: False), RISK, bars_per_day=1.0, live_run="account")

    assert desk.guard.state == table.desk.guard.state
    assert Breaker.DAILY_LOSS in desk.guard.state.tripped


def test_ten_refusals_of_twenty_pause_opening(table: Table) -> None:
    table.desk.guard = Guard(table.books, BreakerLimits(rejects_window=4, rejects_max=2))
    for day in (1, 2):
        table.broker.answers[PEP] = rejected
        table.bar(day, forecast())
    assert states(table) == {"breaker/rejects": TradingMode.REDUCING}

    posts = table.broker.posts
    found = batch(2 * DAY + S, forecast())
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=2 * DAY + S, lockstep=True, end_of_stream=False, batches=(found,)), 0)
    assert table.broker.posts == posts

    table.bar(3, forecast())
    assert table.state() is PairState.OPENING
    assert states(table) == {}


def test_stale_data_of_all_symbols_opens_nothing(table: Table) -> None:
    old = tuple(MarketState(symbol=name, last_usd=50.0, last_ns=DAY - 1_000 * S) for name in (KO, PEP))
    found = batch(DAY, forecast(price_b=50.0), market=old)
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=DAY, lockstep=True, end_of_stream=False, batches=(found,)), 0)

    assert states(table) == {"breaker/stale_data": TradingMode.REDUCING}
    assert table.desk.reasons[PAIR] == "mode_reducing"


def test_a_ledger_unlike_the_brokers_opens_nothing_until_a_person_has_looked(table: Table) -> None:
    table.desk.guard.feed(Compared(at_ns=DAY, difference="KO: the ledger has 0, the broker 5"))
    table.bar(1, forecast())
    assert table.broker.posts == 0

    table.desk.guard.feed(Reset(at_ns=DAY, breaker=Breaker.RECONCILE))
    table.bar(2, forecast())
    assert table.state() is PairState.OPENING
