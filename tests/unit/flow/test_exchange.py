"""The paper exchange: when an order fills, at what price, what it does to cash and holdings, and how orders end without a fill."""

from decimal import Decimal

import pytest

from exchange_cases import BUY, FREE, KO, PEP, RULES, SELL, account, clock, order, run, tick, usd
from tandem.domain.errors import InvariantBroken
from tandem.flow.exchange_events import Accepted, Cancel, CancelRefused, Charged, Closed, Filled, Mark
from tandem.flow.exchange_records import TimeInForce
from tandem.flow.order_checks import equity_usd


def fills(outputs):
    return [o for o in outputs if isinstance(o, Filled)]


def test_a_market_order_fills_whole_on_the_next_trade_of_its_symbol():
    state, outputs = run(FREE, account(), order(BUY, "100", at=10), tick(11, "170", PEP), tick(12, "60.10"), tick(13, "99"))

    (fill,) = fills(outputs)
    assert (fill.price_usd, fill.order.qty, fill.event_ns, fill.position_qty) == (usd("60.10"), 100, 12, 100)
    assert state.cash_usd == 100_000 - 6010
    assert state.holdings[KO].qty == 100


def test_a_trade_at_the_time_of_acceptance_is_not_after_it():
    _, outputs = run(FREE, account(), order(BUY, "1", at=10), tick(10, "60"), clock(10))
    assert fills(outputs) == []


@pytest.mark.parametrize(
    ("price", "side", "paid"),
    [
        ("60.00", BUY, "60.01"),  # 1 bp of 60 is 0.006: 60.006 is rounded up to the tick
        ("60.00", SELL, "59.99"),
        ("170.00", BUY, "170.02"),  # 0.017
        ("170.00", SELL, "169.98"),
        ("10.00", BUY, "10.01"),  # the least half spread is half a cent
        ("10.00", SELL, "9.99"),
        ("0.5000", BUY, "0.5050"),  # below a dollar the tick is a hundredth of a cent
        ("0.0010", SELL, "0.0001"),
    ],
)
def test_a_fill_pays_half_the_spread_rounded_against_the_order(price, side, paid):
    _, outputs = run(RULES, account(KO=price), order(side, "1"), tick(1, price))
    assert fills(outputs)[0].price_usd == usd(paid)


def test_a_limit_order_waits_until_the_quote_is_within_its_limit():
    _, outputs = run(RULES, account(), order(BUY, "1", limit="59.90"), tick(1, "59.90"), tick(2, "59.895"), tick(3, "59.89"))

    (fill,) = fills(outputs)
    assert (fill.event_ns, fill.price_usd) == (3, usd("59.90"))


def test_a_limit_order_gets_a_better_price_when_the_market_gives_one():
    _, outputs = run(FREE, account(), order(SELL, "1", limit="59"), tick(1, "61"))
    assert fills(outputs)[0].price_usd == 61


def test_orders_of_one_trade_fill_in_the_order_of_acceptance():
    _, outputs = run(FREE, account(), order(BUY, "1"), order(BUY, "2"), tick(1, "60"))
    assert [fill.order.number for fill in fills(outputs)] == [1, 2]


def test_a_seller_pays_fees_rounded_up_to_a_cent_and_a_buyer_none():
    state, outputs = run(RULES, account(), order(BUY, "100"), tick(1, "60"), order(SELL, "100", at=1), tick(2, "60"))

    charged = [o for o in outputs if isinstance(o, Charged)]
    # 100 x 59.99 at 20 USD a million is 0.11998; 100 shares at a tenth of a cent are 0.10.
    assert [(c.kind, c.amount_usd) for c in charged] == [("SEC", usd("0.12")), ("TAF", usd("0.10"))]
    assert state.cash_usd == 100_000 - usd("6001") + usd("5999") - usd("0.22")
    assert state.holdings == {}


def test_a_short_sale_makes_a_negative_holding_and_brings_its_proceeds():
    state, _ = run(FREE, account(), order(SELL, "50"), tick(1, "60"))
    assert state.holdings[KO].qty == -50
    assert state.cash_usd == 103_000
    assert equity_usd(state) == 100_000


def test_average_cost_moves_with_additions_and_stays_with_reductions():
    state, _ = run(FREE, account(), order(BUY, "10"), tick(1, "60"), order(BUY, "30", at=1), tick(2, "64"))
    assert state.holdings[KO].cost_usd / state.holdings[KO].qty == 63

    state, _ = run(FREE, state, order(SELL, "20", at=2), tick(3, "70"))
    assert state.holdings[KO].cost_usd / state.holdings[KO].qty == 63


def test_a_day_order_expires_at_its_session_end_before_later_trades():
    _, outputs = run(FREE, account(), order(BUY, "1", limit="50", expires_ns=100), tick(99, "60"), tick(101, "40"))

    (closed,) = [o for o in outputs if isinstance(o, Closed)]
    assert (closed.expired, closed.event_ns) == (True, 100)
    assert fills(outputs) == []


def test_a_trade_at_the_session_end_is_too_late():
    _, outputs = run(FREE, account(), order(BUY, "1", expires_ns=100), tick(100, "60"))
    assert fills(outputs) == []


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.FOK])
def test_an_order_for_at_once_is_canceled_by_the_first_trade_that_does_not_fill_it(force):
    _, outputs = run(FREE, account(), order(BUY, "1", limit="50", time_in_force=force), tick(1, "60"), tick(2, "40"))

    assert [(type(o), getattr(o, "event_ns", None)) for o in outputs[1:]] == [(Closed, 1)]


def test_a_canceled_order_does_not_fill_and_cannot_be_canceled_twice():
    state, outputs = run(FREE, account(), order(BUY, "1"))
    order_id = outputs[0].order.order_id

    _, outputs = run(FREE, state, Cancel(event_ns=1, order_id=order_id), tick(2, "60"), Cancel(event_ns=3, order_id=order_id))

    assert [type(o) for o in outputs] == [Closed, CancelRefused]


def test_ids_come_from_replay_and_client_order_id_alone():
    first = run(FREE, account(), order(BUY, "1", id="a"), tick(1, "60"))[1]
    second = run(FREE, account("5000"), clock(5), order(BUY, "7", id="a", at=5), tick(9, "61"))[1]

    assert first[0].order.order_id == second[0].order.order_id
    assert fills(first)[0].execution_id == fills(second)[0].execution_id


def test_the_end_of_a_session_keeps_equity_and_prices():
    state, _ = run(FREE, account(), order(BUY, "10"), tick(1, "60"), Mark(event_ns=2, prices_usd={KO: Decimal(65)}, session_end=True))
    assert (state.last_equity_usd, state.last_marks) == (100_050, {KO: 65})


def test_event_time_never_goes_back():
    state, _ = run(FREE, account(), clock(10))
    with pytest.raises(InvariantBroken, match="event at 9 ns"):
        run(FREE, state, clock(9))


def test_an_order_id_that_works_already_is_an_error_of_the_caller():
    with pytest.raises(InvariantBroken, match="client_order_id a works already"):
        run(FREE, account(), order(BUY, "1", id="a"), order(BUY, "2", id="a"))


def test_every_accepted_order_is_numbered():
    state, outputs = run(FREE, account(), order(BUY, "1"), order(BUY, "0"), order(BUY, "2"))
    assert [o.order.number for o in outputs if isinstance(o, Accepted)] == [1, 2]
    assert state.accepted == 2
