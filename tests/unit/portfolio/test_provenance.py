"""What intents were decided on: the place of the forecast in the log, the prices of the moment, and what is known without a forecast."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tandem.domain.forecasts import MarketState, ModelRef
from tandem.flow.journal import Intent
from tandem.portfolio.provenance import Provenance, place_of
from trading_cases import INTENT, KO, MODEL, PAIR, PEP, batch, forecast

BAR = batch(
    1000,
    forecast(),
    market=(
        MarketState(symbol=KO, last_usd=50.0, bid_usd=49.98, ask_usd=50.02),
        MarketState(symbol=PEP, last_usd=100.0, bid_usd=101, ask_usd=100),
    ),
)
PLACE = place_of(BAR, offset=7, sha256="ab", ticks=b"3-5")
LATEST = {PAIR: (forecast(), MODEL, 1000)}
PRICES = {KO: 50.0, PEP: 100.25}


@pytest.mark.parametrize(
    ("header", "expected"),
    [(b"3-5", (3, 5)), (b"7-7", (7, 7)), (b"", (None, None)), (b"3-", (None, None)), (b"-5", (None, None)), (b"a-b", (None, None))],
)
def test_a_header_that_cannot_be_read_counts_as_none(header: bytes, expected: tuple[int | None, int | None]) -> None:
    place = place_of(BAR, offset=7, sha256="ab", ticks=header)

    assert (place.tick_topic, place.offset, place.tick_first, place.tick_last) == ("tandem.ticks.consumer", 7, *expected)


def test_an_intent_knows_its_forecast_its_prices_and_the_spread_that_was_quoted() -> None:
    """A crossed quote is none."""
    memory = Provenance()
    memory.note(BAR, PLACE)

    (decision,) = memory.of([INTENT], LATEST, PRICES)

    assert decision.place == PLACE
    assert (decision.price_a, decision.price_b, decision.beta) == (Decimal("50.0"), Decimal("100.25"), Decimal("0.8"))
    assert (decision.half_spread_a, decision.half_spread_b) == (Decimal("0.02"), None)


@pytest.mark.parametrize(
    "intent",
    [
        replace(INTENT, bar_close_ns=1001),
        replace(INTENT, model=ModelRef(name=MODEL.name, version="2", digest="d2")),
        replace(INTENT, pair="XOM-CVX"),
    ],
    ids=["between bars", "another version", "another pair"],
)
def test_what_no_forecast_of_the_bar_led_to_has_prices_and_no_place(intent: Intent) -> None:
    memory = Provenance()
    memory.note(BAR, PLACE)

    (decision,) = memory.of([intent], LATEST, PRICES | {"XOM": 1.0, "CVX": 2.0})

    assert decision.place is None
    assert decision.half_spread_a is None


def test_without_a_price_nothing_is_said_and_nothing_invented() -> None:
    assert Provenance().of([INTENT], {}, {KO: 50.0}) == []
    assert Provenance().of([INTENT], {}, PRICES)[0].beta == 0


def test_bars_that_are_past_are_forgotten_and_those_to_come_are_kept() -> None:
    memory = Provenance()
    for close_ns in (1000, 2000):
        memory.note(replace(BAR, bar_close_ns=close_ns), PLACE)
    memory.note(replace(BAR, bar_close_ns=3000, forecasts=()), PLACE)

    memory.forget_before(2000)

    assert memory.of([INTENT], LATEST, PRICES)[0].place is None
    assert memory.of([replace(INTENT, bar_close_ns=2000)], LATEST, PRICES)[0].place == PLACE
    assert memory.of([replace(INTENT, bar_close_ns=3000)], LATEST, PRICES)[0].place is None, "a batch without forecasts leads to nothing"
