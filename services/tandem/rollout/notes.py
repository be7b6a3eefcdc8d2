"""How a change of a rollout's state is written down: steps entered, outcomes, newest gates, what to tell people. Pure; used by turns.py."""

from dataclasses import dataclass, replace

from tandem.domain.units import utc
from tandem.rollout.observed import Announce, Evidence, Observed
from tandem.rollout.registry_names import QUARANTINE_TAG
from tandem.rollout.state import HISTORY_MAX, GateResult, Moment, Outcome, RolloutState, Step, Verdict
from tandem.rollout.wishes import QUARANTINED

ENTERED = "entered"  # a mark among the gates: how many paired bars there were when the step began
_COUNTED = (Step.CANARY, Step.WATCH)  # the steps that last for a number of bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The state after a look, what to tell people of the change, and what it waits for."""

    state: RolloutState
    told: tuple[Announce, ...] = ()
    wait: str = ""


def enter(state: RolloutState, observed: Observed, step: Step, reason: str, message: str) -> RolloutState:
    """The state in its next step, or in the next part of it."""
    evidence = observed.evidence
    gates = tuple(gate for gate in state.gates if gate.name != ENTERED)
    after = noted(replace(state, step=step, gates=gates), observed, reason, message)
    if evidence is not None and step in _COUNTED:
        after = replace(after, gates=(*gates, _mark(after, evidence)))
    return replace(after, step_entered_s=observed.now_s, step_entered_ns=evidence.newest_ns if evidence is not None else 0)


def promotion(state: RolloutState, observed: Observed, message: str, *, epoch: int = 0) -> Turn:
    """The candidate takes over, with the next epoch or with that of the pointer that says so already."""
    assert observed.pointer is not None, "no promotion without having seen the pointer"
    epoch = epoch or observed.pointer.epoch + 1
    message = f"version {state.candidate.version} at epoch {epoch}: {message}"
    after = enter(replace(state, promoted_epoch=epoch), observed, Step.WATCH, "Promoted", message)
    return Turn(state=after, told=(Announce(kind="Normal", reason="Promoted", message=message),))


def end(state: RolloutState, observed: Observed, outcome: Outcome, reason: str, message: str, *, kind: str = "Normal") -> Turn:
    """The outcome is decided; the step stays, and says where it ended, until all that follows is done."""
    after = replace(noted(with_gates(state, observed), observed, reason, message), outcome=outcome)
    told = [Announce(kind=kind, reason=reason, message=message)]
    if outcome is Outcome.ROLLED_BACK and reason != "RolledBack":
        told.append(warning("RolledBack", f"version {state.candidate.version} is taken back: {message}"))
    if outcome in QUARANTINED and reason != "Quarantined":
        told.append(warning("Quarantined", f"version {state.candidate.version} is not tried again while it has the tag {QUARANTINE_TAG}"))
    return Turn(state=after, told=tuple(told))


def noted(state: RolloutState, observed: Observed, reason: str, message: str) -> RolloutState:
    """The state with one more entry of its history."""
    moment = Moment(step=state.step, at_s=observed.now_s, reason=reason, message=message)
    return replace(state, reason=reason, message=message, history=(*state.history, moment)[-HISTORY_MAX:])


def done(found: Turn, observed: Observed) -> Turn:
    """All that follows from the outcome is seen to be done."""
    state = replace(found.state, step=Step.DONE, step_entered_s=observed.now_s)
    return replace(found, state=noted(state, observed, state.reason, state.message))


def ended(state: RolloutState) -> bool:
    """Whether its outcome is decided."""
    return state.outcome is not Outcome.RUNNING


def with_gates(state: RolloutState, observed: Observed) -> RolloutState:
    """The newest look of each gate; the mark of the step is kept, or set where there was no evidence when the step began."""
    evidence = observed.evidence
    if evidence is None:
        return state
    marks = tuple(gate for gate in state.gates if gate.name == ENTERED)
    if not marks and state.step in _COUNTED:
        marks = (_mark(state, evidence),)
    return replace(state, gates=(*evidence.gates, *marks))


def bars_of_step(state: RolloutState, evidence: Evidence) -> int:
    """Paired bars since the step began."""
    mark = next((gate for gate in state.gates if gate.name == ENTERED), None)
    return max(0, evidence.bars - mark.bars) if mark is not None else 0


def replayed(state: RolloutState, evidence: Evidence) -> str:
    """Why no bar counts now, to go behind what is waited for: a recording plays what has counted, or was trained on; "" otherwise."""
    counted_ns = max(evidence.newest_ns, state.evidence_from_ns)
    if not 0 < evidence.market_ns < counted_ns:
        return ""
    # Only times that stay: this is told at each bar, and a text that changes with each of them would be written as often.
    counted = f"{utc(counted_ns):%Y-%m-%d %H:%M} UTC"
    return f"; the replay is before {counted}, up to where bars have counted already: none counts until it is past that"


def restarted(state: RolloutState, observed: Observed) -> RolloutState:
    """The state with the bars of its step counted from now: what they are counted for has not begun."""
    gates = tuple(gate for gate in state.gates if gate.name != ENTERED)
    return replace(state, gates=(*gates, _mark(state, observed.evidence)) if observed.evidence is not None else gates)


def failure(evidence: Evidence) -> str:
    """Why the gates fail; "" while none does."""
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in evidence.gates if gate.verdict is Verdict.FAIL)


def warning(reason: str, message: str) -> Announce:
    """Something that a person should look at."""
    return Announce(kind="Warning", reason=reason, message=message)


def why_not_ready(state: RolloutState, observed: Observed) -> str:
    """Of the candidate's forecaster, in words."""
    forecaster = observed.forecasters.get(state.candidate.version)
    if forecaster is None or not forecaster.exists:
        return f"the forecaster of version {state.candidate.version} does not run yet"
    return f"the forecaster of version {state.candidate.version} is not ready: {forecaster.reason or 'no reason given'}"


def why_unseen(observed: Observed) -> str:
    """What could not be looked at, in words."""
    return "; ".join(observed.trouble) or "there is none"


def _mark(state: RolloutState, evidence: Evidence) -> GateResult:
    return GateResult(name=ENTERED, verdict=Verdict.PASS, reason=f"paired bars when {state.step} began", bars=evidence.bars)
