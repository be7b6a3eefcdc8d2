"""Life of one pair's position: both legs or neither.

FLAT -> OPENING -> HEDGED -> CLOSING -> FLAT. When a leg fails or waits too long, UNWINDING cancels what is open and sells or buys back what
was filled; when that fails too often, QUARANTINED waits for a person. Reports and executions only change the state; what must be sent is
asked for by `Review` alone, so that a replay sends it at a bar and not when a message happened to arrive. Called by the portfolio.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.domain.units import NS_PER_S
from tandem.flow import orders
from tandem.flow.orders import OrderState
from tandem.flow.signals import Held

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a pair may wait. Bars count from the one after the decision; seconds are event time with one leg bare."""

    leg_wait_bars_max: int
    leg_wait_s_max: float
    unwind_attempts_max: int

    def __post_init__(self) -> None:
        if self.leg_wait_bars_max < 1 or self.leg_wait_s_max <= 0 or self.unwind_attempts_max < 1:
            raise ValueError(f"{self}: each must be at least 1, seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg. target and held are signed shares: wanted while hedged, and there now. order: the newest one."""

    symbol: Symbol
    target: int = 0
    held: Decimal = _ZERO
    order: OrderState | None = None

    @property
    def is_live(self) -> bool:
        """An order may still be filled."""
        return self.order is not None and not self.order.is_over

    @property
    def is_opening(self) -> bool:
        """A live order adds to the position."""
        return self.order is not None and self.is_live and self.order.order.side.sign * self.target > 0

    @property
    def is_complete(self) -> bool:
        """All that was wanted is held."""
        return self.held == self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The state of one pair. first_fill_ns, last_fill_ns: executions since the legs began to move, None before."""

    pair: PairId
    sector: SectorId
    a: Leg
    b: Leg
    state: PairState = PairState.FLAT
    held: Held | None = None
    trade_id: str = ""
    decided_ns: int = 0  # bar of the newest intent: no second decision at it
    attempts: int = 0  # unwindings tried
    waited_bars: int = 0
    first_fill_ns: int | None = None
    last_fill_ns: int | None = None
    reason: str = ""  # why UNWINDING or QUARANTINED

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Both legs."""
        return self.a, self.b

    @property
    def unhedged_s(self) -> float:
        """Event time from the first execution to the last one since the legs began to move."""
        if self.first_fill_ns is None or self.last_fill_ns is None:
            return 0.0
        return (self.last_fill_ns - self.first_fill_ns) / NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Two orders that open the pair are on their way."""

    trade_id: str
    held: Held
    a: Order
    b: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Two orders that close the pair are on their way."""

    a: Order
    b: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Flattening:
    """Orders that undo what is left, at most one per leg, are on their way."""

    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the broker says of one order. filled: shares over all its executions, booked here or not."""

    client_order_id: str
    status: OrderStatus
    filled: Decimal = _ZERO
    broker_order_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Time to look after the pair. bar_closed: a bar has passed, which counts against its patience."""

    at_ns: int
    bar_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Stop touching the pair: something is wrong that a person must look at."""

    reason: str


Event = Opened | Closing | Flattening | Review | Quarantine | Reported | Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """Ask the broker to cancel this order."""

    order: OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenWanted:
    """Send market orders of these legs: (leg, symbol, side, shares)."""

    legs: tuple[tuple[str, Symbol, Side, int], ...]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that a person may want to know. code is from a short fixed list."""

    code: str
    detail: str


Output = CancelWanted | FlattenWanted | Alarm

_P = PairState
# The states that may follow an event. What is not here is refused with an alarm, and the state stays.
NEXT: Mapping[tuple[PairState, type[Event]], frozenset[PairState]] = MappingProxyType(
    {
        (_P.FLAT, Opened): frozenset({_P.OPENING}),
        (_P.HEDGED, Closing): frozenset({_P.CLOSING}),
        (_P.UNWINDING, Flattening): frozenset({_P.UNWINDING}),
        **{(state, Quarantine): frozenset({_P.QUARANTINED}) for state in PairState},
        (_P.FLAT, Review): frozenset({_P.FLAT}),
        (_P.OPENING, Review): frozenset({_P.OPENING, _P.UNWINDING}),
        (_P.HEDGED, Review): frozenset({_P.HEDGED}),
        (_P.CLOSING, Review): frozenset({_P.CLOSING}),
        (_P.UNWINDING, Review): frozenset({_P.UNWINDING, _P.QUARANTINED}),
        (_P.QUARANTINED, Review): frozenset({_P.QUARANTINED}),
        (_P.FLAT, Reported): frozenset({_P.FLAT}),
        (_P.OPENING, Reported): frozenset({_P.OPENING, _P.UNWINDING, _P.FLAT}),
        (_P.HEDGED, Reported): frozenset({_P.HEDGED}),
        (_P.CLOSING, Reported): frozenset({_P.CLOSING, _P.UNWINDING, _P.HEDGED}),
        (_P.UNWINDING, Reported): frozenset({_P.UNWINDING, _P.FLAT, _P.HEDGED}),
        (_P.QUARANTINED, Reported): frozenset({_P.QUARANTINED}),
        (_P.FLAT, Fill): frozenset({_P.UNWINDING}),
        (_P.OPENING, Fill): frozenset({_P.OPENING, _P.HEDGED, _P.UNWINDING}),
        (_P.HEDGED, Fill): frozenset({_P.UNWINDING}),
        (_P.CLOSING, Fill): frozenset({_P.CLOSING, _P.FLAT, _P.UNWINDING}),
        (_P.UNWINDING, Fill): frozenset({_P.UNWINDING, _P.FLAT, _P.HEDGED}),
        (_P.QUARANTINED, Fill): frozenset({_P.QUARANTINED}),
    }
)


def flat(pair: PairId, sector: SectorId, leg_a: Symbol, leg_b: Symbol) -> Execution:
    """A pair that holds nothing."""
    return Execution(pair=pair, sector=sector, a=Leg(symbol=leg_a), b=Leg(symbol=leg_b))


def step(state: Execution, event: Event, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    """The pair after the event, and what it wants. An event that the table does not allow changes nothing and raises an alarm.

    An execution or report is of one of the pair's orders, now or before; a caller delivers each execution once.
    """
    if (state.state, type(event)) not in NEXT:
        return state, (Alarm(code="illegal_transition", detail=f"{type(event).__name__} while {state.pair} is {state.state}"),)
    out: tuple[Output, ...] = ()
    match event:
        case Opened():
            new = _opened(state, event)
        case Closing():
            new = _closing(state, event)
        case Flattening():
            new = _flattening(state, event)
        case Quarantine(reason=reason):
            new, out = replace(state, state=PairState.QUARANTINED, reason=reason), (Alarm(code="quarantined", detail=reason),)
        case Review():
            new, out = _review(state, event, patience)
        case Reported():
            new, out = _reported(state, event)
        case Fill():
            new, out = _filled(state, event)
    assert new.state is state.state or new.state in NEXT[state.state, type(event)], (
        f"{state.state} -> {new.state} by {type(event).__name__}"
    )
    return new, out


def _opened(state: Execution, event: Opened) -> Execution:
    targets = {order.leg: order.qty * order.side.sign for order in (event.a, event.b)}
    return replace(
        state,
        state=PairState.OPENING,
        a=replace(state.a, target=targets["a"], order=OrderState(order=event.a)),
        b=replace(state.b, target=targets["b"], order=OrderState(order=event.b)),
        held=event.held,
        trade_id=event.trade_id,
        decided_ns=event.a.decided_ns,
        attempts=0,
        waited_bars=0,
        first_fill_ns=None,
        last_fill_ns=None,
        reason="",
    )


def _closing(state: Execution, event: Closing) -> Execution:
    return replace(
        state,
        state=PairState.CLOSING,
        a=replace(state.a, order=OrderState(order=event.a)),
        b=replace(state.b, order=OrderState(order=event.b)),
        decided_ns=event.a.decided_ns,
        attempts=0,
        waited_bars=0,
        first_fill_ns=None,
        last_fill_ns=None,
    )


def _flattening(state: Execution, event: Flattening) -> Execution:
    for order in event.orders:
        leg = state.a if order.leg == "a" else state.b
        assert not leg.is_live, f"{state.pair} leg {order.leg} has a live order already"
        state = _with_leg(state, replace(leg, order=OrderState(order=order)))
    return replace(state, attempts=state.attempts + 1, decided_ns=max(state.decided_ns, *(o.decided_ns for o in event.orders)))


def _with_leg(state: Execution, leg: Leg) -> Execution:
    return replace(state, a=leg) if leg.symbol == state.a.symbol else replace(state, b=leg)


def _reported(state: Execution, report: Reported) -> tuple[Execution, tuple[Output, ...]]:
    for leg in state.legs:
        if leg.order is None or leg.order.order.client_order_id != report.client_order_id:
            continue
        new = orders.reported(
            leg.order,
            report.status,
            broker_order_id=report.broker_order_id,
            filled=report.filled,
            reason=report.reason,
        )
        if new is None:
            detail = f"{report.client_order_id}: {leg.order.status} -> {report.status} is not allowed"
            return state, (Alarm(code="order_transition_refused", detail=detail),)
        return _settle(_with_leg(state, replace(leg, order=new)), reason=report.reason or f"{leg.symbol} {report.status}")
    return state, ()  # of an older order of the pair, which has ended


def _filled(state: Execution, fill: Fill) -> tuple[Execution, tuple[Output, ...]]:
    leg = state.a if fill.symbol == state.a.symbol else state.b
    assert leg.symbol == fill.symbol, f"{fill.execution_id} is of {fill.symbol}, {state.pair} has {state.a.symbol} and {state.b.symbol}"
    order = leg.order
    if order is not None and order.order.client_order_id == fill.client_order_id:
        order = orders.filled(order, fill)
    leg = replace(leg, held=leg.held + fill.qty * fill.side.sign, order=order)
    at_rest = state.state in (PairState.FLAT, PairState.HEDGED)  # a late execution sets the legs in motion anew
    times = [fill.event_ns, *(ns for ns in (state.first_fill_ns, state.last_fill_ns) if ns is not None and not at_rest)]
    state = replace(_with_leg(state, leg), first_fill_ns=min(times), last_fill_ns=max(times))
    return _settle(state, reason=f"{fill.symbol} execution that nothing waited for")


def _settle(state: Execution, *, reason: str) -> tuple[Execution, tuple[Output, ...]]:
    """The state that the legs show. `reason` is kept if it is trouble."""
    live = state.a.is_live or state.b.is_live
    gone = state.a.held == 0 and state.b.held == 0
    complete = state.a.is_complete and state.b.is_complete and not gone
    match state.state:
        case PairState.QUARANTINED:
            return state, ()
        case PairState.FLAT:
            return (state, ()) if gone else _unwind(state, reason)
        case PairState.HEDGED:
            return (state, ()) if complete else _unwind(state, reason)
        case PairState.OPENING if complete and not live:
            return replace(state, state=PairState.HEDGED), ()
        case PairState.OPENING if gone and not live:
            return _to_flat(state, reason), ()
        case PairState.OPENING if any(not leg.is_live and not leg.is_complete for leg in state.legs):
            return _unwind(state, reason)
        case PairState.CLOSING | PairState.UNWINDING if gone and not live:
            return _to_flat(state, state.reason), ()
        case PairState.CLOSING | PairState.UNWINDING if complete and not live and state.attempts == 0:
            return replace(state, state=PairState.HEDGED, reason="" if state.state is PairState.UNWINDING else reason), ()
        case PairState.CLOSING if any(not leg.is_live and leg.held != 0 for leg in state.legs):
            return _unwind(state, reason)
    return state, ()


def _unwind(state: Execution, reason: str) -> tuple[Execution, tuple[Output, ...]]:
    return replace(state, state=PairState.UNWINDING, reason=reason), (Alarm(code="unwinding", detail=f"{state.pair}: {reason}"),)


def _to_flat(state: Execution, reason: str) -> Execution:
    a, b = (replace(leg, target=0) for leg in state.legs)
    return replace(state, state=PairState.FLAT, held=None, reason=reason, a=a, b=b)


def _review(state: Execution, event: Review, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    alarms: tuple[Output, ...] = ()
    if event.bar_closed and state.state in (PairState.OPENING, PairState.CLOSING):
        state = replace(state, waited_bars=state.waited_bars + 1)
    if state.state is PairState.OPENING and event.bar_closed and (why := _out_of_patience(state, event.at_ns, patience)):
        state, alarms = _unwind(state, why)
    if state.state is PairState.CLOSING and event.bar_closed and state.waited_bars == patience.leg_wait_bars_max:
        alarms = (Alarm(code="close_slow", detail=f"{state.pair}: closing orders wait for {state.waited_bars} bars"),)
    if state.state is not PairState.UNWINDING:
        return state, alarms
    state, wanted = _unwinding(state, event, patience)
    return state, alarms + wanted


def _out_of_patience(state: Execution, at_ns: int, patience: Patience) -> str:
    """Why the opening must be given up, "" if it may go on."""
    if state.waited_bars >= patience.leg_wait_bars_max:
        return f"legs not filled within {state.waited_bars} bars"
    if state.first_fill_ns is not None and at_ns - state.first_fill_ns >= patience.leg_wait_s_max * NS_PER_S:
        return f"one leg bare for {(at_ns - state.first_fill_ns) / NS_PER_S:.0f} s"
    return ""


def _unwinding(state: Execution, event: Review, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    """First cancel what still adds to the position; when that has ended, undo what is held. A retry waits for a bar."""
    opening = tuple(leg.order for leg in state.legs if leg.is_opening and leg.order is not None)
    if opening:
        ask = [o for o in opening if event.bar_closed or o.status is not OrderStatus.PENDING_CANCEL]
        return state, tuple(CancelWanted(order=order) for order in ask)
    left = tuple(
        (name, leg.symbol, Side.SELL if leg.held > 0 else Side.BUY, int(abs(leg.held)))
        for name, leg in (("a", state.a), ("b", state.b))
        if leg.held != 0 and not leg.is_live
    )
    if not left or (state.attempts > 0 and not event.bar_closed):
        return state, ()
    if state.attempts >= patience.unwind_attempts_max:
        why = f"{state.pair}: {state.attempts} unwindings failed, last: {state.reason}"
        return replace(state, state=PairState.QUARANTINED, reason=why), (Alarm(code="quarantined", detail=why),)
    return state, (FlattenWanted(legs=left, attempt=state.attempts),)
