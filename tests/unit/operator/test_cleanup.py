"""Before an uninstall: every object goes, positions first, and nothing can make it hang."""

from collections.abc import Mapping

import pytest

from operator_process import account_manifest, pair_manifest
from pair_world import Cluster, World
from sector_world import Faults
from tandem.domain.errors import Permanent
from tandem.operator.cleanup import ORDER, clean
from tandem.operator.finalizers import FINALIZER
from tandem.ports import Manifest

SECTOR = {"apiVersion": "tandem.trading/v1alpha1", "kind": "SectorModel", "metadata": {"name": "consumer"}, "spec": {"sector": "consumer"}}


class Watched(Cluster):
    """At each list of pairs or accounts the operator has a look, if there is one; notes in which order kinds were asked to go."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.operator: World | None = None
        self.asked: list[str] = []

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        found = super().list(kind, labels)
        if self.operator is not None:
            for one in found:
                if kind in {"TradingPair", "TradingAccount"}:
                    self.operator.settle(kind, one["metadata"]["name"])
        return super().list(kind, labels)

    def ask_deletion(self, kind: str, name: str, now_s: float) -> None:
        self.asked.append(kind)
        super().ask_deletion(kind, name, now_s)


@pytest.fixture
def world() -> World:
    """A pair, an account and a sector, declared by the operator."""
    made = World()
    made.cluster = Watched(made.faults)
    made.restart()
    made.apply(pair_manifest("ko-pep", "KO", "PEP"), account_manifest("paper"), SECTOR)
    made.settle("TradingPair", "ko-pep")
    made.settle("TradingAccount", "paper")
    return made


def watched(world: World) -> Watched:
    """The cluster as its own type."""
    assert isinstance(world.cluster, Watched)
    return world.cluster


def test_with_an_operator_everything_goes_in_order(world: World) -> None:
    """Pairs while sectors still forecast; nothing is forced."""
    watched(world).operator = world
    assert clean(world.cluster, wait_s=5.0, forced_s=5.0, look_again_s=0.0)
    assert not world.cluster.objects
    assert watched(world).asked == ["TradingPair", "TradingAccount", "SectorModel"]
    assert world.topic.writes[-2:] == ["pair/KO-PEP: gone", "trading/account/paper: flattening"]
    assert ORDER[-1] == "ModelRollout"


def test_what_stays_open_is_forced(world: World) -> None:
    """The operator is told to let go; it leaves the record closing."""
    watched(world).operator = world
    world.hold("KO-PEP")
    assert not clean(world.cluster, wait_s=0.05, forced_s=5.0, look_again_s=0.0)
    assert not world.cluster.objects
    assert world.topic.pairs()["KO-PEP"].suspended
    assert "ForceDeleted" in world.events.reasons("TradingPair")


def test_without_an_operator_it_does_not_hang(world: World) -> None:
    """The finalizer is taken off; another's stays, as it is not ours to take."""
    other = pair_manifest("other", "GS", "MS")
    other["metadata"]["finalizers"] = [FINALIZER, "somebody.else/hold"]
    world.apply(other)
    assert not clean(world.cluster, wait_s=0.05, forced_s=0.05, look_again_s=0.0)
    assert set(world.cluster.objects) == {("TradingPair", "other")}
    assert world.cluster.objects["TradingPair", "other"]["metadata"]["finalizers"] == ["somebody.else/hold"]


def test_kinds_that_are_gone_already_and_rights_that_are_missing() -> None:
    """The first is what was wanted; the second must be seen."""

    class Answers(Cluster):
        message = "the cluster does not know this kind: 404 page not found"

        def list(self, kind: str, labels: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
            raise Permanent(self.message)

    cluster = Answers(Faults())
    assert clean(cluster, wait_s=1.0)
    cluster.message = "status 403: forbidden"
    with pytest.raises(Permanent, match="forbidden"):
        clean(cluster, wait_s=1.0)
