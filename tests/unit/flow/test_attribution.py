"""Attribution by hand: one trade whose parts were computed on paper."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.ids import PairId
from tandem.domain.trading import Action
from tandem.flow.attribution import Charged, Event, Execution, Foreign, Parts, TradeEvents, assigned, attribute, of_account, total
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP


def usd(**parts: str) -> Parts:
    return Parts(**{f"{name}_usd": Decimal(value) for name, value in parts.items()})


def execution(  # noqa: PLR0917  (a row of a table)
    leg: str, shares: int, price: str, event_ns: int, action: Action, decided: tuple[str, str] | None, half: str = ""
) -> Execution:
    price_a, price_b = (Decimal(text) for text in decided) if decided else (None, None)
    return Execution(
        event_ns=event_ns,
        leg=leg,
        action=action,
        shares=Decimal(shares),
        money_usd=-shares * Decimal(price),
        price_a=price_a,
        price_b=price_b,
        half_spread=Decimal(half) if half else None,
    )


OPEN, CLOSE = ("50", "100"), ("51", "100.5")
# Beta 0.8 at 50 and 100: 100 KO ask for exactly 40 PEP.
OPENING = (
    execution("a", 100, "50.02", 1, Action.OPEN_LONG, OPEN, "0.01"),
    execution("b", -40, "99.97", 2, Action.OPEN_LONG, OPEN, "0.02"),
)
CLOSING = (
    execution("a", -100, "50.99", 3, Action.CLOSE, CLOSE, "0.01"),
    execution("b", 40, "100.52", 4, Action.CLOSE, CLOSE, "0.02"),
)


def trade(*events: Event, **changes: object) -> TradeEvents:
    base = TradeEvents(
        trade_id="t1",
        pair=PAIR,
        sector=CONSUMER,
        leg_a=KO,
        leg_b=PEP,
        model=MODEL,
        opened_ns=1,
        closed_ns=5,
        was_hedged=True,
        beta=Decimal("0.8"),
        events=events,
    )
    return replace(base, **changes)


MARKS = {KO: Decimal("50.5"), PEP: Decimal("100")}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # 100 x 1.00 - 40 x 0.50 = 80 at decision prices; 2 x (100 x 0.01 + 40 x 0.02) half spreads; 2 + 1.2 + 1 + 0.8 paid in all.
        (trade(*OPENING, *CLOSING), usd(spread_alpha="80", half_spread="-3.60", slippage="-1.40")),
        # Two shares of b more than the ratio asks for lose 2 x 0.50 at decision prices, and pay their spread.
        (
            trade(
                OPENING[0],
                execution("b", -42, "99.97", 2, Action.OPEN_LONG, OPEN),
                CLOSING[0],
                execution("b", 42, "100.52", 4, Action.CLOSE, CLOSE),
            ),
            usd(spread_alpha="80", hedge_drift="-1.00", half_spread="-2.00", slippage="-3.10"),
        ),
        # Still open: 100 x 0.50 at the marks, leg b unchanged.
        (trade(*OPENING, closed_ns=None), usd(spread_alpha="50", half_spread="-1.80", slippage="-1.40")),
        # Leg b was never filled: all that the trade lost is the cost of unwinding, but what the opening paid is slippage.
        (
            trade(
                execution("a", 100, "50.02", 1, Action.OPEN_LONG, OPEN),
                execution("a", -100, "49.90", 3, Action.UNWIND, ("49.95", "100")),
                was_hedged=False,
            ),
            usd(slippage="-2.00", unwind="-10.00"),
        ),
        # Charges stand beside it.
        (
            trade(
                *OPENING,
                *CLOSING,
                Charged(event_ns=9, kind="fee", amount_usd=Decimal("-0.05")),
                Charged(event_ns=9, kind="borrow", amount_usd=Decimal("-0.11")),
                Charged(event_ns=9, kind="dividend", amount_usd=Decimal("-16")),
                Charged(event_ns=9, kind="interest", amount_usd=Decimal("0.01")),
            ),
            usd(spread_alpha="80", half_spread="-3.60", slippage="-1.40", fees="-0.05", borrow="-0.11", dividends="-16", interest="0.01"),
        ),
        # Nothing is known of the decision: no slippage can be told, and without a ratio leg b is all drift.
        (
            trade(
                execution("a", 1, "10", 1, Action.OPEN_LONG, None),
                execution("b", -1, "20", 1, Action.OPEN_LONG, None),
                beta=None,
                closed_ns=None,
            ),
            usd(spread_alpha="40.5", hedge_drift="-80"),
        ),
    ],
    ids=["hedged", "two shares too many", "open", "unwound", "charged", "decided in the dark"],
)
def test_a_trades_parts_are_what_they_are_on_paper(case: TradeEvents, expected: Parts) -> None:
    assert attribute(case, MARKS).parts == expected


def test_parts_of_more_digits_than_a_decimals_context_add_up_to_the_last_one() -> None:
    """Prices as the market's floats are written have 17 digits; the ideal hedge, which alpha gains and drift loses, has nine decimals."""
    decided = ("3.1415926535897931", "2.7182818284590451")
    opening = (
        execution("a", 4999, decided[0], 1, Action.OPEN_LONG, decided),
        execution("b", -3001, decided[1], 2, Action.OPEN_LONG, decided),
    )
    marks = {KO: Decimal("3.1622776601683795"), PEP: Decimal("2.6457513110645907")}
    profit_usd = 4999 * (marks[KO] - Decimal(decided[0])) - 3001 * (marks[PEP] - Decimal(decided[1]))

    found = attribute(trade(*opening, closed_ns=None, beta=Decimal("2.236067977")), marks)

    assert found.parts.total_usd == profit_usd
    assert total([found] * 3).total_usd == 3 * profit_usd


def test_an_open_leg_without_a_mark_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(KeyError):
        attribute(trade(*OPENING, closed_ns=None), {KO: Decimal(50)})


def test_what_names_a_pair_only_goes_to_its_newest_trade_of_the_time() -> None:
    """A fee after the second opening is the second trade's; one of a pair that never traded belongs to no trade."""
    first, second = trade(trade_id="t1", opened_ns=10), trade(trade_id="t2", opened_ns=20)
    fees = {ns: Charged(event_ns=ns, kind="fee", amount_usd=Decimal(-ns)) for ns in (5, 15, 25)}
    stranger = Charged(event_ns=1, kind="fee", amount_usd=Decimal(-1))

    trades, rest = assigned([second, first], {PAIR: list(fees.values()), PairId("XOM-CVX"): [stranger]})

    assert {t.trade_id: t.events for t in trades} == {"t1": (fees[5], fees[15]), "t2": (fees[25],)}
    assert rest == [stranger]


def test_what_others_trade_in_the_account_is_told_apart() -> None:
    events = [Foreign(symbol=KO, shares=Decimal(10), money_usd=Decimal(-500)), Charged(event_ns=1, kind="fee", amount_usd=Decimal("-0.07"))]

    assert of_account(events, MARKS) == usd(foreign="5.0", fees="-0.07")
    assert total([]) == Parts()
