"""ModelRollout: the planner's memory survives the document, and the conditions tell how far the candidate came."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.rollout.conditions import condition_of
from tandem.rollout.faults import parse
from tandem.rollout.labels import Owner
from tandem.rollout.model_rollout import ModelRollout, ModelRolloutSpec, ModelRolloutStatus, document_of, findings_of, state_of, status_of
from tandem.rollout.resources import API_VERSION
from tandem.rollout.sector_model import RolloutSpec
from tandem.rollout.state import HISTORY_MAX, GateResult, Moment, Outcome, RolloutState, Step, Verdict

NOW_S = 1_800_000_000.0
OWNER = Owner(api_version=API_VERSION, kind="SectorModel", name="energy", uid="11-22")
START = RolloutState(
    sector=SectorId("energy"),
    candidate=ModelRef(name="m", version="8", digest="d8"),
    stable=ModelRef(name="m", version="7", digest="d7"),
)


def gate(verdict: Verdict, *, name: str = "qlike", effect: float | None = None) -> GateResult:
    """A gate's newest look."""
    return GateResult(name=name, verdict=verdict, reason=f"{name} says so", bars=70, sessions=4, effect=effect, p_value=0.01234567)


def read_back(state: RolloutState) -> RolloutState | None:
    """The state by way of the JSON that a cluster keeps; a null is dropped there."""
    document = document_of(state, RolloutSpec(), namespace="trading", owner=OWNER)
    document["status"] = {
        key: value for key, value in status_of(state, generation=1, now_s=NOW_S).to_document().items() if value is not None
    }
    stored: dict[str, Any] = json.loads(json.dumps(document))
    return state_of(ModelRolloutSpec.model_validate(stored["spec"]), ModelRolloutStatus.read(stored))


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=1000), max_size=60)
TIMES_S = st.one_of(st.just(0.0), st.floats(1.6e9, 4e9))
TIMES_NS = st.one_of(st.just(0), st.integers(1_600_000_000_000_000_000, 4_000_000_000_000_000_000))
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
REFS = st.builds(ModelRef, name=st.just("m"), version=st.integers(1, 10**9).map(str), digest=st.text("0123456789abcdef", max_size=64))
STATES = st.builds(
    RolloutState,
    sector=st.just(SectorId("energy")),
    candidate=REFS,
    stable=st.one_of(st.none(), REFS),
    step=st.sampled_from(Step),
    outcome=st.sampled_from(Outcome),
    started_s=TIMES_S,
    step_entered_s=TIMES_S,
    step_entered_ns=TIMES_NS,
    canary_index=st.integers(0, 9),
    evidence_from_ns=TIMES_NS,
    gates=st.lists(
        st.builds(
            GateResult,
            name=st.sampled_from(["qlike", "errors", "latency", "withheld", "divergence"]),
            verdict=st.sampled_from(Verdict),
            reason=WORDS,
            bars=st.integers(0, 10**6),
            sessions=st.integers(0, 10**4),
            effect=NUMBERS,
            statistic=NUMBERS,
            p_value=NUMBERS,
        ),
        max_size=5,
        unique_by=lambda gate: gate.name,
    ).map(tuple),
    replay_digest=st.text("0123456789abcdef", max_size=64),
    promoted_epoch=st.integers(0, 10**6),
    request_id=WORDS,
    reason=st.sampled_from(["NewVersionDetected", "Promoted", "GateFailed"]),
    message=WORDS,
    history=st.lists(
        st.builds(Moment, step=st.sampled_from(Step), at_s=TIMES_S, reason=st.just("Promoted"), message=WORDS), max_size=HISTORY_MAX
    ).map(tuple),
)


@given(STATES)
def test_a_state_survives_its_document(state: RolloutState) -> None:
    """To the last bit, so that a planner that was killed goes on where it stood and announces nothing twice."""
    assert read_back(state) == state


def test_a_document_is_a_valid_manifest_of_its_owner() -> None:
    """Named after sector and version, collected with the SectorModel."""
    document = document_of(START, RolloutSpec.model_validate({"watchBars": 7}), namespace="trading", owner=OWNER)
    assert document["metadata"] == {
        "name": "energy-v8",
        "namespace": "trading",
        "labels": {"tandem.trading/sector": "energy", "app.kubernetes.io/managed-by": "tandem-operator"},
        "ownerReferences": [OWNER.reference()],
    }
    assert document["spec"]["policy"]["watchBars"] == 7
    parsed = parse(ModelRollout, document)
    assert isinstance(parsed, ModelRollout), parsed
    assert parsed.spec.policy.to_policy().watch_bars == 7


def test_without_a_status_the_rollout_is_still_to_begin() -> None:
    """It was created, and its maker was killed before the status was written."""
    spec = ModelRolloutSpec.model_validate(document_of(START, RolloutSpec(), namespace="trading", owner=OWNER)["spec"])
    assert state_of(spec, ModelRolloutStatus.read({})) is None


def test_the_summary_is_what_the_columns_show() -> None:
    """The gate that measures gives difference and p, in four digits; the gates together give the verdict."""
    gates = (gate(Verdict.PASS, name="errors"), gate(Verdict.INCONCLUSIVE, effect=-0.0123456))
    status = status_of(replace(START, gates=gates), generation=3, now_s=NOW_S)
    assert (status.bars, status.qlike_delta, status.p_value, status.verdict) == (70, -0.01235, 0.01235, "Inconclusive")
    assert status.observed_generation == 3
    bare = status_of(START, generation=1, now_s=NOW_S)
    assert (bare.bars, bare.qlike_delta, bare.p_value, bare.verdict) == (0, None, None, None)


@pytest.mark.parametrize(
    ("qlike", "latency", "expected"),
    [
        (Verdict.PASS, Verdict.PASS, "Pass"),
        (Verdict.PASS, Verdict.INCONCLUSIVE, "Pass"),
        (Verdict.INCONCLUSIVE, Verdict.PASS, "Inconclusive"),
        (Verdict.PASS, Verdict.FAIL, "Fail"),
    ],
)
def test_the_verdict_is_the_one_that_the_planner_acts_on(qlike: Verdict, latency: Verdict, expected: str) -> None:
    """One gate that fails fails all; only the statistical one passes. What was promoted must not read as open."""
    gates = (gate(qlike), gate(latency, name="latency"))
    assert status_of(replace(START, gates=gates), generation=1, now_s=NOW_S).verdict == expected


def test_what_is_not_finite_or_too_long_does_not_stop_the_status() -> None:
    """The server would refuse all of it."""
    state = replace(START, gates=(gate(Verdict.FAIL, effect=float("inf")),), message="x" * 5000)
    status = status_of(state, generation=1, now_s=NOW_S)
    assert (status.gates[0].effect, status.qlike_delta, len(status.message)) == (None, None, 1024)


def entered(*steps: Step, **changes: Any) -> RolloutState:
    """A state that has been through these steps."""
    history = tuple(Moment(step=step, at_s=NOW_S, reason="Entered", message="") for step in steps)
    return replace(START, step=steps[-1], history=history, **changes)


REFUSED: dict[str, Any] = {"outcome": Outcome.REFUSED, "message": "why"}
CONDITIONS: list[tuple[str, RolloutState, dict[str, tuple[str, str]]]] = [
    ("replaying", entered(Step.REPLAY), {"ReplayPassed": ("Unknown", "Pending"), "CandidateReady": ("False", "Pending")}),
    (
        "replay failed",
        entered(Step.REPLAY, Step.DONE, reason="ReplayFailed", **REFUSED),
        {"ReplayPassed": ("False", "ReplayFailed"), "CandidateReady": ("False", "ReplayFailed"), "Promoted": ("False", "Refused")},
    ),
    (
        "warming",
        entered(Step.REPLAY, Step.WARM, replay_digest="ab"),
        {"ReplayPassed": ("True", "ReplayPassed"), "CandidateReady": ("False", "Pending")},
    ),
    (
        "never warm",
        entered(Step.REPLAY, Step.WARM, Step.DONE, replay_digest="ab", reason="WarmTimedOut", **REFUSED),
        {"ReplayPassed": ("True", "ReplayPassed"), "CandidateReady": ("False", "WarmTimedOut"), "GatePassed": ("Unknown", "NoData")},
    ),
    (
        "shadow",
        entered(Step.REPLAY, Step.WARM, Step.SHADOW, gates=(gate(Verdict.INCONCLUSIVE),)),
        {
            "ReplayPassed": ("Unknown", "NotRequired"),
            "CandidateReady": ("True", "Ready"),
            "GatePassed": ("Unknown", "GateInconclusive"),
            "Promoted": ("False", "Pending"),
            "RolledBack": ("False", "NotRolledBack"),
        },
    ),
    (
        "gate failed",
        entered(Step.WARM, Step.SHADOW, Step.DONE, reason="GateFailed", gates=(gate(Verdict.FAIL),), **REFUSED),
        {"GatePassed": ("False", "GateFailed"), "Promoted": ("False", "Refused")},
    ),
    (
        "promoted",
        entered(Step.WARM, Step.SHADOW, Step.WATCH, gates=(gate(Verdict.PASS),), promoted_epoch=5),
        {"GatePassed": ("True", "GatesPassed"), "Promoted": ("True", "Promoted"), "RolledBack": ("False", "NotRolledBack")},
    ),
    (
        "rolled back",
        entered(Step.WATCH, Step.DONE, promoted_epoch=5, outcome=Outcome.ROLLED_BACK, reason="GateFailed"),
        {"Promoted": ("False", "RolledBack"), "RolledBack": ("True", "GateFailed"), "CandidateReady": ("True", "Ready")},
    ),
    (
        "adopted",
        replace(entered(Step.WARM, Step.DONE, promoted_epoch=1, outcome=Outcome.SUCCEEDED), stable=None),
        {"ReplayPassed": ("Unknown", "NotRequired"), "CandidateReady": ("True", "Ready"), "Promoted": ("True", "Promoted")},
    ),
]


@pytest.mark.parametrize(("state", "expected"), [row[1:] for row in CONDITIONS], ids=[row[0] for row in CONDITIONS])
def test_conditions_tell_how_far_the_candidate_came(state: RolloutState, expected: dict[str, tuple[str, str]]) -> None:
    """What was not looked at is Unknown, never False."""
    found = {finding.type: (finding.status, finding.reason) for finding in findings_of(state)}
    assert {kind: found[kind] for kind in expected} == expected


def test_the_times_of_conditions_go_on() -> None:
    """A new status keeps when each condition last changed."""
    before = status_of(entered(Step.REPLAY), generation=1, now_s=NOW_S)
    after = status_of(entered(Step.REPLAY, Step.WARM, replay_digest="ab"), conditions=before.conditions, generation=1, now_s=NOW_S + 60)
    times = {
        kind: condition.last_transition_time for kind in ("ReplayPassed", "Promoted") if (condition := condition_of(after.conditions, kind))
    }
    assert times == {"ReplayPassed": "2027-01-15T08:01:00Z", "Promoted": "2027-01-15T08:00:00Z"}
