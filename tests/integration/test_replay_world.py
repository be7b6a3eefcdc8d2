"""How long the tests' replay is waited for: by the bars that pass, in the tables of a real PostgreSQL."""

from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

import replay_world
from replay_world import World
from tandem.adapters.postgres import upgrade

_BOOK = "INSERT INTO books (book, account, generation, source, capital_usd) VALUES (%(book)s, %(book)s, 1, 'recycled', 1)"
_BAR = "INSERT INTO equity_curve VALUES (%(book)s, 'run', %(minute)s, 1, 1, 0, 0)"
_END = """INSERT INTO reconciliations (book, run, occasion, event_ns, equal, differences, ledger_cash_usd, broker_cash_usd)
          VALUES (%(book)s, 'run', 'end_of_stream', 1, true, '[]', 1, 1)"""


@dataclass
class Market:
    """Stands for the module `time`: each sleep lasts a minute, and a bar passes in each of the first `bars`; then it ends, or hangs."""

    postgres_url: str
    book: str
    bars: int
    ends: bool
    minute: int = 0

    def monotonic(self) -> float:
        """Seconds."""
        return 60.0 * self.minute

    def sleep(self, _: float) -> None:
        """A minute of the portfolio."""
        self.minute += 1
        if self.minute <= self.bars:
            self.write(_BAR)
        elif self.ends:
            self.write(_END)

    def write(self, statement: str) -> None:
        """As the portfolio does."""
        connection = psycopg2.connect(self.postgres_url)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, {"book": self.book, "minute": self.minute})
        connection.close()


@pytest.fixture
def waiting(postgres_url: str, tmp_path: Path) -> World:
    """A replay of which there are only the tables."""
    upgrade(postgres_url)
    return World(postgres_url=postgres_url, redis_url="", kafka="", folder=tmp_path)


def test_a_slow_replay_is_waited_for(waiting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes with a bar each are no hang."""
    market = Market(waiting.postgres_url, "1-slow", bars=10, ends=True)
    market.write(_BOOK)
    monkeypatch.setattr(replay_world, "time", market)
    waiting.finish()
    assert market.minute == 11


def test_a_hanging_replay_is_told_of(waiting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes without a bar are one, however many have passed before."""
    market = Market(waiting.postgres_url, "2-hanging", bars=10, ends=False)
    market.write(_BOOK)
    monkeypatch.setattr(replay_world, "time", market)
    with pytest.raises(AssertionError, match=r"no bar decided for 120\.0 s after 10"):
        waiting.finish()
    assert market.minute == 12
