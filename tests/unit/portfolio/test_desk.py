"""The desk: what it writes and sends at a bar, and that it is one order per leg whatever the broker does."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.control import Canary, Handover, PinnedVersion, RoutingPointer, TradingState
from tandem.domain.trading import Action, Charge, Fee, Fill, OrderStatus, PairState, Side, TradingMode
from tandem.flow.barrier import Decidable
from tandem.portfolio.orphans import BARS_MAX
from tandem.portfolio.sender import reported
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP, SPEC, batch, forecast
from trading_fakes import lost, rejected, taken_without_answer
from trading_table import DAY, OTHER, PG, Table

S = 1_000_000_000


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's waits are wall time, which these tests do not need."""
    monkeypatch.setattr("tandem.portfolio.sender._WAITS_S", (0.0, 0.0, 0.0))


def test_an_entry_sends_the_sale_first_and_both_legs_once(table: Table) -> None:
    table.bar(1, forecast())

    assert [(o.symbol, o.side, o.qty) for o in table.broker.sent] == [(PEP, Side.SELL, 80), (KO, Side.BUY, 200)]
    assert table.state() is PairState.OPENING
    assert table.store.signals() == [(PAIR, "open_long", "")]


def test_a_round_trip_earns_what_its_fills_and_fees_say(table: Table) -> None:
    table.opened()
    table.bar(3, forecast(z=-0.1))
    assert table.state() is PairState.CLOSING
    table.books.book_fill(table.broker.fill(KO, 4 * DAY - S, "51"))
    table.books.book_fill(table.broker.fill(PEP, 4 * DAY, "50"))
    fee = Fee(activity_id="f", symbol=KO, amount_usd=Decimal("0.03"), event_ns=4 * DAY, description="")
    table.books.book_fee(replace(fee, broker_order_id=f"B{table.broker.sent[-1].client_order_id}"))
    table.books.flush()

    trade = table.books.trades[PAIR]
    assert table.state() is PairState.FLAT
    assert (trade.exit_reason, trade.unhedged_close_s, trade.pnl_usd) == ("exit_z", 1.0, Decimal("199.97"))


def test_a_record_delivered_again_trades_nothing_again(table: Table) -> None:
    table.bar(1, forecast())
    table.fill(2, KO, PEP)
    table.bar(1, forecast(z=-0.1))

    assert len(table.broker.sent) == 2
    assert table.state() is PairState.HEDGED


def test_an_execution_delivered_again_is_booked_once(table: Table) -> None:
    table.bar(1, forecast())
    fill = table.broker.fill(KO, 2 * DAY)

    assert table.books.book_fill(fill)
    assert not table.books.book_fill(fill)
    assert table.books.book.shares == {(PAIR, KO): Decimal(200)}


def test_live_orders_are_those_of_the_pairs_as_they_are_now(table: Table) -> None:
    """Pairs that had none are passed over: not once they have one again."""

    def told() -> list[str]:
        legs = (leg for execution in table.books.executions.values() for leg in execution.legs)
        expected = [leg.order.order.client_order_id for leg in legs if leg.is_live and leg.order is not None]
        assert list(table.books.live_orders()) == expected == list(table.books.live_orders())
        return expected

    seen = [len(told())]
    table.bar(1, forecast())
    seen.append(len(told()))
    table.fill(2, KO)
    seen.append(len(told()))
    table.fill(2, PEP)
    seen.append(len(told()))
    table.bar(3, forecast(z=-0.1))
    seen.append(len(told()))
    table.fill(4, PEP, KO)
    seen.append(len(told()))
    assert seen == [0, 2, 1, 0, 2, 0]


def test_an_execution_that_is_not_ours_belongs_to_no_pair_and_stops_those_that_hold_the_symbol(table: Table) -> None:
    """A person, or the broker for want of margin, sells KO: KO-PEP, which holds it, waits for a person; the ledger is the broker's."""
    table.opened()
    foreign = Fill(
        execution_id="x", client_order_id="by hand", symbol=KO, side=Side.SELL, qty=Decimal(200), price_usd=Decimal(50), event_ns=3 * DAY
    )

    assert table.books.book_fill(foreign)
    assert not table.books.book_fill(foreign)
    assert "foreign_fill" in [event.code for event in table.books.changes.risk_events.values()]
    assert table.books.book.shares == {(PAIR, KO): 200, (PAIR, PEP): -80, ("", KO): -200}
    assert table.state() is PairState.QUARANTINED
    sent = len(table.broker.sent)
    table.bar(3, forecast(z=0.0))
    assert len(table.broker.sent) == sent, "a quarantined pair is not touched"


def test_a_refused_first_leg_keeps_the_second_at_home(table: Table) -> None:
    table.broker.answers[PEP] = rejected
    table.bar(1, forecast())

    assert table.broker.posts == 1
    assert table.state() is PairState.FLAT
    assert sorted(s.status for s in table.store.orders.values()) == [OrderStatus.DENIED, OrderStatus.REJECTED]


def test_a_refused_second_leg_cancels_the_first_before_the_bar_is_done(table: Table) -> None:
    table.broker.answers[KO] = rejected
    table.bar(1, forecast())

    assert table.state() is PairState.FLAT
    assert table.broker.reports[table.broker.sent[0].client_order_id].status is OrderStatus.CANCELED


def test_a_leg_that_stays_alone_is_unwound(table: Table) -> None:
    """PEP fills, KO does not: at the next bar but one KO is canceled and PEP bought back."""
    table.bar(1, forecast())
    table.fill(2, PEP)
    table.bar(2, forecast())
    assert table.state() is PairState.OPENING
    table.bar(3, forecast())

    undo = table.broker.live(PEP)
    assert (undo.side, undo.qty) == (Side.BUY, 80)
    table.fill(4, PEP)
    assert table.state() is PairState.FLAT
    assert table.books.trades[PAIR].exit_reason.startswith("unwound")
    assert table.books.book.shares == {}


@pytest.mark.parametrize("answer", [taken_without_answer, lost])
def test_an_order_without_an_answer_is_one_order(table: Table, answer: object) -> None:
    """Whether the broker took it or not: it is looked up, or sent again under the same id."""
    table.broker.answers[PEP] = answer
    table.bar(1, forecast())

    assert [o.symbol for o in table.broker.sent] == [PEP, KO]
    assert len({o.client_order_id for o in table.broker.sent}) == 2
    assert {s.status for s in table.store.orders.values()} == {OrderStatus.ACCEPTED}


def test_an_order_whose_fate_stays_unknown_is_asked_about_later(table: Table) -> None:
    table.broker.answers[PEP] = taken_without_answer
    table.broker.away = True
    table.bar(1, forecast())
    assert [s.order.symbol for s in table.books.unclear_orders()] == [PEP]

    table.broker.away = False
    table.desk.resolve_unclear(DAY)

    assert table.books.unclear_orders() == []


def test_a_row_of_equal_refusals_is_noted_once(table: Table) -> None:
    table.desk.specs = {PAIR: replace(SPEC, notional_usd=Decimal(100))}
    for day in range(1, 6):
        table.bar(day, forecast())
    table.books.flush()

    assert table.store.signals() == [(PAIR, "open_long", "leg_rounds_to_zero")]
    assert table.desk.reasons[PAIR] == "leg_rounds_to_zero"


def test_an_exit_waits_while_an_order_on_the_other_side_cannot_be_canceled(table: Table) -> None:
    """KO-PG is buying KO; KO-PEP, which holds KO, wants to sell it: the broker would refuse that as a wash trade."""
    table.opened()
    table.bar(3, forecast(z=-1.5), forecast(pair=OTHER, leg_b=PG))
    assert table.state(OTHER) is PairState.OPENING
    table.broker.away = True
    table.bar(4, forecast(z=-0.1))
    table.broker.away = False
    assert table.state() is PairState.HEDGED
    assert table.desk.reasons[PAIR] == "opposes_live_order"

    table.fill(5, KO, PG)
    table.bar(5, forecast(z=-0.1))
    assert table.state() is PairState.CLOSING


def test_positions_of_a_shared_symbol_stay_apart(table: Table) -> None:
    table.opened()
    table.bar(3, forecast(pair=OTHER, leg_b=PG))
    table.fill(4, KO, PG)

    assert table.books.book.shares[PAIR, KO] == 200
    assert table.books.book.shares[OTHER, KO] == 200
    assert {p.symbol: p.qty for p in table.broker.positions()}[KO] == 400


def test_a_pair_that_is_declared_no_more_is_closed(table: Table) -> None:
    table.opened()
    table.desk.specs = {}
    table.bar(3, forecast(z=-1.5))

    assert table.state() is PairState.CLOSING
    assert table.books.trades[PAIR].exit_reason == "suspended"


def test_the_kill_switch_of_a_pair_stops_its_entry_and_not_that_of_others(table: Table) -> None:
    table.books.trading_state(f"pair/{PAIR}", TradingState(scope=f"pair/{PAIR}", mode=TradingMode.HALTED, reason="test"))
    table.bar(1, forecast(), forecast(pair=OTHER, leg_b=PG))

    assert PAIR not in table.books.executions
    assert table.state(OTHER) is PairState.OPENING


def test_a_held_pair_keeps_its_age_under_a_new_model(table: Table) -> None:
    """Opened at index 1 of the old model, whose newest is 2; the new model calls the next bar 900."""
    table.opened()
    new = replace(MODEL, version="2", digest="d2")
    table.desk.trade(
        Decidable(
            replay_id="r1",
            bar_close_ns=3 * DAY,
            lockstep=True,
            end_of_stream=False,
            batches=(batch(3 * DAY, forecast(z=-1.5, bar_index=900), model=new),),
        ),
        0,
    )

    held = table.books.executions[PAIR].held
    assert held is not None
    assert (held.opened_bar_index, held.digest) == (898, "d2")


def test_the_book_is_marked_at_bars_on_which_something_is_open(table: Table) -> None:
    table.bar(1, forecast(z=0.0))
    table.bar(2, forecast())
    table.fill(3, KO, PEP)
    table.bar(3, forecast(z=-1.5, price_a=51.0))
    table.books.flush()

    points = [point for changes in table.store.written for point in changes.equity]
    assert [point.bar_close_ns // DAY for point in points] == [2, 3]
    assert points[-1].equity_usd == 1_000_000 + 200 * (Decimal(51) - 50) - 80 * (Decimal(100) - 50)


def test_the_bar_at_which_the_last_pair_is_flat_has_its_value_and_no_later_one(table: Table) -> None:
    """What the closing earned is on the curve; nothing follows while nothing is booked."""
    table.opened()
    table.bar(3, forecast(z=0.0))
    table.fill(4, KO, PEP)
    for day in (4, 5, 6):
        table.bar(day, forecast(z=0.0, price_a=51.0))
    table.books.flush()

    points = [point for changes in table.store.written for point in changes.equity]
    assert [(point.bar_close_ns // DAY, point.open_pairs) for point in points] == [(1, 1), (2, 1), (3, 1), (4, 0)]
    assert points[-1].equity_usd == points[-1].cash_usd == table.books.book.total_cash_usd


def test_a_charge_that_comes_after_all_is_closed_is_on_the_curve(table: Table) -> None:
    fee = Fee(activity_id="f1", symbol=None, amount_usd=Decimal("1.25"), event_ns=DAY, description="fees of the day", charge=Charge.FEE)
    table.bar(1, forecast(z=0.0))
    table.books.book_fee(fee)
    for day in (2, 3):
        table.bar(day, forecast(z=0.0))
    table.books.flush()

    points = [point for changes in table.store.written for point in changes.equity]
    assert [(point.bar_close_ns // DAY, point.equity_usd) for point in points] == [(2, Decimal("999998.75"))]


def test_the_same_bars_make_the_same_orders() -> None:
    """Ids, quantities and times come from the input alone."""
    first, second = Table().opened(), Table().opened()

    assert first.broker.sent == second.broker.sent


def test_bars_without_action_write_only_what_guards_remember(table: Table) -> None:
    for day in range(1, 30):
        table.bar(day, forecast(z=0.0))

    kinds = {name for changes in table.store.written for name in changes.__slots__ if getattr(changes, name)}
    assert kinds == {"guards"}
    assert table.broker.posts == 0


NEW = replace(MODEL, version="2", digest="d2")
POINTER = RoutingPointer(sector=CONSUMER, version=MODEL.version, digest=MODEL.digest, epoch=1)


def test_the_canary_trades_its_pairs_and_with_less_money(table: Table) -> None:
    """The other pair goes on under the stable version, whose word on the canary's pair counts for nothing."""
    canary = Canary(version="2", digest="d2", pairs=(PAIR,), notional_usd_max=Decimal(9_000))
    table.desk.pointers = {CONSUMER: replace(POINTER, canary=canary)}
    forecasts = (forecast(), forecast(pair=OTHER, leg_b=PG))
    table.bar(1, *forecasts, model=MODEL)
    table.bar(1, *forecasts, model=NEW)

    assert {pair: trade.model.version for pair, trade in table.books.trades.items()} == {OTHER: "1", PAIR: "2"}
    shares = {(order.pair, order.symbol): order.qty for order in table.broker.sent}
    assert shares[PAIR, KO] * 2 == shares[OTHER, KO]


def test_a_bar_is_decided_once_however_the_pointer_moves(table: Table) -> None:
    """Both versions were acted on at the same bar: the second finds the pair decided."""
    table.desk.pointers = {CONSUMER: POINTER}
    table.bar(1, forecast(z=0.0))
    table.desk.pointers = {CONSUMER: RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=2)}
    table.bar(1, forecast(), model=NEW)
    assert PAIR not in table.books.executions

    table.bar(2, forecast(), model=NEW)
    assert table.state() is PairState.OPENING


def test_under_hold_the_version_that_opened_closes(table: Table) -> None:
    """The promoted version says out, the one that opened says stay; and the other way round."""
    table.desk.pointers = {CONSUMER: POINTER}
    table.opened()
    previous = PinnedVersion(version="1", digest="d1")
    promoted = RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=2, previous=previous, handover=Handover.HOLD)
    table.desk.pointers = {CONSUMER: promoted}
    table.bar(3, forecast(z=0.0), model=NEW)
    assert table.state() is PairState.HEDGED

    table.bar(3, forecast(z=0.0))
    assert table.state() is PairState.CLOSING


def test_under_flatten_the_first_bar_of_the_new_version_closes(table: Table) -> None:
    """Whatever it thinks of the spread; and the trade says why."""
    table.desk.pointers = {CONSUMER: POINTER}
    table.opened()
    table.desk.pointers = {CONSUMER: RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=2, handover=Handover.FLATTEN)}
    table.bar(3, forecast(z=-1.5), model=NEW)

    assert table.state() is PairState.CLOSING
    assert table.books.trades[PAIR].exit_reason == "model_changed"


def test_a_version_with_the_wrong_digest_decides_nothing_and_is_reported_once(table: Table) -> None:
    """Its number is the pointer's, its content is not."""
    table.desk.pointers = {CONSUMER: replace(POINTER, digest="other")}
    table.bar(1, forecast())
    table.bar(2, forecast())
    table.books.flush()

    assert PAIR not in table.books.executions
    codes = [event.code for changes in table.store.written for event in changes.risk_events.values()]
    assert codes == ["digest_mismatch"]


def test_a_frozen_pair_is_left_as_it_is(table: Table) -> None:
    """Neither its exit nor another entry makes an order."""
    table.opened()
    table.desk.specs = {PAIR: replace(SPEC, frozen=True)}
    sent = len(table.broker.sent)
    table.bar(3, forecast(z=0.0))

    assert table.state() is PairState.HEDGED
    assert len(table.broker.sent) == sent
    assert table.desk.reasons[PAIR] == "frozen"


def test_a_flattening_account_closes_at_the_next_bar(table: Table) -> None:
    """Its own account's mode, not another's."""
    table.opened()
    table.desk.account = "paper"
    table.books.trading_state("account/live", TradingState(scope="account/live", mode=TradingMode.FLATTENING, reason="drill"))
    table.bar(3, forecast(z=-1.5))
    assert table.state() is PairState.HEDGED

    table.books.trading_state("account/paper", TradingState(scope="account/paper", mode=TradingMode.FLATTENING, reason="drill"))
    table.bar(4, forecast(z=-1.5))
    assert table.state() is PairState.CLOSING


def test_a_held_pair_that_the_new_version_does_not_hold_is_closed(table: Table) -> None:
    """Not at its first bar, since a leg may not have traded; after some bars of other pairs, on the last forecast there was."""
    table.desk.pointers = {CONSUMER: POINTER}
    table.opened()
    table.desk.pointers = {CONSUMER: RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=2)}
    for day in range(3, 3 + BARS_MAX - 1):
        table.bar(day, forecast(pair=OTHER, leg_b=PG, z=0.0), model=NEW)
        table.bar(day, model=NEW)  # an empty batch says nothing
    assert table.state() is PairState.HEDGED

    table.bar(3 + BARS_MAX, forecast(pair=OTHER, leg_b=PG, z=0.0), model=NEW)
    assert table.state() is PairState.CLOSING
    assert table.books.trades[PAIR].exit_reason == "model_lacks_pair"
    table.books.flush()
    codes = [event.code for changes in table.store.written for event in changes.risk_events.values()]
    assert codes == ["held_without_model"]


def test_a_pair_that_only_did_not_trade_is_held(table: Table) -> None:
    """The version has forecast it before: it will again."""
    table.desk.pointers = {CONSUMER: POINTER}
    table.opened()
    for day in range(3, 4 + BARS_MAX):
        table.bar(day, forecast(pair=OTHER, leg_b=PG, z=0.0))

    assert table.state() is PairState.HEDGED


def test_what_a_refused_leg_lacks_is_sent_again_when_the_other_leg_is_there(table: Table) -> None:
    """PEP is sold at once, KO refused: KO is asked for once more at the next bar, and the pair is hedged with it."""
    table.bar(1, forecast())
    table.fill(2, PEP)
    table.books.tell(PAIR, reported(table.broker.end(KO, OrderStatus.EXPIRED)), 2 * DAY - 1)
    assert table.state() is PairState.OPENING
    table.bar(2, forecast())

    again = table.broker.live(KO)
    assert (again.side, again.qty) == (Side.BUY, 200)
    assert table.store.intents[again.intent_id].action is Action.COMPLETE
    table.fill(3, KO)
    assert table.state() is PairState.HEDGED
