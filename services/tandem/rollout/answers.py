"""What becomes of a person's request: promote, roll back, abort. Pure; called by turns.py, once for each request id."""

from dataclasses import replace

from tandem.rollout.notes import Turn, end, ended, failure, promotion, warning, with_gates
from tandem.rollout.observed import Observed, Request
from tandem.rollout.state import HISTORY_MAX, Moment, Outcome, RolloutState, Step
from tandem.rollout.wishes import is_ready

REFUSED = "RequestRefused"


def abort(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Give the candidate up without a word on its quality."""
    if ended(state):
        return _no(state, observed, request, "it has ended")
    if state.step is Step.WATCH:
        return _no(state, observed, request, "the version is promoted: roll it back instead")
    return end(state, observed, Outcome.ABORTED, "Aborted", _words("aborted by request", request))


def rollback(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Return to the version before; also after the rollout has succeeded, while the pointer still names its candidate."""
    message = _words("rolled back by request", request)
    if state.outcome is Outcome.SUCCEEDED and state.stable is not None and observed.pointer is not None:
        if observed.pointer.version != state.candidate.version:
            return _no(state, observed, request, f"the routing pointer names version {observed.pointer.version}")
        return end(_reopened(state), observed, Outcome.ROLLED_BACK, "RolledBack", message, kind="Warning")
    if ended(state) or state.stable is None:
        return _no(state, observed, request, "there is nothing to roll back to")
    if state.step in (Step.CANARY, Step.WATCH):
        return end(state, observed, Outcome.ROLLED_BACK, "RolledBack", message, kind="Warning")
    return end(state, observed, Outcome.ABORTED, "Aborted", _words("aborted by request: nobody acts on the version yet", request))


def promote(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Let the candidate take over now, whatever the gates still wait for; not against one that has failed."""
    if ended(state) or state.stable is None or state.step not in (Step.SHADOW, Step.CANARY):
        return _no(state, observed, request, f"it is in step {state.step}, a candidate can be promoted from Shadow and Canary")
    pointer = observed.pointer
    if pointer is None or pointer.version != state.stable.version:
        seen = f"version {pointer.version}" if pointer is not None else "nothing that can be seen"
        return _no(state, observed, request, f"the routing pointer names {seen}")
    if not is_ready(state, observed):
        return _no(state, observed, request, "its forecaster is not ready")
    if observed.evidence is not None and (why := failure(observed.evidence)):
        return _no(state, observed, request, why)
    return promotion(with_gates(state, observed), observed, _words("promoted by request", request))


ANSWERS = {"abort": abort, "rollback": rollback, "promote": promote}  # by Request.action; a start makes another rollout


def _no(state: RolloutState, observed: Observed, request: Request, why: str) -> Turn:
    return refused(state, request, why, now_s=observed.now_s)


def _reopened(state: RolloutState) -> RolloutState:
    return replace(state, step=Step.WATCH, outcome=Outcome.RUNNING)


def refused(state: RolloutState, request: Request, why: str, *, now_s: float) -> Turn:
    """The answer no: told, and kept in the history, where whoever asked finds it. The rollout goes on as it was."""
    message = f"{request.action} of version {request.version or state.candidate.version} is refused: {why}"
    moment = Moment(step=state.step, at_s=now_s, reason=REFUSED, message=message)
    after = replace(state, history=(*state.history, moment)[-HISTORY_MAX:])
    return Turn(state=after, told=(warning(REFUSED, message),))


def _words(what: str, request: Request) -> str:
    return f"{what}: {request.reason}" if request.reason else what
