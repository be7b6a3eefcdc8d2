"""Laws of attribution: whatever happens in a trade, its parts add up to what the ledger says, to the last digit."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from tandem.domain.ids import Symbol
from tandem.domain.trading import Action, Charge, Fee, Fill, Side
from tandem.flow.accounting import fee_entry, fill_entry, fold, profit, split_entry
from tandem.flow.attribution import Charged, Execution, Split, TradeEvents, attribute
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP

LEGS = {"a": KO, "b": PEP}
PRICES = st.decimals("0.01", "900", places=4) | st.floats(1, 900).map(lambda price: Decimal(str(price)))
QUANTITIES = st.integers(1, 5_000)
ACTIONS = st.sampled_from([Action.OPEN_LONG, Action.CLOSE, Action.UNWIND])
FILLS = st.tuples(
    st.just("fill"),
    st.sampled_from("ab"),
    st.sampled_from(Side),
    QUANTITIES,
    st.decimals("0.01", "900", places=4),
    ACTIONS,
    st.none() | st.tuples(PRICES, PRICES),
    st.none() | st.decimals("0", "1", places=4),
)
CHARGES = st.tuples(st.just("charge"), st.sampled_from(Charge), st.decimals("-50", "50", places=6))
_DECIDED = (Decimal("3.1415926535897931"), Decimal("2.7182818284590451"))
_OF_17_DIGITS = [
    ("fill", "a", Side.BUY, 4999, Decimal("3.1416"), Action.OPEN_LONG, _DECIDED, None),
    ("fill", "b", Side.SELL, 3001, Decimal("2.7183"), Action.OPEN_LONG, _DECIDED, None),
]
SPLITS = st.tuples(st.just("split"), st.sampled_from("ab"), st.integers(1, 3))


@given(
    st.lists(FILLS | CHARGES | SPLITS, max_size=12),
    st.tuples(PRICES, PRICES),
    st.none() | st.decimals("-3", "3", places=9),
    st.booleans(),
    st.booleans(),
)
@example(_OF_17_DIGITS, (Decimal("3.1622776601683795"), Decimal("2.6457513110645907")), Decimal("2.236067977"), True, False)
def test_the_parts_of_a_trade_are_its_profit(
    happenings: list[tuple], marks: tuple[Decimal, Decimal], beta: Decimal | None, hedged: bool, closed: bool
) -> None:
    """Any executions, charges and splits, known and unknown decision prices, in any order."""
    entries, events = [], []
    held = {"a": Decimal(0), "b": Decimal(0)}
    for number, happening in enumerate(happenings):
        match happening:
            case ("fill", leg, side, qty, price, action, decided, half):
                fill = Fill(
                    execution_id=f"e{number}",
                    client_order_id="c",
                    symbol=LEGS[leg],
                    side=side,
                    qty=Decimal(qty),
                    price_usd=price,
                    event_ns=number,
                )
                entries.append(fill_entry(fill, PAIR))
                shares = Decimal(qty * side.sign)
                held[leg] += shares
                price_a, price_b = decided or (None, None)
                events.append(
                    Execution(
                        event_ns=number,
                        leg=leg,
                        action=action,
                        shares=shares,
                        money_usd=-shares * price,
                        price_a=price_a,
                        price_b=price_b,
                        half_spread=half,
                    )
                )
            case ("charge", kind, amount):
                fee = Fee(activity_id=f"f{number}", symbol=None, amount_usd=-amount, event_ns=number, description="", charge=kind)
                entries.append(fee_entry(fee, PAIR))
                events.append(Charged(event_ns=number, kind=kind.value, amount_usd=amount))
            case ("split", leg, times) if held[leg]:
                entries.append(split_entry(f"s{number}", LEGS[leg], PAIR, held[leg] * times, number))
                events.append(Split(event_ns=number, leg=leg, shares=held[leg] * times))
                held[leg] *= times + 1
    prices = {KO: marks[0], PEP: marks[1]}
    trade = TradeEvents(
        trade_id="t",
        pair=PAIR,
        sector=CONSUMER,
        leg_a=KO,
        leg_b=PEP,
        model=MODEL,
        opened_ns=0,
        closed_ns=1 if closed else None,
        was_hedged=hedged,
        beta=beta,
        events=tuple(events),
    )

    parts = attribute(trade, prices).parts

    assert parts.total_usd == profit(fold(entries), prices, PAIR).total_usd


@given(QUANTITIES, PRICES, PRICES, st.decimals("0.1", "3", places=3), st.integers(1, 4), st.integers(1, 4))
def test_a_split_of_a_hedged_pair_earns_nothing(  # noqa: PLR0917  (drawn by position)
    qty: int, price_a: Decimal, price_b: Decimal, beta: Decimal, times_a: int, times_b: int
) -> None:
    """Shares multiply, prices divide: no part of the profit may move because of it, but for the rounding of the ideal hedge."""
    shares_b = Decimal(-qty)
    opening = [
        Execution(event_ns=1, leg=leg, action=Action.OPEN_LONG, shares=shares, money_usd=-shares * price, price_a=price_a, price_b=price_b)
        for leg, shares, price in (("a", Decimal(qty), price_a), ("b", shares_b, price_b))
    ]
    splits = [Split(event_ns=2, leg="a", shares=Decimal(qty * (times_a - 1))), Split(event_ns=2, leg="b", shares=shares_b * (times_b - 1))]
    trade = TradeEvents(
        trade_id="t",
        pair=PAIR,
        sector=CONSUMER,
        leg_a=Symbol("KO"),
        leg_b=Symbol("PEP"),
        model=MODEL,
        opened_ns=0,
        closed_ns=None,
        was_hedged=True,
        beta=beta,
        events=(*opening, *splits),
    )

    parts = attribute(trade, {KO: price_a / times_a, PEP: price_b / times_b}).parts

    for value in (parts.spread_alpha_usd, parts.hedge_drift_usd):
        assert abs(value) < Decimal("0.00001")
