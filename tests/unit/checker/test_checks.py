"""The checker finds each corruption of a run, and nothing in a run without one."""

from dataclasses import replace
from random import Random

import pytest

from tandem.checker.evidence import Evidence
from tandem.checker.run import verify
from verify_cases import CORRUPTIONS, clean_run, misprints, over_night, with_misprints, with_unpriced

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clean_run_keeps_every_invariant_and_each_looks_at_something(seed: int) -> None:
    tallies = verify(clean_run(seed))
    assert {tally.name: tally.examples for tally in tallies if not tally.holds} == {}
    idle = [tally.name for tally in tallies if tally.checked == 0]
    assert idle == ["amendments_follow_their_trade", "crosses_cancel_out", "foreign_trades_noticed"], (
        "nothing is printed wrongly, one pair meets nobody, and nobody else trades"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_prints_that_are_taken_back_or_put_right_are_no_fault(seed: int) -> None:
    """With its amendments the topic says what the recording says."""
    tallies = {tally.name: tally for tally in verify(with_misprints(clean_run(seed), Random(seed)))}
    assert [tally.examples for tally in tallies.values() if not tally.holds] == []
    assert tallies["amendments_follow_their_trade"].checked == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_print_that_sets_no_price_need_not_be_recorded(seed: int) -> None:
    """It moves nothing; that it does not is seen in the decisions."""
    assert [tally.examples for tally in verify(with_unpriced(clean_run(seed), Random(seed))) if not tally.holds] == []


def test_a_night_that_a_closing_did_not_prevent_is_no_fault_when_it_is_told_of() -> None:
    tallies = {tally.name: tally for tally in verify(over_night(clean_run(1), told=True))}
    assert tallies["nothing_held_over_night"].checked == 2
    assert tallies["nothing_held_over_night"].holds


def test_where_pairs_may_be_kept_over_night_nothing_is_looked_at() -> None:
    tallies = {tally.name: tally for tally in verify(replace(over_night(clean_run(1), told=False), session_end="keep"))}
    assert tallies["nothing_held_over_night"].checked == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_recording_with_amendments_wants_them_in_the_topic(seed: int) -> None:
    """What the tape took back must not stand in Kafka."""
    clean, frame = clean_run(seed), clean_run(seed).recording
    assert frame is not None
    recorded = replace(clean, recording=replace(frame, ticks=misprints(frame.ticks)))
    lacking = {tally.name for tally in verify(recorded) if not tally.holds}
    assert lacking == {"ticks_complete"}, "the print that never was is part of the tape, too"


@pytest.mark.parametrize(("corruption", "invariant"), [pytest.param(do, name, id=what) for what, do, name in CORRUPTIONS])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_corruption_is_found_by_the_invariant_that_it_breaks(corruption, invariant: str, seed: int) -> None:
    tallies = verify(corruption(clean_run(seed), Random(seed)))
    violated = {tally.name: tally for tally in tallies if not tally.holds}
    assert invariant in violated
    assert violated[invariant].examples


def test_a_trade_by_hand_is_no_fault_of_the_ledger() -> None:
    """It differs from the account by exactly that trade: that nobody noticed is to be named, nothing else."""
    corruption = next(do for _, do, name in CORRUPTIONS if name == "foreign_trades_noticed")
    tallies = {tally.name: tally for tally in verify(corruption(clean_run(1), Random(1))) if not tally.holds}
    assert set(tallies) == {"foreign_trades_noticed"}
    assert len(tallies["foreign_trades_noticed"].examples) == 2, "neither booked, nor its pair in quarantine"


def test_every_invariant_has_a_corruption_that_it_finds() -> None:
    """An invariant that nothing can break would say nothing."""
    assert {tally.name for tally in verify(clean_run(0))} == {name for _, _, name in CORRUPTIONS}


def test_what_was_not_given_is_neither_kept_nor_broken() -> None:
    tallies = verify(Evidence(replay_id=""))
    assert all(tally.not_checked and tally.holds and tally.checked == 0 for tally in tallies)
