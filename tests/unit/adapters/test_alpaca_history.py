"""Alpaca's historical data over a real socket: an answer that does not say what is there is never read as nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from json_server import World, json_server
from tandem.adapters.alpaca_history import MarketHistory
from tandem.domain.errors import Transient
from tandem.domain.units import NS_PER_S, ns_of_rfc3339

FROM_NS = ns_of_rfc3339("2024-07-01T13:30:00Z")
TRADES, LATEST = "/v2/stocks/trades", "/v2/stocks/trades/latest"
ROW = {"t": "2024-07-01T13:30:00.5Z", "p": 60.0, "s": 1, "i": 7}
NO_ANSWERS = [{}, {"message": "maintenance"}, None, [], 7, {"trades": ["KO"]}, {"trades": {"KO": {"p": 1}}}, {"trades": {"KO": ["no row"]}}]


@pytest.fixture
def place() -> Iterator[tuple[World, str]]:
    with json_server({}) as made:
        yield made


@pytest.fixture
def history(place: tuple[World, str]) -> Iterator[MarketHistory]:
    made = MarketHistory(key_id="k", secret_key="s", feed="sip", url=place[1])
    yield made
    made.close()


def asked(history: MarketHistory) -> list[dict[str, Any]]:
    return [row for each in history.trades(["KO"], FROM_NS, FROM_NS + NS_PER_S) for row in each.messages]


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_a_200_without_trades_does_not_close_a_hole(place: tuple[World, str], history: MarketHistory, body: object) -> None:
    """What a proxy says of itself would else count as a span in which nothing was traded."""
    place[0].answers[TRADES] = (200, body)
    with pytest.raises(Transient):
        asked(history)


def test_a_page_that_names_itself_as_the_next_ends_the_question(place: tuple[World, str], history: MarketHistory) -> None:
    """It would be asked for ever."""
    place[0].answers[TRADES] = (200, {"trades": {"KO": [ROW]}, "next_page_token": "again"})
    with pytest.raises(Transient, match="again"):
        asked(history)
    assert len(place[0].asked) == 2


@pytest.mark.parametrize("none", [{}, None])
def test_a_span_without_trades_has_none(place: tuple[World, str], history: MarketHistory, none: object) -> None:
    """Alpaca writes an empty map, or null."""
    place[0].answers[TRADES] = (200, {"trades": none, "next_page_token": None})
    assert asked(history) == []


def test_a_row_that_cannot_be_read_is_handed_on_to_be_parked(place: tuple[World, str], history: MarketHistory) -> None:
    place[0].answers[TRADES] = (
        200,
        {"trades": {"KO": [ROW | {"u": ["canceled"]}, {"p": 1.0}, ROW | {"t": "soon"}]}, "next_page_token": None},
    )
    assert [row.get("t") for row in asked(history)] == [None, "soon", FROM_NS + NS_PER_S // 2]


@pytest.mark.parametrize(
    "body", [*NO_ANSWERS, {"trades": {"KO": {"t": "soon"}}}, {"trades": {"KO": {"t": None}}}, {"trades": {"KO": [ROW]}}]
)
def test_an_answer_without_the_last_trade_does_not_say_that_there_was_none(
    place: tuple[World, str], history: MarketHistory, body: object
) -> None:
    place[0].answers[LATEST] = (200, body)
    with pytest.raises(Transient):
        history.present_ns(["KO"])


@pytest.mark.parametrize(("trades", "expected"), [({}, None), ({"KO": ROW}, FROM_NS + NS_PER_S // 2)])
def test_the_last_trade_that_history_knows(
    place: tuple[World, str], history: MarketHistory, trades: dict[str, Any], expected: int | None
) -> None:
    place[0].answers[LATEST] = (200, {"trades": trades})
    assert history.present_ns(["KO"]) == expected
