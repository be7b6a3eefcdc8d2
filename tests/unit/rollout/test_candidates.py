"""Which version a sector tries next, or why none."""

from dataclasses import replace
from typing import Any

import pytest

from rollout_cases import CANDIDATE, OTHER, STABLE, state, versions
from tandem.domain.forecasts import ModelRef
from tandem.rollout.candidates import QUIET, Hold, Wanted, choose
from tandem.rollout.observed import RegisteredVersion
from tandem.rollout.plan import REASONS
from tandem.rollout.state import Outcome, RolloutState, Step

NEWER = RegisteredVersion(version="3", digest=OTHER.digest, aliases=("candidate",))
THREE = (NEWER, *versions(aliases=()))  # the alias has gone on to version 3
FOLLOWED = Wanted()
NOTHING_NEW = versions(aliases=())


def chosen(*known: RegisteredVersion, wanted: Wanted = FOLLOWED, **given: Any) -> ModelRef | Hold:
    """What choose says about these versions, with version 1 stable unless said otherwise."""
    return choose(wanted, known, name="m", **{"stable": STABLE, **given})


def test_the_alias_names_the_candidate() -> None:
    """Resolved to version and digest, which then stay."""
    assert chosen(*versions()) == CANDIDATE
    assert chosen(*versions(aliases=("night",)), wanted=Wanted(alias="night")) == CANDIDATE


def test_a_pinned_version_wins_over_the_alias() -> None:
    """Whatever the alias says."""
    assert chosen(*THREE, wanted=Wanted(version="2")) == CANDIDATE


@pytest.mark.parametrize(
    ("held", "reason", "words"),
    [
        (choose(Wanted(), None, name="m", stable=STABLE), "RegistryUnreachable", "does not answer"),
        (chosen(*NOTHING_NEW), "NoCandidate", "none of 2 versions has alias candidate"),
        (chosen(stable=None), "NoCandidate", "no version is registered; `tandem train`"),
        (chosen(*NOTHING_NEW, wanted=Wanted(version="9")), "VersionUnusable", "version 9 is not registered; registered: 2, 1"),
        (chosen(*versions(digest="")), "VersionUnusable", "has no bundle of ours"),
        (chosen(*versions(quarantined="worse")), "AliasQuarantined", r"quarantined \(worse\): move the alias, or remove"),
        (chosen(*versions(), refused={"2"}), "AlreadyTried", "`tandem rollout start` tries it again"),
        (chosen(*versions(), wanted=Wanted(alias="champion")), "UpToDate", "version 1 is the one that is acted on"),
        (
            chosen(*versions(), stable=replace(STABLE, digest="x" * 20), wanted=Wanted(version="1")),
            "VersionUnusable",
            "xxxxxxxxxxxx in the",
        ),
    ],
)
def test_why_nothing_is_tried(held: Hold, reason: str, words: str) -> None:
    """Each says what was found and what to do; a reason is that of an event, or one in which nothing is wrong."""
    import re

    assert held.reason == reason
    assert re.search(words, held.message)
    assert reason in (*REASONS, *QUIET)


def test_a_sector_without_a_pointer_begins_with_its_champion() -> None:
    """The candidate is then compared with it; a sector that only has a candidate begins with that."""
    assert chosen(*versions(), stable=None) == STABLE
    assert chosen(*versions()[:1], stable=None) == CANDIDATE
    assert chosen(*versions(), stable=None, wanted=Wanted(version="2")) == CANDIDATE


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (state(Step.REPLAY), OTHER),
        (state(Step.WARM), OTHER),
        (state(Step.SHADOW), "RolloutRunning"),
        (state(Step.CANARY), "RolloutRunning"),
        (state(Step.WATCH), "RolloutRunning"),
        (state(Step.WARM, Outcome.ABORTED), "RolloutRunning"),
        (state(Step.DONE, Outcome.REFUSED), OTHER),
    ],
)
def test_a_newer_candidate_waits_for_a_rollout_that_compares(current: RolloutState, expected: ModelRef | str) -> None:
    """Else one candidate a day would mean that none ever sees enough bars. What is being settled is settled first."""
    found = chosen(*THREE, current=current)
    assert (found.reason if isinstance(found, Hold) else found) == expected


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.DONE])
def test_a_running_rollout_goes_on(step: Step) -> None:
    """Also when the alias is gone, names what is promoted already, or the registry is away."""
    running = state(step)
    for known in (versions(), NOTHING_NEW):
        assert chosen(*known, current=running) == CANDIDATE
    assert choose(Wanted(), None, name="m", stable=STABLE, current=running) == CANDIDATE
    if step is Step.WATCH:
        assert chosen(*versions(), stable=CANDIDATE, current=running) == CANDIDATE


def test_a_version_that_cannot_be_used_takes_nobodys_place() -> None:
    """A rollout that has compared nothing yet gives way to what can be tried, not to what cannot."""
    found = chosen(replace(NEWER, quarantined="bad"), *versions(aliases=()), current=state(Step.WARM))
    assert isinstance(found, Hold)
    assert found.reason == "AliasQuarantined"
