"""Which pairs are open, from the portfolios' own tables in a real Postgres."""

import time

import psycopg2
import pytest

from operator_world import Book
from tandem.adapters.open_positions import OpenPosition, OpenPositions
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId


def test_before_the_first_portfolio_nothing_is_open(postgres_url: str) -> None:
    """There are no tables yet."""
    assert OpenPositions(postgres_url).now() == ()


def test_what_is_not_flat_in_the_newest_book_of_each_account_is_open(postgres_url: str) -> None:
    """An older life of an account does not count, whatever it ended with."""
    one, live = Book(postgres_url, "one"), Book(postgres_url, "two", "live")
    one.set("KO-PEP", "hedged")
    one.set("GS-MS", "flat")
    live.set("KO-PEP", "quarantined")
    positions = OpenPositions(postgres_url)
    assert positions.now() == (
        OpenPosition(pair=PairId("KO-PEP"), account="one", source="recycled", state="hedged"),
        OpenPosition(pair=PairId("KO-PEP"), account="two", source="live", state="quarantined"),
    )
    connection = psycopg2.connect(postgres_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO books (book, account, generation, source, capital_usd) VALUES ('one/2', 'one', 2, 'recycled', 1)")
    connection.close()
    deadline_s = time.monotonic() + 10
    while len(positions.now()) == 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)  # an answer is kept for a second
    assert [position.account for position in positions.now()] == ["two"]


def test_a_failed_query_is_never_read_as_flat() -> None:
    """It names the server without the password."""
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1/tandem") as raised:
        OpenPositions("postgresql://tandem:secret@127.0.0.1:1/tandem").now()
    assert "secret" not in str(raised.value)
