"""Conditions: when their time moves, what they are cut to, and what Ready says of the others."""

import pytest

from tandem.rollout.conditions import MESSAGE_CHARACTERS_MAX, READY, Condition, Finding, StatusText, condition_of, ready, updated

EARLIER_S, LATER_S = 1_800_000_000.9, 1_800_000_060.0
EARLIER, LATER = "2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z"


def finding(status: StatusText = "True", reason: str = "Accepted", message: str = "", kind: str = "Accepted") -> Finding:
    """A finding about one condition."""
    return Finding(type=kind, status=status, reason=reason, message=message)


def stood(*findings: Finding) -> tuple[Condition, ...]:
    """What an earlier look has written."""
    return updated((), findings, generation=1, now_s=EARLIER_S)


def test_a_new_condition_begins_now() -> None:
    """To the second, as Kubernetes writes times."""
    assert [condition.model_dump(by_alias=True) for condition in stood(finding(message="all is well"))] == [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "all is well",
            "observedGeneration": 1,
            "lastTransitionTime": EARLIER,
        }
    ]


@pytest.mark.parametrize(
    ("after", "since"),
    [
        (finding(), EARLIER),
        (finding(reason="Other", message="another reason"), EARLIER),
        (finding("False"), LATER),
        (finding("Unknown"), LATER),
    ],
    ids=["same", "reason", "false", "unknown"],
)
def test_the_time_moves_with_the_status_only(after: Finding, since: str) -> None:
    """What was looked at is told each time."""
    (condition,) = updated(stood(finding()), (after,), generation=2, now_s=LATER_S)
    assert (condition.last_transition_time, condition.reason, condition.observed_generation) == (since, after.reason, 2)


def test_order_stays_and_what_was_not_looked_at_stays_as_it_was() -> None:
    """No condition is lost by a look that says nothing of it."""
    before = stood(finding(), finding(kind="InModel"))
    after = updated(before, (finding("False", kind="Ready"), finding("False", kind="Accepted")), generation=2, now_s=LATER_S)
    assert [condition.type for condition in after] == ["Accepted", "InModel", "Ready"]
    assert after[1] is before[1]
    assert updated(before, (), generation=2, now_s=LATER_S) == before


def test_the_same_look_twice_changes_nothing() -> None:
    """So that nothing is written when nothing has changed."""
    assert updated(stood(finding()), (finding(),), generation=1, now_s=LATER_S) == stood(finding())


def test_a_long_message_is_cut() -> None:
    """The server would refuse the whole status for it."""
    (condition,) = stood(finding(message="x" * 5000))
    assert len(condition.message) == MESSAGE_CHARACTERS_MAX
    assert condition.message.endswith("x...")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ((), ("True", "AllGood")),
        ((finding(), finding(kind="InModel")), ("True", "AllGood")),
        ((finding(), finding("False", "PairNotInModel")), ("False", "PairNotInModel")),
        ((finding("Unknown", "NoModel"), finding("False", "Conflict")), ("False", "Conflict")),
        ((finding("Unknown", "NoModel"), finding("Unknown", "Later")), ("Unknown", "NoModel")),
        ((finding("False", "First"), finding("False", "Second")), ("False", "First")),
    ],
)
def test_ready_is_the_worst_of_all(findings: tuple[Finding, ...], expected: tuple[str, str]) -> None:
    """False before Unknown before True, the first of them tells why."""
    found = ready(findings)
    assert (found.type, found.status, found.reason) == (READY, *expected)


def test_a_condition_is_found_by_its_type() -> None:
    """Or is not there."""
    conditions = stood(finding(), finding(kind="InModel"))
    assert condition_of(conditions, "InModel") is conditions[1]
    assert condition_of(conditions, "Ready") is None
