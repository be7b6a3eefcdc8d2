"""Which version decides a pair: stable, canary, or the one that opened the position."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.control import Canary, Handover, PinnedVersion, RoutingPointer
from tandem.domain.ids import PairId
from tandem.flow.routing import acted_versions, capped, matches, must_flatten, routed, version_for
from trading_cases import CONSUMER, MODEL, PAIR, SPEC, batch, forecast

OTHER = PairId("KO-PG")
STABLE = RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=4)
CANARY = replace(STABLE, canary=Canary(version="3", digest="d3", pairs=(PAIR,), notional_usd_max=Decimal(5_000)))
PROMOTED = replace(STABLE, previous=PinnedVersion(version="1", digest="d1"))


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        (STABLE, ("2",)),
        (CANARY, ("2", "3")),
        (PROMOTED, ("2",)),
        (replace(PROMOTED, handover=Handover.HOLD), ("2", "1")),
        (replace(CANARY, previous=PROMOTED.previous, handover=Handover.HOLD), ("2", "3", "1")),
    ],
)
def test_the_versions_that_may_be_acted_on(pointer: RoutingPointer, expected: tuple[str, ...]) -> None:
    """The previous one only where it still looks after what it opened."""
    assert acted_versions(pointer) == expected


@pytest.mark.parametrize(
    ("pointer", "pair", "opened_by", "expected"),
    [
        (STABLE, PAIR, None, "2"),
        (CANARY, PAIR, None, "3"),
        (CANARY, OTHER, None, "2"),
        (CANARY, PAIR, "2", "3"),
        (replace(CANARY, handover=Handover.HOLD), PAIR, "2", "2"),
        (PROMOTED, PAIR, "1", "2"),
        (replace(PROMOTED, handover=Handover.HOLD), PAIR, "1", "1"),
        (replace(PROMOTED, handover=Handover.HOLD), PAIR, None, "2"),
        (replace(PROMOTED, handover=Handover.HOLD), PAIR, "0", "2"),  # nobody runs the one that opened it any more
        (replace(PROMOTED, handover=Handover.FLATTEN), PAIR, "1", "2"),
    ],
)
def test_the_version_that_decides_a_pair(pointer: RoutingPointer, pair: PairId, opened_by: str | None, expected: str) -> None:
    """Canary by pair; under HOLD whoever opened the position, as long as it runs."""
    assert version_for(pointer, pair, opened_by) == expected


@pytest.mark.parametrize(
    ("pointer", "opened_by", "expected"),
    [
        (replace(PROMOTED, handover=Handover.FLATTEN), "1", True),
        (replace(PROMOTED, handover=Handover.FLATTEN), "2", False),
        (replace(PROMOTED, handover=Handover.FLATTEN), None, False),
        (PROMOTED, "1", False),
        (replace(CANARY, handover=Handover.FLATTEN), "2", True),
    ],
)
def test_what_is_closed_because_its_model_went(pointer: RoutingPointer, opened_by: str | None, expected: bool) -> None:
    """Only under FLATTEN, and only what another version opened."""
    assert must_flatten(pointer, PAIR, opened_by) is expected


def test_a_batch_keeps_the_forecasts_that_its_version_decides() -> None:
    """Together the batches of a bar decide each pair once."""
    both = (forecast(), forecast(pair=OTHER))
    stable = routed(batch(10, *both, model=replace(MODEL, version="2", digest="d2")), CANARY, {})
    canary = routed(batch(10, *both, model=replace(MODEL, version="3", digest="d3")), CANARY, {})

    assert [f.pair for f in stable.forecasts] == [OTHER]
    assert [f.pair for f in canary.forecasts] == [PAIR]


def test_a_version_with_other_content_decides_nothing() -> None:
    """Its number is right, its digest is not the pointer's."""
    wrong = replace(MODEL, version="2", digest="tampered")

    assert not matches(wrong, STABLE)
    assert routed(batch(10, forecast(), model=wrong), STABLE, {}).forecasts == ()


def test_the_canary_opens_with_less_money() -> None:
    """Its cap, never more than the pair's own notional; the stable version is not capped."""
    assert capped(SPEC, CANARY, "3").notional_usd == 5_000
    assert capped(replace(SPEC, notional_usd=Decimal(800)), CANARY, "3").notional_usd == 800
    assert capped(SPEC, CANARY, "2") == SPEC
    assert capped(SPEC, None, "2") == SPEC
