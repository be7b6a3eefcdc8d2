"""Rests and drift in the portfolio: a stopped pair opens on a new excursion only, old prices stop nothing, and a restart remembers."""

from dataclasses import replace

import pytest

from tandem.domain.errors import Transient
from tandem.domain.forecasts import MarketState
from tandem.domain.trading import Order, PairState
from tandem.flow.barrier import Decidable
from tandem.flow.drift import DriftLimits, DriftState
from tandem.flow.stops import StopLimits
from tandem.portfolio.books import Books
from tandem.portfolio.desk import Desk
from tandem.portfolio.sender import Sender
from tandem.portfolio.watch import Watch
from tandem.ports import OrderReport
from trading_cases import KO, MODEL, PAIR, PEP, SPEC, batch, forecast
from trading_fakes import stored
from trading_table import DAY, RISK, S, Table

STOPS = StopLimits(widening_max=1.0, rest_half_lives=0.2)  # two bars of the half-life of ten


@pytest.fixture
def table() -> Table:
    made = Table()
    made.desk.watch = Watch(made.books, STOPS, DriftLimits(), price_age_s_max=900.0)
    return made


def stopped(table: Table) -> None:
    """KO-PEP has been stopped on day 3 and is flat on day 4."""
    table.opened()
    table.bar(3, forecast(z=-4.1))
    table.fill(4, KO, PEP)
    assert table.state() is PairState.FLAT


def restarted(table: Table) -> Desk:
    """A desk over what the transactions have written."""
    table.books.flush()
    guards = {key: record.document for changes in table.store.written for key, record in changes.guards.items()}
    books = Books(table.store, replace(stored(), guards=guards, executions=dict(table.books.executions)), RISK.patience)
    desk = Desk(books, Sender(table.broker, lambda: False), RISK, bars_per_day=1.0, live_run="account")
    desk.watch = Watch(books, STOPS, DriftLimits(), price_age_s_max=900.0)
    return desk


def test_a_stopped_pair_opens_again_on_a_new_excursion_only(table: Table) -> None:
    stopped(table)
    for day, z in ((4, -3.9), (5, -3.9), (6, -2.1)):
        table.bar(day, forecast(z=z))
        assert table.desk.reasons[PAIR] == "resting"

    table.bar(7, forecast(z=-1.9))
    assert table.desk.reasons[PAIR] == "inside_band"
    table.bar(8, forecast(z=-2.1))
    assert table.state() is PairState.OPENING


def test_orders_do_not_wait_for_what_is_remembered_of_spreads_and_a_bar_that_is_read_again_makes_up_for_it(table: Table) -> None:
    """Killed while an order leaves: what the bar has changed is not written yet. The same bar is read again and gives the same."""
    table.bar(1, forecast(z=-1.0))
    known: list[DriftState | None] = []

    def killed(_: Order) -> OrderReport:
        known.append(restarted(table).watch._drifts.get(PAIR))
        raise Transient("killed")

    table.broker.answers[PEP] = killed
    with pytest.raises(Transient):
        table.bar(2, forecast())
    assert [state and state.bar_index for state in known] == [1]

    table.desk = restarted(table)
    table.books = table.desk.books
    table.desk.specs = {PAIR: SPEC}
    table.bar(2, forecast())
    whole = Table()
    whole.desk.watch = Watch(whole.books, STOPS, DriftLimits(), price_age_s_max=900.0)
    whole.bar(1, forecast(z=-1.0))
    whole.bar(2, forecast())
    assert restarted(table).watch._drifts == restarted(whole).watch._drifts == table.desk.watch._drifts


def test_a_restart_knows_who_rests_and_how_the_spreads_have_moved(table: Table) -> None:
    stopped(table)
    table.bar(4, forecast(z=-3.9))
    desk = restarted(table)

    assert desk.watch.outlook(forecast()).resting
    assert desk.watch._drifts == table.desk.watch._drifts
    table.bar(5, forecast(z=-1.0))
    assert not restarted(table).watch.outlook(forecast()).resting


def test_an_exit_at_the_mean_needs_no_rest(table: Table) -> None:
    table.opened()
    table.bar(3, forecast(z=-0.1))
    table.fill(4, KO, PEP)
    table.bar(4, forecast(z=-2.5))

    assert table.state() is PairState.OPENING


@pytest.mark.parametrize(
    "market", [{"halted": True}, {"last_ns": 3 * DAY - 1_000 * S}, {"last_ns": 3 * DAY - 60 * S, "resumed_ns": 3 * DAY - S}]
)
def test_a_stop_waits_for_prices(table: Table, market: dict[str, object]) -> None:
    table.opened()
    said = (MarketState(symbol=KO, last_usd=50.0, **market), MarketState(symbol=PEP))
    found = batch(3 * DAY, forecast(z=-4.1, bar_index=3), model=MODEL, market=said)
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=3 * DAY, lockstep=True, end_of_stream=False, batches=(found,)), 0)

    assert table.desk.reasons[PAIR] == "stop_waits"
    assert table.state() is PairState.HEDGED


def test_a_drifting_spread_is_closed_and_told_of(table: Table) -> None:
    """It stays where it is, bar after bar, while its model says that a fifteenth of the way is made good in each."""
    table.opened()
    day = 3
    while table.state() is PairState.HEDGED and day < 80:
        table.desk.specs = {pair: replace(spec, hold_half_lives_max=100.0) for pair, spec in table.desk.specs.items()}
        table.bar(day, forecast(z=-2.5, spread=-0.03, expected_spread=-0.028, variance=1e-6))
        day += 1

    assert table.state() is PairState.CLOSING
    assert table.books.trades[PAIR].exit_reason == "drift"
    codes = [event.code for changes in (*table.store.written, table.books.changes) for event in changes.risk_events.values()]
    assert codes == ["drift", "resting"]
