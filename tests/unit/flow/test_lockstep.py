"""Lockstep: whom a replay waits for at a watermark."""

import pytest

from tandem.domain.errors import BadSetting
from tandem.flow.lockstep import PARTICIPANTS_MAX, acknowledge, lockstep, register, remove, restart


def test_nobody_registered_is_nobody_to_wait_for():
    assert lockstep().waiting_for(100) == ()


def test_each_participant_is_waited_for_until_it_acknowledged_the_watermark_or_a_later_one():
    state = lockstep(("portfolio", "audit"))
    assert state.waiting_for(100) == ("portfolio", "audit")

    state = acknowledge(state, "audit", 100)
    assert state.waiting_for(100) == ("portfolio",)
    assert acknowledge(state, "portfolio", 150).waiting_for(100) == ()
    assert acknowledge(state, "portfolio", 99).waiting_for(100) == ("portfolio",)


def test_an_older_acknowledgement_takes_nothing_back():
    state = acknowledge(acknowledge(lockstep(("p",)), "p", 100), "p", 50)
    assert state.waiting_for(100) == ()


def test_registering_again_keeps_what_was_acknowledged():
    state = register(acknowledge(lockstep(("p",)), "p", 100), "p")
    assert state.waiting_for(100) == ()


def test_who_is_removed_is_not_waited_for():
    assert remove(lockstep(("p",)), "p").waiting_for(100) == ()


def test_a_new_replay_forgets_acknowledgements_and_keeps_participants():
    assert restart(acknowledge(lockstep(("p",)), "p", 100)).waiting_for(1) == ("p",)


@pytest.mark.parametrize("change", [lambda s: acknowledge(s, "q", 1), lambda s: remove(s, "q")])
def test_who_is_not_registered_is_named(change):
    with pytest.raises(BadSetting, match="participant 'q' is not registered; registered are p"):
        change(lockstep(("p",)))


@pytest.mark.parametrize("name", ["", "a b", "x" * 41, "é!"])
def test_a_name_that_cannot_be_a_label_is_refused(name):
    with pytest.raises(BadSetting, match="allowed are 1-40"):
        lockstep((name,))


def test_participants_are_bounded():
    state = lockstep(tuple(f"p{i}" for i in range(PARTICIPANTS_MAX)))
    assert register(state, "p0") == state
    with pytest.raises(BadSetting, match="at most 16"):
        register(state, "one-more")
