"""TradingPairs: what a look makes of them, in every order of events, with every server away, and killed at every write."""

from dataclasses import replace
from typing import Any

import pytest

from pair_world import World, pair_manifest
from tandem.domain.control import PairSpec, TradingState
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import TradingMode

PAIR = "TradingPair"
KO_PEP = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


@pytest.fixture
def world() -> World:
    """One without objects."""
    return World()


def ko_pep(name: str = "ko-pep", **spec: Any) -> dict[str, Any]:
    """The pair that most tests declare."""
    return pair_manifest(name, "KO", "PEP", **spec)


def message(world: World, name: str, about: str = "Ready") -> str:
    """Of a condition."""
    found = world.get(PAIR, name)
    assert found is not None
    return next(c["message"] for c in found["status"]["conditions"] if c["type"] == about)


def test_a_look_at_what_is_settled_writes_nothing(world: World) -> None:
    """However often: no record, no status, no patch, no Event."""
    world.route("consumer", "1", "KO-PEP")
    world.apply(ko_pep())
    world.settle(PAIR, "ko-pep")
    assert world.says(PAIR, "ko-pep") == ("True", "Declared")
    before, told = list(world.faults.writes), len(world.events.told)
    for _ in range(5):
        assert world.look(PAIR, "ko-pep") is None
    world.restart()
    assert world.look(PAIR, "ko-pep") is None
    assert world.faults.writes == before
    assert len(world.events.told) == told
    assert world.topic.writes == ["pair/KO-PEP: declared"]


def test_last_transition_moves_only_with_the_status(world: World) -> None:
    """A new reason is no transition."""
    world.apply(ko_pep())
    world.settle(PAIR, "ko-pep")
    first = world.get(PAIR, "ko-pep")
    assert first is not None
    world.now_s += 60
    world.route("consumer", "1", "KO-PEP")
    world.faults.away = {"registry"}
    world.settle(PAIR, "ko-pep")
    second = world.get(PAIR, "ko-pep")
    assert second is not None
    times = [{c["type"]: c["lastTransitionTime"] for c in found["status"]["conditions"]} for found in (first, second)]
    assert world.says(PAIR, "ko-pep", "InModel") == ("Unknown", "RegistryUnreachable")
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        (None, ("Unknown", "NoModel")),
        (("1", ("KO-PEP", "GS-MS")), ("True", "InModel")),
        (("1", ("GS-MS",)), ("False", "PairNotInModel")),
        (("1", None), ("Unknown", "PairsUnknown")),
    ],
)
def test_whether_the_live_version_holds_the_pair(world: World, live: Any, wanted: tuple[str, str]) -> None:
    """The pair is declared all the same, and waits."""
    if live is not None:
        world.route("consumer", live[0], *(live[1] or ()))
        if live[1] is None:
            del world.live[live[0]]
    world.apply(ko_pep())
    again_s = world.look(PAIR, "ko-pep")
    assert world.says(PAIR, "ko-pep", "InModel") == wanted
    assert world.topic.pair("KO-PEP") == KO_PEP
    assert (again_s is not None) is (wanted[1] == "PairsUnknown")


def test_the_registry_is_asked_once_for_all_pairs_of_a_version(world: World) -> None:
    """A version never changes; and while the registry is away, not every pair waits for it."""
    names = [f"p{number}" for number in range(20)]
    world.apply(*(pair_manifest(name, f"A{chr(65 + number)}", "ZZZ") for number, name in enumerate(names)))
    world.route("consumer", "1")
    world.faults.away = {"registry"}
    for name in names:
        world.look(PAIR, name)
    assert world.asked == 1
    assert world.says(PAIR, "p7", "InModel") == ("Unknown", "RegistryUnreachable")
    world.faults.away = set()
    world.restart()
    for name in names:
        world.look(PAIR, name)
    assert world.asked == 2


def test_a_record_is_declared_only_when_a_deletion_would_wait_for_its_withdrawal(world: World) -> None:
    """The finalizer comes first."""
    world.apply(ko_pep())
    world.faults.kill_at = 2
    world.settle(PAIR, "ko-pep", looks=1)
    assert world.faults.writes == ["patch TradingPair ko-pep", "publish pair/KO-PEP"]


@pytest.mark.parametrize("other", [ko_pep("younger"), pair_manifest("younger", "PEP", "KO")])
def test_the_younger_of_two_is_a_conflict_until_the_older_goes(world: World, other: dict[str, Any]) -> None:
    """The same way round or not."""
    world.apply(ko_pep("older"))
    world.apply(other)
    for name in ("younger", "older"):
        world.settle(PAIR, name)
    assert world.says(PAIR, "older", "Accepted") == ("True", "Accepted")
    assert world.says(PAIR, "younger") == ("False", "Conflict")
    assert "older TradingPair older" in message(world, "younger")
    assert world.topic.writes == ["pair/KO-PEP: declared"]
    assert set(world.pairs.concerned(world.get(PAIR, "older") or {})) == {(PAIR, "younger")}
    world.delete(PAIR, "older")
    world.settle(PAIR, "older")
    world.settle(PAIR, "younger")
    assert world.says(PAIR, "younger", "Accepted") == ("True", "Accepted")
    assert len(world.topic.pairs()) == 1


def test_of_two_made_in_the_same_second_the_first_by_name_counts_also_if_the_other_was_faster(world: World) -> None:
    """The loser's record goes with its claim, and its deletion touches nothing."""
    world.apply(pair_manifest("b", "PEP", "KO"))
    world.settle(PAIR, "b")
    assert set(world.topic.pairs()) == {"PEP-KO"}
    world.apply(ko_pep("a"))
    a, b = world.get(PAIR, "a"), world.get(PAIR, "b")
    assert a is not None
    assert b is not None
    a["metadata"]["creationTimestamp"] = b["metadata"]["creationTimestamp"]
    for name in ("b", "a"):
        world.settle(PAIR, name)
    assert set(world.topic.pairs()) == {"KO-PEP"}
    assert world.says(PAIR, "b") == ("False", "Conflict")
    world.delete(PAIR, "b")
    world.settle(PAIR, "b")
    assert world.get(PAIR, "b") is None
    assert set(world.topic.pairs()) == {"KO-PEP"}


def test_a_changed_or_lost_record_is_put_back_and_a_changed_spec_is_no_drift(world: World) -> None:
    """Told in an Event; the counter is what alerts go by."""
    world.apply(ko_pep())
    world.settle(PAIR, "ko-pep")
    world.apply(ko_pep(suspend=True))
    world.settle(PAIR, "ko-pep")
    assert "DriftRepaired" not in world.events.reasons(PAIR)
    world.topic.records["pair/KO-PEP"] = replace(KO_PEP, entry_z=3.0)
    assert list(world.pairs.told("pair/KO-PEP")) == [(PAIR, "ko-pep")]
    world.settle(PAIR, "ko-pep")
    assert world.events.reasons(PAIR).count("DriftRepaired") == 1
    del world.topic.records["pair/KO-PEP"]
    world.settle(PAIR, "ko-pep")
    assert world.topic.pair("KO-PEP") == replace(KO_PEP, suspended=True)


def test_a_manifest_that_the_definitions_of_before_let_through_is_named(world: World) -> None:
    """It is not told to anybody; nothing else is touched, and it can be deleted."""
    world.apply(ko_pep(signal={"entryZ": 1.0, "exitZ": 2.0}))
    world.settle(PAIR, "ko-pep")
    assert world.says(PAIR, "ko-pep") == ("False", "Invalid")
    assert "exitZ must be below" in message(world, "ko-pep")
    assert not world.topic.writes
    world.delete(PAIR, "ko-pep")
    assert world.get(PAIR, "ko-pep") is None


def test_an_object_that_became_unreadable_can_be_deleted_and_hinders_no_other(world: World) -> None:
    """New definitions may refuse what the old ones took: the record that it once caused is withdrawn, others are looked after."""
    world.apply(ko_pep(), pair_manifest("other", "GS", "MS"))
    world.settle(PAIR, "ko-pep")
    broken = world.cluster.objects[PAIR, "ko-pep"]
    broken["spec"] = {"pairs": "KO/PEP"}
    for name in ("ko-pep", "other"):
        world.settle(PAIR, name)
    assert world.says(PAIR, "ko-pep") == ("False", "Invalid")
    assert set(world.topic.pairs()) == {"KO-PEP", "GS-MS"}
    world.delete(PAIR, "ko-pep")
    world.settle(PAIR, "ko-pep")
    assert world.get(PAIR, "ko-pep") is None
    assert set(world.topic.pairs()) == {"GS-MS"}


@pytest.mark.parametrize("away", ["kafka", "registry", "postgres", "cluster"])
def test_a_server_that_is_away_is_named_and_made_up_for(world: World, away: str) -> None:
    """A condition and an Event where they can be written; when it is back, all is as it should be."""
    world.route("consumer", "1", "KO-PEP")
    world.apply(ko_pep())
    world.faults.away = {away}
    if away == "cluster":
        world.objects.put(world.cluster.objects[PAIR, "ko-pep"])
        with pytest.raises(Transient):
            world.pairs.reconcile("ko-pep")
    else:
        world.settle(PAIR, "ko-pep")
        wanted = {
            "kafka": ("Unknown", "KafkaUnreachable"),
            "registry": ("Unknown", "RegistryUnreachable"),
            "postgres": ("True", "Declared"),
        }
        assert world.says(PAIR, "ko-pep") == wanted[away]
        assert wanted[away][1] in world.events.reasons(PAIR)
    world.faults.away = set()
    world.restart()  # or ten seconds later, as far as the registry is concerned
    world.settle(PAIR, "ko-pep")
    assert world.says(PAIR, "ko-pep") == ("True", "Declared")
    assert world.topic.writes == ["pair/KO-PEP: declared"]
    assert "DriftRepaired" not in world.events.reasons(PAIR)


@pytest.mark.parametrize(
    ("policy", "writes"),
    [
        ("Flatten", ["pair/KO-PEP: declared", "pair/KO-PEP: suspended", "pair/KO-PEP: gone"]),
        ("Stop", ["pair/KO-PEP: declared", "trading/pair/KO-PEP: reducing", "pair/KO-PEP: gone", "trading/pair/KO-PEP: gone"]),
    ],
)
def test_a_deletion_waits_for_the_position_by_its_policy(world: World, policy: str, writes: list[str]) -> None:
    """In every account; a position of another pair does not count."""
    world.apply(ko_pep(deletionPolicy=policy))
    world.settle(PAIR, "ko-pep")
    world.hold("KO-PEP", "one")
    world.hold("KO-PEP", "two")
    world.hold("GS-MS", "one")
    world.delete(PAIR, "ko-pep")
    world.settle(PAIR, "ko-pep")
    assert world.says(PAIR, "ko-pep") == ("False", "Withdrawing")
    assert "open in one, two" in message(world, "ko-pep")
    del world.open["KO-PEP", "one"]
    assert world.look(PAIR, "ko-pep") == 2.0
    del world.open["KO-PEP", "two"]
    world.settle(PAIR, "ko-pep")
    assert world.get(PAIR, "ko-pep") is None
    assert world.topic.writes == writes
    assert world.events.reasons(PAIR) == ["Declared", "Withdrawing", "Withdrawn"]


def test_stop_leaves_a_mode_that_somebody_else_has_set(world: World) -> None:
    """It is as strict or stricter, and stays when the pair has gone."""
    world.apply(ko_pep(deletionPolicy="Stop"))
    world.settle(PAIR, "ko-pep")
    halted = TradingState(scope="pair/KO-PEP", mode=TradingMode.HALTED, reason="a person's")
    world.topic.records["trading/pair/KO-PEP"] = halted
    world.delete(PAIR, "ko-pep")
    world.settle(PAIR, "ko-pep")
    assert world.get(PAIR, "ko-pep") is None
    assert world.topic.trading("pair/KO-PEP") == halted


def test_hold_freezes_what_is_open_and_a_new_declaration_takes_it_up(world: World) -> None:
    """What is flat needs no record."""
    world.apply(ko_pep(deletionPolicy="Hold"), pair_manifest("flat", "GS", "MS", deletionPolicy="Hold"))
    for name in ("ko-pep", "flat"):
        world.settle(PAIR, name)
    world.hold("KO-PEP")
    for name in ("ko-pep", "flat"):
        world.delete(PAIR, name)
        world.settle(PAIR, name)
        assert world.get(PAIR, name) is None
    assert world.topic.pairs() == {"KO-PEP": replace(KO_PEP, frozen=True)}
    assert "Held" in world.events.reasons(PAIR)
    world.sweep()
    assert set(world.topic.pairs()) == {"KO-PEP"}
    world.apply(ko_pep())
    world.settle(PAIR, "ko-pep")
    assert world.topic.pair("KO-PEP") == KO_PEP
    assert "DriftRepaired" not in world.events.reasons(PAIR)


@pytest.mark.parametrize("away", ["", "kafka", "postgres"])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("policy", ["Flatten", "Stop", "Hold"])
def test_a_deletion_ends_in_time_whatever_is_away(world: World, away: str, forced: bool, policy: str) -> None:
    """At the latest when its time is over, at once when it is forced; what is left behind goes when the pair is flat."""
    world.apply(ko_pep(deletionPolicy=policy, deletionTimeoutSeconds=100))
    world.settle(PAIR, "ko-pep")
    world.hold("KO-PEP")
    world.faults.away = {away} - {""}
    world.delete(PAIR, "ko-pep")
    if forced:
        document = world.cluster.objects[PAIR, "ko-pep"]
        document["metadata"]["annotations"] = {"tandem.trading/force-delete": "true"}
    world.settle(PAIR, "ko-pep")
    gone_at_once = forced or (policy == "Hold" and not away)
    assert (world.get(PAIR, "ko-pep") is None) is gone_at_once
    world.now_s += 101
    world.settle(PAIR, "ko-pep")
    assert world.get(PAIR, "ko-pep") is None
    if not (policy == "Hold" and not away):
        assert ("ForceDeleted" if forced else "WithdrawalTimedOut") in world.events.reasons(PAIR)
    world.faults.away = set()
    world.restart()
    world.look(PAIR, "ko-pep")
    assert "KO-PEP" in world.topic.pairs()
    world.open.clear()
    world.sweep()
    # Kafka was away, so nobody was told of the deletion: what is declared without an object is a person's to withdraw.
    assert set(world.topic.pairs()) == ({"KO-PEP"} if away == "kafka" else set())


@pytest.mark.parametrize("policy", ["Flatten", "Stop", "Hold"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("hand_over", [False, True])
def test_killed_at_any_write_it_goes_on_and_repeats_nothing(policy: str, after: bool, hand_over: bool) -> None:
    """Declared, changed, deleted while open, flat at last: the same end and the same records in the same order as without the kill."""

    def life(kill_at: int) -> World:
        world = World()
        world.faults.kill_at, world.faults.after = kill_at, after
        world.apply(ko_pep(deletionPolicy=policy))
        world.settle(PAIR, "ko-pep")
        world.apply(ko_pep(deletionPolicy=policy, signal={"entryZ": 2.5}))
        world.settle(PAIR, "ko-pep")
        if hand_over:
            world.apply(pair_manifest("mirror", "PEP", "KO"))
            world.settle(PAIR, "mirror")
        world.hold("KO-PEP")
        world.delete(PAIR, "ko-pep")
        world.settle(PAIR, "ko-pep")
        assert world.topic.pair("KO-PEP") is not None  # while it is open, the services know it
        world.open.clear()
        world.settle(PAIR, "ko-pep")
        world.sweep()
        if hand_over:
            world.settle(PAIR, "mirror")
        return world

    straight = life(0)
    assert straight.get(PAIR, "ko-pep") is None
    assert set(straight.topic.pairs()) == ({"PEP-KO"} if hand_over else set())
    for kill_at in range(1, len(straight.faults.writes) + 1):
        killed = life(kill_at)
        assert killed.faults.kill_at == 0, f"write {kill_at} was not reached"
        assert killed.topic.records == straight.topic.records
        assert killed.topic.writes == straight.topic.writes, f"killed at write {kill_at}: {straight.faults.writes[kill_at - 1]}"
        assert killed.get(PAIR, "ko-pep") is None
        if hand_over:
            assert killed.says(PAIR, "mirror") == straight.says(PAIR, "mirror")
