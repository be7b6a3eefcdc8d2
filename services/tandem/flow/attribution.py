"""What the profit of a trade is made of, to the last digit: every part is a sum over the trade's own executions and charges.

Each execution is measured against the prices that its intent was decided on. At those prices the pair's shares earn the spread's alpha, as
far as leg b is what leg a and the hedge ratio of the opening ask for, and hedge drift for the shares that are more or less than that:
rounding, a leg that stands alone. What an execution was worse than its decision price is half the quoted spread, where a quote was known,
and slippage. All that a trade lost which was never hedged, and the executions that undo a leg, is the cost of unwinding.

docs/ledger.md has the formulas. Pure; called by the portfolio's API and by `tandem export`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, localcontext
from functools import reduce

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Action, Charge

_ZERO = Decimal(0)
_SHARE = Decimal("0.000000001")  # to which the shares of the ideal hedge are rounded
_DIGITS = 60  # a price of 17 digits times a share of 20: every product and sum is exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Profit by cause, in USD; costs are below 0."""

    spread_alpha_usd: Decimal = _ZERO
    hedge_drift_usd: Decimal = _ZERO
    slippage_usd: Decimal = _ZERO
    half_spread_usd: Decimal = _ZERO
    unwind_usd: Decimal = _ZERO
    fees_usd: Decimal = _ZERO
    borrow_usd: Decimal = _ZERO
    dividends_usd: Decimal = _ZERO
    interest_usd: Decimal = _ZERO
    foreign_usd: Decimal = _ZERO  # of shares that somebody else traded in the account

    @property
    def total_usd(self) -> Decimal:
        """All of it, exactly: alpha and drift have more digits than the context has, and cancel each other's last ones."""
        with localcontext(prec=_DIGITS):
            return sum((getattr(self, part.name) for part in fields(self)), _ZERO)

    def __add__(self, other: "Parts") -> "Parts":
        with localcontext(prec=_DIGITS):
            return Parts(**{part.name: getattr(self, part.name) + getattr(other, part.name) for part in fields(self)})


_CHARGES: Mapping[str, str] = {
    Charge.FEE: "fees_usd",
    Charge.BORROW: "borrow_usd",
    Charge.DIVIDEND: "dividends_usd",
    Charge.INTEREST: "interest_usd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Shares that a trade gained (above 0) or gave, and the money for them, with the prices of the decision that asked for it.

    The decision's prices are None where they are not known: the execution is then measured against its own price.
    """

    event_ns: int
    leg: str  # "a" or "b"
    action: Action
    shares: Decimal
    money_usd: Decimal  # what the cash gained: below 0 for a purchase
    price_a: Decimal | None = None
    price_b: Decimal | None = None
    half_spread: Decimal | None = None  # of this leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Shares that a split added to a leg, or took when below 0."""

    event_ns: int
    leg: str
    shares: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """Money that was charged (below 0) or received. kind: of the ledger's entry."""

    event_ns: int
    kind: str
    amount_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Shares that came (above 0) or went by somebody else's hand, and the money for them."""

    symbol: Symbol
    shares: Decimal
    money_usd: Decimal


Event = Execution | Split | Charged


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeEvents:
    """A trade and all that the ledger holds of it. beta: hedge ratio of the forecast that opened it; None where it is not known."""

    trade_id: str
    pair: PairId
    sector: SectorId
    leg_a: Symbol
    leg_b: Symbol
    model: ModelRef
    opened_ns: int
    closed_ns: int | None
    was_hedged: bool
    beta: Decimal | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """A trade's profit by cause."""

    trade: TradeEvents
    parts: Parts


@dataclass(slots=True)
class _Path:
    """The two legs at decision prices, and the leg b that would have hedged leg a wholly. Money is what the cash has gained."""

    a: Decimal = _ZERO
    b: Decimal = _ZERO
    ideal_b: Decimal = _ZERO
    money_a: Decimal = _ZERO
    money_b: Decimal = _ZERO
    ideal_money_b: Decimal = _ZERO
    ratio: Decimal | None = None  # shares of b for one of a; None before the first execution
    parts: Parts = field(default_factory=Parts)


def attribute(trade: TradeEvents, marks: Mapping[Symbol, Decimal]) -> Attributed:
    """A trade's profit by cause. marks: a price of each leg while the trade is open. Raises KeyError where one is missing."""
    with localcontext(prec=_DIGITS):
        return _attribute(trade, marks)


def _attribute(trade: TradeEvents, marks: Mapping[Symbol, Decimal]) -> Attributed:
    path = _Path()
    for event in sorted(trade.events, key=lambda event: event.event_ns):
        match event:
            case Execution():
                _execute(path, event, trade.beta)
            case Split():
                _split(path, event)
            case Charged():
                path.parts += Parts(**{_CHARGES[event.kind]: event.amount_usd})
    mark_a = marks[trade.leg_a] if path.a else _ZERO
    mark_b = marks[trade.leg_b] if path.b or path.ideal_b else _ZERO
    ideal_usd = path.ideal_money_b + path.ideal_b * mark_b
    alpha_usd = path.money_a + path.a * mark_a + ideal_usd
    drift_usd = path.money_b + path.b * mark_b - ideal_usd
    if trade.closed_ns is not None and not trade.was_hedged:
        return Attributed(trade=trade, parts=path.parts + Parts(unwind_usd=alpha_usd + drift_usd))
    return Attributed(trade=trade, parts=path.parts + Parts(spread_alpha_usd=alpha_usd, hedge_drift_usd=drift_usd))


def _execute(path: _Path, event: Execution, beta: Decimal | None) -> None:
    own = abs(event.money_usd / event.shares)
    decided_a, decided_b = event.price_a, event.price_b
    known = decided_a is not None and decided_b is not None
    decided = (decided_a if event.leg == "a" else decided_b) if known else None
    paper_usd = event.money_usd if decided is None else -event.shares * decided
    if path.ratio is None:
        path.ratio = -beta * decided_a / decided_b if beta is not None and decided_a is not None and decided_b is not None else _ZERO
    if event.leg == "a":
        path.a, path.money_a = path.a + event.shares, path.money_a + paper_usd
        ideal_b = (path.ratio * path.a).quantize(_SHARE)
        path.ideal_money_b -= (ideal_b - path.ideal_b) * (decided_b if decided_b is not None else own)
        path.ideal_b = ideal_b
    else:
        path.b, path.money_b = path.b + event.shares, path.money_b + paper_usd
    path.parts += _shortfall(event, event.money_usd - paper_usd)


def _shortfall(event: Execution, shortfall_usd: Decimal) -> Parts:
    """What the execution was better (above 0) or worse than its decision's price."""
    if event.action is Action.UNWIND:
        return Parts(unwind_usd=shortfall_usd)
    half_usd = -abs(event.shares) * event.half_spread if event.half_spread is not None else _ZERO
    return Parts(half_spread_usd=half_usd, slippage_usd=shortfall_usd - half_usd)


def _split(path: _Path, event: Split) -> None:
    """A split of b multiplies the ideal hedge, too; one of a makes each later share of it ask for less."""
    ratio = path.ratio or _ZERO
    if event.leg == "a":
        path.ratio = ratio * path.a / (path.a + event.shares)
        path.a += event.shares
    else:
        path.ratio = ratio * (path.b + event.shares) / path.b
        path.ideal_b = (path.ratio * path.a).quantize(_SHARE)
        path.b += event.shares


def total(rows: Iterable[Attributed]) -> Parts:
    """The sum of many trades."""
    return reduce(Parts.__add__, (row.parts for row in rows), Parts())


def of_account(events: Iterable[Charged | Foreign], marks: Mapping[Symbol, Decimal]) -> Parts:
    """What belongs to no trade: charges on the account as a whole, and what others traded in it, at the marks."""
    parts = Parts()
    for event in events:
        match event:
            case Charged():
                parts += Parts(**{_CHARGES[event.kind]: event.amount_usd})
            case Foreign():
                parts += Parts(foreign_usd=event.money_usd + event.shares * marks[event.symbol])
    return parts


def assigned(trades: Sequence[TradeEvents], loose: Mapping[PairId, Sequence[Event]]) -> tuple[tuple[TradeEvents, ...], list[Event]]:
    """Events that name a pair but no trade, given to the pair's trade that was the newest at their time; the rest is of no trade.

    A closing's fees come after it and a dividend's payment weeks after its date: both belong to the trade before.
    """
    by_pair: dict[PairId, list[TradeEvents]] = {}
    for trade in sorted(trades, key=lambda trade: (trade.opened_ns, trade.trade_id)):
        by_pair.setdefault(trade.pair, []).append(trade)
    more: dict[str, list[Event]] = {}
    rest: list[Event] = []
    for pair, events in loose.items():
        for event in events:
            of_pair = by_pair.get(pair, [])
            if not of_pair:
                rest.append(event)
                continue
            owner = next((t for t in reversed(of_pair) if t.opened_ns <= event.event_ns), of_pair[0])
            more.setdefault(owner.trade_id, []).append(event)
    return tuple(replace(t, events=(*t.events, *more[t.trade_id])) if t.trade_id in more else t for t in trades), rest
