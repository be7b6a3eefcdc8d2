"""What corporate actions do to pairs: in which sessions nothing opens, how many shares a leg has after a split, whose forecasts count.

A model knows the prices it was trained on: after a split, a renaming or a large dividend its spread is another one, until a version takes
over that was trained since. Pure; called by portfolio/morning.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal

import numpy as np

from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.ids import PairId, Symbol
from tandem.domain.market import SessionGrid
from tandem.flow.execution_records import Execution, Leg

_ONE = Decimal(1)
_ZERO = Decimal(0)
_EXACT = Decimal("1e-9")  # a ratio such as 1/3 has no exact decimal: three shares of it are one, not a little less
_LARGE_SHARE = Decimal("0.02")  # of the price: below it a dividend moves a spread less than a day does


def windows(
    actions: Iterable[CorporateAction], ex_sessions: Mapping[str, int], session: int, *, before: int, after: int
) -> dict[Symbol, str]:
    """The symbols that are inside the window of an action in this session, with what it is. ex_sessions: session number by ex-day."""
    found: dict[Symbol, str] = {}
    for action in sorted(actions, key=lambda action: (action.ex_day, action.action_id)):
        if ex_sessions[action.ex_day] - before <= session <= ex_sessions[action.ex_day] + after:
            found.setdefault(action.symbol, action.told)
    return found


def breaks_model(action: CorporateAction, price_usd: Decimal | None) -> bool:
    """Whether forecasts of a model that was trained before the action are of another spread. price_usd: before it, None when not known."""
    if action.kind is ActionKind.DIVIDEND:
        return price_usd is not None and price_usd.is_finite() and action.amount_usd >= _LARGE_SHARE * price_usd
    return action.kind is not ActionKind.SPLIT or action.ratio != _ONE


def trained_since(grid: SessionGrid, ex_ns: int, *, at_ns: int, bar_index: int) -> bool:
    """Whether a model can have seen a bar since the action in its training.

    ex_ns: when the ex-day begins. at_ns, bar_index: close of a bar, and which one after the training its forecast calls it; bars in which a
    leg did not trade are not counted, so that the training may have ended earlier than this takes it to, never later.
    """
    session = int(np.searchsorted(grid.open_ns, ex_ns, side="left"))
    if session == len(grid.open_ns) or not grid.covers(at_ns):
        return False
    trained_to = int(grid.places(np.array([at_ns])).number[0]) - bar_index - 1
    return trained_to >= int(grid.first_bar[session])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaled:
    """A pair after a split. shares: what it added to the pair's sub-ledger, negative for a short; whole ones, as the broker keeps them."""

    execution: Execution
    shares: Decimal


def rescaled(executions: Iterable[Execution], action: CorporateAction) -> tuple[Rescaled, ...]:
    """The pairs that hold or want the symbol, in order of id.

    The broker rounds the account's shares towards zero and pays the fraction in cash; of the shares that rounding pair by pair would lose
    besides, the pairs with the largest fractions get one each.
    """
    held = sorted(
        ((e, leg) for e in executions for leg in e.legs if leg.symbol == action.symbol and (leg.held or leg.target)), key=_by_pair
    )
    exact = {e.pair: (leg.held * action.ratio).quantize(_EXACT) for e, leg in held}
    whole = {pair: shares.quantize(_ONE, rounding=ROUND_DOWN) for pair, shares in exact.items()}
    total = after_split(sum((leg.held for _, leg in held), _ZERO), action.ratio)
    missing = total - sum(whole.values(), _ZERO)
    step = _ONE if missing > 0 else -_ONE
    for pair in sorted(exact, key=lambda pair: (-(exact[pair] - whole[pair]) * step, pair))[: int(abs(missing))]:
        whole[pair] += step
    return tuple(_rescaled(e, leg, whole[e.pair], action.ratio) for e, leg in held)


def after_split(shares: Decimal, ratio: Decimal) -> Decimal:
    """Whole shares of an account after a split, rounded towards zero."""
    return (shares * ratio).quantize(_EXACT).quantize(_ONE, rounding=ROUND_DOWN)


def _by_pair(row: tuple[Execution, Leg]) -> PairId:
    return row[0].pair


def _rescaled(execution: Execution, leg: Leg, shares: Decimal, ratio: Decimal) -> Rescaled:
    """A hedged leg wants what it now holds; one that moves wants as much more or less as before, rounded towards zero."""
    target = int(shares) if leg.is_complete else int(after_split(Decimal(leg.target), ratio))
    new = replace(leg, held=shares, target=target)
    changed = replace(execution, a=new) if leg is execution.a else replace(execution, b=new)
    return Rescaled(execution=changed, shares=shares - leg.held)
