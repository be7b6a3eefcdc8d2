"""Somebody else trades in the account, or the broker closes a position: its pairs wait, the others go on, the ledger holds."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from replay_world import KEYS, World, until, world


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.declare()
        made.to_day = "2019-12-31"
        yield made


@pytest.mark.parametrize(
    ("name", "directives"),
    [
        ("manual", ["{at: bar 60, manual_trade: {symbol: JPM, side: sell, qty: 10}}"]),
        ("liquidation", [f"{{at: bar {number}, liquidation: {{symbol: null}}}}" for number in (20, 45, 70, 95, 120)]),
    ],
)
def test_a_foreign_execution_stops_the_pairs_it_concerns_and_the_ledger_stays_the_brokers(
    replay: World, tmp_path: Path, name: str, directives: list[str]
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("".join(f"- {directive}\n" for directive in directives))
    replay.start_recycler("--label", name, "--script", str(script))
    portfolio = replay.start_portfolio()
    replay.publish_forecasts(replay.replay()["replay_id"])
    replay.begin()
    replay.finish()

    (book,) = replay.rows("SELECT max(book) FROM books")[0]
    foreign = replay.rows(f"SELECT source_id, event_ns FROM entries WHERE book = '{book}' AND kind = 'foreign_fill'")
    alarms = replay.rows(f"SELECT code FROM risk_events WHERE book = '{book}' AND code = 'foreign_fill'")
    assert len(foreign) == len(alarms) >= 1
    held = replay.rows(f"SELECT pair, state FROM pair_states WHERE book = '{book}' AND state = 'quarantined'")
    concerned = replay.rows(
        f"SELECT DISTINCT commodity FROM postings JOIN entries USING (book, entry_id) WHERE book = '{book}' AND kind = 'foreign_fill' "
        "AND account = 'assets:shares'"
    )
    for pair, _ in held:
        assert {symbol for (symbol,) in concerned} & set(pair.split("-")), f"{pair} has none of {concerned}"
    assert replay.rows(f"SELECT occasion, equal FROM reconciliations WHERE book = '{book}' AND NOT equal") == []
    positions = httpx.get(f"http://127.0.0.1:{replay.recycler_port}/v2/positions", headers=KEYS, timeout=60).json()
    ledger = replay.rows(
        f"SELECT commodity, sum(amount) FROM entries JOIN postings USING (book, entry_id) WHERE book = '{book}' "
        "AND account = 'assets:shares' GROUP BY 1 HAVING sum(amount) <> 0 ORDER BY 1"
    )
    assert [(symbol, float(qty)) for symbol, qty in ledger] == sorted((row["symbol"], float(row["qty"])) for row in positions)

    assert replay.stop(portfolio) == 0
    again = replay.start("portfolio")  # what somebody else did is in the ledger: a restart finds nothing to object to
    until("the portfolio is ready again", lambda: replay.alive(again) and replay.ready())
