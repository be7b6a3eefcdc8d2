"""What a rollout's state asks of the world: pointer first, then the registry's aliases and tags, then forecasters. Pure; read by plan.py.

Each wish follows from state and look alone, never from what was asked for before: after a kill the next look asks for what is missing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from tandem.domain.control import Canary, PinnedVersion, RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId
from tandem.rollout.observed import (
    Action,
    EnsureForecaster,
    MovePointer,
    Observed,
    RegisteredVersion,
    RemoveForecaster,
    RunReplay,
    SetAlias,
    TagVersion,
)
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.registry_names import CHAMPION, PREVIOUS, PROMOTED_TAG, QUARANTINE_TAG
from tandem.rollout.state import Outcome, RolloutState, Step

QUARANTINED = (Outcome.REFUSED, Outcome.ROLLED_BACK)  # the outcomes after which a version is not tried again


def wishes(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> tuple[Action, ...]:
    """Everything that is to be done now, in order."""
    if state.outcome is Outcome.RUNNING and state.step is Step.REPLAY:
        run = (RunReplay(model=state.candidate),) if policy.replay_required and observed.replay is None else ()
        return (*_kept(state, observed), *run)
    pointer = pointer_wish(policy, state, observed)
    moved = (MovePointer(pointer=pointer),) if pointer is not None else ()
    registry = () if moved else tuple(_registry_wishes(state, observed))  # what people read follows what is acted on
    removed = () if moved else tuple(_removals(state, observed))
    return (*moved, *registry, *_kept(state, observed), *removed)


def pointer_wish(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> RoutingPointer | None:
    """The pointer to publish; None when the one that is there is right, or when this is not the time to move it."""
    now = observed.pointer
    if now is None:
        return _adopting(policy, state, observed)
    content = _content(policy, state, observed, now)
    if content is None or replace(content, epoch=now.epoch, reason=now.reason) == now:
        return None
    acts_on_candidate = content.version == state.candidate.version or content.canary is not None
    if acts_on_candidate and not is_ready(state, observed):
        return None
    return replace(content, epoch=max(now.epoch + 1, _promotion_epoch(state, now)))


def is_ready(state: RolloutState, observed: Observed) -> bool:
    """Whether the candidate's forecaster is Ready."""
    forecaster = observed.forecasters.get(state.candidate.version)
    return forecaster is not None and forecaster.ready


def canary_pairs(pairs: Sequence[PairId], version: str, share: float) -> tuple[PairId, ...]:
    """At least one pair, in order of id, none preferred. A larger share holds the pairs of a smaller one, whichever pairs come and go."""

    def place(pair: PairId) -> str:
        return hashlib.sha256(f"{version}/{pair}".encode()).hexdigest()

    count = max(1, ceil(share * len(pairs) - 1e-9))  # 0.55 of 100 is 55, whatever the last digit of the product
    return tuple(sorted(sorted(pairs, key=place)[:count]))


def eligible_pairs(state: RolloutState, observed: Observed) -> tuple[PairId, ...]:
    """The declared pairs that the candidate holds; all of them when it does not say. Any other would get no forecast in its canary."""
    found = next((v for v in observed.versions or () if v.version == state.candidate.version), None)
    held = found.pairs if found is not None else ()
    return tuple(pair for pair in observed.pairs if pair in held) if held else observed.pairs


def _adopting(policy: RolloutPolicy, state: RolloutState, observed: Observed) -> RoutingPointer | None:
    """The first pointer of a sector. Not while something could not be looked at: the pointer may be there, unseen."""
    adopts = state.stable is None and state.outcome is Outcome.SUCCEEDED and not observed.trouble
    if not adopts or not is_ready(state, observed):
        return None
    return _pointer(policy, state, state.candidate, epoch=state.promoted_epoch)


def _content(policy: RolloutPolicy, state: RolloutState, observed: Observed, now: RoutingPointer) -> RoutingPointer | None:
    """What the pointer should say, with the present epoch; None when it is not this rollout's to say."""
    if state.outcome is Outcome.RUNNING and state.stable is not None:
        if state.step is Step.WATCH:
            ours = {state.stable.version, state.candidate.version}
            back = now.version == state.stable.version and now.epoch >= state.promoted_epoch
            return _pointer(policy, state, state.candidate, previous=state.stable) if now.version in ours and not back else None
        if state.step is Step.CANARY and now.version == state.stable.version:
            return replace(_back(policy, state, now), canary=_canary(policy, state, observed, now))
        return _back(policy, state, now) if _in_canary(state, now) else None
    if state.outcome is Outcome.ROLLED_BACK and state.stable is not None and now.version == state.candidate.version:
        return _pointer(policy, state, state.stable)
    return _back(policy, state, now) if _in_canary(state, now) and state.outcome is not Outcome.SUCCEEDED else None


def _back(policy: RolloutPolicy, state: RolloutState, now: RoutingPointer) -> RoutingPointer:
    """The pointer as it is, without a canary: its version decides all pairs."""
    return replace(now, canary=None, handover=policy.handover, reason=_why(state))


def _pointer(
    policy: RolloutPolicy, state: RolloutState, model: ModelRef, *, previous: ModelRef | None = None, epoch: int = 1
) -> RoutingPointer:
    return RoutingPointer(
        sector=state.sector,
        version=model.version,
        digest=model.digest,
        epoch=epoch,
        previous=PinnedVersion(version=previous.version, digest=previous.digest) if previous else None,
        handover=policy.handover,
        reason=_why(state),
    )


def _why(state: RolloutState) -> str:
    return f"{state.reason}: {state.message}"


def _canary(policy: RolloutPolicy, state: RolloutState, observed: Observed, now: RoutingPointer) -> Canary | None:
    eligible = eligible_pairs(state, observed)
    if observed.versions is None or not eligible or state.canary_index >= len(policy.canary):
        return now.canary
    share = policy.canary[state.canary_index].pairs_share
    return Canary(
        version=state.candidate.version,
        digest=state.candidate.digest,
        pairs=canary_pairs(eligible, state.candidate.version, share),
        notional_usd_max=policy.canary_notional_usd_max,
    )


def _in_canary(state: RolloutState, now: RoutingPointer) -> bool:
    return now.canary is not None and now.canary.version == state.candidate.version


def _promotion_epoch(state: RolloutState, now: RoutingPointer) -> int:
    """The epoch that a promotion was announced with; after a kill the same pointer is published again, not another one."""
    return state.promoted_epoch if now.epoch < state.promoted_epoch and state.outcome is Outcome.RUNNING else state.promoted_epoch + 1


def _registry_wishes(state: RolloutState, observed: Observed) -> Iterator[Action]:
    """Aliases and tags that say what the pointer does. The champion's alias comes last: seen, it says that all before it is done."""
    known = {version.version: version for version in observed.versions or ()}
    candidate, pointer = known.get(state.candidate.version), observed.pointer
    if candidate is None or pointer is None:
        return
    routed = known.get(pointer.version)
    if (
        routed is not None
        and routed is not candidate
        and CHAMPION in candidate.aliases
        and state.outcome in (*QUARANTINED, Outcome.ABORTED)
    ):
        yield SetAlias(sector=state.sector, alias=CHAMPION, version=routed.version)
        if PREVIOUS in routed.aliases:
            yield SetAlias(sector=state.sector, alias=PREVIOUS, version="")
    if state.outcome in QUARANTINED and not candidate.quarantined:
        yield TagVersion(model=state.candidate, key=QUARANTINE_TAG, value=_why(state))
    if pointer.version == candidate.version and state.outcome in (Outcome.RUNNING, Outcome.SUCCEEDED):
        yield from _promoted_wishes(state, known, candidate)


def _promoted_wishes(state: RolloutState, known: dict[str, RegisteredVersion], candidate: RegisteredVersion) -> Iterator[Action]:
    if CHAMPION in candidate.aliases:
        return
    before = known.get(state.stable.version) if state.stable is not None else None
    if before is not None and PREVIOUS not in before.aliases:
        yield SetAlias(sector=state.sector, alias=PREVIOUS, version=before.version)
    yield TagVersion(model=state.candidate, key=PROMOTED_TAG, value=str(state.promoted_epoch))
    yield SetAlias(sector=state.sector, alias=CHAMPION, version=candidate.version)


def _kept(state: RolloutState, observed: Observed) -> tuple[Action, ...]:
    """The forecasters that must run, each in its role: at once for what the pointer names, and the candidate while it is one."""
    roles: dict[str, tuple[ModelRef, str]] = {}
    pointer, name = observed.pointer, state.candidate.name
    if pointer is not None:
        roles[pointer.version] = (ModelRef(name=name, version=pointer.version, digest=pointer.digest), "stable")
        if pointer.previous is not None:
            previous = ModelRef(name=name, version=pointer.previous.version, digest=pointer.previous.digest)
            roles.setdefault(previous.version, (previous, "previous"))
    goes_on = state.outcome is Outcome.RUNNING or (state.outcome is Outcome.SUCCEEDED and pointer is None)
    if goes_on and state.step is not Step.REPLAY:
        roles.setdefault(state.candidate.version, (state.candidate, "candidate" if state.stable is not None else "stable"))
    if state.stable is not None and state.outcome is not Outcome.SUCCEEDED:
        roles.setdefault(state.stable.version, (state.stable, "previous"))
    return tuple(EnsureForecaster(model=model, role=role) for model, role in roles.values())


def _removals(state: RolloutState, observed: Observed) -> Iterator[Action]:
    """Forecasters that nothing needs any more, once the pointer is seen not to name them."""
    pointer = observed.pointer
    if pointer is None or state.outcome is Outcome.RUNNING:
        return
    named = {pointer.version, pointer.previous.version if pointer.previous else "", pointer.canary.version if pointer.canary else ""}
    unneeded = (set(observed.forecasters) if state.outcome is Outcome.SUCCEEDED else {state.candidate.version}) - named
    digests = {version.version: version.digest for version in observed.versions or ()}
    for version in sorted(unneeded):
        if version in observed.forecasters and observed.forecasters[version].exists:
            yield RemoveForecaster(model=ModelRef(name=state.candidate.name, version=version, digest=digests.get(version, "")))
