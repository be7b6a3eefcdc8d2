"""The gate in front of the broker: what the checks refuse never leaves, both legs or none, and what reduces waits for the market only."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tandem.domain.assets import Asset
from tandem.domain.forecasts import MarketState
from tandem.domain.market import SessionGrid
from tandem.domain.trading import PairState
from tandem.flow.barrier import Decidable
from tandem.flow.pretrade import Code, Purpose
from tandem.portfolio.gate import Gate
from trading_cases import KO, MODEL, PAIR, PEP, batch, forecast
from trading_table import DAY, OTHER, PG, RISK, S, Table

HALTED = (MarketState(symbol=KO), MarketState(symbol=PEP, halted=True))
TRADING = (MarketState(symbol=KO), MarketState(symbol=PEP))


@pytest.fixture
def table() -> Table:
    return Table()


def bar(table: Table, day: int, market: tuple[MarketState, ...], **changes: object) -> None:
    """A bar with what the market says."""
    found = batch(day * DAY, forecast(bar_index=day, **changes), model=MODEL, market=market)
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=day * DAY, lockstep=True, end_of_stream=False, batches=(found,)), 0)
    table.books.flush_if_due()


def alarms(table: Table) -> list[str]:
    return [event.code for changes in (*table.store.written, table.books.changes) for event in changes.risk_events.values()]


def test_one_halted_leg_keeps_both_at_home(table: Table) -> None:
    bar(table, 1, HALTED)

    assert table.broker.posts == 0
    assert PAIR not in table.books.executions
    assert table.desk.reasons[PAIR] == Code.HALTED
    assert table.store.signals() == [(PAIR, "open_long", "symbol_halted")]

    bar(table, 2, TRADING)
    assert table.state() is PairState.OPENING


def test_a_closing_waits_for_the_halt_to_end_and_is_told_of_once(table: Table) -> None:
    table.opened()
    bar(table, 3, HALTED, z=-0.1)
    bar(table, 4, HALTED, z=-0.1)

    assert table.state() is PairState.HEDGED
    assert alarms(table) == ["closing_waits"]

    bar(table, 5, TRADING, z=-0.1)
    assert table.state() is PairState.CLOSING


def resumed(day: int, **changes: object) -> tuple[MarketState, ...]:
    """PEP's halt ended a minute before the day's bar closed, and it has traded since, unless said otherwise."""
    pep = MarketState(symbol=PEP, last_usd=100.0, last_ns=day * DAY - S, resumed_ns=day * DAY - 60 * S)
    return (MarketState(symbol=KO), replace(pep, **changes))


def test_after_a_halt_nothing_opens_until_the_symbol_has_found_its_price(table: Table) -> None:
    """Five minutes by event time, and a trade since, whichever comes later."""
    bar(table, 1, HALTED)
    bar(table, 2, resumed(2))
    assert table.desk.reasons[PAIR] == Code.JUST_RESUMED
    bar(table, 3, resumed(3, resumed_ns=3 * DAY - 400 * S, last_ns=3 * DAY - 500 * S))
    assert table.desk.reasons[PAIR] == Code.JUST_RESUMED
    assert table.broker.posts == 0

    bar(table, 4, resumed(4, resumed_ns=4 * DAY - 400 * S))
    assert table.state() is PairState.OPENING


def test_a_closing_goes_as_soon_as_the_halt_is_over(table: Table) -> None:
    table.opened()
    bar(table, 3, HALTED, z=-0.1)
    bar(table, 4, resumed(4), z=-0.1)

    assert table.state() is PairState.CLOSING


def test_a_portfolio_that_starts_after_the_halt_waits_like_one_that_saw_it(table: Table) -> None:
    """The bar's own batch says when the halt ended: there is nothing to remember, and so nothing to forget."""
    table.desk.gate = Gate(table.books, RISK.pretrade)
    bar(table, 2, resumed(2))

    assert table.desk.reasons[PAIR] == Code.JUST_RESUMED
    assert table.broker.posts == 0


def test_an_unwinding_waits_for_the_halt_to_end_without_losing_attempts(table: Table) -> None:
    bar(table, 1, TRADING)
    table.fill(2, PEP)
    for day in range(2, 9):
        bar(table, day, HALTED)

    assert table.state() is PairState.UNWINDING
    assert table.books.executions[PAIR].attempts == 0
    assert "unwinding_waits" in alarms(table)

    bar(table, 9, TRADING)
    assert table.broker.live(PEP).qty == 80


def test_buying_power_is_what_two_pairs_may_use_together(table: Table) -> None:
    """The first pair's orders reserve what the second one then lacks, within one bar."""
    poor = replace(RISK.pretrade, leverage=Decimal(1), buying_power_margin=Decimal(0))
    gate = Gate(table.books, poor)
    table.desk.gate = gate

    assert gate.buying_power_usd() == 1_000_000
    bar(table, 1, TRADING)
    assert gate.buying_power_usd() == 1_000_000 - 200 * 50 - Decimal("1.03") * 80 * 100
    table.fill(2, KO, PEP)
    bar(table, 2, TRADING, z=-1.5)
    assert gate.buying_power_usd() == table.books.exposure(PAIR).equity_usd - 200 * 50 - 80 * 100


def test_an_order_of_an_id_that_was_used_is_not_sent_again(table: Table) -> None:
    bar(table, 1, TRADING)
    sent = table.broker.sent

    assert [r.code for r in table.desk.gate.refusals(Purpose.REDUCE, sent, 2 * DAY)] == [Code.DUPLICATE_INTENT]


def test_intraday_bars_open_nothing_near_the_close_of_a_half_day(table: Table) -> None:
    """13:00 instead of 16:00: the session's own close counts."""
    open_ns = DAY + 14 * 3_600 * S + 1_800 * S
    grid = SessionGrid(open_ns=np.array([open_ns]), close_ns=np.array([open_ns + 210 * 60 * S]), bar_ns=60 * S)
    table.desk.gate = Gate(table.books, RISK.pretrade, grid=grid)
    found = batch(open_ns + 200 * 60 * S, forecast())
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=found.bar_close_ns, lockstep=True, end_of_stream=False, batches=(found,)), 0)

    assert table.desk.reasons[PAIR] == Code.NEAR_CLOSE
    assert table.broker.posts == 0


def test_a_leg_that_is_hard_to_borrow_today_is_not_sold_short(table: Table) -> None:
    table.desk.gate.assets = {PEP: Asset(symbol=PEP, easy_to_borrow=False)}
    bar(table, 1, TRADING)

    assert table.desk.reasons[PAIR] == Code.HARD_TO_BORROW
    bar(table, 2, TRADING, z=2.5)  # the other way round KO is sold
    assert table.state() is PairState.OPENING


def test_the_orders_of_one_bar_share_what_the_rate_limit_leaves(table: Table) -> None:
    """52 left: 50 are kept for exits and hedges, so one pair's two orders may leave, and no other's; a closing may."""
    table.desk.gate = Gate(table.books, RISK.pretrade, requests_left=lambda: 52)
    found = batch(DAY, forecast(bar_index=1), forecast(pair=OTHER, leg_b=PG, bar_index=1))
    table.desk.trade(Decidable(replay_id="r1", bar_close_ns=DAY, lockstep=True, end_of_stream=False, batches=(found,)), 0)
    assert sorted(table.desk.reasons.values()) == ["entry_long", "rate_budget"]

    opened = next(iter(table.books.executions))
    table.desk.gate = Gate(table.books, RISK.pretrade, requests_left=lambda: 0)
    for symbol in [leg.symbol for leg in table.books.executions[opened].legs]:
        table.fill(2, symbol)
    legs = {PAIR: {}, OTHER: {"pair": OTHER, "leg_b": PG}}[opened]
    bar(table, 2, TRADING, z=-0.1, **legs)
    assert table.state(opened) is PairState.CLOSING


def test_an_opening_never_turns_the_accounts_position_over(table: Table) -> None:
    """KO-PEP sells its 200 KO at this bar; another pair that wants to sell KO short would be refused by the broker after its other leg."""
    table.opened()
    order = next(order for order in table.broker.sent if order.symbol == KO)
    short = replace(order, client_order_id="new", side=order.side.opposite, qty=120)
    gate = table.desk.gate
    assert gate.refusals(Purpose.OPEN, [short], 3 * DAY) == ()

    table.bar(3, forecast(z=-0.1))
    assert table.state() is PairState.CLOSING
    assert [r.code for r in gate.refusals(Purpose.OPEN, [short], 3 * DAY)] == [Code.TURNS_OVER]
    assert [r.code for r in gate.refusals(Purpose.OPEN, [replace(short, qty=1)], 3 * DAY)] == [Code.TURNS_OVER]
    table.fill(4, KO, PEP)
    assert gate.refusals(Purpose.OPEN, [short], 4 * DAY) == ()


def test_what_meets_other_pairs_inside_closes_nothing_of_the_account(table: Table) -> None:
    """150 of the 200 KO that KO-PEP sells change their owner inside: the account keeps them, and another pair may sell as many, no more."""
    table.opened()
    table.bar(3, forecast(z=-0.1))
    execution = table.books.executions[PAIR]
    leaving = execution.a.order
    assert leaving is not None
    assert (leaving.order.symbol, leaving.order.qty) == (KO, 200)
    crossed = replace(leaving, order=replace(leaving.order, crossed_qty=150))
    table.books.executions[PAIR] = replace(execution, a=replace(execution.a, order=crossed))
    short = replace(leaving.order, client_order_id="new", pair=OTHER, qty=150)
    gate = table.desk.gate
    assert gate.refusals(Purpose.OPEN, [short], 3 * DAY) == ()
    assert [r.code for r in gate.refusals(Purpose.OPEN, [replace(short, qty=151)], 3 * DAY)] == [Code.TURNS_OVER]
