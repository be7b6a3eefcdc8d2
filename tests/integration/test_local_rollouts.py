"""Rollouts without Kubernetes, end to end, in rollout_world.py's world: what is promoted, refused and taken back, and the command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout_world import World, daily_market, ended, rollout_world, trained_on
from tandem.adapters.registry_rest import Registry
from tandem.domain.ids import SectorId
from tandem.quant.bundle import Bundle
from tandem.quant.panel import Panel
from tandem.rollout.registry_names import CANDIDATE, CHAMPION, PREVIOUS

SECTORS = (SectorId(f"laboratory{letter}") for letter in "abc")  # one for each test: they share servers


@pytest.fixture(scope="module")
def panel() -> Panel:
    """The market."""
    return daily_market()


@pytest.fixture(scope="module")
def bundle(panel: Panel) -> Bundle:
    """What its first bars teach."""
    return trained_on(panel)


@pytest.fixture(scope="module")
def servers(kafka_servers: str, postgres_url: str, mlflow_uri: str) -> dict[str, str]:
    """Where they are."""
    return {"TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers, "TANDEM_POSTGRES_URL": postgres_url, "MLFLOW_TRACKING_URI": mlflow_uri}


@pytest.fixture
def world(servers: dict[str, str], bundle: Bundle, panel: Panel, tmp_path: Path) -> Iterator[World]:
    """A sector of its own for each test."""
    with rollout_world(servers, next(SECTORS), bundle, panel, tmp_path) as made:
        yield made


@pytest.mark.timeout(1500)
def test_a_better_version_is_promoted_a_worse_one_refused_and_a_rollback_is_one_record(world: World) -> None:
    """From the sector's first version to a rollback by hand, with whoever carries it out killed on the way."""
    first = world.register(1.7)  # too wild: its variances are 2.9 times too large
    with world.runner() as runner:
        world.wait(lambda d: ended(d, first.version, "Succeeded"), "the first version's adoption", runner)
        assert [world.table().pointers[world.sector].version, world.table().pointers[world.sector].epoch] == [first.version, 1]
        world.publish(200)
        better = world.register(1.0)
        assert world.versions()[better.version].aliases == (CANDIDATE,)
        with world.open_market():
            world.wait(lambda d: d["candidate"]["version"] == better.version and d["step"] != "Replay", "the replay gate", runner)
            runner.process.kill()  # its forecasters stay behind
            runner.process.wait()
    with world.runner() as runner, world.open_market():
        done = world.wait(lambda d: ended(d, better.version, "Succeeded"), "the promotion", runner)
        pointer = world.table().pointers[world.sector]
        assert (pointer.version, pointer.canary) == (better.version, None)
        assert pointer.previous is not None
        assert pointer.previous.version == first.version
        assert [moment["reason"] for moment in done["history"]] == [
            *("NewVersionDetected", "ReplayPassed", "ShadowStarted", "CanaryAdvanced", "Promoted", "RolloutSucceeded", "RolloutSucceeded"),
        ]
        aliases = {number: version.aliases for number, version in world.versions().items()}
        assert (aliases[better.version], aliases[first.version]) == ((CANDIDATE, CHAMPION), (PREVIOUS,))
        told = json.loads(world.command("status", world.sector, "--json").stdout)
        assert (told["pointer"]["version"], told["rollout"]["outcome"]) == (better.version, "Succeeded")
        shown = world.command("status")
        assert world.sector in shown.stdout
        assert "Succeeded" in shown.stdout

        worse = world.register(2.5)
        refused = world.wait(lambda d: ended(d, worse.version, "Refused"), "the refusal", runner)
        assert refused["reason"] == "GateFailed"
        assert world.table().pointers[world.sector] == pointer
        assert "qlike" in world.versions()[worse.version].quarantined
        again = world.command("start", world.sector, "--version", worse.version)
        assert (again.returncode, "is quarantined" in again.stderr) == (1, True)

        # The last rollout is the refused one: what it would roll back to is not its business.
        answer = world.command("rollback", world.sector, "--reason", "a drill")
        assert (answer.returncode, "is refused" in answer.stderr) == (1, True)


@pytest.mark.timeout(1500)
def test_requests_by_hand(world: World) -> None:
    """promote skips what the gates wait for, rollback is one record back, abort and start come in between; each is answered."""
    world.publish(20)  # fewer than a verdict needs
    first, other = world.register(1.01), world.register(1.02)
    with Registry(world.mlflow) as registry:
        for alias, ref in ((CHAMPION, first), (CANDIDATE, other)):
            registry.set_alias(world.name, alias, ref.version)
    with world.runner() as runner:
        world.wait(lambda d: d["step"] == "Done" or d["candidate"]["version"] == other.version, "the first version", runner)
        world.wait(lambda d: d["candidate"]["version"] == other.version and "paired bars, at most 900" in d["wait"], "the shadow", runner)
        shown = world.command("status", world.sector).stdout
        assert re.search(r"^waits for +no verdict after \d+ paired bars, at most 900$", shown, re.MULTILINE), shown
        aborted = world.command("abort", world.sector, "--reason", "not today")
        assert aborted.returncode == 0, aborted.stderr
        assert "Aborted: aborted by request: not today" in aborted.stdout
        world.wait(lambda d: ended(d, other.version, "Aborted"), "the end of it", runner)
        assert not world.versions()[other.version].quarantined
        epoch = world.table().pointers[world.sector].epoch

        begun = world.command("start", world.sector)
        assert begun.returncode == 0, begun.stderr
        world.wait(lambda d: d["step"] == "Shadow" and d["outcome"] == "Running", "the shadow again", runner)
        promoted = world.command("promote", world.sector, "--json")
        assert promoted.returncode == 0, promoted.stderr
        assert json.loads(promoted.stdout)["step"] == "Watch"
        world.wait(lambda d: CHAMPION in world.versions()[other.version].aliases, "the alias", runner)
        pointer = world.table().pointers[world.sector]
        assert (pointer.version, pointer.epoch) == (other.version, epoch + 1)

        back = world.command("rollback", world.sector, "--reason", "a drill")
        assert back.returncode == 0, back.stderr
        world.wait(lambda d: ended(d, other.version, "RolledBack"), "the rollback", runner)
        pointer = world.table().pointers[world.sector]
        assert (pointer.version, pointer.epoch, pointer.previous) == (first.version, epoch + 2, None)
        assert world.versions()[first.version].aliases == (CHAMPION,)
        assert "a drill" in world.versions()[other.version].quarantined
