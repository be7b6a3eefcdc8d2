"""The planner of a rollout: from policy, memory and one look at the world to the next memory and what to do. Pure.

Called by whoever carries rollouts out (the operator, or local/rollouts.py), who keeps to this:

1. Gather an Observed. Read the control topic to its end first, so that the pointer is not older than what was written here.
2. Call plan(). Store Plan.state where it survives, then do Plan.actions in order; at the first that fails stop, and look again later.
   Announcements come last; one that a kill swallows is in the state's history all the same.
3. Look again at once when the state has changed, else after a while.

A rollout ends in two moves: its outcome is decided, then Step.DONE is entered once all that follows from it is seen to be done. Nothing is
asked for after that; the versions that the pointer names as its own and as previous are then the caller's to keep running. Another
rollout begins (candidates.choose, begin) only when this one is done, or gives way in a step that has compared nothing yet.

Transitions are in turns.py, what they ask for in wishes.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.rollout.notes import Turn, done, ended
from tandem.rollout.observed import Action, Announce, EnsureForecaster, Observed, RegisteredVersion
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.state import HISTORY_MAX, Moment, Outcome, RolloutState, Step
from tandem.rollout.turns import turn, unsettled
from tandem.rollout.wishes import wishes

REASONS = (
    "NewVersionDetected",
    "ReplayPassed",
    "ReplayFailed",
    "ShadowStarted",
    "GateInconclusive",
    "GateFailed",
    "CanaryAdvanced",
    "Promoted",
    "RolledBack",
    "Quarantined",
    "VersionUnusable",
    "AliasQuarantined",
    "RegistryUnreachable",
    "Adopted",
    "WarmTimedOut",
    "Aborted",
    "RequestRefused",
    "RolloutSucceeded",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next memory, what to do in this order, and what the rollout waits for, for people; "" when it waits for nothing."""

    state: RolloutState
    actions: tuple[Action, ...] = ()
    wait: str = ""


def begin(
    sector: SectorId,
    candidate: ModelRef,
    stable: ModelRef | None,
    versions: Sequence[RegisteredVersion],
    *,
    now_s: float,
    request_id: str = "",
) -> Plan:
    """A new rollout. Without a stable version it starts with the forecaster: there is nothing that a gate could compare."""
    if stable is not None and stable.version == candidate.version:
        raise ValueError(f"version {candidate.version} of {sector} is stable already")
    step = Step.REPLAY if stable is not None else Step.WARM
    message = f"version {candidate.version} ({candidate.digest[:12]})" + (f" against version {stable.version}" if stable else "")
    pinned = {ref.version for ref in (candidate, stable) if ref is not None}
    state = RolloutState(
        sector=sector,
        candidate=candidate,
        stable=stable,
        step=step,
        started_s=now_s,
        step_entered_s=now_s,
        evidence_from_ns=max((v.trained_to_ns for v in versions if v.version in pinned), default=0),
        request_id=request_id,
        reason="NewVersionDetected",
        message=message,
        history=(Moment(step=step, at_s=now_s, reason="NewVersionDetected", message=message),),
    )
    return Plan(state=state, actions=(Announce(kind="Normal", reason="NewVersionDetected", message=message),))


def give_way(state: RolloutState, by: str, now_s: float) -> RolloutState:
    """The state of a running rollout whose place another version takes: aborted, still to be settled by plan()."""
    message = f"version {by} takes its place"
    moment = Moment(step=state.step, at_s=now_s, reason="Aborted", message=message)
    history = (*state.history, moment)[-HISTORY_MAX:]
    return replace(state, outcome=Outcome.ABORTED, reason="Aborted", message=message, history=history)


def plan(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Plan:
    """One look. Looking again at the same world, from the state that this returns, soon changes and announces nothing any more."""
    found = turn(policy, state, observed)
    if found.state.step is Step.DONE:
        return _plan(found, ())
    wanted = wishes(policy, found.state, observed)
    if not ended(found.state):
        return _plan(found, wanted)
    wait = unsettled(found.state, observed)
    return _plan(done(found, observed), ()) if not wait and not _open(wanted) else _plan(replace(found, wait=wait), wanted)


def _plan(found: Turn, wanted: tuple[Action, ...]) -> Plan:
    return Plan(state=found.state, actions=(*wanted, *found.told), wait=found.wait)


def _open(wanted: tuple[Action, ...]) -> tuple[Action, ...]:
    """What has an end. Forecasters are asked for as long as they are needed, whether they run or not."""
    return tuple(action for action in wanted if not isinstance(action, EnsureForecaster))
