"""Ready-made pieces for tests of the paper exchange: rules, an account that has seen prices, and short ways to submit and to trade."""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.flow.exchange import opening, step
from tandem.flow.exchange_events import Event, Mark, Output, Quoted, Submit, Tick
from tandem.flow.exchange_records import ExchangeState, Rules
from tandem.flow.fees import FeeTable, Section31Rate, TafRate

KO, PEP = Symbol("KO"), Symbol("PEP")
BUY, SELL = Side.BUY, Side.SELL
# 20 dollars a million and a tenth of a cent a share: easy to check in the head.
FEES = FeeTable(
    section_31=(Section31Rate(from_ns=0, usd_per_million=Decimal(20)),),
    taf=(TafRate(from_ns=0, usd_per_share=Decimal("0.001"), cap_usd=Decimal("0.50")),),
)
FREE = Rules(half_spread_bps=Decimal(0), half_spread_min_usd=Decimal(0))
RULES = Rules(fees=FEES)


def usd(text: str) -> Decimal:
    return Decimal(text)


def account(cash: str = "100000", **prices: str) -> ExchangeState:
    """An account at time 0 that knows these prices: KO 60 and PEP 170 by default."""
    state = opening("replay", cash_usd=usd(cash), now_ns=0)
    marks = {Symbol(name): usd(price) for name, price in ({"KO": "60", "PEP": "170"} | prices).items()}
    return replace(state, marks=marks)


def order(side: Side, qty: str, symbol: Symbol = KO, *, limit: str | None = None, at: int = 0, **more: object) -> Submit:
    """An order; its client_order_id tells what it is."""
    client_order_id = str(more.pop("id", f"{side}-{qty}-{symbol}-{limit}-{at}"))
    fields = {"symbol": symbol, "side": side, "qty": usd(qty), "limit_usd": usd(limit) if limit else None, "event_ns": at}
    return Submit(client_order_id=client_order_id, **fields, **more)


def tick(at: int, price: str, symbol: Symbol = KO, **more: object) -> Tick:
    return Tick(event_ns=at, symbol=symbol, price_usd=usd(price), **more)


def quoted(at: int, bid: str, ask: str, symbol: Symbol = KO, *, sizes: tuple[int, int] = (100, 100), **more: object) -> Quoted:
    return Quoted(event_ns=at, symbol=symbol, bid_usd=usd(bid), bid_size=sizes[0], ask_usd=usd(ask), ask_size=sizes[1], **more)


def clock(at: int) -> Mark:
    return Mark(event_ns=at)


def run(rules: Rules, state: ExchangeState, *events: Event) -> tuple[ExchangeState, list[Output]]:
    """The state after all events, and all outputs."""
    outputs: list[Output] = []
    for event in events:
        state, made = step(rules, state, event)
        outputs += made
    return state, outputs
