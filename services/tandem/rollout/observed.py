"""What the planner sees of the world, gathered once before each look, and what it may ask for. Values only.

Whoever carries rollouts out (the operator, or local/rollouts.py) gathers an Observed, calls plan.plan, and does the actions in order.
Each action is idempotent; the planner asks for it again for as long as what is observed does not show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tandem.domain.control import RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.rollout.state import GateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """One version in the registry. digest: "" when it has no bundle of ours; quarantined: the reason, "" when it is not."""

    version: str
    digest: str
    aliases: tuple[str, ...] = ()
    quarantined: str = ""
    trained_to_ns: int = 0
    pairs: tuple[PairId, ...] = ()  # that its model holds, in order of id; () when it does not say
    created_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecasterState:
    """The forecaster of one version: whether it exists, and whether it is Ready: digest verified, state rebuilt, lag gone."""

    exists: bool = False
    ready: bool = False
    reason: str = ""  # why it is not ready


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCheck:
    """The outcome of the replay gate's run. None stands for "not run yet" where this is used."""

    passed: bool
    digest: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The gates over the paired forecasts since evidence_from_ns, as gates of promotion.py judged them."""

    gates: tuple[GateResult, ...]
    bars: int  # paired so far
    newest_ns: int  # close of the newest paired bar; 0 without any
    market_ns: int = 0  # event time that the market has reached; 0 where that is not known
    diverged_share: float | None = None  # of the paired forecasts, beyond divergence_max; None while there are too few


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A person's wish: start, promote, rollback or abort."""

    request_id: str
    action: str
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look. A part that could not be looked at is None and its trouble is named: then nothing is concluded from it."""

    now_s: float
    versions: tuple[RegisteredVersion, ...] | None  # of the sector's registered model; None: the registry is away
    pointer: RoutingPointer | None
    pairs: tuple[PairId, ...]  # declared for the sector, in order of id
    forecasters: Mapping[str, ForecasterState] = field(default_factory=lambda: MappingProxyType({}))  # by version
    replay: ReplayCheck | None = None
    evidence: Evidence | None = None
    request: Request | None = None
    trouble: tuple[str, ...] = ()  # what could not be looked at, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReplay:
    """Run the replay gate of a version."""

    model: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureForecaster:
    """A forecaster of this version must run. role: stable, candidate or previous."""

    model: ModelRef
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveForecaster:
    """This version's forecaster is not needed any more: drain and stop it."""

    model: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePointer:
    """Publish this pointer; its epoch is above the observed one's."""

    pointer: RoutingPointer


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Let an alias of the sector's registered model name this version; version "" removes the alias."""

    sector: SectorId
    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagVersion:
    """Set a tag on a registered version."""

    model: ModelRef
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Tell people: an Event in Kubernetes, a line of the log without. kind: Normal or Warning; reason: one of plan.REASONS."""

    kind: str
    reason: str
    message: str


Action = RunReplay | EnsureForecaster | RemoveForecaster | MovePointer | SetAlias | TagVersion | Announce
