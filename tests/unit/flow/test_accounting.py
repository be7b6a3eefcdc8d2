"""Accounting: entries of executions and fees, and what their sum says."""

from decimal import Decimal

import pytest

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import CASH, FEES, SHARES, TRADING, USD, Entry, Posting
from tandem.domain.trading import Charge, Fee, Fill, Position, Side
from tandem.flow import accounting
from tandem.flow.accounting import (
    NO_PAIR,
    Book,
    charge_entries,
    deposit_entry,
    differences,
    equity_usd,
    fee_entry,
    fill_entry,
    fold,
    gross_usd,
    positions,
    post,
    profit,
    split_entry,
)

KO, PEP = Symbol("KO"), Symbol("PEP")
PAIR, OTHER = PairId("KO-PEP"), PairId("KO-PG")


def fill(number: int, side: Side, qty: int, price: str, symbol: Symbol = KO) -> Fill:
    return Fill(
        execution_id=f"e{number}",
        client_order_id="c",
        symbol=symbol,
        side=side,
        qty=Decimal(qty),
        price_usd=Decimal(price),
        event_ns=number,
    )


def fee(number: int, amount: str) -> Fee:
    return Fee(activity_id=f"f{number}", symbol=KO, amount_usd=Decimal(amount), event_ns=number, description="TAF")


def test_buying_shares_exchanges_money_for_shares() -> None:
    """Buy 10 KO at 50: cash -500 USD, trading +500 USD, shares +10 KO, trading -10 KO."""
    entry = fill_entry(fill(1, Side.BUY, 10, "50"), PAIR)

    assert [(p.account, p.commodity, p.amount) for p in entry.postings] == [
        (CASH, USD, Decimal(-500)),
        (TRADING, USD, Decimal(500)),
        (SHARES, "KO", Decimal(10)),
        (TRADING, "KO", Decimal(-10)),
    ]
    assert (entry.kind, entry.source_id, entry.pair) == ("fill", "e1", PAIR)


def test_a_fee_moves_cash_to_expenses() -> None:
    entry = fee_entry(fee(1, "0.02"), PAIR)

    assert [(p.account, p.amount) for p in entry.postings] == [(CASH, Decimal("-0.02")), (FEES, Decimal("0.02"))]


def charge(kind: Charge, amount: str, symbol: Symbol | None = KO) -> Fee:
    return Fee(activity_id="x", symbol=symbol, amount_usd=Decimal(amount), event_ns=1, description="", charge=kind)


HELD = {(PAIR, KO): Decimal(30), (OTHER, KO): Decimal(-10), (PAIR, PEP): Decimal(-7)}


@pytest.mark.parametrize(
    ("fee", "caused_by", "shares", "expected"),
    [
        (charge(Charge.FEE, "0.02"), PAIR, HELD, [("fee", "x", PAIR, "expenses:fees", "0.02")]),
        (charge(Charge.FEE, "0.02"), NO_PAIR, HELD, [("fee", "x", NO_PAIR, "expenses:fees", "0.02")]),
        (
            charge(Charge.DIVIDEND, "-10"),  # 0.50 a share on 20 shares net: the long pair receives, the short one pays
            NO_PAIR,
            HELD,
            [("dividend", f"x#{PAIR}", PAIR, "income:dividends", "-15"), ("dividend", f"x#{OTHER}", OTHER, "income:dividends", "5")],
        ),
        (charge(Charge.BORROW, "0.07"), NO_PAIR, HELD, [("borrow", "x", OTHER, "expenses:borrow", "0.07")]),
        (charge(Charge.DIVIDEND, "-10"), NO_PAIR, {}, [("dividend", "x", NO_PAIR, "income:dividends", "-10")]),
        (charge(Charge.INTEREST, "1", None), NO_PAIR, HELD, [("interest", "x", NO_PAIR, "income:interest", "1")]),
    ],
    ids=["of an order", "of the account", "dividend of two pairs", "borrow by the short pair", "nobody holds it", "interest"],
)
def test_a_charge_is_booked_on_whoever_causes_or_holds_it(
    fee: Fee, caused_by: str, shares: dict[tuple[str, Symbol], Decimal], expected: list[tuple[str, str, str, str, str]]
) -> None:
    entries = charge_entries(fee, caused_by, shares)

    found = [(e.kind, e.source_id, e.pair, e.postings[1].account, e.postings[1].amount) for e in entries]
    assert found == [(*row[:4], Decimal(row[4])) for row in expected]


def test_the_parts_of_a_divided_charge_add_up_to_the_last_digit() -> None:
    """A third of a cent cannot be written down: the last pair takes what is left."""
    shares = {(PairId(name), KO): Decimal(-1) for name in ("KO-PEP", "KO-PG", "KO-MNST")}

    entries = charge_entries(charge(Charge.BORROW, "0.01"), NO_PAIR, shares)

    assert sorted(-e.postings[0].amount for e in entries) == [Decimal("0.003333"), Decimal("0.003333"), Decimal("0.003334")]
    assert fold(entries).total_cash_usd == Decimal("-0.01")


def test_a_split_adds_shares_and_moves_no_money() -> None:
    book = fold([fill_entry(fill(1, Side.BUY, 10, "50"), PAIR), split_entry("s1", KO, PAIR, Decimal(30), 5)])

    assert (positions(book), book.total_cash_usd) == ({KO: Decimal(40)}, Decimal(-500))


def test_positions_are_summed_over_pairs_and_a_closed_one_vanishes() -> None:
    book = fold(
        [
            fill_entry(fill(1, Side.BUY, 10, "50"), PAIR),
            fill_entry(fill(2, Side.BUY, 5, "51"), OTHER),
            fill_entry(fill(3, Side.SELL, 7, "100", PEP), PAIR),
            fill_entry(fill(4, Side.BUY, 7, "99", PEP), PAIR),
        ]
    )

    assert positions(book) == {KO: Decimal(15)}


def test_profit_of_the_pairs_and_costs_of_none_add_up_to_the_change_of_equity() -> None:
    book = fold(
        [
            deposit_entry("account", Decimal(100_000), 0),
            fill_entry(fill(1, Side.BUY, 10, "50"), PAIR),
            fill_entry(fill(2, Side.SELL, 5, "101.5", PEP), PAIR),
            fee_entry(fee(1, "0.03"), PAIR),
            fee_entry(fee(2, "1.17"), NO_PAIR),
            fill_entry(fill(3, Side.BUY, 3, "50.25"), OTHER),
        ]
    )
    marks = {KO: Decimal("51.10"), PEP: Decimal("100.90")}

    total = sum(profit(book, marks, pair).total_usd for pair in (PAIR, OTHER, NO_PAIR))

    assert total == equity_usd(book, marks) - 100_000
    assert profit(book, marks, PAIR).total_usd == Decimal("10") * Decimal("1.10") + Decimal("5") * Decimal("0.60") - Decimal("0.03")
    assert gross_usd(book, marks) == 13 * Decimal("51.10") + 5 * Decimal("100.90")


def test_an_open_trade_splits_profit_into_what_closed_trades_earned_and_the_rest() -> None:
    """First trade earns 10; the second has bought 10 at 60 and stands at 61."""
    book = fold(
        [fill_entry(fill(n, side, 10, price), PAIR) for n, side, price in ((1, Side.BUY, "50"), (2, Side.SELL, "51"), (3, Side.BUY, "60"))]
    )

    result = profit(book, {KO: Decimal(61)}, PAIR, cash_at_open_usd=Decimal(10))

    assert (result.realized_usd, result.unrealized_usd) == (Decimal(10), Decimal(10))


def test_without_an_open_trade_all_profit_is_realized() -> None:
    book = fold([fill_entry(fill(n, side, 10, price), PAIR) for n, side, price in ((1, Side.BUY, "50"), (2, Side.SELL, "51"))])

    assert profit(book, {}, PAIR).realized_usd == Decimal(10)
    assert profit(book, {}, PAIR).unrealized_usd == 0


def test_one_id_for_two_different_entries_is_refused() -> None:
    with pytest.raises(InvariantBroken, match="is both"):
        fold([fill_entry(fill(1, Side.BUY, 10, "50"), PAIR), fill_entry(fill(1, Side.BUY, 11, "50"), PAIR)])


def test_an_account_outside_the_plan_is_refused() -> None:
    lines = (Posting(account="assets:gold", commodity=USD, amount=Decimal(1)), Posting(account=CASH, commodity=USD, amount=Decimal(-1)))
    with pytest.raises(InvariantBroken, match="assets:gold"):
        post(Book(), Entry(entry_id="x", kind="fill", source_id="x", pair=PAIR, event_ns=0, postings=lines))


@pytest.mark.parametrize(
    ("broker", "cash", "expected"),
    [
        ({KO: 10}, "99500.00", []),
        ({KO: 10}, "99500.004", []),
        ({KO: 9}, "99500.00", ["KO"]),
        ({}, "99500.00", ["KO"]),
        ({KO: 10, PEP: -1}, "99500.00", ["PEP"]),
        ({KO: 10}, "99500.01", ["cash"]),
        ({PEP: 1}, "0", ["KO", "PEP", "cash"]),
    ],
)
def test_ledger_and_broker_are_compared_position_by_position_and_to_the_cent(
    broker: dict[Symbol, int], cash: str, expected: list[str]
) -> None:
    book = fold([deposit_entry("account", Decimal(100_000), 0), fill_entry(fill(1, Side.BUY, 10, "50"), PAIR)])

    found = differences(book, [Position(symbol=s, qty=Decimal(q)) for s, q in broker.items()], Decimal(cash))

    assert [difference.what for difference in found] == expected


@pytest.mark.parametrize(
    ("charge", "at_ns", "owners"),
    [
        (Charge.DIVIDEND, 5, {"KO-PEP"}),  # before the other pair came and this one left
        (Charge.DIVIDEND, 10, {"KO-PEP"}),  # at the moment of a trade: who trades then has not held
        (Charge.BORROW, 10, {"KO-PEP", "KO-PG"}),
        (Charge.DIVIDEND, 15, {"KO-PEP", "KO-PG"}),
        (Charge.DIVIDEND, 25, {"KO-PG"}),
        (Charge.DIVIDEND, 45, {NO_PAIR}),
    ],
)
def test_a_charge_that_is_told_late_belongs_to_who_held_at_its_time(charge: Charge, at_ns: int, owners: set[str]) -> None:
    """Whoever asks the broker when, the same pairs pay: also one that was down at that time."""
    moves = [(2, "KO-PEP", -100), (10, "KO-PG", -50), (20, "KO-PEP", 100), (40, "KO-PG", 50)]
    told = Fee(activity_id="d", symbol=Symbol("KO"), amount_usd=Decimal(9), event_ns=at_ns, description="", charge=charge)
    made = [accounting.ShareMove(event_ns=at, pair=pair, symbol=Symbol("KO"), shares=Decimal(qty)) for at, pair, qty in moves]
    first = sum(at < at_ns or (at == at_ns and charge is Charge.BORROW) for at, _, _ in moves)
    for known in range(first, len(moves) + 1):  # what the ledger has when the charge comes
        now: dict[tuple[str, Symbol], Decimal] = {}
        for move in made[:known]:
            now[move.pair, move.symbol] = now.get((move.pair, move.symbol), Decimal(0)) + move.shares
        entries = accounting.charge_entries(told, NO_PAIR, accounting.shares_before(told, now, made[:known]))
        assert {entry.pair for entry in entries} == owners
        assert sum(p.amount for entry in entries for p in entry.postings if p.account == "assets:cash") == -9
