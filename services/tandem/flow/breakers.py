"""What stops opening, or trading, by itself: the day's loss, the drawdown, refused orders, stale data, a ledger unlike the broker's.

Each breaker that has tripped stands until what ends it has come: the next session, a pause, the return of what was missing, or a person's
reset. What it sets is a trading mode for the whole account, as if a person had set it; closing is always allowed under REDUCING. Pure; the
portfolio's guard (portfolio/guard.py) feeds it, stores it and says aloud what it did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tandem.domain.trading import TradingMode
from tandem.domain.units import NS_PER_S
from tandem.flow.drawdown import Ladder, Rung

_ZERO = Decimal(0)


class Breaker(StrEnum):
    """What may trip."""

    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    REJECTS = "rejects"
    STALE_DATA = "stale_data"
    RECONCILE = "reconcile"


class Ends(StrEnum):
    """What ends a breaker's mode. A person's reset ends each."""

    NEXT_SESSION = "next_session"
    PAUSE = "pause"
    RECOVERY = "recovery"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """The parts `breakers` and `drawdown` of config/risk.yaml. Losses are shares of equity."""

    daily_loss_max: Decimal = Decimal("0.02")
    rejects_window: int = 20
    rejects_max: int = 10
    rejects_pause_s: float = 3_600.0
    stale_s_max: float = 900.0
    ladder: Ladder = field(default_factory=Ladder)

    def __post_init__(self) -> None:
        if not 0 < self.daily_loss_max <= 1 or not 1 <= self.rejects_max <= self.rejects_window:
            raise ValueError(f"{self}: must be 0 < daily_loss_max <= 1 and 1 <= rejects_max <= rejects_window")
        if self.rejects_pause_s <= 0 or self.stale_s_max <= 0:
            raise ValueError(f"{self}: rejects_pause_s and stale_s_max must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A breaker that has tripped. until_ns: the end of a pause, 0 where something else ends it."""

    breaker: Breaker
    mode: TradingMode
    reason: str
    at_ns: int
    ends: Ends
    until_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """session: number of the newest one, -1 before any. base_usd: equity when it began. last_usd: newest. answers: newest last."""

    session: int = -1
    base_usd: Decimal = _ZERO
    last_usd: Decimal = _ZERO
    peak_usd: Decimal = _ZERO
    rung: int = 0
    answers: tuple[bool, ...] = ()  # of the broker to our orders: True for a refusal
    tripped: Mapping[Breaker, Tripped] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def drawdown(self) -> Decimal:
        """Share of the highest equity that is lost; 0 at it."""
        return max(1 - self.last_usd / self.peak_usd, _ZERO) if self.peak_usd > 0 else _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    """Equity at a bar of a session."""

    at_ns: int
    session: int
    equity_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The broker took an order, or refused it."""

    at_ns: int
    rejected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The newest trade of any symbol that the bar knows of."""

    at_ns: int
    newest_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The ledger was compared with the broker; "" when they are equal."""

    at_ns: int
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A person has looked at it."""

    at_ns: int
    breaker: Breaker


Event = Valued | Answered | Seen | Compared | Reset


def step(state: BreakerState, event: Event, limits: BreakerLimits) -> BreakerState:
    """The state after the event; what has tripped or ended shows in `tripped`."""
    state = _ended(state, event)
    match event:
        case Valued():
            return _valued(state, event, limits)
        case Answered():
            return _answered(state, event, limits)
        case Seen():
            return _seen(state, event, limits)
        case Compared():
            return _compared(state, event)
        case Reset(breaker=breaker):
            return _reset(state, breaker)


def _trip(state: BreakerState, found: Tripped) -> BreakerState:
    """A breaker that has tripped already keeps its first reason, unless it gets stricter."""
    old = state.tripped.get(found.breaker)
    if old is not None and old.mode is found.mode:
        return state
    return replace(state, tripped=MappingProxyType({**state.tripped, found.breaker: found}))


def _clear(state: BreakerState, breaker: Breaker) -> BreakerState:
    if breaker not in state.tripped:
        return state
    return replace(state, tripped=MappingProxyType({name: t for name, t in state.tripped.items() if name is not breaker}))


def _ended(state: BreakerState, event: Event) -> BreakerState:
    """Without those whose pause is over, or whose session is."""
    for name, tripped in list(state.tripped.items()):
        over = tripped.ends is Ends.PAUSE and event.at_ns >= tripped.until_ns
        if over or (tripped.ends is Ends.NEXT_SESSION and isinstance(event, Valued) and event.session > state.session):
            state = _clear(state, name)
    return state


def _valued(state: BreakerState, event: Valued, limits: BreakerLimits) -> BreakerState:
    """The day's loss counts from the last value of the session before, so that a gap over night is the day's."""
    if event.session > state.session:
        base = state.last_usd if state.session >= 0 else event.equity_usd
        state = replace(state, session=event.session, base_usd=base)
    state = replace(state, last_usd=event.equity_usd, peak_usd=max(state.peak_usd, event.equity_usd))
    lost = 1 - event.equity_usd / state.base_usd if state.base_usd > 0 else _ZERO
    if lost >= limits.daily_loss_max:
        reason = f"{lost:.2%} of equity lost since the session began, at most {limits.daily_loss_max:.2%}"
        found = Tripped(breaker=Breaker.DAILY_LOSS, mode=TradingMode.REDUCING, reason=reason, at_ns=event.at_ns, ends=Ends.NEXT_SESSION)
        state = _trip(state, found)
    return _on_ladder(state, event.at_ns, limits)


def _on_ladder(state: BreakerState, at_ns: int, limits: BreakerLimits) -> BreakerState:
    """The rung that the drawdown has reached. One that sets a mode is left by a reset only: nothing opens, so nothing could make good."""
    number = limits.ladder.rung(state.drawdown, state.rung)
    state = replace(state, rung=number)
    rung: Rung | None = limits.ladder.rungs[number - 1] if number else None
    if rung is None or rung.mode is None:
        return state
    reason = f"drawdown of {state.drawdown:.2%} from {state.peak_usd:.2f} USD, at most {rung.drawdown:.2%}"
    return _trip(state, Tripped(breaker=Breaker.DRAWDOWN, mode=rung.mode, reason=reason, at_ns=at_ns, ends=Ends.RESET))


def _answered(state: BreakerState, event: Answered, limits: BreakerLimits) -> BreakerState:
    answers = (*state.answers, event.rejected)[-limits.rejects_window :]
    state = replace(state, answers=answers)
    if sum(answers) < limits.rejects_max:
        return state
    reason = (
        f"the broker refused {sum(answers)} of {len(answers)} orders, fewer than {limits.rejects_max} of {limits.rejects_window} allowed"
    )
    until_ns = event.at_ns + int(limits.rejects_pause_s * NS_PER_S)
    found = Tripped(
        breaker=Breaker.REJECTS, mode=TradingMode.REDUCING, reason=reason, at_ns=event.at_ns, ends=Ends.PAUSE, until_ns=until_ns
    )
    return replace(_trip(state, found), answers=())


def _seen(state: BreakerState, event: Seen, limits: BreakerLimits) -> BreakerState:
    age_s = (event.at_ns - event.newest_ns) / NS_PER_S
    if age_s <= limits.stale_s_max:
        return _clear(state, Breaker.STALE_DATA)
    reason = f"no symbol has traded for {age_s:.0f} s, at most {limits.stale_s_max:.0f}"
    return _trip(
        state, Tripped(breaker=Breaker.STALE_DATA, mode=TradingMode.REDUCING, reason=reason, at_ns=event.at_ns, ends=Ends.RECOVERY)
    )


def _compared(state: BreakerState, event: Compared) -> BreakerState:
    if not event.difference:
        return _clear(state, Breaker.RECONCILE)
    found = Tripped(breaker=Breaker.RECONCILE, mode=TradingMode.REDUCING, reason=event.difference, at_ns=event.at_ns, ends=Ends.RECOVERY)
    return _trip(state, found)


def _reset(state: BreakerState, breaker: Breaker) -> BreakerState:
    """As if it began now: a drawdown counts from today's equity, the day's loss from now."""
    state = _clear(state, breaker)
    if breaker is Breaker.DRAWDOWN:
        return replace(state, peak_usd=state.last_usd, rung=0)
    return replace(state, base_usd=state.last_usd) if breaker is Breaker.DAILY_LOSS else state


def document(state: BreakerState) -> dict[str, Any]:
    """As plain values, for the database."""
    return {
        "session": state.session,
        **{name: str(getattr(state, name)) for name in ("base_usd", "last_usd", "peak_usd")},
        "rung": state.rung,
        "answers": list(state.answers),
        "tripped": [
            {
                "breaker": t.breaker.value,
                "mode": t.mode.value,
                "reason": t.reason,
                "at_ns": t.at_ns,
                "ends": t.ends.value,
                "until_ns": t.until_ns,
            }
            for t in state.tripped.values()
        ],
    }


def state_of(found: Mapping[str, Any]) -> BreakerState:
    """What `document` wrote."""
    tripped = [
        Tripped(**{**row, "breaker": Breaker(row["breaker"]), "mode": TradingMode(row["mode"]), "ends": Ends(row["ends"])})
        for row in found["tripped"]
    ]
    return BreakerState(
        session=found["session"],
        base_usd=Decimal(found["base_usd"]),
        last_usd=Decimal(found["last_usd"]),
        peak_usd=Decimal(found["peak_usd"]),
        rung=found["rung"],
        answers=tuple(found["answers"]),
        tripped=MappingProxyType({t.breaker: t for t in tripped}),
    )
