"""Every step of a rollout against everything that a look may show: what changes, what is asked for, what people are told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rollout_cases import (
    CANDIDATE,
    FAILING,
    NOW_S,
    OTHER,
    PAIRS,
    PASSING,
    POLICY,
    READY,
    SECTOR,
    STABLE,
    STARTING,
    evidence,
    look,
    pointer,
    request,
    state,
    versions,
)
from tandem.domain.control import Handover
from tandem.rollout.observed import (
    Action,
    Announce,
    EnsureForecaster,
    ForecasterState,
    MovePointer,
    Observed,
    RemoveForecaster,
    ReplayCheck,
    RunReplay,
    SetAlias,
    TagVersion,
)
from tandem.rollout.plan import REASONS, Plan, begin, give_way, plan
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.registry_names import PROMOTED_TAG, QUARANTINE_TAG
from tandem.rollout.state import HISTORY_MAX, Outcome, RolloutState, Step, Verdict, from_document, to_document
from tandem.rollout.wishes import canary_pairs, eligible_pairs, pointer_wish

BOTH = {"1": READY, "2": READY}
CANARY_1, CANARY_2 = (canary_pairs(PAIRS, "2", share) for share in (0.25, 0.5))
MANUAL = replace(POLICY, auto_promote=False)
NO_CANARY = replace(POLICY, canary=())
BAD_REPLAY = ReplayCheck(passed=False, digest="x", reason="another digest")
GOOD_REPLAY = ReplayCheck(passed=True, digest="d", reason="500 decisions are those of its training")
QUARANTINED = versions(quarantined="by a person")
PROMOTED = versions(aliases=("candidate", "champion"))
RUNNING, DONE = Outcome.RUNNING, Outcome.SUCCEEDED
LATE_S = NOW_S + POLICY.warm_deadline_s + 1


def asked(found: Plan) -> list[str]:
    """The actions in words, forecasters left out."""
    words = []
    for action in found.actions:
        match action:
            case MovePointer(pointer=p):
                words.append(f"pointer {p.version}@{p.epoch}" + (f" canary {','.join(p.canary.pairs)}" if p.canary else ""))
            case SetAlias(alias=alias, version=version):
                words.append(f"{alias}={version}")
            case TagVersion(model=model, key=key):
                words.append(f"tag {model.version} {key}")
            case RemoveForecaster(model=model):
                words.append(f"remove {model.version}")
            case RunReplay(model=model):
                words.append(f"replay {model.version}")
            case _:
                pass
    return words


def told(actions: Sequence[Action]) -> list[str]:
    """The reasons of the events."""
    return [action.reason for action in actions if isinstance(action, Announce)]


Row = tuple[str, RolloutState, Observed, Step, Outcome, str, list[str], list[str]]
ROWS: list[Row] = [
    # name, state, look; then the step, outcome and reason that follow, what is asked for and what is told
    ("replay is run", state(Step.REPLAY), look(), Step.REPLAY, RUNNING, "Started", ["replay 2"], []),
    ("replay passed", state(Step.REPLAY), look(replay=GOOD_REPLAY), Step.WARM, RUNNING, "ReplayPassed", [], ["ReplayPassed"]),
    (
        *("replay failed", state(Step.REPLAY), look(replay=BAD_REPLAY), Step.REPLAY, Outcome.REFUSED, "ReplayFailed"),
        *([f"tag 2 {QUARANTINE_TAG}"], ["ReplayFailed", "Quarantined"]),
    ),
    ("warm waits", state(Step.WARM), look(forecasters={"1": READY, "2": STARTING}), Step.WARM, RUNNING, "Started", [], []),
    ("warm is done", state(Step.WARM), look(forecasters=BOTH), Step.SHADOW, RUNNING, "ShadowStarted", [], ["ShadowStarted"]),
    ("warm too long", state(Step.WARM), look(now_s=LATE_S), Step.DONE, Outcome.ABORTED, "WarmTimedOut", [], ["WarmTimedOut"]),
    ("no evidence", state(Step.SHADOW), look(forecasters=BOTH, trouble=("Postgres is away",)), Step.SHADOW, RUNNING, "Started", [], []),
    ("no verdict", state(Step.SHADOW), look(forecasters=BOTH, evidence=evidence()), Step.SHADOW, RUNNING, "Started", [], []),
    (
        *("never a verdict", state(Step.SHADOW), look(forecasters={"1": READY}, evidence=evidence(bars=500))),
        *(Step.DONE, Outcome.INCONCLUSIVE, "GateInconclusive", [], ["GateInconclusive"]),
    ),
    (
        *("shadow fails", state(Step.SHADOW), look(forecasters=BOTH, evidence=FAILING), Step.SHADOW, Outcome.REFUSED, "GateFailed"),
        *([f"tag 2 {QUARANTINE_TAG}", "remove 2"], ["GateFailed", "Quarantined"]),
    ),
    (
        *("an operational gate fails", state(Step.SHADOW), look(forecasters=BOTH, evidence=evidence(Verdict.PASS, errors=Verdict.FAIL))),
        *(Step.SHADOW, Outcome.REFUSED, "GateFailed", [f"tag 2 {QUARANTINE_TAG}", "remove 2"], ["GateFailed", "Quarantined"]),
    ),
    (
        *("shadow passes", state(Step.SHADOW), look(forecasters=BOTH, evidence=PASSING), Step.CANARY, RUNNING, "CanaryAdvanced"),
        *([f"pointer 1@5 canary {','.join(CANARY_1)}"], ["CanaryAdvanced"]),
    ),
    (
        *(
            "shadow passes while the candidate restarts",
            state(Step.SHADOW),
            look(forecasters={"1": READY, "2": STARTING}, evidence=PASSING),
        ),
        *(Step.SHADOW, RUNNING, "Started", [], []),
    ),
    ("no pair to try", state(Step.SHADOW), look(forecasters=BOTH, evidence=PASSING, pairs=()), Step.SHADOW, RUNNING, "Started", [], []),
    (
        *("canary waits for bars", state(Step.CANARY, bars=100)),
        *(look(forecasters=BOTH, evidence=evidence(Verdict.PASS, 109), pointer=pointer(canary=CANARY_1)), Step.CANARY, RUNNING, "Started"),
        *([], []),
    ),
    (
        *("canary grows", state(Step.CANARY, bars=100)),
        *(look(forecasters=BOTH, evidence=evidence(Verdict.PASS, 110), pointer=pointer(epoch=5, canary=CANARY_1)), Step.CANARY, RUNNING),
        *("CanaryAdvanced", [f"pointer 1@6 canary {','.join(CANARY_2)}"], ["CanaryAdvanced"]),
    ),
    (
        *("canary passes", state(Step.CANARY, bars=100, canary_index=1)),
        *(look(forecasters=BOTH, evidence=evidence(Verdict.PASS, 110), pointer=pointer(epoch=6, canary=CANARY_2)), Step.WATCH, RUNNING),
        *("Promoted", ["pointer 2@7"], ["Promoted"]),
    ),
    (
        *("canary fails", state(Step.CANARY, bars=100)),
        *(look(forecasters=BOTH, evidence=FAILING, pointer=pointer(epoch=5, canary=CANARY_1)), Step.CANARY, Outcome.ROLLED_BACK),
        *("GateFailed", ["pointer 1@6"], ["GateFailed", "RolledBack", "Quarantined"]),
    ),
    (
        *("canary without evidence", state(Step.CANARY, bars=100), look(forecasters=BOTH, pointer=pointer(canary=CANARY_1))),
        *(Step.CANARY, RUNNING, "Started", [], []),
    ),
    (
        *("canary's pointer was lost", state(Step.CANARY, bars=100), look(forecasters=BOTH, evidence=PASSING)),
        *(Step.CANARY, RUNNING, "Started", [f"pointer 1@5 canary {','.join(CANARY_1)}"], []),
    ),
    (
        *("watch: the pointer is seen", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(look(forecasters=BOTH, evidence=PASSING, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)), Step.WATCH, RUNNING, "Started"),
        *(["previous=1", f"tag 2 {PROMOTED_TAG}", "champion=2"], []),
    ),
    (
        *("watch waits for bars", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(
            look(forecasters=BOTH, evidence=PASSING, versions=PROMOTED, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)),
            *(Step.WATCH, RUNNING, "Started", [], []),
        ),
    ),
    (
        *("watch is over", state(Step.WATCH, bars=100, promoted_epoch=7)),
        look(
            forecasters=BOTH,
            evidence=evidence(Verdict.PASS, 120),
            versions=PROMOTED,
            pointer=pointer(CANDIDATE, epoch=7, previous=STABLE),
        ),
        *(Step.DONE, DONE, "RolloutSucceeded", [], ["RolloutSucceeded"]),
    ),
    (
        *("watch is over, an older version still runs", state(Step.WATCH, bars=100, promoted_epoch=7)),
        look(
            forecasters=BOTH | {"0": READY},
            evidence=evidence(Verdict.PASS, 120),
            versions=PROMOTED,
            pointer=pointer(CANDIDATE, epoch=7, previous=STABLE),
        ),
        *(Step.WATCH, DONE, "RolloutSucceeded", ["remove 0"], ["RolloutSucceeded"]),
    ),
    (
        *("watch fails", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(look(forecasters=BOTH, evidence=FAILING, versions=PROMOTED, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)), Step.WATCH),
        *(Outcome.ROLLED_BACK, "GateFailed", ["pointer 1@8"], ["GateFailed", "RolledBack", "Quarantined"]),
    ),
    (
        *("watch without evidence", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(look(forecasters=BOTH, versions=PROMOTED, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)), Step.WATCH, RUNNING, "Started"),
        *([], []),
    ),
    # What others do
    (
        *("quarantined in shadow", state(Step.SHADOW), look(forecasters={"1": READY}, versions=QUARANTINED), Step.DONE, Outcome.REFUSED),
        *("Quarantined", [], ["Quarantined"]),
    ),
    (
        *("quarantined in the watch", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(look(forecasters=BOTH, versions=QUARANTINED, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)), Step.WATCH),
        *(Outcome.ROLLED_BACK, "Quarantined", ["pointer 1@8"], ["Quarantined", "RolledBack"]),
    ),
    (
        *("the content changed", state(Step.WARM), look(versions=versions(digest="other")), Step.WARM, Outcome.REFUSED, "VersionUnusable"),
        *([f"tag 2 {QUARANTINE_TAG}"], ["VersionUnusable", "Quarantined"]),
    ),
    (
        *("the version is gone", state(Step.SHADOW), look(forecasters=BOTH, versions=versions()[1:]), Step.SHADOW, Outcome.ABORTED),
        *("VersionUnusable", ["remove 2"], ["VersionUnusable"]),
    ),
    (
        *("the pointer went to a third version", state(Step.SHADOW), look(forecasters=BOTH, pointer=pointer(OTHER, epoch=9)), Step.SHADOW),
        *(Outcome.ABORTED, "Aborted", ["remove 2"], ["Aborted"]),
    ),
    (
        *("a person moved the pointer back", state(Step.WATCH, bars=100, promoted_epoch=7)),
        *(look(forecasters=BOTH, versions=PROMOTED, evidence=PASSING, pointer=pointer(STABLE, epoch=8)), Step.WATCH, Outcome.ABORTED),
        *("Aborted", ["champion=1", "remove 2"], ["Aborted"]),
    ),
    (
        *("a person moved the pointer ahead", state(Step.SHADOW), look(forecasters=BOTH, pointer=pointer(CANDIDATE, epoch=5))),
        *(Step.WATCH, RUNNING, "Promoted", ["pointer 2@6"], ["Promoted"]),
    ),
    ("the registry is away", state(Step.SHADOW), look(forecasters=BOTH, versions=None), Step.SHADOW, RUNNING, "Started", [], []),
    (
        *("the control topic is away", state(Step.CANARY, bars=1), look(pointer=None, trouble=("Kafka is away",), evidence=FAILING)),
        *(Step.CANARY, RUNNING, "Started", [], []),
    ),
    # Requests
    (
        *("promote at once", state(Step.SHADOW), look(forecasters=BOTH, request=request("promote")), Step.WATCH, RUNNING, "Promoted"),
        *(["pointer 2@5"], ["Promoted"]),
    ),
    (
        *("promote without a forecaster", state(Step.SHADOW), look(request=request("promote")), Step.SHADOW, RUNNING, "Started"),
        *([], ["RequestRefused"]),
    ),
    (
        *("promote what fails", state(Step.SHADOW), look(forecasters=BOTH, request=request("promote"), evidence=FAILING)),
        *(Step.SHADOW, RUNNING, "Started", [], ["RequestRefused"]),
    ),
    (
        *("promote too early", state(Step.REPLAY), look(request=request("promote")), Step.REPLAY, RUNNING, "Started"),
        *(["replay 2"], ["RequestRefused"]),
    ),
    ("abort", state(Step.WARM), look(request=request("abort")), Step.DONE, Outcome.ABORTED, "Aborted", [], ["Aborted"]),
    (
        *("abort a canary", state(Step.CANARY, bars=1), look(forecasters=BOTH, pointer=pointer(canary=CANARY_1), request=request("abort"))),
        *(Step.CANARY, Outcome.ABORTED, "Aborted", ["pointer 1@5"], ["Aborted"]),
    ),
    (
        *("abort what is promoted", state(Step.WATCH, bars=1, promoted_epoch=4)),
        look(forecasters=BOTH, versions=PROMOTED, pointer=pointer(CANDIDATE, previous=STABLE), request=request("abort")),
        *(Step.WATCH, RUNNING, "Started", [], ["RequestRefused"]),
    ),
    (
        *("roll back what is promoted", state(Step.WATCH, bars=1, promoted_epoch=4)),
        look(forecasters=BOTH, versions=PROMOTED, pointer=pointer(CANDIDATE, previous=STABLE), request=request("rollback")),
        *(Step.WATCH, Outcome.ROLLED_BACK, "RolledBack", ["pointer 1@5"], ["RolledBack", "Quarantined"]),
    ),
    (
        *("roll back what nobody acts on", state(Step.SHADOW), look(forecasters={"1": READY}, request=request("rollback")), Step.DONE),
        *(Outcome.ABORTED, "Aborted", [], ["Aborted"]),
    ),
    (
        *("roll back long after", state(Step.DONE, DONE, promoted_epoch=4)),
        look(forecasters={"2": READY}, versions=PROMOTED, pointer=pointer(CANDIDATE, previous=STABLE), request=request("rollback")),
        *(Step.WATCH, Outcome.ROLLED_BACK, "RolledBack", ["pointer 1@5"], ["RolledBack", "Quarantined"]),
    ),
    (
        *("roll back what another rollout replaced", state(Step.DONE, DONE, promoted_epoch=4)),
        *(look(pointer=pointer(OTHER, epoch=9), request=request("rollback")), Step.DONE, DONE, "Started", [], ["RequestRefused"]),
    ),
    # The end, once decided
    (
        *("refused, the tag is set", state(Step.SHADOW, Outcome.REFUSED), look(versions=QUARANTINED), Step.DONE, Outcome.REFUSED),
        *("Started", [], []),
    ),
    (
        *("refused, the registry is away", state(Step.SHADOW, Outcome.REFUSED), look(versions=None), Step.SHADOW, Outcome.REFUSED),
        *("Started", [], []),
    ),
    (
        *("rolled back, the pointer is seen", state(Step.WATCH, Outcome.ROLLED_BACK, promoted_epoch=7)),
        *(look(forecasters=BOTH, versions=PROMOTED, pointer=pointer(epoch=8)), Step.WATCH, Outcome.ROLLED_BACK, "Started"),
        *(["champion=1", f"tag 2 {QUARANTINE_TAG}", "remove 2"], []),
    ),
    ("done stays done", state(Step.DONE, DONE), look(evidence=FAILING, forecasters=BOTH), Step.DONE, DONE, "Started", [], []),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_look_changes_asks_for_and_tells(row: Row) -> None:
    """The table. Whatever is told has one of the fixed reasons, and the history ends with the newest change."""
    _, before, seen, step, outcome, reason, actions, events = row
    found = plan(POLICY, before, seen)
    assert (found.state.step, found.state.outcome, found.state.reason) == (step, outcome, reason)
    assert (asked(found), told(found.actions)) == (actions, events)
    assert set(told(found.actions)) <= set(REASONS)
    if found.state.step is not before.step or found.state.outcome is not before.outcome:
        assert (found.state.history[-1].step, found.state.history[-1].reason) == (step, reason)
    elif outcome is RUNNING or found.wait:
        assert found.wait or events or actions, "a rollout that does nothing says what it waits for"
    assert from_document(to_document(found.state)) == found.state


def test_every_step_meets_every_look_and_looking_again_tells_nothing_new() -> None:
    """All combinations: no step is without an answer, the second look at the same world announces nothing, and a third changes nothing."""
    starts = [row[1] for row in ROWS]
    looks = [replace(row[2], request=None) for row in ROWS] + [row[2] for row in ROWS if row[2].request]
    for policy in (POLICY, MANUAL, NO_CANARY, replace(POLICY, replay_required=False, auto_rollback=False)):
        for before in starts:
            for seen in looks:
                settled, changes = before, 0
                while (after := plan(policy, settled, seen)).state != settled:
                    settled, changes = after.state, changes + 1
                    assert changes < 10, f"{before} never comes to rest under {seen}"
                assert not told(after.actions)
                assert after == plan(policy, settled, seen)


def kept(found: Plan) -> dict[str, str]:
    """The forecasters that must run, by version, and their roles."""
    return {action.model.version: action.role for action in found.actions if isinstance(action, EnsureForecaster)}


@pytest.mark.parametrize(
    ("before", "seen", "roles"),
    [
        (state(Step.REPLAY), look(), {"1": "stable"}),
        (state(Step.WARM), look(), {"1": "stable", "2": "candidate"}),
        (state(Step.SHADOW), look(pointer=pointer(previous=OTHER)), {"1": "stable", "3": "previous", "2": "candidate"}),
        (
            state(Step.WATCH, promoted_epoch=4),
            look(forecasters=BOTH, pointer=pointer(CANDIDATE, previous=STABLE)),
            {"2": "stable", "1": "previous"},
        ),
        (state(Step.WATCH, Outcome.ROLLED_BACK), look(pointer=pointer(CANDIDATE, previous=STABLE)), {"2": "stable", "1": "previous"}),
        (state(Step.WATCH, Outcome.ROLLED_BACK), look(), {"1": "stable"}),
        (state(Step.SHADOW, Outcome.REFUSED), look(versions=None), {"1": "stable"}),
    ],
)
def test_which_forecasters_must_run(before: RolloutState, seen: Observed, roles: dict[str, str]) -> None:
    """What the pointer names, in its role, whatever the rollout is about; the candidate while it is one."""
    assert kept(plan(POLICY, before, seen)) == roles


def test_a_promotion_names_the_version_before_and_how_positions_are_handed_over() -> None:
    """So that a roll-back needs one record, and the reason stands in it."""
    found = plan(replace(NO_CANARY, handover=Handover.FLATTEN), state(Step.SHADOW), look(forecasters=BOTH, evidence=PASSING))
    (moved,) = (action.pointer for action in found.actions if isinstance(action, MovePointer))
    assert (moved.previous, moved.handover) == (pointer(CANDIDATE, previous=STABLE).previous, Handover.FLATTEN)
    assert moved.reason == "Promoted: version 2 at epoch 5: the gates have passed after 100 paired bars"
    assert found.state.promoted_epoch == moved.epoch == 5


def test_a_canary_has_its_cap_and_keeps_the_version_before() -> None:
    """The pointer is otherwise as it was."""
    before = pointer(previous=OTHER)
    found = plan(POLICY, state(Step.SHADOW), look(forecasters=BOTH, evidence=PASSING, pointer=before))
    (moved,) = (action.pointer for action in found.actions if isinstance(action, MovePointer))
    assert moved.canary is not None
    assert (moved.canary.version, moved.canary.digest, moved.canary.notional_usd_max) == (
        "2",
        CANDIDATE.digest,
        POLICY.canary_notional_usd_max,
    )
    assert (moved.version, moved.previous) == (before.version, before.previous)


def test_a_promotion_that_was_written_down_but_not_done_is_done_with_the_same_epoch() -> None:
    """A kill between the state and the record: the same pointer is published, not another one."""
    first = plan(NO_CANARY, state(Step.SHADOW), look(forecasters=BOTH, evidence=PASSING))
    again = plan(NO_CANARY, first.state, look(forecasters=BOTH, evidence=PASSING))
    assert [a for a in again.actions if isinstance(a, MovePointer)] == [a for a in first.actions if isinstance(a, MovePointer)]
    unready = plan(NO_CANARY, first.state, look(forecasters={"1": READY, "2": STARTING}, evidence=PASSING))
    assert asked(unready) == []


def test_a_promotion_that_was_done_but_not_written_down_is_not_done_twice() -> None:
    """A kill between the record and the state: the pointer tells."""
    seen = look(forecasters=BOTH, evidence=PASSING, pointer=pointer(CANDIDATE, epoch=5, previous=STABLE))
    found = plan(POLICY, state(Step.CANARY, bars=0, canary_index=1), seen)
    assert (found.state.step, found.state.promoted_epoch) == (Step.WATCH, 5)
    assert not any(isinstance(action, MovePointer) for action in found.actions)


@pytest.mark.parametrize(("index", "policy"), [(1, MANUAL), (0, replace(MANUAL, canary=POLICY.canary[:1]))])
def test_without_auto_promote_the_last_step_waits_for_a_person(index: int, policy: RolloutPolicy) -> None:
    """The canary runs by itself; the pointer moves on request only."""
    before = state(Step.CANARY, bars=100, canary_index=index)
    at = pointer(canary=canary_pairs(PAIRS, "2", policy.canary[index].pairs_share))
    seen = look(forecasters=BOTH, evidence=evidence(Verdict.PASS, 200), pointer=at)
    found = plan(policy, before, seen)
    assert found.state.step is Step.CANARY
    assert found.wait.endswith("waits for a request to promote")
    after = plan(policy, found.state, replace(seen, request=request("promote")))
    assert (after.state.step, after.state.request_id) == (Step.WATCH, "r1")


def test_without_auto_rollback_a_failure_in_the_watch_is_told_once_and_waits() -> None:
    """A person decides; until then the version stays."""
    policy = replace(POLICY, auto_rollback=False)
    seen = look(forecasters=BOTH, evidence=FAILING, versions=PROMOTED, pointer=pointer(CANDIDATE, epoch=7, previous=STABLE))
    first = plan(policy, state(Step.WATCH, bars=1, promoted_epoch=7), seen)
    assert (told(first.actions), first.state.outcome) == (["GateFailed"], RUNNING)
    assert told(plan(policy, first.state, seen).actions) == []
    assert plan(policy, first.state, replace(seen, request=request("rollback"))).state.outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("step", [Step.CANARY, Step.WATCH])
def test_a_version_that_is_acted_on_and_stays_away_is_taken_back(step: Step) -> None:
    """A restart is waited for; after the deadline the stable version has its pairs again."""
    at = pointer(canary=CANARY_1) if step is Step.CANARY else pointer(CANDIDATE, previous=STABLE)
    gone = look(forecasters={"1": READY, "2": ForecasterState(exists=True, reason="crashed")}, pointer=at, evidence=PASSING)
    found = plan(POLICY, state(step, bars=100, promoted_epoch=0 if step is Step.CANARY else 4), gone)
    assert (found.state.outcome, found.state.reason) == (RUNNING, "CandidateNotReady")
    back = plan(POLICY, found.state, replace(gone, forecasters=BOTH, now_s=NOW_S + 60))
    assert (back.state.outcome, back.state.reason) == (RUNNING, "CandidateReady")
    late = plan(POLICY, found.state, replace(gone, now_s=LATE_S))
    assert (late.state.outcome, late.state.reason) == (Outcome.ROLLED_BACK, "WarmTimedOut")
    assert asked(late) == ["pointer 1@5"]


def test_a_request_is_answered_once() -> None:
    """By its id: the same annotation read again is no new wish."""
    seen = look(request=request("promote"))
    first = plan(POLICY, state(Step.SHADOW), seen)
    assert told(first.actions) == ["RequestRefused"]
    assert told(plan(POLICY, first.state, seen).actions) == []
    assert told(plan(POLICY, first.state, replace(seen, request=request("promote", "r2"))).actions) == ["RequestRefused"]


# -- A sector's first version -----------------------------------------------------------------------------------------------------------

NEW = look(pointer=None, forecasters={}, versions=versions(aliases=("champion",))[:1])


def first_rollout() -> RolloutState:
    """As begin() makes it."""
    return begin(SECTOR, CANDIDATE, None, NEW.versions or (), now_s=NOW_S).state


def test_the_first_version_is_adopted_once_it_is_ready() -> None:
    """No gate can compare it with anything; the pointer still waits for readiness."""
    waiting = plan(POLICY, first_rollout(), NEW)
    assert (asked(waiting), kept(waiting), waiting.state.step) == ([], {"2": "stable"}, Step.WARM)
    ready = plan(POLICY, waiting.state, replace(NEW, forecasters={"2": READY}))
    assert (asked(ready), told(ready.actions), ready.state.outcome) == (["pointer 2@1"], ["Adopted"], DONE)
    seen = replace(NEW, forecasters={"2": READY}, pointer=pointer(CANDIDATE, epoch=1))
    assert plan(POLICY, ready.state, seen).state.step is Step.DONE


def test_the_first_version_is_made_champion_where_it_is_not() -> None:
    """A pinned version may be without the alias."""
    ready = plan(POLICY, first_rollout(), replace(NEW, forecasters={"2": READY}))
    seen = replace(NEW, forecasters={"2": READY}, pointer=pointer(CANDIDATE, epoch=1), versions=versions(aliases=())[:1])
    assert asked(plan(POLICY, ready.state, seen)) == [f"tag 2 {PROMOTED_TAG}", "champion=2"]


def test_the_first_version_has_no_deadline_and_no_pointer_without_a_look_at_the_topic() -> None:
    """There is nothing else to act on; a pointer that cannot be seen may be there, with a higher epoch."""
    late = plan(POLICY, first_rollout(), replace(NEW, now_s=LATE_S))
    assert (told(late.actions), late.state.outcome) == (["WarmTimedOut"], RUNNING)
    assert told(plan(POLICY, late.state, replace(NEW, now_s=LATE_S + 900)).actions) == []
    blind = plan(POLICY, late.state, replace(NEW, forecasters={"2": READY}, trouble=("Kafka is away",)))
    assert (asked(blind), blind.state.outcome) == ([], RUNNING)


def test_the_first_version_gives_way_to_a_pointer_that_appears() -> None:
    """Somebody else has decided."""
    found = plan(POLICY, first_rollout(), replace(NEW, pointer=pointer(STABLE), forecasters=BOTH))
    assert (found.state.outcome, asked(found)) == (Outcome.ABORTED, ["remove 2"])


# -- Its begin, its place, its pairs ----------------------------------------------------------------------------------------------------


def test_a_rollout_counts_bars_after_both_trainings() -> None:
    """What either has seen proves nothing."""
    found = begin(SECTOR, CANDIDATE, STABLE, versions(), now_s=NOW_S, request_id="q")
    assert (found.state.evidence_from_ns, found.state.step, found.state.request_id) == (20, Step.REPLAY, "q")
    assert told(found.actions) == ["NewVersionDetected"]
    with pytest.raises(ValueError, match="version 1 of staples is stable already"):
        begin(SECTOR, STABLE, STABLE, versions(), now_s=NOW_S)


def test_a_rollout_that_gives_way_is_settled_like_an_aborted_one() -> None:
    """Its forecaster goes; the version is not quarantined."""
    found = plan(POLICY, give_way(state(Step.WARM), "3", NOW_S), look(forecasters={"1": READY, "2": STARTING}))
    assert (asked(found), found.state.message) == (["remove 2"], "version 3 takes its place")
    assert plan(POLICY, found.state, look()).state.step is Step.DONE


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 25), (0.55, 55), (0.551, 56), (1.0, 100)])
def test_the_canary_holds_its_share_of_the_pairs(share: float, count: int) -> None:
    """At least one; in order of id; another candidate begins with other pairs."""
    pairs: list[Any] = [f"A{n:02}-B" for n in range(100)]
    chosen = canary_pairs(pairs, "2", share)
    assert len(chosen) == count
    assert list(chosen) == sorted(set(chosen))
    assert share == 1.0 or chosen != canary_pairs(pairs, "3", share)


def test_a_larger_canary_holds_the_smaller_one_whichever_pairs_come_and_go() -> None:
    """A pair does not change hands between steps for nothing."""
    pairs: list[Any] = [f"A{n:02}-B" for n in range(40)]
    for share in (0.1, 0.25, 0.5):
        small, large = (set(canary_pairs(pairs, "2", s)) for s in (share, share * 2))
        assert small <= large
        assert set(canary_pairs(pairs[:-5], "2", share)) <= large | small


def test_the_canary_takes_only_pairs_that_the_candidate_holds() -> None:
    """Any other would get no forecast from it; where its version does not say what it holds, all declared pairs count."""
    held = PAIRS[1:]
    running = state(Step.CANARY)
    assert eligible_pairs(running, look(versions=versions(pairs=held))) == held
    assert eligible_pairs(running, look(versions=versions())) == PAIRS
    wished = pointer_wish(POLICY, running, look(versions=versions(pairs=held[-1:]), forecasters={"1": READY, "2": READY}))
    assert wished is not None
    assert wished.canary is not None
    assert wished.canary.pairs == held[-1:]


@pytest.mark.parametrize(
    ("changes", "wait"),
    [
        ({"versions": None}, "cannot be seen in the registry"),
        ({"versions": versions(pairs=("A-B",))}, "no pair that the candidate"),
    ],
)
def test_no_canary_begins_while_its_pairs_are_not_known(changes: dict[str, Any], wait: str) -> None:
    """The gates have passed; the rollout waits, and says for what."""
    found = plan(POLICY, state(Step.SHADOW), look(evidence=evidence(Verdict.PASS), forecasters={"1": READY, "2": READY}, **changes))
    assert (found.state.step, wait in found.wait) == (Step.SHADOW, True)


@pytest.mark.parametrize(
    ("market_ns", "evidence_from_ns", "told"),
    [
        pytest.param(0, 0, False, id="not known"),
        pytest.param(1_050 * 10, 0, False, id="at bars that are new"),
        pytest.param(1_049 * 10, 0, True, id="at bars that have counted"),
        pytest.param(1_060 * 10, 1_070 * 10, True, id="at bars of the training"),
    ],
)
@pytest.mark.parametrize(
    ("step", "seen", "counts"),
    [
        (Step.SHADOW, look(), "no verdict after 1050 paired bars, at most 5000"),
        (Step.CANARY, look(pointer=pointer(canary=CANARY_1)), "0 of 10 bars of canary step 1"),
        (Step.WATCH, look(pointer=pointer(CANDIDATE, epoch=7, previous=STABLE)), "0 of 20 bars of the rollback window"),
    ],
)
def test_a_repeated_replay_is_named_as_what_is_waited_for(
    step: Step, seen: Observed, counts: str, *, market_ns: int, evidence_from_ns: int, told: bool
) -> None:
    """A bar counts once: a person who waits for a canary must be told that none will come until the recording is past what has counted."""
    policy = replace(POLICY, gate=replace(POLICY.gate, bars_max=5_000))
    before = state(step, bars=1_050, promoted_epoch=7, evidence_from_ns=evidence_from_ns)
    found = plan(policy, before, replace(seen, forecasters=BOTH, evidence=replace(evidence(bars=1_050), market_ns=market_ns)))
    rest = "; the replay is before 1970-01-01 00:00 UTC, up to where bars have counted already: none counts until it is past that"
    assert (found.state.step, found.wait) == (step, counts + rest * told)


def test_the_history_is_bounded() -> None:
    """A forecaster that comes and goes for ever fills no object."""
    current = state(Step.CANARY, bars=1)
    seen = look(pointer=pointer(canary=CANARY_1), evidence=evidence(Verdict.PASS, 5))
    for n in range(3 * HISTORY_MAX):
        current = plan(POLICY, current, replace(seen, forecasters=BOTH if n % 2 else {"1": READY}, now_s=NOW_S + n)).state
    assert len(current.history) == HISTORY_MAX
