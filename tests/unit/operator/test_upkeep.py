"""Upkeep of a sector's objects: what is applied when, what drift brings back, and what a kind that is not installed does."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from rollout_shapes import ENERGY, V7, V8, shape
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import sector_id
from tandem.operator.upkeep import REPEAT_S, Upkeep
from tandem.rollout.manifests import Manifest, ObjectKey, Running, key_of, sector_objects, version_keys, version_objects


class Recorder:
    """A cluster that applies like the real one: same wish, same generation. Counts what it was asked."""

    def __init__(self, *, unknown: frozenset[str] = frozenset()) -> None:
        self.objects: dict[ObjectKey, Manifest] = {}
        self.asked: list[tuple[str, str]] = []
        self.unknown = unknown
        self.away = False

    def apply(self, manifest: Manifest) -> Manifest:
        self._answer("apply", manifest["kind"])
        key = key_of(manifest)
        old = self.objects.get(key, {"spec": None, "metadata": {"generation": 0}})
        generation = old["metadata"]["generation"] + (old.get("spec") != manifest.get("spec"))
        made = deepcopy(manifest) | {"metadata": deepcopy(manifest["metadata"]) | {"generation": generation, "uid": f"uid-{key.name}"}}
        self.objects[key] = made
        return made

    def delete(self, kind: str, name: str, *, uid: str = "") -> bool:
        self._answer("delete", kind)
        return self.objects.pop(ObjectKey(kind=kind, name=name), None) is not None

    def _answer(self, verb: str, kind: str) -> None:
        self.asked.append((verb, kind))
        if self.away:
            raise Transient("away")
        if kind in self.unknown:
            raise Permanent("the cluster does not know this kind")

    def deployments(self) -> Mapping[ObjectKey, Manifest]:
        return {key: manifest for key, manifest in self.objects.items() if key.kind == "Deployment"}

    def get(self, kind: str, name: str) -> Manifest | None:
        raise NotImplementedError

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        raise NotImplementedError

    def create(self, manifest: Manifest) -> Manifest:
        raise NotImplementedError

    def patch(self, kind: str, name: str, changes: Manifest, *, version: str = "") -> Manifest:
        raise NotImplementedError

    def patch_status(self, kind: str, name: str, status: Manifest, *, version: str = "") -> Manifest:
        raise NotImplementedError


class World:
    """An upkeep with a clock that a test moves."""

    def __init__(self, **recorder: Any) -> None:
        self.cluster, self.now_s = Recorder(**recorder), 100.0
        self.upkeep = Upkeep(self.cluster, clock=lambda: self.now_s)
        self.wanted = (*version_objects(shape(), Running(model=V7, role="stable", replicas=1)), *sector_objects(shape(), V7))

    def keep(self, wanted: tuple[Manifest, ...] | None = None) -> tuple[str, ...]:
        self.cluster.asked.clear()
        self.upkeep.keep(wanted or self.wanted, self.cluster.deployments())
        return self.upkeep.trouble(ENERGY)


def test_the_second_look_asks_for_nothing() -> None:
    """What stands as it was left costs no request."""
    world = World()
    world.keep()
    assert {kind for _, kind in world.cluster.asked} == {manifest["kind"] for manifest in world.wanted}
    world.keep()
    assert world.cluster.asked == []


def test_everything_is_applied_again_after_a_while() -> None:
    """Drift in objects that nobody watches is put right by then."""
    world = World()
    world.keep()
    world.now_s += REPEAT_S
    world.keep()
    assert len(world.cluster.asked) == len(world.wanted)


@pytest.mark.parametrize(
    "drift",
    [
        lambda deployment: deployment["metadata"].update(generation=9),  # somebody changed the spec
        lambda deployment: deployment["metadata"].update(labels={}),
        lambda deployment: deployment["metadata"].update(uid="another"),  # deleted and made by hand
        lambda deployment: deployment["metadata"].update(annotations={}),
    ],
)
def test_drift_of_a_deployment_is_put_right_at_the_next_look(drift: Any) -> None:
    """And only that object is applied."""
    world = World()
    world.keep()
    drift(next(iter(world.cluster.deployments().values())))
    world.keep()
    assert world.cluster.asked == [("apply", "Deployment")]


def test_a_deployment_that_is_gone_comes_back() -> None:
    """At the next look, without waiting."""
    world = World()
    world.keep()
    world.cluster.objects = {key: value for key, value in world.cluster.objects.items() if key.kind != "Deployment"}
    world.keep()
    assert world.cluster.asked == [("apply", "Deployment")]


def test_what_the_cluster_writes_into_a_deployment_is_no_drift() -> None:
    """The revision and the status change by themselves."""
    world = World()
    world.keep()
    deployment = next(iter(world.cluster.deployments().values()))
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    deployment["status"] = {"readyReplicas": 1}
    world.keep()
    assert world.cluster.asked == []


def test_a_new_wish_is_applied_at_once() -> None:
    """A promotion moves the Service now, not after a while."""
    world = World()
    world.keep()
    world.keep(sector_objects(shape(), V8))
    assert ("apply", "Service") in world.cluster.asked


def test_a_kind_that_is_not_installed_is_told_and_stops_nothing() -> None:
    """The rest is made; the trouble names the kind, and it is tried again later."""
    world = World(unknown=frozenset({"ServiceMonitor"}))
    (trouble,) = world.keep()
    assert "ServiceMonitor forecaster-energy" in trouble
    assert world.keep() == (trouble,)
    assert world.cluster.asked == []
    assert {manifest["kind"] for manifest in world.cluster.objects.values()} == {
        manifest["kind"] for manifest in world.wanted if manifest["kind"] != "ServiceMonitor"
    }


def test_what_is_refused_is_told_and_stops_nothing() -> None:
    """E.g. a right that is missing: the sector's condition says so, and a rollback does not wait for it. Nobody else's trouble is told."""
    world = World(unknown=frozenset({"Deployment", "PodDisruptionBudget"}))
    assert [trouble.split(":")[0] for trouble in world.keep()] == [
        "Deployment forecaster-energy-v7",
        "PodDisruptionBudget forecaster-energy-v7",
    ]
    assert world.upkeep.trouble(sector_id("energ")) == world.upkeep.trouble(sector_id("energy-v")) == ()
    world.cluster.unknown = frozenset()
    world.now_s += REPEAT_S
    assert world.keep() == ()


def test_a_kind_that_is_not_installed_need_not_be_deleted() -> None:
    """One of Kubernetes' own that cannot be deleted is trouble."""
    world = World(unknown=frozenset({"ScaledObject", "Service"}))
    world.upkeep.remove([ObjectKey(kind="ScaledObject", name="forecaster-energy"), ObjectKey(kind="Service", name="forecaster-energy")])
    (trouble,) = world.upkeep.trouble(ENERGY)
    assert trouble.startswith("Service forecaster-energy")


def test_after_a_failure_nothing_is_taken_for_done() -> None:
    """What was not applied is applied at the next look."""
    world = World()
    world.cluster.away = True
    with pytest.raises(Transient):
        world.keep()
    world.cluster.away = False
    world.keep()
    assert len(world.cluster.asked) == len(world.wanted)


def test_a_version_is_taken_away_once() -> None:
    """And made again when it is wanted again."""
    world = World()
    world.keep()
    keys = version_keys(shape(), "7")
    world.upkeep.remove(keys)
    assert not world.cluster.deployments()
    world.cluster.asked.clear()
    world.upkeep.remove(keys)
    assert world.cluster.asked == []
    world.keep()
    assert world.cluster.deployments()
