"""What the portfolio's series are set to."""

from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY

from tandem.domain.control import TradingState
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.domain.trading import Fill, Order, PairState, Side, TradingMode
from tandem.flow.execution_records import Execution, Leg
from tandem.flow.orders import OrderState
from tandem.portfolio import measures
from trading_cases import forecast

PAIR, CONSUMER = pair_id("KO", "PEP"), SectorId("consumer")
BAR_NS = 86_400 * 10**9


def order(side: Side) -> Order:
    """An order of leg a, decided at the bar."""
    return Order(
        client_order_id="one",
        intent_id="i",
        pair=PAIR,
        leg="a",
        attempt=0,
        symbol=Symbol("KO"),
        side=side,
        qty=10,
        limit_usd=None,
        decided_ns=BAR_NS,
    )


def execution(*, side: Side = Side.BUY, held: tuple[int, int] = (0, 0), state: PairState = PairState.OPENING) -> Execution:
    """A pair of 10 KO against 5 PEP."""
    a = Leg(symbol=Symbol("KO"), target=10, held=Decimal(held[0]), order=OrderState(order=order(side)))
    b = Leg(symbol=Symbol("PEP"), target=-5, held=Decimal(held[1]))
    return Execution(pair=PAIR, sector=CONSUMER, a=a, b=b, state=state)


def fill(price_usd: str, side: Side) -> Fill:
    """An execution of the order."""
    return Fill(
        execution_id="x",
        client_order_id="one",
        symbol=Symbol("KO"),
        side=side,
        qty=Decimal(10),
        price_usd=Decimal(price_usd),
        event_ns=BAR_NS + 1,
    )


@pytest.mark.parametrize(
    ("side", "price_usd", "bps"),
    [(Side.BUY, "100.10", 10.0), (Side.BUY, "99.90", -10.0), (Side.SELL, "99.90", 10.0), (Side.SELL, "100", 0.0)],
)
def test_slippage_is_what_an_execution_was_worse(side: Side, price_usd: str, bps: float) -> None:
    """Dearer for a purchase, cheaper for a sale; below 0 it was better."""
    told = replace(forecast(), price_a=100.0)
    assert measures.slippage_bps(fill(price_usd, side), execution(side=side), told, BAR_NS) == pytest.approx(bps)


def test_slippage_needs_the_price_of_its_decision() -> None:
    """A later bar's price is not the one that was decided at."""
    told = replace(forecast(), price_a=100.0)
    assert measures.slippage_bps(fill("101", Side.BUY), execution(), told, 2 * BAR_NS) is None


@pytest.mark.parametrize(
    ("held", "state", "error_usd"),
    [
        ((10, -5), PairState.HEDGED, 0.0),
        ((10, 0), PairState.OPENING, 1_000.0),
        ((0, -5), PairState.UNWINDING, 1_000.0),
        ((6, -1), PairState.OPENING, 400.0),
        ((10, 0), PairState.FLAT, 0.0),
    ],
)
def test_hedge_error_is_what_has_no_answer(held: tuple[int, int], state: PairState, error_usd: float) -> None:
    """10 KO at 100 USD answer 5 PEP at 200 USD."""
    prices = {"KO": Decimal(100), "PEP": Decimal(200)}
    assert measures.hedge_error_usd([execution(held=held, state=state)], prices.__getitem__) == pytest.approx(error_usd)


def test_unknown_prices_give_no_number() -> None:
    """After a restart no price is known: an infinite gauge would say nothing."""
    assert measures.hedge_error_usd([execution(held=(10, 0))], lambda _: Decimal("Infinity")) == 0.0


def test_the_mode_is_the_strictest_of_the_accounts_own() -> None:
    """A halted sector does not halt the account; the account's own mode does."""
    reducing, halted = (
        TradingState(scope=scope, mode=mode, reason="")
        for scope, mode in (("account/a", TradingMode.REDUCING), ("sector/x", TradingMode.HALTED))
    )
    measures.show_mode({"account/a": reducing, "sector/x": halted}, "a")

    shown = {mode: REGISTRY.get_sample_value("tandem_portfolio_trading_mode", {"mode": mode.value}) for mode in TradingMode}
    assert shown == {TradingMode.ACTIVE: 0.0, TradingMode.REDUCING: 1.0, TradingMode.FLATTENING: 0.0, TradingMode.HALTED: 0.0}
