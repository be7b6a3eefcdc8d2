"""A fault at calls of the portfolio's ports with a real PostgreSQL: the same tables, row by row, as without it.

Every call is in tests/unit/portfolio/test_faults.py, over a database in memory; here it is every so many, as each replay takes a while.
"""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from fault_world import PATH, PORTS, SPECS, Faults, FaultWorld, recording
from tandem.adapters import postgres
from tandem.adapters.postgres_ledger import PortfolioStore
from trading_table import RISK

_STRIDE = 5
_TABLES = (
    "SELECT client_order_id, pair, leg, symbol, side, qty, crossed_qty, inside_qty, decided_ns, filled_qty, status FROM orders "
    "WHERE book = %s ORDER BY 1",
    "SELECT execution_id, client_order_id, pair, qty, price_usd, event_ns, internal FROM fills WHERE book = %s ORDER BY 1",
    "SELECT pair, state, held_a, held_b FROM pair_states WHERE book = %s ORDER BY 1",
    "SELECT pair, account, commodity, sum(amount) FROM entries JOIN postings USING (book, entry_id) WHERE book = %s "
    "AND kind <> 'deposit' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT cross_id, qty, priced_by, mark_usd, price_usd, event_ns FROM crosses WHERE book = %s ORDER BY 1",
    "SELECT bar_close_ns, equity_usd FROM equity_curve WHERE book = %s ORDER BY 1",
)
Rows = list[list[tuple[Any, ...]]]
Play = Callable[[str, Faults], tuple[FaultWorld, Rows]]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's waits are wall time, which these tests do not need."""
    monkeypatch.setattr("tandem.portfolio.sender._WAITS_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def play(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Plays the recording in the account of this name: the world, and what its newest book holds in the end."""
    postgres.upgrade(postgres_url)
    tape = recording(tmp_path_factory.mktemp("data"))

    def played(account: str, faults: Faults) -> tuple[FaultWorld, Rows]:
        world = FaultWorld(tape, RISK, account=account, store_of=lambda: PortfolioStore(postgres_url, account), faults=faults)
        world.play(PATH, SPECS)
        return world, _rows(postgres_url, account)

    return played


def _rows(url: str, account: str) -> Rows:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT book FROM books WHERE account = %s ORDER BY generation DESC LIMIT 1", (account,))
        book = cursor.fetchone()
        found: Rows = []
        for query in _TABLES:
            cursor.execute(query, book)
            found.append(cursor.fetchall())
    connection.close()
    return found


@pytest.fixture(scope="module")
def clean(play: Play) -> tuple[Faults, Rows, list[tuple[str, ...]]]:
    """The replay without a fault."""
    faults = Faults()
    world, rows = play("clean", faults)
    assert (world.sessions, world.deaths) == (1, [])
    faults.calls = world.calls
    assert all(rows), "every table has something to compare"
    return faults, rows, world.orders_at_the_exchange()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("port", PORTS)
def test_a_fault_changes_no_row(play: Play, clean: tuple[Faults, Rows, list[tuple[str, ...]]], port: str, after: bool) -> None:
    """Before the effect of a call and after it: the process goes on in a new session."""
    faults, expected, at_exchange = clean
    for number in range(1, faults.calls[port] + 1, _STRIDE):
        world, rows = play(f"{port}-{number}-{after}", Faults(port=port, number=number, after=after))
        told = f"{port}, call {number}, {'after' if after else 'before'} its effect, {world.sessions} sessions: {world.deaths}"
        assert world.faults.struck, told
        assert world.orders_at_the_exchange() == at_exchange, told
        assert rows == expected, told
