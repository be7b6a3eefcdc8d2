"""Which forecasters run follows from the routing pointers and the rollouts."""

from decimal import Decimal

from tandem.domain.control import Canary, PinnedVersion, RoutingPointer
from tandem.domain.ids import PairId, SectorId
from tandem.local.forecasters import Forecasters, Version, named


def test_each_version_gets_a_port_of_its_own() -> None:
    """In order of sector; what runs already is left alone."""
    forecasters = Forecasters()
    wanted = {Version("technology", "3"), Version("energy", "1")}
    assert forecasters.follow(wanted) == ([(Version("energy", "1"), 0), (Version("technology", "3"), 1)], [])
    assert forecasters.follow(wanted) == ([], [])


def test_a_port_that_is_free_again_is_used_again() -> None:
    """However many versions come and go, their number bounds the ports."""
    forecasters = Forecasters()
    forecasters.follow([Version("energy", "1"), Version("energy", "2")])
    assert forecasters.follow([Version("energy", "2"), Version("energy", "3")]) == ([(Version("energy", "3"), 0)], [Version("energy", "1")])
    assert forecasters.follow([]) == ([], [Version("energy", "2"), Version("energy", "3")])


def test_a_pointer_keeps_all_that_it_names() -> None:
    """A roll-back is one record: the version before stays hot; a canary decides some pairs."""
    canary = Canary(version="3", digest="d3", pairs=(PairId("CVX-XOM"),), notional_usd_max=Decimal(1))
    previous = PinnedVersion(version="1", digest="d1")
    pointer = RoutingPointer(sector=SectorId("energy"), version="2", digest="d2", epoch=1, canary=canary, previous=previous)
    assert named(pointer) == {Version("energy", number) for number in "123"}
    assert named(RoutingPointer(sector=SectorId("energy"), version="2", digest="d2", epoch=1)) == {Version("energy", "2")}
