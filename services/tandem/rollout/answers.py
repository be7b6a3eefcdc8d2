"""What becomes of a person's request: promote, roll back, abort. Pure; called by turns.py, once for each request id."""

from dataclasses import replace

from tandem.rollout.notes import Turn, end, ended, failure, promotion, warning, with_gates
from tandem.rollout.observed import Observed, Request
from tandem.rollout.state import Outcome, RolloutState, Step
from tandem.rollout.wishes import is_ready


def abort(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Give the candidate up without a word on its quality."""
    if ended(state) or state.step is Step.WATCH:
        return _refused(state, request, "it has ended" if ended(state) else "the version is promoted: roll it back instead")
    return end(state, observed, Outcome.ABORTED, "Aborted", _words("aborted by request", request))


def rollback(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Return to the version before; also after the rollout has succeeded, while the pointer still names its candidate."""
    message = _words("rolled back by request", request)
    if state.outcome is Outcome.SUCCEEDED and state.stable is not None and observed.pointer is not None:
        if observed.pointer.version != state.candidate.version:
            return _refused(state, request, f"the routing pointer names version {observed.pointer.version}")
        return end(_reopened(state), observed, Outcome.ROLLED_BACK, "RolledBack", message, kind="Warning")
    if ended(state) or state.stable is None:
        return _refused(state, request, "there is nothing to roll back to")
    if state.step in (Step.CANARY, Step.WATCH):
        return end(state, observed, Outcome.ROLLED_BACK, "RolledBack", message, kind="Warning")
    return end(state, observed, Outcome.ABORTED, "Aborted", _words("aborted by request: nobody acts on the version yet", request))


def promote(state: RolloutState, observed: Observed, request: Request) -> Turn:
    """Let the candidate take over now, whatever the gates still wait for; not against one that has failed."""
    if ended(state) or state.stable is None or state.step not in (Step.SHADOW, Step.CANARY):
        return _refused(state, request, f"it is in step {state.step}, a candidate can be promoted from Shadow and Canary")
    pointer = observed.pointer
    if pointer is None or pointer.version != state.stable.version:
        return _refused(
            state, request, f"the routing pointer names {f'version {pointer.version}' if pointer else 'nothing that can be seen'}"
        )
    if not is_ready(state, observed):
        return _refused(state, request, "its forecaster is not ready")
    if observed.evidence is not None and (why := failure(observed.evidence)):
        return _refused(state, request, why)
    return promotion(with_gates(state, observed), observed, _words("promoted by request", request))


ANSWERS = {"abort": abort, "rollback": rollback, "promote": promote}  # by Request.action; a start makes another rollout


def _reopened(state: RolloutState) -> RolloutState:
    return replace(state, step=Step.WATCH, outcome=Outcome.RUNNING)


def _refused(state: RolloutState, request: Request, why: str) -> Turn:
    return Turn(state=state, told=(warning("RequestRefused", f"{request.action} of version {state.candidate.version} is refused: {why}"),))


def _words(what: str, request: Request) -> str:
    return f"{what}: {request.reason}" if request.reason else what
