"""How a rollout's state changes at one look: requests, then facts that others made, then the step's own rule. Pure; called by plan.py.

No data, and no answer, changes nothing: only what is seen does.
"""

from dataclasses import replace

from tandem.domain.control import RoutingPointer
from tandem.rollout.answers import ANSWERS
from tandem.rollout.notes import (
    Turn,
    bars_of_step,
    end,
    ended,
    enter,
    failure,
    noted,
    promotion,
    replayed,
    restarted,
    warning,
    why_not_ready,
    why_unseen,
    with_gates,
)
from tandem.rollout.observed import Announce, Observed, RegisteredVersion
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.promotion import overall
from tandem.rollout.state import Outcome, RolloutState, Step, Verdict
from tandem.rollout.wishes import eligible_pairs, is_ready, pointer_wish

_NOT_READY, _READY_AGAIN = "CandidateNotReady", "CandidateReady"


def turn(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    """At most one change of step or outcome. A request waits until the pointer can be seen: what it means depends on what is acted on."""
    if observed.pointer is None and (observed.trouble or state.stable is not None):
        return Turn(state=state, wait="" if state.step is Step.DONE else _blind(observed))
    if not ended(state) and (moved := _moved_by_others(policy, state, observed)) is not None:
        return moved
    request = observed.request
    if request is not None and request.request_id != state.request_id and request.action in ANSWERS:
        return ANSWERS[request.action](replace(state, request_id=request.request_id), observed, request)
    if ended(state):
        return Turn(state=state)
    if (found := _registry_facts(policy, state, observed)) is not None:
        return found
    if state.stable is None:
        return _adopt(policy, state, observed)
    return _STEPS[state.step](policy, with_gates(state, observed), observed)


def unsettled(state: RolloutState, observed: Observed) -> str:
    """Why it cannot be said yet that the end is settled; "" when all could be looked at."""
    if observed.pointer is None and (state.stable is not None or state.outcome is Outcome.SUCCEEDED or observed.trouble):
        return _blind(observed)
    if observed.versions is None:
        return f"the registry cannot be seen: {why_unseen(observed)}"
    return ""


def _blind(observed: Observed) -> str:
    return f"the routing pointer cannot be seen: {why_unseen(observed)}"


def _moved_by_others(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn | None:
    """The pointer says something else than this state thinks: another hand moved it, or a kill swallowed the state that did."""
    pointer, version = observed.pointer, state.candidate.version
    if pointer is None:
        return None
    if (pointer.version, pointer.digest) == (version, state.candidate.digest):
        if state.stable is None:
            return _adopt(policy, state, observed)
        if state.step is Step.WATCH:
            return None
        return promotion(with_gates(state, observed), observed, "the routing pointer names it", epoch=pointer.epoch)
    taken_back = state.step is Step.WATCH and pointer.epoch >= state.promoted_epoch
    if taken_back or not _names_stable(state, pointer):
        message = f"the routing pointer was moved to version {pointer.version} by another hand (epoch {pointer.epoch})"
        return end(state, observed, Outcome.ABORTED, "Aborted", message)
    if state.step is Step.SHADOW and pointer.canary is not None and pointer.canary.version == version:
        return Turn(state=enter(with_gates(state, observed), observed, Step.CANARY, "CanaryAdvanced", "the routing pointer says so"))
    return None


def _names_stable(state: RolloutState, pointer: RoutingPointer) -> bool:
    return state.stable is not None and (pointer.version, pointer.digest) == (state.stable.version, state.stable.digest)


def _registry_facts(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn | None:
    if observed.versions is None:
        return None
    found = next((v for v in observed.versions if v.version == state.candidate.version), None)
    acted = state.step in (Step.CANARY, Step.WATCH)
    if found is not None and found.quarantined:
        if state.step is Step.WATCH and not policy.auto_rollback:
            return None
        message = f"version {found.version} is quarantined: {found.quarantined}"
        return end(state, observed, Outcome.ROLLED_BACK if acted else Outcome.REFUSED, "Quarantined", message, kind="Warning")
    if acted or (found is not None and found.digest == state.candidate.digest):
        return None  # once it is acted on, its forecaster has verified the content
    outcome = Outcome.REFUSED if found is not None else Outcome.ABORTED
    return end(state, observed, outcome, "VersionUnusable", _why_unusable(state, found), kind="Warning")


def _why_unusable(state: RolloutState, found: RegisteredVersion | None) -> str:
    version = state.candidate.version
    if found is None:
        return f"version {version} is no longer registered"
    return f"version {version} has digest {found.digest[:12] or 'none'} now, {state.candidate.digest[:12]} when its rollout began"


def _adopt(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    """The first version of a sector: acted on as soon as it is Ready. It has no deadline, since there is nothing else to act on."""
    if is_ready(state, observed) or observed.pointer is not None:
        epoch = observed.pointer.epoch if observed.pointer is not None else 1
        message = f"version {state.candidate.version} is the first of its sector"
        return end(replace(state, promoted_epoch=epoch), observed, Outcome.SUCCEEDED, "Adopted", message)
    wait = why_not_ready(state, observed)
    if observed.now_s - state.step_entered_s <= policy.warm_deadline_s or state.reason == "WarmTimedOut":
        return Turn(state=state, wait=wait)
    message = f"not ready after {policy.warm_deadline_s:g} s, still waiting: {wait}"
    return Turn(state=noted(state, observed, "WarmTimedOut", message), told=(warning("WarmTimedOut", message),), wait=wait)


def _replay(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    if not policy.replay_required:
        return Turn(state=enter(state, observed, Step.WARM, "ReplayNotRequired", "the policy asks for no replay"))
    check = observed.replay
    if check is None:
        return Turn(state=state, wait="the recorded span of its training is decided again")
    if not check.passed:
        return end(state, observed, Outcome.REFUSED, "ReplayFailed", check.reason, kind="Warning")
    after = replace(enter(state, observed, Step.WARM, "ReplayPassed", check.reason), replay_digest=check.digest)
    return Turn(state=after, told=(Announce(kind="Normal", reason="ReplayPassed", message=check.reason),))


def _warm(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    if is_ready(state, observed):
        message = f"version {state.candidate.version} forecasts beside version {_stable(state)}"
        after = enter(state, observed, Step.SHADOW, "ShadowStarted", message)
        return Turn(state=after, told=(Announce(kind="Normal", reason="ShadowStarted", message=message),))
    wait = why_not_ready(state, observed)
    if observed.now_s - state.step_entered_s <= policy.warm_deadline_s:
        return Turn(state=state, wait=wait)
    message = f"not ready after {policy.warm_deadline_s:g} s: {wait}"
    return end(state, observed, Outcome.ABORTED, "WarmTimedOut", message, kind="Warning")


def _shadow(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    evidence = observed.evidence
    if evidence is None:
        return Turn(state=state, wait=f"no paired forecasts to look at: {why_unseen(observed)}")
    verdict = overall(evidence.gates)
    if verdict is Verdict.FAIL:
        return end(state, observed, Outcome.REFUSED, "GateFailed", failure(evidence), kind="Warning")
    if verdict is Verdict.INCONCLUSIVE:
        if evidence.bars < policy.gate.bars_max:
            wait = f"no verdict after {evidence.bars} paired bars, at most {policy.gate.bars_max}"
            return Turn(state=state, wait=wait + replayed(state, evidence))
        message = f"no verdict after {evidence.bars} paired bars; version {_stable(state)} stays"
        return end(state, observed, Outcome.INCONCLUSIVE, "GateInconclusive", message)
    if not policy.canary:
        return _promote_or_wait(policy, state, observed, f"the gates have passed after {evidence.bars} paired bars")
    if not is_ready(state, observed):
        return Turn(state=state, wait=why_not_ready(state, observed))
    if observed.versions is None:
        return Turn(state=state, wait=_unseen_pairs(observed))
    if not eligible_pairs(state, observed):
        return Turn(state=state, wait="no pair that the candidate holds is declared for the sector, so none can act on a canary")
    return _canary_step(policy, state, observed, index=0)


def _canary(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    evidence = observed.evidence
    if evidence is not None and (why := failure(evidence)):
        return end(state, observed, Outcome.ROLLED_BACK, "GateFailed", why, kind="Warning")
    if (missing := _missing(policy, state, observed)) is not None:
        return missing
    state = _ready_again(state, observed)
    if observed.versions is None:
        return Turn(state=state, wait=_unseen_pairs(observed))
    if pointer_wish(policy, state, observed) is not None:  # nobody acts on the step yet: a kill or Kafka has kept the pointer
        return Turn(state=restarted(state, observed), wait="the routing pointer is about to move")
    if evidence is None:
        return Turn(state=state, wait=f"no paired forecasts to look at: {why_unseen(observed)}")
    wanted = policy.canary[state.canary_index].bars if state.canary_index < len(policy.canary) else 0
    seen = bars_of_step(state, evidence)
    if seen < wanted:
        return Turn(state=state, wait=f"{seen} of {wanted} bars of canary step {state.canary_index + 1}{replayed(state, evidence)}")
    if state.canary_index + 1 < len(policy.canary) and eligible_pairs(state, observed):
        return _canary_step(policy, state, observed, index=state.canary_index + 1)
    return _promote_or_wait(policy, state, observed, f"gates and canary have passed after {evidence.bars} paired bars")


def _watch(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn:
    pointer, evidence = observed.pointer, observed.evidence
    if evidence is not None and (why := failure(evidence)):
        return _failed_watch(policy, state, observed, why)
    if (missing := _missing(policy, state, observed)) is not None:
        return missing
    state = _ready_again(state, observed)
    if pointer is None or pointer.version != state.candidate.version:
        return Turn(state=restarted(state, observed), wait="the routing pointer is about to move")
    if policy.watch_bars:
        if evidence is None:
            return Turn(state=state, wait=f"no paired forecasts to look at: {why_unseen(observed)}")
        if (seen := bars_of_step(state, evidence)) < policy.watch_bars:
            return Turn(state=state, wait=f"{seen} of {policy.watch_bars} bars of the rollback window{replayed(state, evidence)}")
    message = f"version {state.candidate.version} has replaced version {_stable(state)}"
    return end(state, observed, Outcome.SUCCEEDED, "RolloutSucceeded", message)


_STEPS = {Step.REPLAY: _replay, Step.WARM: _warm, Step.SHADOW: _shadow, Step.CANARY: _canary, Step.WATCH: _watch}


def _failed_watch(policy: RolloutPolicy, state: RolloutState, observed: Observed, why: str) -> Turn:
    if policy.auto_rollback:
        return end(state, observed, Outcome.ROLLED_BACK, "GateFailed", why, kind="Warning")
    wait = f"the gates have failed, and the policy leaves the rollback to a person: {why}"
    if state.reason == "GateFailed":
        return Turn(state=state, wait=wait)
    return Turn(state=noted(state, observed, "GateFailed", why), told=(warning("GateFailed", wait),), wait=wait)


def _missing(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> Turn | None:
    """The version that is acted on does not answer: noted with its time, and taken back when that lasts."""
    if is_ready(state, observed):
        return None
    wait = why_not_ready(state, observed)
    if state.reason != _NOT_READY:
        return Turn(state=noted(state, observed, _NOT_READY, wait), wait=wait)
    since_s = max((moment.at_s for moment in state.history if moment.reason == _NOT_READY), default=observed.now_s)
    if observed.now_s - since_s <= policy.warm_deadline_s or (state.step is Step.WATCH and not policy.auto_rollback):
        return Turn(state=state, wait=wait)
    message = f"not ready for {policy.warm_deadline_s:g} s: {wait}"
    return end(state, observed, Outcome.ROLLED_BACK, "WarmTimedOut", message, kind="Warning")


def _ready_again(state: RolloutState, observed: Observed) -> RolloutState:
    return noted(state, observed, _READY_AGAIN, "its forecaster is ready again") if state.reason == _NOT_READY else state


def _promote_or_wait(policy: RolloutPolicy, state: RolloutState, observed: Observed, message: str) -> Turn:
    if not is_ready(state, observed):
        return Turn(state=state, wait=why_not_ready(state, observed))
    if not policy.auto_promote:
        return Turn(state=state, wait=f"{message}: waits for a request to promote")
    return promotion(state, observed, message)


def _canary_step(policy: RolloutPolicy, state: RolloutState, observed: Observed, *, index: int) -> Turn:
    message = (
        f"{policy.canary[index].pairs_share:.0%} of {len(eligible_pairs(state, observed))} pairs act on version {state.candidate.version}"
    )
    after = enter(replace(state, canary_index=index), observed, Step.CANARY, "CanaryAdvanced", message)
    return Turn(state=after, told=(Announce(kind="Normal", reason="CanaryAdvanced", message=message),))


def _unseen_pairs(observed: Observed) -> str:
    return f"which pairs the candidate holds cannot be seen in the registry: {why_unseen(observed)}"


def _stable(state: RolloutState) -> str:
    return state.stable.version if state.stable is not None else "none"
