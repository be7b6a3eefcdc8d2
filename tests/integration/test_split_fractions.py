"""Splits that leave halves of shares, told by the real recycler: their cash is in the ledger to the cent."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from replay_world import ANSWER_S, KEYS, World, world

LEGS = ("PEP", "CVX", "BAC", "KO", "XOM", "JPM")


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.declare()
        yield made


def test_the_fraction_of_a_share_that_a_split_leaves_reaches_the_ledger_as_cash(replay: World) -> None:
    """Three for two, and the way back: the broker pays half shares in cash, received for long ones and paid for short ones."""
    replay.to_day = "2019-12-31"
    replay.start_recycler()
    portfolio = replay.start_portfolio()
    url = f"http://127.0.0.1:{replay.recycler_port}"
    moments = [(f"2019-{month:02}-{day}T08:00:00Z", *ratio) for month in range(3, 12) for day, ratio in (("06", (3, 2)), ("20", (2, 3)))]
    splits = [{"at": at, "split": {"symbol": name, "new_shares": n, "old_shares": o}} for at, n, o in moments for name in LEGS]
    assert httpx.post(f"{url}/tandem/exchange/directives", json=splits, headers=KEYS, timeout=ANSWER_S).status_code == 202
    replay.publish_forecasts(replay.replay()["replay_id"])
    replay.begin()
    replay.finish()
    replay.alive(portfolio)

    rows = httpx.get(f"{url}/v2/account/activities/SPLIT", headers=KEYS, timeout=ANSWER_S).raise_for_status().json()
    paid = {row["id"]: Decimal(row["net_amount"]) for row in rows if Decimal(row["net_amount"])}
    assert paid, "no fraction was left: the test says nothing"
    booked = replay.rows(
        "SELECT split_part(e.source_id, '#', 1), sum(p.amount) FROM entries e JOIN postings p USING (book, entry_id) "
        "WHERE e.kind = 'dividend' AND p.account = 'assets:cash' GROUP BY 1"
    )
    assert dict(booked) == paid
    assert replay.rows("SELECT DISTINCT equal FROM reconciliations") == [(True,)]
    assert replay.rows("SELECT count(*) FROM risk_events WHERE code = 'not_reconciled'") == [(0,)]
