"""The paper exchange: one account against recorded trades and quotes, as one pure step. docs/exchange.md tells what it does and what not.

An order meets only trades and quotes strictly after its acceptance (exchange_matching.py). Orders of one trade fill in the order of their
acceptance. Fees are charged with the fill (exchange_fills.py). What happens without an order comes as a directive (exchange_actions.py).

Called by the recycler (through flow/tape.py, which skips the trades that cannot matter) and by tests. Money is Decimal, ids are derived.
"""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.errors import InvariantBroken
from tandem.flow.exchange_actions import borrowed, direct, indebted
from tandem.flow.exchange_events import Cancel, Direct, Event, Mark, Output, Quoted, Replace, Submit, Tick
from tandem.flow.exchange_fills import Step
from tandem.flow.exchange_matching import expire, quoted, trade
from tandem.flow.exchange_records import ExchangeState, Rules
from tandem.flow.order_acceptance import submit
from tandem.flow.order_checks import equity_usd
from tandem.flow.order_replacing import cancel, change


def opening(replay_id: str, *, cash_usd: Decimal, now_ns: int) -> ExchangeState:
    """An account with cash and nothing else."""
    return ExchangeState(
        replay_id=replay_id,
        now_ns=now_ns,
        cash_usd=cash_usd,
        holdings={},
        orders={},
        marks={},
        last_equity_usd=cash_usd,
        last_marks={},
        accepted=0,
    )


def step(rules: Rules, state: ExchangeState, event: Event) -> tuple[ExchangeState, tuple[Output, ...]]:
    """Take in one event. Raises InvariantBroken if event time goes back."""
    if event.event_ns < state.now_ns:
        raise InvariantBroken(f"event at {event.event_ns} ns after the exchange's clock reached {state.now_ns} ns")
    state, expired = expire(rules, replace(state, now_ns=event.event_ns))
    state, outputs = _taken(rules, state, event)
    return state, expired + outputs


def _taken(rules: Rules, state: ExchangeState, event: Event) -> Step:
    match event:
        case Tick():
            return trade(rules, state, event)
        case Quoted():
            return quoted(rules, state, event)
        case Submit():
            return submit(rules, state, event)
        case Cancel():
            return cancel(state, event)
        case Replace():
            return change(rules, state, event)
        case Mark():
            return _mark(rules, state, event)
        case Direct():
            return direct(rules, state, event)


def _mark(rules: Rules, state: ExchangeState, event: Mark) -> Step:
    state = replace(state, marks={**state.marks, **event.prices_usd})
    if not event.session_end:
        return state, ()
    state, lent = borrowed(rules, state, event.nights)
    state, owed = indebted(rules, state, event.nights)
    marks = {symbol: state.marks[symbol] for symbol in state.holdings}
    return replace(state, last_equity_usd=equity_usd(state), last_marks=marks, fees_usd={}), lent + owed
