"""Where the rollout of one candidate stands. The whole memory of the planner: a ModelRollout's status, or a record of the control topic.

Frozen; plan.py makes the next one from it and from what is observed. Times: *_s wall time in Unix seconds, *_ns event time.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId


class Step(StrEnum):
    """What is being done. Each step is entered once, in this order; some are left out by policy."""

    REPLAY = "Replay"  # the recorded span of its training is decided again and must give the same digest
    WARM = "Warm"  # its forecaster starts, rebuilds its state and catches up
    SHADOW = "Shadow"  # it forecasts beside the stable version; nobody acts on it
    CANARY = "Canary"  # some pairs act on it, with less money
    WATCH = "Watch"  # it is promoted; the previous version stays hot
    DONE = "Done"


class Outcome(StrEnum):
    """How it ended; RUNNING before."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    REFUSED = "Refused"  # a gate failed before it was promoted; the version is quarantined
    INCONCLUSIVE = "Inconclusive"  # bars_max without a verdict; the stable version stays, the candidate is not quarantined
    ROLLED_BACK = "RolledBack"  # promoted or in canary, and taken back; the version is quarantined
    ABORTED = "Aborted"  # a person said so, or another candidate took its place; not quarantined


class Verdict(StrEnum):
    """What a gate says. No data is never a failure."""

    PASS = "Pass"  # noqa: S105  (a verdict, not a password)
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate at its newest look: the verdict and what was compared with what."""

    name: str
    verdict: Verdict
    reason: str
    bars: int = 0
    sessions: int = 0
    effect: float | None = None  # of the statistical gate: mean QLIKE of the candidate minus that of the stable version; below 0 is better
    statistic: float | None = None  # Diebold-Mariano with HAC and HLN over all bars so far; for people, it decides nothing
    p_value: float | None = None  # anytime-valid, of the claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One entry of the history: a step that was entered or the end, when and why."""

    step: Step
    at_s: float
    reason: str  # CamelCase
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """One candidate of one sector."""

    sector: SectorId
    candidate: ModelRef
    stable: ModelRef | None  # None: the sector's first version, which no gate can compare with anything
    step: Step = Step.REPLAY
    outcome: Outcome = Outcome.RUNNING
    started_s: float = 0.0
    step_entered_s: float = 0.0
    step_entered_ns: int = 0  # event time of the newest paired bar when the step began; 0 before any
    canary_index: int = 0  # of RolloutPolicy.canary
    evidence_from_ns: int = 0  # bars that close after it count: both versions were trained before
    gates: tuple[GateResult, ...] = ()  # newest look of each
    replay_digest: str = ""
    promoted_epoch: int = 0  # of the pointer that promoted it
    request_id: str = ""  # the last request that was carried out
    reason: str = "Started"  # CamelCase, of the newest change
    message: str = ""
    history: tuple[Moment, ...] = ()  # newest last, at most HISTORY_MAX

    @property
    def name(self) -> str:
        """The name of its ModelRollout."""
        return f"{self.sector}-v{self.candidate.version}"


HISTORY_MAX = 32
_ADAPTER = TypeAdapter(RolloutState)


def to_document(state: RolloutState) -> dict[str, Any]:
    """As JSON values, for the control topic."""
    document: dict[str, Any] = _ADAPTER.dump_python(state, mode="json")
    return document


def from_document(document: object) -> RolloutState:
    """Back. Raises pydantic.ValidationError, a ValueError."""
    return _ADAPTER.validate_python(document)
