"""Forecast and pair specification to an action, or to the reason why there is none: two tables of rules, the first that holds decides.

Knows nothing of money, orders or limits (sizing.py, execution.py). Called by the portfolio, once per pair and bar with a forecast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tandem.domain.control import PairSpec, TradingState
from tandem.domain.forecasts import Forecast
from tandem.domain.ids import PairId, SectorId
from tandem.domain.trading import Action, TradingMode
from tandem.flow.stops import stop_z


class Reason(StrEnum):
    """Why a pair acts or waits."""

    LEGS_DIFFER = "legs_differ"  # the model's pair of this name has other legs than the declared one
    MODEL_LACKS_PAIR = "model_lacks_pair"  # the version that decides now does not hold it: portfolio/orphans.py
    SUSPENDED = "suspended"
    MODE_REDUCING = "mode_reducing"
    MODE_HALTED = "mode_halted"
    MODE_FLATTENING = "mode_flattening"
    FROZEN = "frozen"  # by declaration: no order in either direction
    MODEL_CHANGED = "model_changed"  # another version opened it, and the pointer says that it is not to outlive it
    BEYOND_STOP = "beyond_stop"
    INSIDE_BAND = "inside_band"
    PROBABILITY_LOW = "probability_low"
    HALF_LIFE_UNUSABLE = "half_life_unusable"
    ENTRY_LONG = "entry_long"
    ENTRY_SHORT = "entry_short"
    STOP_Z = "stop_z"
    TIME_STOP = "time_stop"
    EXIT_Z = "exit_z"
    CROSSED_MEAN = "crossed_mean"
    HOLDING = "holding"
    STALE = "stale"  # live only: the forecast came too late to open on
    STOP_WAITS = "stop_waits"  # beyond the stop, by prices that are old or of a halted symbol: no reason to sell at the resumption
    DRIFT = "drift"  # the spread comes back slower than its model can explain: flow/drift.py
    CORPORATE_ACTION = "corporate_action"  # a split or the like has changed what its model was trained on: another version must come
    SESSION_END = "session_end"  # the exchange closes soon, and nothing is to be held over night: flow/session_end.py
    RESTING = "resting"  # was stopped, and the spread has not been back since: flow/stops.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a held pair's exit depends on. direction: +1 long the spread (long a), -1 short.

    opened_bar_index counts from the origin of the model with this digest; half_life_bars is the forecast of the entry,
    so that the deadline stands from the start.
    """

    direction: int
    opened_bar_index: int
    half_life_bars: float
    digest: str

    def __post_init__(self) -> None:
        if self.direction not in (-1, 1):
            raise ValueError(f"direction {self.direction}, must be -1 or 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What to do with a pair; no action means wait or hold."""

    action: Action | None
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known of a pair besides its forecast.

    widening: of the stop's distance. priced: both legs trade and have just traded. comparable: its model was trained on such prices.
    ending: nothing is held over the session's end, which is near.
    """

    widening: float = 1.0
    priced: bool = True
    comparable: bool = True
    drifting: bool = False
    resting: bool = False
    ending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that one decision looks at."""

    forecast: Forecast
    spec: PairSpec
    held: Held | None
    mode: TradingMode
    fresh: bool
    model_changed: bool = False
    outlook: Outlook = Outlook()

    @property
    def beyond_stop(self) -> bool:
        """A held pair's stop has come, by whatever prices."""
        return self.distance >= stop_z(self.spec, self.outlook.widening)

    @property
    def is_reliable(self) -> bool:
        """The forecast is new, and so are its prices."""
        return self.fresh and self.outlook.priced

    @property
    def distance(self) -> float:
        """|z|."""
        return abs(self.forecast.z)

    @property
    def z_held(self) -> float:
        """z seen from the held side: negative while the spread has not come back to its mean."""
        assert self.held is not None
        return self.forecast.z * self.held.direction

    @property
    def held_too_long(self) -> bool:
        """The time stop has come."""
        assert self.held is not None
        return self.forecast.bar_index - self.held.opened_bar_index >= self.spec.hold_half_lives_max * self.held.half_life_bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of a table."""

    reason: Reason
    holds: Callable[[Case], bool]
    action: Action | None = None
    signal: Signal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signal", Signal(action=self.action, reason=self.reason))


FLAT_RULES: tuple[Rule, ...] = (
    Rule(reason=Reason.LEGS_DIFFER, holds=lambda c: (c.forecast.leg_a, c.forecast.leg_b) != (c.spec.leg_a, c.spec.leg_b)),
    Rule(reason=Reason.FROZEN, holds=lambda c: c.spec.frozen),
    Rule(reason=Reason.SUSPENDED, holds=lambda c: c.spec.suspended),
    Rule(reason=Reason.MODE_HALTED, holds=lambda c: c.mode is TradingMode.HALTED),
    Rule(reason=Reason.MODE_FLATTENING, holds=lambda c: c.mode is TradingMode.FLATTENING),
    Rule(reason=Reason.MODE_REDUCING, holds=lambda c: c.mode is TradingMode.REDUCING),
    Rule(reason=Reason.SESSION_END, holds=lambda c: c.outlook.ending),
    Rule(reason=Reason.STALE, holds=lambda c: not c.fresh),
    Rule(reason=Reason.CORPORATE_ACTION, holds=lambda c: not c.outlook.comparable),
    Rule(reason=Reason.DRIFT, holds=lambda c: c.outlook.drifting),
    Rule(reason=Reason.RESTING, holds=lambda c: c.outlook.resting),
    Rule(reason=Reason.BEYOND_STOP, holds=lambda c: c.distance >= c.spec.stop_z),
    Rule(reason=Reason.INSIDE_BAND, holds=lambda c: c.distance < c.spec.entry_z),
    Rule(reason=Reason.PROBABILITY_LOW, holds=lambda c: c.forecast.reversion_probability < c.spec.probability_min),
    Rule(reason=Reason.HALF_LIFE_UNUSABLE, holds=lambda c: not 0 < c.forecast.half_life_bars < float("inf")),
    Rule(reason=Reason.ENTRY_LONG, holds=lambda c: c.forecast.z < 0, action=Action.OPEN_LONG),
    Rule(reason=Reason.ENTRY_SHORT, holds=lambda _: True, action=Action.OPEN_SHORT),
)

HELD_RULES: tuple[Rule, ...] = (
    Rule(reason=Reason.MODE_HALTED, holds=lambda c: c.mode is TradingMode.HALTED),
    Rule(reason=Reason.FROZEN, holds=lambda c: c.spec.frozen),
    Rule(reason=Reason.MODE_FLATTENING, holds=lambda c: c.mode is TradingMode.FLATTENING, action=Action.CLOSE),
    Rule(reason=Reason.SUSPENDED, holds=lambda c: c.spec.suspended, action=Action.CLOSE),
    Rule(reason=Reason.MODEL_CHANGED, holds=lambda c: c.model_changed, action=Action.CLOSE),
    Rule(reason=Reason.SESSION_END, holds=lambda c: c.outlook.ending, action=Action.CLOSE),
    Rule(reason=Reason.CORPORATE_ACTION, holds=lambda c: not c.outlook.comparable and not c.held_too_long),
    Rule(reason=Reason.STOP_WAITS, holds=lambda c: c.beyond_stop and not c.is_reliable),
    Rule(reason=Reason.STOP_Z, holds=lambda c: c.beyond_stop, action=Action.CLOSE),
    Rule(reason=Reason.EXIT_Z, holds=lambda c: c.distance <= c.spec.exit_z, action=Action.CLOSE),
    Rule(reason=Reason.CROSSED_MEAN, holds=lambda c: c.z_held >= 0, action=Action.CLOSE),
    Rule(reason=Reason.DRIFT, holds=lambda c: c.outlook.drifting and c.is_reliable, action=Action.CLOSE),
    Rule(reason=Reason.TIME_STOP, holds=lambda c: c.held_too_long, action=Action.CLOSE),
    Rule(reason=Reason.HOLDING, holds=lambda _: True),
)


def decide(case: Case) -> Signal:
    """The first rule that holds, of the table for a flat or a held pair."""
    for rule in FLAT_RULES if case.held is None else HELD_RULES:
        if rule.holds(case):
            return rule.signal
    raise AssertionError("the last rule of each table always holds")


def held_under(held: Held, last: Forecast, new: Forecast, digest: str) -> Held:
    """The same holding counted from another model's origin.

    last: the newest forecast of the model that `held` counts by; new: the first one of the model `digest`, one bar later.
    """
    bars_held = last.bar_index + 1 - held.opened_bar_index
    return Held(direction=held.direction, opened_bar_index=new.bar_index - bars_held, half_life_bars=held.half_life_bars, digest=digest)


BREAKER_SCOPE = "breaker/"  # of the states that flow/breakers.py sets; one portfolio has one account
_STRICTNESS = {mode: rank for rank, mode in enumerate(TradingMode)}  # they stand in this order


def effective_mode(states: Mapping[str, TradingState], account: str, sector: SectorId, pair: PairId) -> TradingMode:
    """The strictest mode of "global", the account, its breakers, the sector and the pair; ACTIVE where nothing is said."""
    if not states:
        return TradingMode.ACTIVE
    scopes = ("global", f"account/{account}", f"sector/{sector}", f"pair/{pair}")
    modes = [state.mode for scope, state in states.items() if scope in scopes or scope.startswith(BREAKER_SCOPE)]
    return max(modes, key=_STRICTNESS.__getitem__, default=TradingMode.ACTIVE)
