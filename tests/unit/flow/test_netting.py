"""Orders of several pairs in one symbol: what meets inside, and what goes out on one side."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Order, Side
from tandem.flow.netting import is_internal, net, through_zero
from trading_cases import KO, PEP

MARKS = {KO: Decimal(50), PEP: Decimal(100)}


def order(number: int, side: Side, qty: int, symbol: Symbol = KO) -> Order:
    return Order(
        client_order_id=f"o{number}",
        intent_id=f"i{number}",
        pair=PairId(f"P{number}-X"),
        leg="a",
        attempt=0,
        symbol=symbol,
        side=side,
        qty=qty,
        limit_usd=None,
        decided_ns=7,
    )


BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("sides", "crossed", "met", "priced_by"),
    [
        ([(BUY, 10)], [0], [], ""),
        ([(BUY, 10), (BUY, 4)], [0, 0], [], ""),
        ([(BUY, 10), (SELL, 10)], [10, 10], [("o0", "o1", 10)], ""),
        ([(BUY, 10), (SELL, 4)], [4, 4], [("o0", "o1", 4)], "o0"),
        ([(BUY, 3), (SELL, 4)], [3, 3], [("o0", "o1", 3)], "o1"),
        ([(BUY, 6), (SELL, 4), (BUY, 5), (SELL, 3)], [6, 4, 1, 3], [("o0", "o1", 4), ("o0", "o3", 2), ("o2", "o3", 1)], "o2"),
    ],
)
def test_opposite_orders_meet_in_order_of_their_pairs(
    sides: list[tuple[Side, int]], crossed: list[int], met: list[tuple[str, str, int]], priced_by: str
) -> None:
    orders = [order(number, side, qty) for number, (side, qty) in enumerate(sides)]
    changed, crosses = net(orders, MARKS)

    assert [changed.get(o.client_order_id, o).crossed_qty for o in orders] == crossed
    assert [(c.buy_order, c.sell_order, c.qty) for c in crosses] == met
    assert {c.priced_by for c in crosses} <= {priced_by}


def test_symbols_do_not_mix_and_one_without_a_price_is_left_alone() -> None:
    orders = [order(0, BUY, 10), order(1, SELL, 10, PEP), order(2, BUY, 5, Symbol("PG")), order(3, SELL, 5, Symbol("PG"))]

    assert net(orders, MARKS) == ({}, ())


def test_both_sides_of_a_meeting_are_executions_at_one_price() -> None:
    _, (cross,) = net([order(0, BUY, 10), order(1, SELL, 10)], MARKS)
    sale, purchase = cross.fills(Decimal("50.01"), 9)

    assert (sale.client_order_id, sale.side, purchase.client_order_id, purchase.side) == ("o1", SELL, "o0", BUY)
    assert sale.qty == purchase.qty == 10
    assert sale.price_usd == purchase.price_usd == Decimal("50.01")
    assert is_internal(sale.execution_id)
    assert sale.execution_id != purchase.execution_id


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 50), st.sampled_from([KO, PEP])), max_size=12), st.randoms())
def test_what_goes_out_is_the_net_on_one_side_whatever_the_order_of_the_orders(
    rows: list[tuple[Side, int, Symbol]], random: object
) -> None:
    orders = [order(number, *row) for number, row in enumerate(rows)]
    changed, crosses = net(orders, MARKS)

    for symbol in (KO, PEP):
        mine = [changed.get(o.client_order_id, o) for o in orders if o.symbol == symbol]
        wanted = sum(o.qty * o.side.sign for o in mine)
        assert sum(o.outside_qty * o.side.sign for o in mine) == wanted
        assert sum(o.outside_qty for o in mine) == abs(wanted), "nothing goes out on the other side"
        assert all(0 <= o.crossed_qty <= o.qty for o in mine)
    for o in orders:
        met = sum(c.qty for c in crosses if o.client_order_id in (c.buy_order, c.sell_order))
        assert met == changed.get(o.client_order_id, o).crossed_qty
    random.shuffle(orders)  # type: ignore[attr-defined]
    assert net(orders, MARKS) == (changed, crosses)


@pytest.mark.parametrize(
    ("held", "working", "sides", "cut"),
    [
        (0, 0, [(SELL, 10)], {}),
        (50, 0, [(BUY, 10)], {}),
        (50, 0, [(SELL, 50)], {}),
        (50, 0, [(SELL, 51)], {"o0": 50}),
        (-50, 0, [(BUY, 80)], {"o0": 50}),
        (50, 20, [(SELL, 40)], {"o0": 30}),
        (50, 60, [(SELL, 1)], {"o0": 0}),
        (50, 0, [(SELL, 30), (SELL, 30), (SELL, 5)], {"o1": 20, "o2": 0}),
    ],
)
def test_what_would_take_the_account_through_zero_leaves_up_to_zero(
    held: int, working: int, sides: list[tuple[Side, int]], cut: dict[str, int]
) -> None:
    orders = [order(number, side, qty) for number, (side, qty) in enumerate(sides)]

    assert through_zero(orders, {KO: Decimal(held)}, {KO: working}) == cut
