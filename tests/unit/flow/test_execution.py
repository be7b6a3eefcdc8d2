"""The pair machine: both legs or neither, in every combination of what two orders can come to."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest

from tandem.domain.ids import client_order_id
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.flow import orders
from tandem.flow.execution import NEXT, flat, step
from tandem.flow.execution_records import (
    Alarm,
    CancelWanted,
    Closing,
    CompleteWanted,
    Completing,
    Event,
    Execution,
    Flattening,
    FlattenWanted,
    Opened,
    Output,
    Patience,
    Quarantine,
    Release,
    Reported,
    Review,
)
from tandem.flow.signals import Held
from trading_cases import CONSUMER, KO, PAIR, PEP

S = 1_000_000_000
PATIENCE = Patience(leg_wait_bars_max=2, leg_wait_s_max=300.0, unwind_attempts_max=2)
HELD = Held(direction=1, opened_bar_index=5, half_life_bars=10.0, digest="d1")
SYMBOLS = {"a": KO, "b": PEP}


def order(leg: str, side: Side, qty: int, intent: str = "open", attempt: int = 0) -> Order:
    return Order(
        client_order_id=client_order_id(intent, leg, attempt),
        intent_id=intent,
        pair=PAIR,
        leg=leg,
        attempt=attempt,
        symbol=SYMBOLS[leg],
        side=side,
        qty=qty,
        limit_usd=None,
        decided_ns=0,
    )


OPEN_A, OPEN_B = order("a", Side.BUY, 20), order("b", Side.SELL, 8)
CLOSE_A, CLOSE_B = order("a", Side.SELL, 20, "close"), order("b", Side.BUY, 8, "close")


def fill(of: Order, qty: int | None = None, at_ns: int = S, number: int = 0) -> Fill:
    return Fill(
        execution_id=f"{of.client_order_id}/{number}",
        client_order_id=of.client_order_id,
        symbol=of.symbol,
        side=of.side,
        qty=Decimal(of.qty if qty is None else qty),
        price_usd=Decimal(50),
        event_ns=at_ns,
    )


def report(of: Order, status: OrderStatus, filled: int = 0) -> Reported:
    return Reported(client_order_id=of.client_order_id, status=status, filled=Decimal(filled), broker_order_id="b")


def run(state: Execution, *events: Event) -> tuple[Execution, list[Output]]:
    out: list[Output] = []
    for event in events:
        state, more = step(state, event, PATIENCE)
        out += more
    return state, out


def opening() -> Execution:
    return run(flat(PAIR, CONSUMER, KO, PEP), Opened(trade_id="open", held=HELD, a=OPEN_A, b=OPEN_B))[0]


def hedged() -> Execution:
    return run(opening(), fill(OPEN_A), fill(OPEN_B, at_ns=4 * S))[0]


def closing() -> Execution:
    return run(hedged(), Closing(a=CLOSE_A, b=CLOSE_B))[0]


def unwinding() -> Execution:
    """Leg a is filled, leg b was rejected."""
    return run(opening(), report(OPEN_B, OrderStatus.REJECTED), fill(OPEN_A))[0]


def quarantined() -> Execution:
    return run(hedged(), Quarantine(reason="test"))[0]


STATES = {
    PairState.FLAT: lambda: flat(PAIR, CONSUMER, KO, PEP),
    PairState.OPENING: opening,
    PairState.HEDGED: hedged,
    PairState.CLOSING: closing,
    PairState.UNWINDING: unwinding,
    PairState.QUARANTINED: quarantined,
}
EVENTS: tuple[Event, ...] = (
    Opened(trade_id="again", held=HELD, a=OPEN_A, b=OPEN_B),
    Closing(a=CLOSE_A, b=CLOSE_B),
    Flattening(orders=(order("a", Side.SELL, 20, "flatten"),)),
    Review(at_ns=S, bar_closed=True),
    Completing(orders=(order("b", Side.SELL, 8, "complete"),)),
    Release(),
    Quarantine(reason="test"),
    report(OPEN_A, OrderStatus.ACCEPTED),
    fill(OPEN_A, 1, number=9),
)


def test_the_whole_way_there_and_back() -> None:
    """Flat, opening, hedged, closing, flat; 3 s bare when opening and 2 s when closing."""
    state = opening()
    assert state.state is PairState.OPENING
    state, _ = run(state, report(OPEN_A, OrderStatus.ACCEPTED), report(OPEN_B, OrderStatus.ACCEPTED), fill(OPEN_A, at_ns=S))
    assert state.state is PairState.OPENING
    state, _ = run(state, fill(OPEN_B, at_ns=4 * S))
    assert (state.state, state.unhedged_s) == (PairState.HEDGED, 3.0)
    assert (state.a.held, state.b.held) == (20, -8)
    state, _ = run(state, Closing(a=CLOSE_A, b=CLOSE_B), fill(CLOSE_B, at_ns=10 * S))
    assert state.state is PairState.CLOSING
    state, out = run(state, fill(CLOSE_A, at_ns=12 * S))
    assert (state.state, state.unhedged_s, out) == (PairState.FLAT, 2.0, [])
    assert (state.a.held, state.b.held, state.held) == (0, 0, None)


@pytest.mark.parametrize(("start", "event"), product(PairState, EVENTS), ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_every_event_in_every_state_is_allowed_by_the_table_or_refused_with_an_alarm(start: PairState, event: Event) -> None:
    before = STATES[start]()
    if isinstance(event, Completing) and start is PairState.OPENING:
        before = replace(before, b=replace(before.b, order=None))  # only a leg without a live order is completed
    assert before.state is start

    after, out = step(before, event, PATIENCE)

    if (start, type(event)) in NEXT:
        assert after.state is start or after.state in NEXT[start, type(event)]
    else:
        assert after == before
        assert [o.code for o in out if isinstance(o, Alarm)] == ["illegal_transition"]


def test_a_rejected_leg_cancels_the_other_one() -> None:
    state, _ = run(opening(), report(OPEN_A, OrderStatus.ACCEPTED), report(OPEN_B, OrderStatus.REJECTED))
    assert state.state is PairState.UNWINDING

    state, out = run(state, Review(at_ns=0, bar_closed=False))
    assert [o.order.order for o in out if isinstance(o, CancelWanted)] == [OPEN_A]

    state, _ = run(state, report(OPEN_A, OrderStatus.CANCELED))
    assert state.state is PairState.FLAT


def test_what_filled_is_undone_when_the_other_leg_is_rejected() -> None:
    state, out = run(unwinding(), Review(at_ns=S, bar_closed=True))

    assert FlattenWanted(legs=(("a", KO, Side.SELL, 20),), attempt=0) in out
    undo = order("a", Side.SELL, 20, "unwind")
    state, _ = run(state, Flattening(orders=(undo,)), fill(undo, at_ns=2 * S))
    assert state.state is PairState.FLAT


def test_a_fill_that_overtakes_the_cancel_makes_the_pair_hedged_after_all() -> None:
    state, out = run(opening(), fill(OPEN_A), Review(at_ns=301 * S, bar_closed=True))
    assert state.state is PairState.UNWINDING
    assert [o.order.order for o in out if isinstance(o, CancelWanted)] == [OPEN_B]

    state, out = run(state, report(OPEN_B, OrderStatus.PENDING_CANCEL), fill(OPEN_B, at_ns=302 * S), Review(at_ns=400 * S, bar_closed=True))

    assert (state.state, out) == (PairState.HEDGED, [])


def test_a_bare_leg_is_given_up_after_its_seconds_and_an_unfilled_pair_after_its_bars() -> None:
    bare, _ = run(opening(), fill(OPEN_A, at_ns=S), Review(at_ns=300 * S, bar_closed=True))
    assert bare.state is PairState.OPENING
    bare, _ = run(bare, Review(at_ns=301 * S, bar_closed=False))
    assert bare.state is PairState.UNWINDING, "seconds count whether or not a bar closes"

    unfilled, _ = run(opening(), Review(at_ns=0, bar_closed=True))
    assert unfilled.state is PairState.OPENING
    unfilled, out = run(unfilled, Review(at_ns=0, bar_closed=True))
    assert unfilled.state is PairState.UNWINDING
    assert len([o for o in out if isinstance(o, CancelWanted)]) == 2


def test_closing_legs_that_are_both_rejected_leave_the_pair_hedged() -> None:
    state, _ = run(closing(), report(CLOSE_A, OrderStatus.REJECTED), report(CLOSE_B, OrderStatus.DENIED))

    assert state.state is PairState.HEDGED


def test_a_closing_leg_that_is_rejected_alone_is_tried_again_while_the_other_one_goes_on() -> None:
    state, _ = run(closing(), report(CLOSE_A, OrderStatus.REJECTED), report(CLOSE_B, OrderStatus.ACCEPTED))
    assert state.state is PairState.UNWINDING

    state, out = run(state, Review(at_ns=S, bar_closed=True))
    assert [o for o in out if isinstance(o, FlattenWanted)] == [FlattenWanted(legs=(("a", KO, Side.SELL, 20),), attempt=0)]

    again = order("a", Side.SELL, 20, "unwind")
    state, _ = run(state, Flattening(orders=(again,)), fill(CLOSE_B), fill(again))
    assert state.state is PairState.FLAT


def test_unwinding_is_retried_at_the_next_bar_and_quarantined_when_it_fails_too_often() -> None:
    state = unwinding()
    for attempt in range(PATIENCE.unwind_attempts_max):
        state, out = run(state, Review(at_ns=S, bar_closed=True))
        assert [o.attempt for o in out if isinstance(o, FlattenWanted)] == [attempt]
        undo = order("a", Side.SELL, 20, "unwind", attempt)
        state, _ = run(state, Flattening(orders=(undo,)), report(undo, OrderStatus.REJECTED))
        state, out = run(state, Review(at_ns=S, bar_closed=False))
        assert out == [], "a retry waits for a bar"

    state, out = run(state, Review(at_ns=S, bar_closed=True))

    assert state.state is PairState.QUARANTINED
    assert [o.code for o in out if isinstance(o, Alarm)] == ["quarantined"]


def test_an_execution_after_the_end_is_booked_and_undone() -> None:
    state, _ = run(opening(), report(OPEN_A, OrderStatus.CANCELED), report(OPEN_B, OrderStatus.CANCELED))
    assert state.state is PairState.FLAT

    state, out = run(state, fill(OPEN_A, 3))
    assert (state.state, state.a.held) == (PairState.UNWINDING, 3)
    assert [o.code for o in out if isinstance(o, Alarm)] == ["unwinding"]

    _, out = run(state, Review(at_ns=S, bar_closed=True))
    assert out == [FlattenWanted(legs=(("a", KO, Side.SELL, 3),), attempt=0)]


def test_a_filled_report_waits_for_its_executions() -> None:
    """The answer to a POST may say filled before the stream has told at which price."""
    state, _ = run(opening(), report(OPEN_A, OrderStatus.FILLED, 20), report(OPEN_B, OrderStatus.FILLED, 8))
    assert state.state is PairState.OPENING

    state, _ = run(state, fill(OPEN_A), fill(OPEN_B))
    assert state.state is PairState.HEDGED


ENDS = (OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.DENIED)


@pytest.mark.parametrize("completes", [True, False])
@pytest.mark.parametrize(("end_a", "end_b", "part_a", "part_b"), list(product(ENDS, ENDS, (0, 3, 10), (0, 2, 5))))
def test_every_pair_of_outcomes_ends_hedged_or_flat(
    end_a: OrderStatus, end_b: OrderStatus, part_a: int, part_b: int, *, completes: bool
) -> None:
    """Whatever the two orders come to, with or without partial executions: both legs in the end, whole or in ratio, or neither."""
    state = opening()
    for of, end, executed in ((OPEN_A, end_a, part_a), (OPEN_B, end_b, part_b)):
        part = 0 if end is OrderStatus.DENIED else executed  # denied by ourselves, never sent
        if part:
            state, _ = run(state, fill(of, part, number=1))
        if end is OrderStatus.FILLED:
            state, _ = run(state, fill(of, of.qty - part, number=2))
        else:
            state, _ = run(state, report(of, end, part))
    for number in range(4):
        state, out = run(state, Review(at_ns=S, bar_closed=True))
        for wanted in [o for o in out if isinstance(o, CompleteWanted)]:
            sent = tuple(order(leg, side, qty, "complete", number) for leg, _, side, qty in wanted.legs)
            answers = [fill(o) for o in sent] if completes else [report(o, OrderStatus.REJECTED) for o in sent]
            state, _ = run(state, Completing(orders=sent), *answers)
        for wanted in [o for o in out if isinstance(o, FlattenWanted)]:
            undo = tuple(order(leg, side, qty, "unwind", number) for leg, _, side, qty in wanted.legs)
            state, _ = run(state, Flattening(orders=undo), *(fill(o) for o in undo))

    assert state.state in (PairState.HEDGED, PairState.FLAT)
    assert (state.a.held == state.b.held == 0) == (state.state is PairState.FLAT)
    assert abs(state.a.held * 8 / 20 + state.b.held) <= Decimal("0.5"), "within half a share of the ratio"
    if end_a is end_b is OrderStatus.FILLED:
        assert (state.a.held, state.b.held) == (20, -8)


@pytest.mark.parametrize(
    ("held_a", "held_b", "kept"),
    [
        (20, -4, (10, -4)),
        (10, -8, (10, -4)),
        (20, -2, (5, -2)),
        (20, -1, (0, 0)),  # an eighth is not worth it
        (20, 0, (0, 0)),
        (13, -8, (13, -5)),
        (20, -9, (20, -8)),  # more than was wanted: a late execution
        (-3, -8, (0, 0)),  # on the wrong side
    ],
)
def test_an_opening_that_is_filled_in_part_becomes_a_smaller_pair_in_ratio(held_a: int, held_b: int, kept: tuple[int, int]) -> None:
    """Only by selling what is long and buying back what is short."""
    state = opening()
    state = replace(
        state,
        state=PairState.UNWINDING,
        a=replace(state.a, held=Decimal(held_a), order=None),
        b=replace(state.b, held=Decimal(held_b), order=None),
    )
    state, out = run(state, Review(at_ns=S, bar_closed=True))

    trades = {leg: qty * side.sign for wanted in out if isinstance(wanted, FlattenWanted) for leg, _, side, qty in wanted.legs}
    assert (held_a + trades.get("a", 0), held_b + trades.get("b", 0)) == kept
    if kept != (0, 0):
        assert (state.a.target, state.b.target) == kept


def test_what_the_second_leg_lacks_is_sent_again_once_and_then_given_up() -> None:
    """Leg a is filled, leg b expired; the next bar asks for b again, the one after it for a to be undone."""
    state, out = run(opening(), fill(OPEN_A), report(OPEN_B, OrderStatus.EXPIRED))
    assert state.state is PairState.OPENING
    assert [o.code for o in out if isinstance(o, Alarm)] == ["leg_bare"]
    assert run(state, Review(at_ns=2 * S, bar_closed=False))[1] == [], "not within the same breath"

    state, out = run(state, Review(at_ns=2 * S, bar_closed=True))
    assert out == [CompleteWanted(legs=(("b", PEP, Side.SELL, 8),), attempt=0)]
    again = order("b", Side.SELL, 8, "complete")
    filled, _ = run(state, Completing(orders=(again,)), fill(again))
    assert filled.state is PairState.HEDGED

    state, _ = run(state, Completing(orders=(again,)), report(again, OrderStatus.REJECTED))
    assert state.state is PairState.UNWINDING
    _, out = run(state, Review(at_ns=3 * S, bar_closed=True))
    assert out == [FlattenWanted(legs=(("a", KO, Side.SELL, 20),), attempt=0)]


@pytest.mark.parametrize(("held_a", "held_b", "after"), [(0, 0, PairState.FLAT), (20, -8, PairState.HEDGED), (20, -3, PairState.UNWINDING)])
def test_a_released_pair_goes_on_from_what_it_holds(held_a: int, held_b: int, after: PairState) -> None:
    state = quarantined()
    state = replace(state, a=replace(state.a, held=Decimal(held_a)), b=replace(state.b, held=Decimal(held_b)))
    state, _ = run(state, Release())

    assert state.state is after
    if after is PairState.UNWINDING:
        _, out = run(state, Review(at_ns=S, bar_closed=True))
        assert [o.legs for o in out if isinstance(o, FlattenWanted)] == [(("a", KO, Side.SELL, 20), ("b", PEP, Side.BUY, 3))]


def test_a_pair_with_a_live_order_is_not_released() -> None:
    state, out = run(replace(opening(), state=PairState.QUARANTINED), Release())

    assert state.state is PairState.QUARANTINED
    assert [o.code for o in out if isinstance(o, Alarm)] == ["release_refused"]


@pytest.mark.parametrize(("old", "new"), list(product(OrderStatus, OrderStatus)))
def test_an_order_changes_only_as_its_table_says(old: OrderStatus, new: OrderStatus) -> None:
    before = orders.OrderState(order=OPEN_A, status=old)

    after = orders.reported(before, new, broker_order_id="b", filled=Decimal(0), reason="")

    if new is old or new in orders.NEXT[old]:
        assert after is not None
        assert after.status is new
    else:
        assert after is None


def test_nothing_follows_a_final_status() -> None:
    assert {status for status in OrderStatus if not orders.NEXT[status]} == {status for status in OrderStatus if status.is_final}


def test_an_illegal_report_changes_nothing_and_is_told() -> None:
    before = hedged()

    after, out = run(before, report(OPEN_A, OrderStatus.CANCELED))

    assert after == before
    assert [o.code for o in out if isinstance(o, Alarm)] == ["order_transition_refused"]


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="leg_wait_bars_max=0"):
        replace(PATIENCE, leg_wait_bars_max=0)
