"""The dashboard's questions to a real database: bars, gaps, rates and events of one stream, and only of that one."""

from contextlib import closing

import pytest

from tandem.adapters.dashboard_views import DashboardViews, Stream
from tandem.adapters.postgres import connect, upgrade

STREAM = Stream(source="recycled", replay_id="r")
_BARS = (
    # symbol, close, trades; PEP lacks the second bar, HD begins at the third, KO has stopped before the fourth
    *(("KO", close, 2) for close in (100, 200, 300)),
    *(("PEP", close, 3) for close in (100, 300, 400)),
    *(("HD", close, 5) for close in (300, 400)),
)


@pytest.fixture(scope="module")
def views(postgres_url: str) -> DashboardViews:
    """Over bars of two streams and one event of each."""
    upgrade(postgres_url)
    with closing(connect(postgres_url)) as connection, connection, connection.cursor() as cursor:
        for replay_id in ("r", "another"):
            for symbol, close_ns, trades in _BARS[: None if replay_id == "r" else 1]:
                cursor.execute(
                    "INSERT INTO bars (symbol, timeframe, source, replay_id, close_ns, open_ns, open, high, low, close, volume, trades) "
                    "VALUES (%s, '1min', 'recycled', %s, %s, %s, 10, 12, 9, 11, 70, %s)",
                    (symbol, replay_id, close_ns, close_ns - 100, trades),
                )
            cursor.execute(
                "INSERT INTO market_events VALUES ('KO', 'recycled', %s, 150, 'status', 0, 0, 0, 1, 'tandem.ticks.x', 7, 'noted')",
                (replay_id,),
            )
    return DashboardViews(postgres_url)


def test_a_gap_is_a_bar_that_another_symbol_has(views: DashboardViews) -> None:
    """From a symbol's first bar on, also when it has stopped since; newest first, no more than asked for."""
    found = views.gaps(STREAM, timeframe="1min", bars=10, limit=10)
    assert [(row["symbol"], row["close_ns"]) for row in found] == [("KO", 400), ("PEP", 200)]
    assert [row["symbol"] for row in views.gaps(STREAM, timeframe="1min", bars=10, limit=1)] == ["KO"]
    assert [row["symbol"] for row in views.gaps(STREAM, timeframe="1min", bars=2, limit=10)] == ["KO"]
    assert views.gaps(STREAM, timeframe="1d", bars=10, limit=10) == []


def test_rates_are_of_all_symbols(views: DashboardViews) -> None:
    """One row a bar, the newest, oldest first."""
    found = views.tick_rates(STREAM, timeframe="1min", bars=3)
    assert [(row["close_ns"], row["trades"], row["symbols"]) for row in found] == [(200, 2, 1), (300, 10, 3), (400, 8, 2)]


def test_symbols_and_closes_are_what_gaps_are_counted_from(views: DashboardViews) -> None:
    """The first close besides the span, since a gap cannot be before it."""
    found = {row["symbol"]: row for row in views.symbols(STREAM, timeframe="1min")}
    assert {name: (row["bars"], row["first_ns"], row["from_ns"], row["to_ns"], row["trades_last"]) for name, row in found.items()} == {
        "HD": (2, 300, 200, 400, 5),
        "KO": (3, 100, 0, 300, 2),
        "PEP": (3, 100, 0, 400, 3),
    }
    assert views.closes(STREAM, timeframe="1min") == [100, 200, 300, 400]


def test_bars_of_a_symbol(views: DashboardViews) -> None:
    """The newest, oldest first, of this stream only."""
    found = views.bars("KO", stream=STREAM, timeframe="1min", limit=2)
    assert [(row["close_ns"], row["open"], row["high"], row["low"], row["close"], row["volume"]) for row in found] == [
        (200, 10, 12, 9, 11, 70),
        (300, 10, 12, 9, 11, 70),
    ]


def test_events_of_the_market(views: DashboardViews) -> None:
    """Of this stream only."""
    (event,) = views.market_events(STREAM, limit=5)
    assert (event["symbol"], event["event_ns"], event["kind"], event["flags"], event["outcome"]) == ("KO", 150, "status", 1, "noted")
