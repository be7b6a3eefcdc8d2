"""Which forecasters run follows from the routing pointers."""

from tandem.domain.control import RoutingPointer
from tandem.local.forecasters import Forecasters, Version


def pointers(**versions: str) -> dict[str, RoutingPointer]:
    """Pointers by sector."""
    return {sector: RoutingPointer(sector=sector, version=version, digest="d", epoch=1) for sector, version in versions.items()}


def test_each_pointer_gets_a_forecaster_with_a_port_of_its_own() -> None:
    """One for each sector, in order of sector."""
    forecasters = Forecasters()
    start, stop = forecasters.follow(pointers(technology="3", energy="1"))
    assert start == [(Version("energy", "1"), 0), (Version("technology", "3"), 1)]
    assert stop == []
    assert forecasters.follow(pointers(technology="3", energy="1")) == ([], [])


def test_previous_version_stays_hot() -> None:
    """A roll-back is one record: the version before the pointer's runs on, the one before that ends."""
    forecasters = Forecasters()
    forecasters.follow(pointers(energy="1"))
    assert forecasters.follow(pointers(energy="2")) == ([(Version("energy", "2"), 1)], [])
    assert forecasters.follow(pointers(energy="1")) == ([], [])
    assert forecasters.follow(pointers(energy="3")) == ([(Version("energy", "3"), 1)], [Version("energy", "2")])


def test_sector_without_pointer_has_no_forecaster() -> None:
    """Nothing runs before a model is named."""
    assert Forecasters().follow({}) == ([], [])
