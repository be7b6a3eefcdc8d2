"""TradingAccounts: the mode is told, never loosened past another hand, and stays when the object goes."""

from typing import Any

import pytest

from pair_world import World, account_manifest
from tandem.domain.control import TradingState
from tandem.domain.trading import TradingMode

ACCOUNT = "TradingAccount"
SCOPE = "account/paper"


@pytest.fixture
def world() -> World:
    """One without objects."""
    return World()


def paper(**spec: Any) -> dict[str, Any]:
    """The account that most tests declare."""
    return account_manifest("paper", **spec)


def mode(world: World) -> TradingMode | None:
    """What the services are told."""
    found = world.topic.records.get(f"trading/{SCOPE}")
    assert found is None or isinstance(found, TradingState)
    return found.mode if found else None


def message(world: World) -> str:
    """Of Ready."""
    found = world.get(ACCOUNT, "paper")
    assert found is not None
    return next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Ready")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("Active", TradingMode.ACTIVE),
        ("Reducing", TradingMode.REDUCING),
        ("Flattening", TradingMode.FLATTENING),
        ("Halted", TradingMode.HALTED),
    ],
)
def test_the_mode_is_told_once(world: World, declared: str, told: TradingMode) -> None:
    """And stands in the status, with what the account holds in all books of its source."""
    for pair, account, source in (("KO-PEP", "one", "recycled"), ("KO-PEP", "two", "recycled"), ("GS-MS", "live", "live")):
        world.hold(pair, account, source)
    world.apply(paper(mode=declared, reason="as planned"))
    for _ in range(3):
        world.settle(ACCOUNT, "paper")
    assert mode(world) is told
    found = world.get(ACCOUNT, "paper")
    assert found is not None
    assert (found["status"]["mode"], found["status"]["openPairs"]) == (declared, 1)
    assert world.says(ACCOUNT, "paper") == ("True", "ModeTold")
    assert world.says(ACCOUNT, "paper", "CredentialsFound") == ("True", "NotNeeded")
    assert world.topic.writes == [f"trading/{SCOPE}: {told}"]
    assert world.look(ACCOUNT, "paper") == 15.0
    assert list(world.accounts.told(f"trading/{SCOPE}")) == [(ACCOUNT, "paper")]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ({"one": "paper", "two": "second"}, 1),
        ({"one": "second", "two": "third"}, 0),
        ({"one": "paper"}, 2),
        ({}, 2),
    ],
    ids=["each of its own", "all of others", "one without a name", "none has a name"],
)
def test_only_its_own_books_count_and_those_that_name_nobody(world: World, names: dict[str, str], count: int) -> None:
    """A second account of the same source has pairs of its own; a book of before there were names may be anyone's."""
    world.names |= names
    world.hold("KO-PEP", "one")
    world.hold("GS-MS", "two")
    world.apply(paper())
    world.settle(ACCOUNT, "paper")
    found = world.get(ACCOUNT, "paper")
    assert found is not None
    assert found["status"]["openPairs"] == count


def test_a_deletion_does_not_wait_for_another_accounts_pairs(world: World) -> None:
    world.names["two"] = "second"
    world.hold("GS-MS", "two")
    world.apply(paper(deletionPolicy="Flatten"))
    world.settle(ACCOUNT, "paper")
    world.delete(ACCOUNT, "paper")
    world.settle(ACCOUNT, "paper")
    assert world.get(ACCOUNT, "paper") is None


def test_a_looser_record_of_another_hand_is_put_back(world: World) -> None:
    """Somebody wrote Active over Halted."""
    world.apply(paper(mode="Halted"))
    world.settle(ACCOUNT, "paper")
    world.topic.records[f"trading/{SCOPE}"] = TradingState(scope=SCOPE, mode=TradingMode.ACTIVE, reason="by hand")
    world.settle(ACCOUNT, "paper")
    assert mode(world) is TradingMode.HALTED


def test_the_kill_switch_is_never_loosened_from_here(world: World) -> None:
    """Not by a look, a changed spec, nor a restart; it is taken over by declaring the same mode, and loosened then."""
    world.apply(paper())
    world.settle(ACCOUNT, "paper")
    world.topic.records[f"trading/{SCOPE}"] = TradingState(scope=SCOPE, mode=TradingMode.HALTED, reason="kill switch")
    world.settle(ACCOUNT, "paper")
    world.apply(paper(reason="please"))
    world.restart()
    world.settle(ACCOUNT, "paper")
    assert mode(world) is TradingMode.HALTED
    assert world.says(ACCOUNT, "paper") == ("False", "ModeKept")
    assert "set spec.mode to Halted first" in message(world)
    assert "ModeKept" in world.events.reasons(ACCOUNT)
    found = world.get(ACCOUNT, "paper")
    assert found is not None
    assert found["status"]["mode"] == "Halted"
    world.apply(paper(mode="Halted"))
    world.settle(ACCOUNT, "paper")
    world.apply(paper(mode="Active"))
    world.settle(ACCOUNT, "paper")
    assert mode(world) is TradingMode.ACTIVE
    assert world.says(ACCOUNT, "paper") == ("True", "ModeTold")


@pytest.mark.parametrize(
    ("secret", "wanted"),
    [
        (None, ("False", "CredentialsMissing")),
        ({}, ("False", "CredentialsMissing")),
        ({"key": "a2V5"}, ("True", "CredentialsFound")),
    ],
)
def test_missing_credentials_are_named_and_the_mode_is_told_all_the_same(
    world: World, secret: dict[str, str] | None, wanted: tuple[str, str]
) -> None:
    """An account that cannot trade can still be halted."""
    world.apply(paper(source="paper", secretRef={"name": "broker"}, mode="Halted"))
    if secret is not None:
        world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broker"}, "data": secret})
    world.settle(ACCOUNT, "paper")
    assert world.says(ACCOUNT, "paper", "CredentialsFound") == wanted
    assert mode(world) is TradingMode.HALTED
    assert ("CredentialsMissing" in world.events.reasons(ACCOUNT)) is (wanted[0] == "False")
    assert world.says(ACCOUNT, "paper") == (wanted if wanted[0] == "False" else ("True", "ModeTold"))


@pytest.mark.parametrize(("away", "reason"), [("kafka", "KafkaUnreachable"), ("postgres", "PostgresUnreachable")])
def test_a_server_that_is_away_is_named_and_made_up_for(world: World, away: str, reason: str) -> None:
    """A condition and an Event; when it is back, all is as it should be."""
    world.apply(paper())
    world.faults.away = {away}
    world.settle(ACCOUNT, "paper")
    assert world.says(ACCOUNT, "paper") == ("Unknown", reason)
    assert reason in world.events.reasons(ACCOUNT)
    world.faults.away = set()
    world.settle(ACCOUNT, "paper")
    assert world.says(ACCOUNT, "paper") == ("True", "ModeTold")
    assert mode(world) is TradingMode.ACTIVE


@pytest.mark.parametrize(
    ("policy", "left", "waits"),
    [("Flatten", TradingMode.FLATTENING, True), ("Stop", TradingMode.REDUCING, False), ("Hold", TradingMode.HALTED, False)],
)
def test_a_deletion_leaves_a_mode_behind(world: World, policy: str, left: TradingMode, waits: bool) -> None:
    """Flatten waits until nothing is open; no policy lets the account trade on."""
    world.apply(paper(deletionPolicy=policy))
    world.settle(ACCOUNT, "paper")
    world.hold("KO-PEP")
    world.delete(ACCOUNT, "paper")
    world.settle(ACCOUNT, "paper")
    assert mode(world) is left
    assert (world.get(ACCOUNT, "paper") is not None) is waits
    if waits:
        assert world.says(ACCOUNT, "paper") == ("False", "Withdrawing")
        world.open.clear()
        world.settle(ACCOUNT, "paper")
    assert world.get(ACCOUNT, "paper") is None
    assert mode(world) is left
    assert "Withdrawn" in world.events.reasons(ACCOUNT)
    world.apply(paper())
    world.settle(ACCOUNT, "paper")
    assert mode(world) is TradingMode.ACTIVE


@pytest.mark.parametrize("away", ["", "kafka", "postgres"])
@pytest.mark.parametrize("forced", [False, True])
def test_a_deletion_ends_in_time_whatever_is_away(world: World, away: str, forced: bool) -> None:
    """At the latest when its time is over, at once when it is forced."""
    world.apply(paper(deletionTimeoutSeconds=100))
    world.settle(ACCOUNT, "paper")
    world.hold("KO-PEP")
    world.faults.away = {away} - {""}
    world.delete(ACCOUNT, "paper")
    if forced:
        world.cluster.objects[ACCOUNT, "paper"]["metadata"]["annotations"] = {"tandem.trading/force-delete": "true"}
    world.settle(ACCOUNT, "paper")
    assert (world.get(ACCOUNT, "paper") is None) is forced
    world.now_s += 101
    world.settle(ACCOUNT, "paper")
    assert world.get(ACCOUNT, "paper") is None
    assert ("ForceDeleted" if forced else "WithdrawalTimedOut") in world.events.reasons(ACCOUNT)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_it_goes_on_and_repeats_nothing(after: bool) -> None:
    """Declared, changed, deleted while open, flat at last: the same modes in the same order as without the kill."""

    def life(kill_at: int) -> World:
        world = World()
        world.faults.kill_at, world.faults.after = kill_at, after
        for declared in ("Active", "Reducing"):
            world.apply(paper(mode=declared))
            world.settle(ACCOUNT, "paper")
        world.hold("KO-PEP")
        world.delete(ACCOUNT, "paper")
        world.settle(ACCOUNT, "paper")
        assert world.get(ACCOUNT, "paper") is not None
        world.open.clear()
        world.settle(ACCOUNT, "paper")
        return world

    straight = life(0)
    assert straight.topic.writes == [f"trading/{SCOPE}: {mode}" for mode in ("active", "reducing", "flattening")]
    for kill_at in range(1, len(straight.faults.writes) + 1):
        killed = life(kill_at)
        assert killed.faults.kill_at == 0
        assert killed.topic.writes == straight.topic.writes, f"killed at {straight.faults.writes[kill_at - 1]}"
        assert killed.get(ACCOUNT, "paper") is None
