"""Which orders are refused, with which of Alpaca's codes, and what buying power is left."""

from dataclasses import replace

import pytest

from exchange_cases import BUY, FREE, KO, SELL, account, order, run, tick, usd
from tandem.domain.ids import Symbol
from tandem.flow.exchange_events import Accepted, Rejected
from tandem.flow.exchange_records import Rules, TimeInForce
from tandem.flow.order_checks import buying_power_usd, held_for_orders, quote

LENIENT = Rules(half_spread_bps=usd("0"), half_spread_min_usd=usd("0"), strict=False)


def answer(state, submitted, rules=FREE):
    return run(rules, state, submitted)[1][-1]


def long_ko(qty: str = "100"):
    return run(FREE, account(), order(BUY, qty, id="long"), tick(1, "60"))[0]


def short_ko(qty: str = "100"):
    return run(FREE, account(), order(SELL, qty, id="short"), tick(1, "60"))[0]


@pytest.mark.parametrize(
    ("submitted", "status", "code", "message"),
    [
        (order(BUY, "0"), 422, 40010001, "qty must be > 0"),
        (order(BUY, "1", limit="60.001"), 422, 42210000, "sub-penny increment"),
        (order(BUY, "1", limit="0.50001"), 422, 42210000, "sub-penny increment"),
        (order(BUY, "1", Symbol("XOM")), 422, 42210000, "XOM has not traded yet in this replay"),
        (order(SELL, "1.5"), 422, 42210000, "fractional orders cannot be sold short"),
        (order(BUY, "1.5", time_in_force=TimeInForce.GTC), 422, 42210000, "fractional orders must be DAY orders"),
        (order(BUY, "3334"), 403, 40310000, "insufficient buying power"),
        (order(SELL, "3237"), 403, 40310000, "insufficient buying power"),  # 3237 x 60 x 1.03 = 200046.60
    ],
)
def test_an_order_is_refused_with_alpacas_code(submitted, status, code, message):
    refused = answer(account(), submitted)
    assert isinstance(refused, Rejected)
    assert (refused.status, refused.code) == (status, code)
    assert message in refused.message


@pytest.mark.parametrize(
    "submitted",
    [
        order(BUY, "3333"),
        order(SELL, "3236"),  # 3 % above the ask is held: 199984.80
        order(BUY, "1", limit="0.5001"),
        order(BUY, "1.5"),
    ],
)
def test_an_order_at_the_edge_is_accepted(submitted):
    assert isinstance(answer(account(), submitted), Accepted)


def test_a_refused_order_names_the_money_that_is_missing():
    refused = answer(account(), order(BUY, "4000"))
    assert refused.details == {"buying_power": "200000.00", "cost_basis": "240000.00"}


def test_working_orders_hold_buying_power_until_they_are_done():
    state, _ = run(FREE, account(), order(BUY, "1000"), order(SELL, "100", Symbol("PEP")))
    assert buying_power_usd(FREE, state) == 200_000 - 60_000 - usd("17510.00")  # 100 x 170 x 1.03

    state, _ = run(FREE, state, tick(1, "60"), tick(2, "170", Symbol("PEP")))
    assert buying_power_usd(FREE, state) == 200_000 - 60_000 - 17_000


def test_an_order_that_closes_needs_no_buying_power():
    state, _ = run(FREE, account("3100"), order(BUY, "100"), tick(1, "60"))
    assert buying_power_usd(FREE, state) == 200
    assert isinstance(answer(state, order(SELL, "100", at=1)), Accepted)


def test_a_small_account_must_not_sell_short():
    refused = answer(account("1999.99"), order(SELL, "1"))
    assert (refused.status, "equity below 2000" in refused.message) == (403, True)


@pytest.mark.parametrize(("state", "side"), [(long_ko(), SELL), (short_ko(), BUY)])
def test_an_order_must_not_turn_a_position_over(state, side):
    refused = answer(state, order(side, "101", at=1))
    assert (refused.status, refused.code) == (403, 40310000)
    assert refused.details == {"symbol": "KO", "existing_qty": "100", "held_for_orders": "0", "available": "100"}
    assert isinstance(answer(state, order(side, "101", at=1), LENIENT), Accepted)


def test_shares_that_another_order_closes_are_not_available():
    state, _ = run(FREE, long_ko(), order(SELL, "60", at=1))
    assert held_for_orders(state, KO) == 60

    refused = answer(state, order(SELL, "50", at=1))
    assert refused.message == "insufficient qty available for order (requested: 50, available: 40)"


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        (order(BUY, "1"), order(SELL, "1"), True),
        (order(BUY, "1", limit="59"), order(SELL, "1"), True),
        (order(BUY, "1", limit="59"), order(SELL, "1", limit="59"), True),
        (order(BUY, "1", limit="59"), order(SELL, "1", limit="59.01"), False),
        (order(SELL, "1", limit="61"), order(BUY, "1", limit="61"), True),
        (order(SELL, "1", limit="61"), order(BUY, "1", limit="60.99"), False),
        (order(BUY, "1"), order(SELL, "1", Symbol("PEP")), False),
        (order(BUY, "1"), order(BUY, "2"), False),
    ],
)
def test_an_order_must_not_be_able_to_trade_with_another_of_the_account(first, second, is_refused):
    state, _ = run(FREE, account(), first)
    found = answer(state, second)
    assert isinstance(found, Rejected) is is_refused
    if is_refused:
        assert (found.status, found.code) == (403, 40310000)
        assert "potential wash trade detected" in found.message
        assert isinstance(answer(state, second, LENIENT), Accepted)


def test_without_ticks_a_fill_gets_the_exact_price():
    """For adjusted closes of the past: 5 basis points of 0.3571 USD stay 5 basis points."""
    rules = Rules(half_spread_bps=usd("5"), half_spread_min_usd=usd("0"), whole_ticks=False)
    assert quote(rules, usd("0.3571"), BUY) == usd("0.35727855")
    assert repr(rules) == repr(replace(rules, whole_ticks=True)), "ids of replays are made of this text"
