"""A split in the midst of a replay, told by the real recycler: the ledger follows the broker, and nothing is called a difference."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from replay_world import ANSWER_S, KEYS, World, world

AT = "2019-06-12T08:00:00Z"  # before the open
SPLIT_NS = f"extract(epoch from timestamptz '{AT}') * 1e9"
LEGS = ("PEP", "CVX", "BAC", "KO", "XOM", "JPM")


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.declare()
        yield made


def test_a_split_of_every_leg_leaves_ledger_and_broker_equal(replay: World) -> None:
    """Two for one: what is held on that day doubles in both, once; its pairs wait for another model and close by time."""
    replay.to_day = "2019-12-31"
    replay.start_recycler()
    portfolio = replay.start_portfolio()
    url = f"http://127.0.0.1:{replay.recycler_port}/tandem/exchange/directives"
    splits = [{"at": AT, "split": {"symbol": name, "new_shares": 2, "old_shares": 1}} for name in LEGS]
    assert httpx.post(url, json=splits, headers=KEYS, timeout=ANSWER_S).status_code == 202
    replay.publish_forecasts(replay.replay()["replay_id"])
    replay.begin()
    replay.finish()
    replay.alive(portfolio)

    told = replay.rows("SELECT scope FROM risk_events WHERE code = 'corporate_action' ORDER BY 1")
    assert told == [(f"symbol/{name}",) for name in sorted(LEGS)]
    added = replay.rows(
        "SELECT e.pair, p.commodity, p.amount FROM entries e JOIN postings p USING (book, entry_id) "
        "WHERE e.kind = 'split' AND p.account = 'assets:shares'"
    )
    assert added, "nothing was held on the day of the splits: the test says nothing"
    for pair, symbol, amount in added:
        before = replay.rows(
            "SELECT sum(p.amount) FROM entries e JOIN postings p USING (book, entry_id) WHERE p.account = 'assets:shares' "
            f"AND e.kind <> 'split' AND e.pair = '{pair}' AND p.commodity = '{symbol}' AND e.event_ns < {SPLIT_NS}"
        )
        assert before == [(amount,)]
    assert replay.rows("SELECT DISTINCT equal FROM reconciliations") == [(True,)]
    assert replay.rows("SELECT count(*) FROM pair_states WHERE state = 'quarantined'") == [(0,)]
    reasons = {reason for (reason,) in replay.rows(f"SELECT exit_reason FROM pair_trades WHERE closed_ns > {SPLIT_NS}")}
    assert reasons <= {"time_stop"}, "exits by z would be by another spread's"
