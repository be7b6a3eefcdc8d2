"""Which pairs are open, from the portfolios' own tables in a real Postgres."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from operator_world import Book
from replay_world import until
from tandem.adapters import open_positions
from tandem.adapters.open_positions import OpenPosition, OpenPositions
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId
from tandem.local import postgres as local_postgres


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
    assert [position.account for position in positions.now()] == ["two"]


def test_a_book_says_whose_it_is_and_one_of_before_there_were_names_says_nobody(postgres_url: str) -> None:
    Book(postgres_url, "named", name="paper").set("XOM-CVX", "hedged")
    Book(postgres_url, "unnamed").set("XOM-CVX", "hedged")
    found = {p.account: p.trading_account for p in OpenPositions(postgres_url).now() if p.pair == "XOM-CVX"}
    assert found == {"named": "paper", "unnamed": ""}


def test_an_operator_may_ask_before_its_portfolios_know_names(postgres_server: str) -> None:
    """It was upgraded first: their tables have no such column yet."""
    local_postgres.create_databases(postgres_server, ("before_names",))
    url = local_postgres.with_database(postgres_server, "before_names")
    Book(url, "one").set("KO-PEP", "hedged")
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE books DROP COLUMN trading_account")
    connection.close()
    assert [(p.pair, p.trading_account) for p in OpenPositions(url).now()] == [("KO-PEP", "")]


def test_an_answer_is_never_older_than_its_question(postgres_url: str) -> None:
    """A pair that was opened just now is open: on an older answer its record would be withdrawn."""
    book, positions = Book(postgres_url), OpenPositions(postgres_url)
    for _ in range(5):
        for state, count in (("hedged", 1), ("flat", 0)):
            book.set("KO-PEP", state)
            assert len([position for position in positions.now() if position.pair == "KO-PEP" and position.account == "broker-1"]) == count


class Clock:
    """Stands for the module `time`: notes who asks when, which each who wants to know the positions does before it waits."""

    def __init__(self) -> None:
        self.asking: set[int] = set()

    def monotonic(self) -> float:
        """Seconds."""
        self.asking.add(threading.get_ident())
        return time.monotonic()


def test_many_that_wait_share_an_answer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 pairs that are withdrawn at once do not ask 500 times."""
    positions, clock, many = OpenPositions(postgres_url), Clock(), 32
    monkeypatch.setattr(open_positions, "time", clock)
    asked: list[int] = []
    ask = positions._ask

    def when_all_wait() -> tuple[OpenPosition, ...]:
        asked.append(threading.get_ident())
        until("everybody wants to know", lambda: len(clock.asking) == many)
        return ask()

    positions._ask = when_all_wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(lambda _: positions.now(), range(many)))
    assert len(set(answers)) == 1
    assert 1 <= len(asked) <= 2


def test_a_failed_query_is_never_read_as_flat() -> None:
    """It names the server without the password."""
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1/tandem") as raised:
        OpenPositions("postgresql://tandem:secret@127.0.0.1:1/tandem").now()
    assert "secret" not in str(raised.value)
