"""Life of one pair's position: both legs or neither.

FLAT -> OPENING -> HEDGED -> CLOSING -> FLAT. While one leg is bare, what the other lacks is sent again, within the pair's patience. When
that does not help, UNWINDING cancels what is open and trims the legs to what of them is hedged, or undoes them where that is too little or
the pair was leaving; when that fails too often, QUARANTINED waits for a person, who may release it. Reports and executions only change the
state; what must be sent is asked for by `Review` alone, so that a replay sends it at a bar and not when a message happened to arrive.
Called by the portfolio.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.domain.units import NS_PER_S
from tandem.flow import orders
from tandem.flow.execution_records import (
    Alarm,
    CancelWanted,
    Closing,
    CompleteWanted,
    Completing,
    Event,
    Execution,
    Flattening,
    FlattenWanted,
    Leg,
    Opened,
    Output,
    Patience,
    Quarantine,
    Release,
    Reported,
    Review,
)
from tandem.flow.orders import OrderState

_P = PairState
# The states that may follow an event. What is not here is refused with an alarm, and the state stays.
NEXT: Mapping[tuple[PairState, type[Event]], frozenset[PairState]] = MappingProxyType(
    {
        (_P.FLAT, Opened): frozenset({_P.OPENING}),
        (_P.HEDGED, Closing): frozenset({_P.CLOSING}),
        (_P.UNWINDING, Flattening): frozenset({_P.UNWINDING}),
        (_P.OPENING, Completing): frozenset({_P.OPENING}),
        (_P.QUARANTINED, Release): frozenset({_P.QUARANTINED, _P.FLAT, _P.HEDGED, _P.UNWINDING}),
        **{(state, Quarantine): frozenset({_P.QUARANTINED}) for state in PairState},
        (_P.FLAT, Review): frozenset({_P.FLAT}),
        (_P.OPENING, Review): frozenset({_P.OPENING, _P.UNWINDING}),
        (_P.HEDGED, Review): frozenset({_P.HEDGED}),
        (_P.CLOSING, Review): frozenset({_P.CLOSING}),
        (_P.UNWINDING, Review): frozenset({_P.UNWINDING, _P.HEDGED, _P.QUARANTINED}),
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
        case Completing():
            new = _completing(state, event)
        case Release():
            new, out = _released(state)
        case Quarantine(reason=reason):
            new, out = replace(state, state=PairState.QUARANTINED, reason=reason), (Alarm(code="quarantined", detail=reason),)
        case Review():
            new, out = _review(state, event, patience)
        case Reported():
            new, out = _reported(state, event, patience)
        case Fill():
            new, out = _filled(state, event, patience)
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
        completions=0,
        leaving=False,
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
        leaving=True,
        waited_bars=0,
        first_fill_ns=None,
        last_fill_ns=None,
    )


def _flattening(state: Execution, event: Flattening) -> Execution:
    return replace(_sent(state, event.orders), attempts=state.attempts + 1)


def _completing(state: Execution, event: Completing) -> Execution:
    return replace(_sent(state, event.orders), completions=state.completions + 1)


def _sent(state: Execution, sent: tuple[Order, ...]) -> Execution:
    """The pair with these orders as the newest of their legs."""
    for order in sent:
        leg = state.a if order.leg == "a" else state.b
        assert not leg.is_live, f"{state.pair} leg {order.leg} has a live order already"
        state = _with_leg(state, replace(leg, order=OrderState(order=order)))
    return replace(state, decided_ns=max(state.decided_ns, *(order.decided_ns for order in sent)))


def _with_leg(state: Execution, leg: Leg) -> Execution:
    return replace(state, a=leg) if leg.symbol == state.a.symbol else replace(state, b=leg)


def _reported(state: Execution, report: Reported, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
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
        return _settle(_with_leg(state, replace(leg, order=new)), patience, reason=report.reason or f"{leg.symbol} {report.status}")
    return state, ()  # of an older order of the pair, which has ended


def _filled(state: Execution, fill: Fill, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    leg = state.a if fill.symbol == state.a.symbol else state.b
    assert leg.symbol == fill.symbol, f"{fill.execution_id} is of {fill.symbol}, {state.pair} has {state.a.symbol} and {state.b.symbol}"
    order = leg.order
    if order is not None and order.order.client_order_id == fill.client_order_id:
        order = orders.filled(order, fill)
    leg = replace(leg, held=leg.held + fill.qty * fill.side.sign, order=order)
    at_rest = state.state in (PairState.FLAT, PairState.HEDGED)  # a late execution sets the legs in motion anew
    times = [fill.event_ns, *(ns for ns in (state.first_fill_ns, state.last_fill_ns) if ns is not None and not at_rest)]
    state = replace(_with_leg(state, leg), first_fill_ns=min(times), last_fill_ns=max(times))
    why = "execution that nothing waited for" if at_rest else "is there or out in part only"
    return _settle(state, patience, reason=f"{fill.symbol} {why}")


def _settle(state: Execution, patience: Patience, *, reason: str) -> tuple[Execution, tuple[Output, ...]]:
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
            return (state, (_bare(state, reason),)) if _may_complete(state, patience) else _unwind(state, reason)
        case PairState.CLOSING | PairState.UNWINDING if gone and not live:
            return _to_flat(state, state.reason), ()
        case PairState.CLOSING | PairState.UNWINDING if complete and not live and (state.attempts == 0 or not state.leaving):
            kept = "" if state.state is PairState.UNWINDING else reason
            return replace(state, state=PairState.HEDGED, leaving=False, reason=kept), ()
        case PairState.CLOSING if any(not leg.is_live and leg.held != 0 for leg in state.legs):
            return _unwind(state, reason)
    return state, ()


def _unwind(state: Execution, reason: str) -> tuple[Execution, tuple[Output, ...]]:
    return replace(state, state=PairState.UNWINDING, reason=reason), (Alarm(code="unwinding", detail=f"{state.pair}: {reason}"),)


def _bare(state: Execution, reason: str) -> Alarm:
    return Alarm(code="leg_bare", detail=f"{state.pair}: {reason}; what is missing is sent again")


def _to_flat(state: Execution, reason: str) -> Execution:
    a, b = (replace(leg, target=0) for leg in state.legs)
    return replace(state, state=PairState.FLAT, held=None, leaving=False, reason=reason, a=a, b=b)


def _lacks(leg: Leg) -> bool:
    """No order is on its way for shares that the leg is still to get."""
    return not leg.is_live and leg.missing * leg.target > 0


def _may_complete(state: Execution, patience: Patience) -> bool:
    """One leg is there or certain, so that getting the other is better than undoing; and nothing is there that must be undone."""
    stopped = (leg for leg in state.legs if not leg.is_live and not leg.is_complete)
    touched = any(leg.is_touched for leg in state.legs)
    return touched and state.completions < patience.completions_max and all(_lacks(leg) for leg in stopped)


def _may_retry(state: Execution, event: Review, patience: Patience) -> bool:
    return event.bar_closed or event.at_ns - state.decided_ns >= patience.retry_s * NS_PER_S


def _review(state: Execution, event: Review, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    alarms: tuple[Output, ...] = ()
    if event.bar_closed and state.state in (PairState.OPENING, PairState.CLOSING):
        state = replace(state, waited_bars=state.waited_bars + 1)
    if state.state is PairState.OPENING:
        if not (why := _out_of_patience(state, event, patience)):
            return state, _completion(state, event, patience)
        state, alarms = _unwind(state, why)
    if state.state is PairState.CLOSING and event.bar_closed and state.waited_bars == patience.leg_wait_bars_max:
        alarms = (Alarm(code="close_slow", detail=f"{state.pair}: closing orders wait for {state.waited_bars} bars"),)
    if state.state is not PairState.UNWINDING:
        return state, alarms
    state, wanted = _unwinding(state, event, patience)
    return state, alarms + wanted


def _out_of_patience(state: Execution, event: Review, patience: Patience) -> str:
    """Why the opening must be given up, "" if it may go on."""
    if event.bar_closed and state.waited_bars >= patience.leg_wait_bars_max:
        return f"legs not filled within {state.waited_bars} bars"
    if state.first_fill_ns is not None and event.at_ns - state.first_fill_ns >= patience.leg_wait_s_max * NS_PER_S:
        return f"one leg bare for {(event.at_ns - state.first_fill_ns) / NS_PER_S:.0f} s"
    return ""


def _completion(state: Execution, event: Review, patience: Patience) -> tuple[Output, ...]:
    """What a bare opening lacks, sent again; not within the same breath as it was refused."""
    if not _may_complete(state, patience) or not _may_retry(state, event, patience):
        return ()
    legs = tuple(_trade(name, leg, leg.missing) for name, leg in _named(state) if _lacks(leg))
    return (CompleteWanted(legs=legs, attempt=state.completions),) if legs else ()


def _unwinding(state: Execution, event: Review, patience: Patience) -> tuple[Execution, tuple[Output, ...]]:
    """First cancel what still adds to the position; when that has ended, trim or undo what is held. A retry waits for a bar."""
    opening = tuple(leg.order for leg in state.legs if leg.is_opening and leg.order is not None)
    if opening:
        ask = [o for o in opening if event.bar_closed or o.status is not OrderStatus.PENDING_CANCEL]
        return state, tuple(CancelWanted(order=order) for order in ask)
    idle = tuple((name, leg) for name, leg in _named(state) if not leg.is_live)
    kept = _kept(state, patience) if len(idle) == len(state.legs) else (0, 0)
    if kept != (0, 0):
        state = replace(state, a=replace(state.a, target=kept[0]), b=replace(state.b, target=kept[1]))
        if state.a.is_complete and state.b.is_complete:
            return replace(state, state=PairState.HEDGED, reason=""), ()
    wanted = dict(zip("ab", kept, strict=True))
    left = tuple(_trade(name, leg, wanted[name] - int(leg.held)) for name, leg in idle if leg.held != wanted[name])
    if not left or (state.attempts > 0 and not _may_retry(state, event, patience)):
        return state, ()
    if state.attempts >= patience.unwind_attempts_max:
        why = f"{state.pair}: {state.attempts} unwindings failed, last: {state.reason}"
        return replace(state, state=PairState.QUARANTINED, reason=why), (Alarm(code="quarantined", detail=why),)
    return state, (FlattenWanted(legs=left, attempt=state.attempts),)


def _kept(state: Execution, patience: Patience) -> tuple[int, int]:
    """The targets of a smaller pair that what is held can become by selling and buying back alone; (0, 0) if that is not worth it.

    The leg that was filled for the smaller part stays as it is; the other follows the ratio to the nearest share.
    """
    if state.leaving or not all(leg.target for leg in state.legs):
        return 0, 0
    part = min([Fraction(1), *(Fraction(leg.held) / leg.target for leg in state.legs)])
    if part <= 0 or part < patience.keep_share_min:
        return 0, 0
    a, b = (int(min(Fraction(abs(leg.held)), Fraction(round(abs(leg.target) * part)))) for leg in state.legs)
    signs = tuple(1 if leg.target > 0 else -1 for leg in state.legs)
    return (a * signs[0], b * signs[1]) if a and b else (0, 0)


def _released(state: Execution) -> tuple[Execution, tuple[Output, ...]]:
    """Where the pair goes on: at rest if it holds all or nothing, else on its way out. Not while an order may still be filled."""
    if state.a.is_live or state.b.is_live:
        return state, (Alarm(code="release_refused", detail=f"{state.pair}: an order is still live"),)
    fresh = replace(state, attempts=0, waited_bars=0, reason="")
    if state.a.held == 0 and state.b.held == 0:
        return _to_flat(fresh, ""), ()
    if state.held is not None and state.a.is_complete and state.b.is_complete:
        return replace(fresh, state=PairState.HEDGED, leaving=False), ()
    return _unwind(replace(fresh, leaving=True), "released with a rest")


def _named(state: Execution) -> tuple[tuple[str, Leg], tuple[str, Leg]]:
    return ("a", state.a), ("b", state.b)


def _trade(name: str, leg: Leg, shares: int) -> tuple[str, Symbol, Side, int]:
    return name, leg.symbol, Side.BUY if shares > 0 else Side.SELL, abs(shares)
