"""What the API says of a pair that does not trade: by the version that decides this pair, which need not be the sector's."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tandem.domain.control import Canary, Handover, PinnedVersion, RoutingPointer
from tandem.domain.forecasts import ModelRef
from tandem.portfolio import views
from tandem.portfolio.engine import Engine
from trading_cases import CONSUMER, MODEL, PAIR, batch, forecast
from trading_table import DAY, OTHER, PG, Table

NEXT = replace(MODEL, version="2", digest="d2")
POINTER = RoutingPointer(sector=CONSUMER, version="1", digest="d1", epoch=1)
PROMOTED = RoutingPointer(sector=CONSUMER, version="2", digest="d2", epoch=2)
CANARY = replace(POINTER, canary=Canary(version="2", digest="d2", pairs=(PAIR,), notional_usd_max=Decimal(1)))
HELD_BY_BEFORE = replace(PROMOTED, previous=PinnedVersion(version="1", digest="d1"), handover=Handover.HOLD)
HERE, THERE = forecast(), replace(forecast(), pair=OTHER, leg_b=PG)


def waiting(table: Table, pointer: RoutingPointer | None) -> dict[str, str | None]:
    """By pair, why it waits."""
    control = SimpleNamespace(pointers={CONSUMER: pointer} if pointer is not None else {})
    table.desk.reasons = {PAIR: "a reason of the desk"}
    engine = cast("Engine", SimpleNamespace(books=table.books, desk=table.desk, control=control))
    return {row.pair: row.waiting for row in views.pairs(engine)}


@pytest.mark.parametrize(
    ("pointer", "heard", "why"),
    [
        pytest.param(None, (), "SectorNotRouted", id="no model"),
        pytest.param(POINTER, (), "NoForecastYet", id="a model that has not spoken"),
        pytest.param(POINTER, ((MODEL, THERE),), "PairNotInModel", id="it speaks of another pair only"),
        pytest.param(POINTER, ((MODEL, THERE), (MODEL, HERE)), "a reason of the desk", id="it holds the pair"),
        pytest.param(
            CANARY, ((MODEL, THERE), (NEXT, HERE)), "a reason of the desk", id="a canary decides it, and the stable version lacks it"
        ),
        pytest.param(CANARY, ((MODEL, HERE), (MODEL, THERE)), "NoForecastYet", id="a canary that has not spoken"),
        pytest.param(PROMOTED, ((MODEL, HERE), (MODEL, THERE)), "NoForecastYet", id="promoted, before its first bar"),
        pytest.param(POINTER, ((NEXT, HERE), (MODEL, THERE)), "PairNotInModel", id="rolled back to a version that lacks it"),
        pytest.param(POINTER, ((replace(MODEL, digest="x"), HERE),), "NoForecastYet", id="the version with another content"),
    ],
)
def test_why_a_flat_pair_waits(pointer: RoutingPointer | None, heard: tuple[tuple[ModelRef, Any], ...], why: str) -> None:
    """What no version in charge has said is never taken for what it lacks."""
    table = Table()
    table.books.take_forecasts(batch(DAY * day, said, model=model) for day, (model, said) in enumerate(heard, 1))
    assert waiting(table, pointer)[PAIR] == why


def test_a_held_pair_waits_for_the_version_that_opened_it() -> None:
    """Under handover Hold the version before goes on deciding what it has opened."""
    table = Table().opened()
    table.books.take_forecasts([batch(3 * DAY, THERE, model=NEXT)])
    assert waiting(table, HELD_BY_BEFORE)[PAIR] == "a reason of the desk"
    assert waiting(table, PROMOTED)[PAIR] == "PairNotInModel"
