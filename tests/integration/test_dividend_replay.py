"""Dividends of everything that a replay holds, told by the real recycler: the ledger has each of them to the cent, whoever dies when."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from replay_world import ANSWER_S, KEYS, World, until, world

LEGS = ("PEP", "CVX", "BAC", "KO", "XOM", "JPM")
FIRST, EVERY, TIMES = datetime(2019, 3, 4, 9, tzinfo=UTC), timedelta(days=7), 36  # Mondays before the open, and holidays among them
ON_THE_CLOSE = (datetime(2019, 5, 22, 20, tzinfo=UTC), datetime(2019, 8, 14, 20, tzinfo=UTC))  # as the bar is decided
KILLED_AT = datetime(2019, 6, 17, 9, tzinfo=UTC)
_BOOKED = (
    "SELECT e.source_id, e.pair, e.event_ns, p.amount FROM entries e JOIN postings p USING (book, entry_id) "
    "WHERE e.kind = 'dividend' AND p.account = 'assets:cash' AND e.book = '{book}' ORDER BY 1, 2"
)


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.to_day = "2019-12-31"
        made.declare()
        yield made


def _start(replay: World) -> Any:
    """A recycler that pays, held, and the portfolio."""
    replay.start_recycler()
    portfolio = replay.start_portfolio()
    moments = [*(FIRST + EVERY * number for number in range(TIMES)), *ON_THE_CLOSE]
    paid = [
        {"at": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "dividend": {"symbol": name, "usd_per_share": f"0.{317 + 7 * number}"}}
        for moment in moments
        for number, name in enumerate(LEGS)
    ]
    url = f"http://127.0.0.1:{replay.recycler_port}/tandem/exchange/directives"
    assert httpx.post(url, json=paid, headers=KEYS, timeout=ANSWER_S).status_code == 202
    replay.publish_forecasts(replay.replay()["replay_id"])
    return portfolio


def _at_the_exchange(replay: World) -> dict[str, Decimal]:
    """What the exchange has paid, and charged where it is below 0, by activity."""
    found: dict[str, Decimal] = {}
    url, query = f"http://127.0.0.1:{replay.recycler_port}/v2/account/activities/DIV", {"direction": "asc"}
    while page := httpx.get(url, params=query, headers=KEYS, timeout=ANSWER_S).raise_for_status().json():
        found |= {row["id"]: Decimal(row["net_amount"]) for row in page}
        query = {**query, "page_token": page[-1]["id"]}
    return found


def _check(replay: World, book: str) -> None:
    paid, booked = _at_the_exchange(replay), dict[str, Decimal]()
    for source, _, _, amount in replay.rows(_BOOKED.format(book=book)):
        activity = source.partition("#")[0]
        booked[activity] = booked.get(activity, Decimal(0)) + amount
    assert min(paid.values()) < 0 < max(paid.values()), "received and paid: else the test says nothing"
    assert booked == paid
    account = httpx.get(f"http://127.0.0.1:{replay.recycler_port}/v2/account", headers=KEYS, timeout=ANSWER_S).raise_for_status().json()
    cash = replay.rows(f"SELECT sum(amount) FROM postings WHERE account = 'assets:cash' AND book = '{book}'")
    assert cash == [(Decimal(account["cash"]),)]
    assert replay.rows(f"SELECT DISTINCT equal FROM reconciliations WHERE book = '{book}'") == [(True,)]


def test_dividends_reach_the_ledger_to_the_cent_and_a_portfolio_killed_around_a_pay_date_books_the_same(replay: World) -> None:
    """Each activity once, for the same pairs at the same times; cash equals the exchange's, with and without the death."""
    portfolio = _start(replay)
    replay.begin()
    replay.finish()
    replay.alive(portfolio)
    first = replay.rows("SELECT max(book) FROM books")[0][0]
    _check(replay, first)
    clean = replay.rows(_BOOKED.format(book=first))
    replay.stop_all()

    portfolio = _start(replay)
    replay.begin()
    second = replay.rows("SELECT max(book) FROM books")[0][0]
    assert second != first, "a new recycler is a new account, and a new book"
    reached = f"SELECT max(bar_close_ns) >= {int(KILLED_AT.timestamp())} * 1000000000::bigint FROM equity_curve WHERE book = '{second}'"
    until("the pay date", lambda: replay.alive(portfolio) and replay.rows(reached)[0][0])
    replay.processes.remove(portfolio)
    portfolio.kill()
    portfolio.wait()
    replay.start_portfolio()
    replay.finish()
    _check(replay, second)
    assert _by_time(replay.rows(_BOOKED.format(book=second))) == _by_time(clean)


def _by_time(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Without the ids, which carry the replay's."""
    return sorted((at_ns, pair, amount) for _, pair, at_ns, amount in rows)
