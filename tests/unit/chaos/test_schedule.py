"""A chaos run's schedule comes from its seed alone, and no kind of fault is left out."""

from collections import Counter
from pathlib import Path

import pytest

from chaos.schedule import FaultKind, schedule
from chaos.ways import ways

KINDS = [way.kind for way in ways().values()]
BARS = 60


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_gives_the_same_schedule_again(seed: int) -> None:
    assert schedule(seed, BARS, KINDS) == schedule(seed, BARS, KINDS)


def test_seeds_differ() -> None:
    assert len({schedule(seed, BARS, KINDS) for seed in range(50)}) == 50


def test_faults_come_in_order_where_the_market_still_runs_and_within_their_kinds_ranges() -> None:
    """The last bars are left in peace, so that what broke has occasion to come back."""
    ranges = {kind.name: kind for kind in KINDS}
    for seed in range(200):
        faults = schedule(seed, BARS, KINDS)
        assert [fault.bar for fault in faults] == sorted(fault.bar for fault in faults)
        for fault in faults:
            kind = ranges[fault.kind]
            assert 2 <= fault.bar <= BARS - 6
            assert kind.lasts_ms[0] <= fault.lasts_ms <= kind.lasts_ms[1]
            assert kind.amount[0] <= fault.amount <= kind.amount[1]
            assert fault.target in kind.targets


@pytest.mark.parametrize("first", [0, 1, 57, 1000])
def test_as_many_seeds_in_a_row_as_there_are_kinds_break_everything_three_times(first: int) -> None:
    """A seed has three faults at least: no kind's count is left to luck."""
    seeds = range(first, first + len(KINDS))
    counts = Counter(fault.kind for seed in seeds for fault in schedule(seed, BARS, KINDS))
    assert set(counts) == {kind.name for kind in KINDS}
    assert min(counts.values()) >= 3


def test_what_breaks_together_differs_from_one_round_of_seeds_to_the_next_and_from_place_to_place() -> None:
    """No two kinds are bound to each other: each meets many others."""
    met: dict[str, set[str]] = {}
    for seed in range(3 * len(KINDS)):
        kinds = {fault.kind for fault in schedule(seed, BARS, KINDS)}
        for kind in kinds:
            met.setdefault(kind, set()).update(kinds - {kind})
    assert min(map(len, met.values())) >= 6


def test_a_short_replay_has_a_schedule_too() -> None:
    kind = FaultKind(name="kill", number=7, targets=("portfolio",))
    assert {fault.bar for fault in schedule(1, 3, [kind])} == {2}


def test_the_reliability_page_says_how_often_each_kind_is_drawn() -> None:
    """Its hundred seeds are the ones of its results."""
    counts = Counter(fault.kind for seed in range(1, 101) for fault in schedule(seed, BARS, KINDS)).values()
    page = " ".join((Path(__file__).parents[3] / "docs" / "reliability.md").read_text().split())
    assert f"as many seeds in a row as there are kinds ({len(KINDS)}), each kind is drawn three times at least" in page
    assert "Over seeds 1 to 100 each comes three to six times." in page
    assert (len(counts), min(counts), max(counts)) == (len(KINDS), 3, 6)
