"""A sector's life under the operator, in memory: adoption, promotion, refusal, rollback, what people ask, and what goes wrong around it."""

import math
from typing import Any

import pytest
from prometheus_client import REGISTRY

from sector_world import POLICY, World
from tandem.domain.errors import Permanent
from tandem.operator.gather import REQUEST
from tandem.operator.sectors import POLL_S, ROLLOUT_POLL_S
from tandem.rollout.state import Step


def adopted(**changes: Any) -> World:
    """A sector whose first version is acted on."""
    world = World(**changes)
    world.registry.register("1", "champion")
    world.run(until="Stable")
    world.faults.writes.clear()
    world.events.told.clear()
    return world


def compared(world: World, version: str = "2", **registered: Any) -> World:
    """A candidate whose shadow has begun."""
    world.registry.register(version, "candidate", **registered)
    world.run(until="Shadow")
    return world


def ask(world: World, rollout: str, text: str) -> None:
    """As `kubectl annotate mro` does."""
    found = world.cluster.objects["ModelRollout", rollout]
    number = len(world.events.told) + world.bars
    entry = {"manager": "kubectl-annotate", "time": f"t{number}", "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{REQUEST}": {}}}}}
    found["metadata"] |= {"annotations": {REQUEST: text}, "managedFields": [entry]}


def test_the_first_version_is_adopted_when_its_forecaster_is_ready() -> None:
    """No gate: there is nothing to compare with. Its Service appears with the pointer."""
    world = adopted()
    (pointer,) = world.control.published
    assert (pointer.version, pointer.epoch) == ("1", 1)
    assert world.condition("Ready")[:2] == ("True", "Serving")
    assert world.status().stable_version == "1"
    service = world.cluster.objects["Service", "forecaster-energy"]
    assert service["spec"]["selector"]["tandem.trading/model-version"] == "1"


def test_a_version_is_not_acted_on_before_it_is_ready() -> None:
    """Its pods never get ready: the sector says why it waits."""
    world = World()
    world.unready.add("1")
    world.registry.register("1", "champion")
    world.run(20)
    assert world.control.published == []
    assert world.condition("Ready")[:2] == ("False", "NoModel")
    assert "not ready" in world.condition("Ready")[2]


def test_a_better_version_takes_over_step_by_step() -> None:
    """Replay, shadow, canary, promotion: the pointer moves twice, the Service follows, the version before stays hot."""
    world = adopted()
    world.worse["2"] = -0.3
    world.registry.register("2", "candidate")
    world.run()
    assert [(p.version, p.epoch, p.canary.version if p.canary else "") for p in world.control.published] == [
        ("1", 1, ""),
        ("1", 2, "2"),
        ("2", 3, ""),
    ]
    assert world.control.published[-1].previous is not None
    assert world.rollout("energy-v2")["status"]["outcome"] == "Succeeded"
    assert world.running() == {"1", "2"}
    assert world.cluster.objects["Service", "forecaster-energy"]["spec"]["selector"]["tandem.trading/model-version"] == "2"
    assert world.registry.held["2"].aliases == ("candidate", "champion")
    assert world.registry.held["1"].aliases == ("previous",)
    wanted = ["NewVersionDetected", "ReplayPassed", "ShadowStarted", "CanaryAdvanced", "Promoted", "RolloutSucceeded"]
    assert world.events.reasons() == world.events.reasons("ModelRollout") == wanted


def sample(name: str, **labels: str) -> float | None:
    """What the operator's /metrics has of the sector."""
    return REGISTRY.get_sample_value(f"tandem_operator_{name}", {"sector": "energy"} | labels)


def test_a_rollout_is_seen_in_the_metrics() -> None:
    """Its step, how far the gate has looked, and how it ended."""

    def ended() -> float:
        return REGISTRY.get_sample_value("tandem_operator_rollouts_total", {"outcome": "Succeeded"}) or 0.0

    before = ended()
    world = compared(adopted())
    world.run(25)
    assert sample("rollout_step", step=world.status().phase or "") == 1
    assert (sample("gate_bars") or 0) > 0
    assert (sample("gate_sessions") or 0) > 1
    assert 0 <= (sample("gate_p_value") or -1) <= 1
    world.run()
    assert ended() == before + 2  # the adoption, and this one
    assert sum(sample("rollout_step", step=step.value) or 0 for step in Step) == 0


def test_a_new_operator_tells_of_a_rollout_that_stands_still() -> None:
    """Nothing is written at its looks, as nothing has changed; one that stands by, and a sector that is gone, have no series."""
    world = compared(adopted())
    world.look()
    since_s, bars = sample("rollout_step_since_seconds"), sample("gate_bars")
    world.sectors.stand_down()
    assert (sample("rollout_step_since_seconds"), sample("gate_verdict", verdict="Inconclusive"), sample("alias_behind")) == (None,) * 3
    world.restart()
    world.look()
    assert (sample("rollout_step_since_seconds"), sample("gate_bars")) == (since_s, bars)
    assert sample("rollout_step", step="Shadow") == 1
    world.cluster.objects.pop(("SectorModel", "energy"))
    world.look()
    assert (sample("rollout_step_since_seconds"), sample("rollout_step", step="Shadow"), sample("shadow_divergence")) == (None,) * 3


def test_a_second_declaration_of_a_sector_takes_nothing_of_its_series_away() -> None:
    """The older SectorModel tells; the younger one comes and goes."""
    world = adopted()
    world.declare("rival")
    world.look("rival")
    world.cluster.objects.pop(("SectorModel", "rival"))
    world.look("rival")
    assert sample("alias_behind") == 0


def test_an_alias_that_names_another_version_than_is_acted_on_is_told() -> None:
    """While it is tried, and after it was refused; not once it is acted on, and a registry that is away changes nothing."""
    world = adopted()
    world.look()
    assert sample("alias_behind") == 0
    world.worse["2"] = 3.0
    compared(world)
    assert sample("alias_behind") == 1
    world.run()
    assert world.rollout("energy-v2")["status"]["outcome"] == "Refused"
    assert sample("alias_behind") == 1
    world.registry.register("3", "candidate")
    world.faults.away.add("registry")
    world.look()
    assert sample("alias_behind") == 1
    world.faults.away.clear()
    world.run()
    assert world.status().stable_version == "3"
    assert sample("alias_behind") == 0


def test_a_candidate_that_diverges_is_told_until_the_next_one_begins() -> None:
    """Also where that has ended its rollout a moment later: a share that vanished with the refusal would reach nobody."""
    world = adopted(spec={"rollout": POLICY | {"gate": POLICY["gate"] | {"barsMin": 60}}})  # of two pairs 100 forecasts are 50 bars
    world.diverging["2"] = 0.5
    compared(world)
    world.run()
    assert "divergence" in world.registry.held["2"].quarantined
    assert sample("shadow_divergence") == pytest.approx(0.5, abs=0.05)
    world.unready.add("3")
    world.registry.register("3", "candidate")
    world.run(until="Warm")
    assert math.isnan(sample("shadow_divergence") or 0.0)


def test_the_version_before_the_previous_one_goes_with_the_next_success() -> None:
    """Two versions run at rest, never three."""
    world = adopted()
    for version in ("2", "3"):
        world.registry.register(version, "candidate")
        world.run()
    assert world.status().stable_version == "3"
    assert world.running() == {"2", "3"}
    assert ("Service", "forecaster-energy-v1") not in world.cluster.objects


def test_a_worse_version_is_refused_and_nothing_acted_on_changes() -> None:
    """It is quarantined, its forecaster goes, and the stable one was never touched."""
    world = adopted()
    before = {key: found for key, found in world.cluster.objects.items() if key[1] == "forecaster-energy-v1"}
    versions = {key: found["metadata"]["resourceVersion"] for key, found in before.items()}
    world.worse["2"] = 3.0
    world.registry.register("2", "candidate")
    world.run()
    assert world.rollout("energy-v2")["status"]["outcome"] == "Refused"
    assert [pointer.version for pointer in world.control.published] == ["1"]
    assert world.running() == {"1"}
    assert "qlike" in world.registry.held["2"].quarantined
    assert {"GateFailed", "Quarantined", "AliasQuarantined"} <= set(world.events.reasons())
    assert world.condition("ModelResolved")[:2] == ("False", "AliasQuarantined")
    assert "version 1 goes on" in world.condition("ModelResolved")[2]
    assert world.condition("Ready")[0] == "True"
    assert {key: world.cluster.objects[key]["metadata"]["resourceVersion"] for key in versions} == versions


def test_a_refused_version_is_not_tried_again_until_its_record_is_deleted() -> None:
    """The poll finds the same version at every look."""
    world = adopted()
    world.replays["2"] = False
    world.registry.register("2", "candidate")
    world.run(30)
    assert world.rollout("energy-v2")["status"]["reason"] == "ReplayFailed"
    world.registry.register("2", "candidate")  # its quarantine is lifted
    world.run(10)
    assert world.condition("ModelResolved")[1] == "AlreadyTried"
    world.replays["2"] = True
    del world.cluster.objects["ModelRollout", "energy-v2"]
    world.run(30)
    assert world.rollout("energy-v2")["status"]["replayDigest"] == "r"


def test_a_version_that_returns_gets_another_record() -> None:
    """Pinned back to version 1 after version 2 has succeeded: the record of its first life stays."""
    world = adopted()
    world.registry.register("2", "candidate")
    world.run()
    assert world.status().stable_version == "2"
    world.declare(model={"version": "1"})
    world.run()
    assert world.status().stable_version == "1"
    assert world.rollout("energy-v1")["status"]["outcome"] == "Succeeded"
    assert world.rollout("energy-v1-2")["spec"]["stable"]["version"] == "2"


def test_a_candidate_that_never_gets_ready_is_given_up() -> None:
    """After the deadline, with an Event; the stable version goes on, and the version is not quarantined: it was not judged."""
    world = adopted(spec={"rollout": POLICY | {"warmDeadlineSeconds": 30}})
    world.unready.add("2")
    world.registry.register("2", "candidate")
    world.run(40)
    assert world.rollout("energy-v2")["status"]["outcome"] == "Aborted"
    assert "WarmTimedOut" in world.events.reasons()
    assert world.registry.held["2"].quarantined == ""
    assert world.running() == {"1"}


def test_a_newer_candidate_takes_the_place_of_one_that_has_compared_nothing() -> None:
    """While version 2 warms up, version 3 is registered."""
    world = adopted()
    world.unready.add("2")
    world.registry.register("2", "candidate")
    world.run(until="Warm")
    world.registry.register("3", "candidate")
    world.run()
    assert world.rollout("energy-v2")["status"]["outcome"] == "Aborted"
    assert world.status().stable_version == "3"


def test_a_newer_candidate_waits_for_one_that_is_being_compared() -> None:
    """With a new candidate each day none would ever see enough bars."""
    world = compared(adopted())
    world.registry.register("3", "candidate")
    world.look()
    assert world.status().candidate_version == "2"
    assert "version 3 waits" in world.condition("ModelResolved")[2]
    world.run(300)
    assert world.status().stable_version == "3"


@pytest.mark.parametrize(
    ("asked", "outcome", "acted_on"),
    [("promote", "Succeeded", "2"), ("abort: not today", "Aborted", "1"), ("rollback", "Aborted", "1")],
)
def test_a_person_decides_by_annotation(asked: str, outcome: str, acted_on: str) -> None:
    """The annotation is answered once and goes; the record keeps what was asked."""
    world = compared(adopted(spec={"rollout": POLICY | {"autoPromote": False}}))
    ask(world, "energy-v2", asked)
    world.run(60)
    document = world.rollout("energy-v2")
    assert document["status"]["outcome"] == outcome
    assert world.status().stable_version == acted_on
    assert REQUEST not in (document["metadata"].get("annotations") or {})
    assert document["status"]["requestId"].startswith(asked)


def test_a_promotion_is_taken_back_by_one_record_also_after_its_end() -> None:
    """The pointer first; the version before is still hot; the bad one is quarantined, its forecaster goes, the alias returns."""
    world = adopted()
    world.registry.register("2", "candidate")
    world.run()
    assert world.status().stable_version == "2"
    world.faults.writes.clear()
    ask(world, "energy-v2", "rollback: loses money")
    world.run(30)
    assert (world.control.published[-1].version, world.control.published[-1].epoch) == ("1", 4)
    assert world.rollout("energy-v2")["status"]["outcome"] == "RolledBack"
    assert "champion" in world.registry.held["1"].aliases
    assert "loses money" in world.registry.held["2"].quarantined
    assert world.running() == {"1"}
    order = [write for write in world.faults.writes if not write.startswith("status")]
    assert order.index("pointer 1@4") < order.index("alias champion=1") < order.index("delete Deployment forecaster-energy-v2")
    assert order.index("apply Service forecaster-energy") < order.index("delete Service forecaster-energy-v2"), "clients leave it first"


def test_an_unknown_request_is_refused_and_goes() -> None:
    """A typing mistake must not wait for ever."""
    world = compared(adopted())
    ask(world, "energy-v2", "promotte")
    world.look()
    assert "RequestRefused" in world.events.reasons()
    assert REQUEST not in (world.rollout("energy-v2")["metadata"].get("annotations") or {})
    assert world.status().phase == "Shadow"


def test_a_request_on_an_old_rollout_is_refused() -> None:
    """Only the newest one can still change anything."""
    world = compared(adopted())
    ask(world, "energy-v1", "rollback")
    world.look()
    assert "RequestRefused" in world.events.reasons()
    assert REQUEST not in (world.rollout("energy-v1")["metadata"].get("annotations") or {})


def test_the_same_word_written_again_is_another_request() -> None:
    """Refused while the version warms up, heard when it is in the shadow."""
    world = adopted(spec={"rollout": POLICY | {"autoPromote": False}})
    world.unready.add("2")
    world.registry.register("2", "candidate")
    world.run(until="Warm")
    ask(world, "energy-v2", "promote")
    world.run(3)
    assert "RequestRefused" in world.events.reasons()
    world.unready.clear()
    world.run(until="Shadow")
    ask(world, "energy-v2", "promote")
    world.run(until="Watch")
    world.run(1)
    assert world.status().stable_version == "2"


# -- What goes wrong around it ------------------------------------------------------------------------------------------------------------


def test_without_the_registry_the_stable_version_goes_on() -> None:
    """A condition and an Event say so; no forecaster is touched; afterwards the new version is found."""
    world = adopted()
    world.faults.away.add("registry")
    world.run(5)
    assert world.condition("RegistryReachable")[:2] == ("False", "RegistryUnreachable")
    assert world.condition("Ready")[0] == "True"
    assert world.events.reasons() == ["RegistryUnreachable"]
    assert world.running() == {"1"}
    world.faults.away.clear()
    world.registry.register("2", "candidate")
    world.run()
    assert world.condition("RegistryReachable")[0] == "True"
    assert world.status().stable_version == "2"


def test_without_kafka_nothing_is_concluded_and_nothing_touched() -> None:
    """The routing cannot be seen: what runs is left alone, what is known of it stays in the status."""
    world = compared(adopted())
    world.faults.away.add("control")
    world.faults.writes.clear()
    world.run(10)
    assert {write.split()[0] for write in world.faults.writes} == {"status"}
    assert world.condition("Ready")[:2] == ("Unknown", "KafkaUnreachable")
    assert world.events.reasons()[-1] == "KafkaUnreachable"
    assert world.events.reasons().count("KafkaUnreachable") == 1
    assert world.status().stable_version == "1"
    assert world.running() == {"1", "2"}
    world.faults.away.clear()
    world.run()
    assert world.status().stable_version == "2"


def test_without_scores_a_shadow_waits() -> None:
    """No data is never a failure: the condition names what could not be read."""
    world = compared(adopted())
    world.faults.away.add("postgres")
    world.run(60)
    assert world.status().phase == "Shadow"
    assert "postgres does not answer" in world.condition("Progressing")[2]
    assert world.condition("ScoresReadable")[:2] == ("False", "PostgresUnreachable")
    assert world.condition("Ready")[0] == "True"
    assert world.events.reasons().count("PostgresUnreachable") == 1
    world.faults.away.clear()
    world.look()
    assert world.condition("ScoresReadable")[0] == "True"
    world.run()
    assert world.status().stable_version == "2"


def test_without_the_api_server_the_look_fails_and_the_next_one_goes_on() -> None:
    """Nothing is taken for gone because it could not be listed."""
    world = compared(adopted())
    world.faults.away.add("cluster")
    world.run(10)
    world.faults.away.clear()
    world.run()
    assert world.status().stable_version == "2"


def test_a_version_without_a_bundle_is_named() -> None:
    """Registered by somebody else: nothing starts."""
    world = adopted()
    world.registry.register("2", "candidate", digest="")
    world.run(5)
    assert world.condition("ModelResolved")[:2] == ("False", "VersionUnusable")
    assert "tandem train" in world.condition("ModelResolved")[2]
    assert world.events.reasons() == ["VersionUnusable"]
    assert world.running() == {"1"}
    assert world.condition("Ready")[0] == "True"


def test_a_version_whose_content_changes_during_its_rollout_is_refused() -> None:
    """The digest was pinned when the rollout began."""
    world = compared(adopted())
    world.registry.register("2", "candidate", digest="another")
    world.run(10)
    assert world.rollout("energy-v2")["status"]["reason"] == "VersionUnusable"
    assert "VersionUnusable" in world.events.reasons()
    assert world.status().stable_version == "1"


def test_the_older_of_two_sector_models_counts() -> None:
    """The newer one says so and touches nothing; when the older goes, its turn comes."""
    world = adopted()
    world.declare("energy-too", replicas=2)
    world.faults.writes.clear()
    world.look("energy-too")
    assert world.condition("Ready", "energy-too")[:2] == ("False", "Conflict")
    assert "SectorModel energy" in world.condition("Ready", "energy-too")[2]
    assert world.faults.writes == ["status SectorModel energy-too"]
    assert world.events.reasons() == ["Conflict"]
    del world.cluster.objects["SectorModel", "energy"]
    world.look("energy-too")
    assert world.condition("Ready", "energy-too")[1] != "Conflict"


def test_a_suspended_sector_begins_no_rollout_and_ends_a_running_one() -> None:
    """spec.suspend is about new rollouts."""
    world = compared(adopted())
    world.declare(suspend=True)
    world.run()
    assert world.status().stable_version == "2"
    world.registry.register("3", "candidate")
    world.run(10)
    assert world.status().stable_version == "2"
    assert world.condition("Progressing")[:2] == ("False", "Suspended")


def test_a_kind_that_is_not_installed_is_told_and_stops_nothing() -> None:
    """Prometheus' operator is not there: the sector serves, a condition names what is missing."""
    world = World()
    real = world.cluster.apply

    def apply(manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["kind"] == "ServiceMonitor":
            raise Permanent("the cluster does not know this kind")
        return real(manifest)

    world.cluster.apply = apply  # type: ignore[method-assign]
    world.registry.register("1", "champion")
    world.run(until="Stable")
    world.run(3)
    assert world.condition("ObjectsApplied")[:2] == ("False", "ObjectsNotApplied")
    assert "ServiceMonitor" in world.condition("ObjectsApplied")[2]
    assert world.condition("Ready")[0] == "True"
    assert "ObjectsNotApplied" in world.events.reasons()


def test_what_nobody_knows_of_is_removed() -> None:
    """The record of a running rollout was deleted by hand: its forecaster must not run for ever."""
    world = compared(adopted())
    world.registry.held["2"] = world.registry.held["1"]  # the alias names the stable version again
    world.registry.held.pop("2")
    del world.cluster.objects["ModelRollout", "energy-v2"]
    world.run(5)
    assert world.running() == {"1"}


def test_a_changed_deployment_comes_back() -> None:
    """Somebody scales the stable forecaster to nothing: the next look restores it."""
    world = adopted()
    found = world.cluster.objects["Deployment", "forecaster-energy-v1"]
    world.cluster.apply(found | {"spec": found["spec"] | {"replicas": 0}})
    world.run(2)
    assert world.cluster.objects["Deployment", "forecaster-energy-v1"]["spec"]["replicas"] == 1


def test_replicas_belong_to_the_version_that_is_acted_on() -> None:
    """A candidate has one; with the promotion it gets the sector's number, and the version before keeps one."""
    world = compared(adopted(spec={"replicas": 2}))

    def replicas() -> dict[str, int]:
        return {v: world.cluster.objects["Deployment", f"forecaster-energy-v{v}"]["spec"]["replicas"] for v in ("1", "2")}

    assert replicas() == {"1": 2, "2": 1}
    world.run()
    assert world.status().stable_version == "2"
    assert replicas() == {"1": 1, "2": 2}
    assert world.status().selector is not None
    assert world.status().ready_replicas == 2


def test_looks_are_close_together_while_a_rollout_runs() -> None:
    """And by chance apart at rest, so that sectors do not ask the registry together."""
    world = adopted()
    assert POLL_S[0] <= (world.look() or 0) <= POLL_S[1]
    compared(world)
    world.look()
    assert world.look() == ROLLOUT_POLL_S


def test_an_idle_sector_writes_nothing() -> None:
    """Looking again at the same world changes nothing, not even a status."""
    world = adopted()
    world.run(3)
    world.faults.writes.clear()
    world.run(10)
    assert world.faults.writes == []


def test_a_sector_model_that_goes_is_left_to_the_cluster() -> None:
    """Its objects are collected with it; a look finds nothing to do."""
    world = adopted()
    world.cluster.objects["SectorModel", "energy"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert world.look() is None
    assert world.faults.writes == []


def test_pairs_are_looked_at_when_their_model_changes() -> None:
    """Whether the live version holds a pair may be another thing after a promotion."""
    world = adopted()
    pair = {"apiVersion": "tandem.trading/v1alpha1", "kind": "TradingPair", "metadata": {"name": "cvx-xom"}, "spec": {"sector": "energy"}}
    other = pair | {"metadata": {"name": "ko-pep"}, "spec": {"sector": "consumer"}}
    for manifest in (pair, other):
        world.cluster.apply(manifest)
    world.registry.register("2", "candidate")
    world.run()
    assert set(world.woken) == {("TradingPair", "cvx-xom")}
