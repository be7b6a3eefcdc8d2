"""The operator killed at each of its writes, just before and just after it takes effect: the next process goes on and repeats nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from sector_world import POLICY, World, seeded
from tandem.operator.gather import REQUEST

# As few bars as decide anything, so that there are few writes to be killed at.
SHORT = POLICY | {"gate": POLICY["gate"] | {"barsMin": 8, "sessionsMin": 1}, "canary": [{"pairsShare": 0.5, "bars": 1}], "watchBars": 1}


def better(world: World) -> None:
    """Adopted, then a version that is no worse."""
    world.worse["2"] = -0.3
    world.registry.register("2", "candidate")


def worse(world: World) -> None:
    """Adopted, then a version that is clearly worse."""
    world.worse["2"] = 4.0
    world.registry.register("2", "candidate")


def regretted(world: World) -> None:
    """A promotion that a person takes back as soon as it stands."""
    better(world)
    world.run(until="Watch")
    entry = {"manager": "kubectl-annotate", "time": "t", "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{REQUEST}": {}}}}}
    world.rollout("energy-v2")["metadata"] |= {"annotations": {REQUEST: "rollback"}, "managedFields": [entry]}


STORIES: dict[str, Callable[[World], None]] = {"better": better, "worse": worse, "regretted": regretted}


def told(story: str, *, kill_at: int = 0, after: bool = False) -> World:
    """The story from an empty cluster to its end."""
    world = World(spec={"rollout": SHORT})
    world.faults.kill_at, world.faults.after = kill_at, after
    world.registry.register("1", "champion")
    world.run(until="Stable")
    STORIES[story](world)
    world.run(20)
    return world


def telling(writes: list[str]) -> list[int]:
    """The numbers of the writes to be killed at: of those that come at every bar, only the first, the second and the last."""
    places: dict[str, list[int]] = {}
    for number, write in enumerate(writes, start=1):
        places.setdefault(write, []).append(number)
    return sorted({number for numbers in places.values() for number in (*numbers[:2], numbers[-1])})


def ending(world: World) -> dict[str, Any]:
    """What must be the same, whoever was killed when."""
    rollouts = {name: found for (kind, name), found in world.cluster.objects.items() if kind == "ModelRollout"}
    return {
        "pointers": [(p.version, p.epoch, p.canary, p.previous) for p in world.control.published],
        "rollouts": {name: (found["status"]["step"], found["status"]["outcome"]) for name, found in rollouts.items()},
        "running": world.running(),
        "aliases": {version: (held.aliases, bool(held.quarantined)) for version, held in world.registry.held.items()},
        "objects": sorted(key for key in world.cluster.objects if key[0] != "ModelRollout"),
        "phase": (world.status().phase, world.status().stable_version, world.status().epoch),
        "requests": [found["metadata"].get("annotations") or {} for found in rollouts.values()],
    }


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
def test_a_kill_at_any_write_changes_nothing_of_the_end(story: str, after: bool) -> None:
    """Write by write: one kill each, then a new process with nothing in its memory."""
    whole = told(story)
    assert whole.faults.kill_at == 0
    wanted = ending(whole)
    for kill_at in telling(whole.faults.writes):
        world = told(story, kill_at=kill_at, after=after)
        assert world.faults.kill_at == 0, "it was killed"
        assert ending(world) == wanted, f"killed {'after' if after else 'before'} write {kill_at}: {world.faults.writes[kill_at - 1]}"


@pytest.mark.parametrize("seed", range(6))
def test_kills_in_any_number_at_any_time_never_double_an_epoch(seed: int) -> None:
    """An operator that dies every thirty writes or sooner gets there all the same; no epoch is used twice, none goes back."""
    chance = seeded(seed)
    world = World(spec={"rollout": SHORT})
    world.worse["2"] = chance.choice([-0.3, 4.0])
    world.registry.register("1", "champion")
    for look in range(250):
        world.faults.kill_at = world.faults.kill_at or len(world.faults.writes) + chance.randint(1, 30)
        world.faults.after = chance.random() < 0.5
        world.run(1)
        if look == 60:
            world.registry.register("2", "candidate")
    epochs = [pointer.epoch for pointer in world.control.published]
    assert epochs == sorted(set(epochs))
    outcome = world.rollout("energy-v2")["status"]["outcome"]
    assert outcome == ("Refused" if world.worse["2"] > 0 else "Succeeded")
    assert world.status().stable_version == ("1" if world.worse["2"] > 0 else "2")
