"""Replays of real closes through the real recycler, Kafka, Postgres, Redis and portfolio; the test plays the forecasters."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from replay_world import PAIRS, TOKEN, World, until, world
from stopwatch import Stopwatch

_ORDERS = """SELECT client_order_id, pair, leg, symbol, side, qty, decided_ns, status, filled_qty
             FROM orders WHERE book = '{book}' ORDER BY decided_ns, client_order_id"""
_DECIDED = 6  # column of it
_FILLS = (
    "SELECT execution_id, client_order_id, pair, qty, price_usd, event_ns FROM fills WHERE book = '{book}' ORDER BY event_ns, execution_id"
)


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    """Servers ready, pairs declared, nothing running yet."""
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.declare()
        yield made


def test_ledger_equals_broker_and_a_second_run_that_is_cut_and_killed_in_the_middle_makes_the_same_decisions(replay: World) -> None:
    """Same forecasts, same exchange: same ids, quantities, prices and times, whatever happens to the process in between."""
    replay.to_day = "2019-12-31"
    recycler, portfolio = replay.start_recycler(), replay.start_portfolio()
    bars = replay.publish_forecasts(replay.replay()["replay_id"])
    replay.begin()
    replay.finish()

    first = replay.rows("SELECT max(book) FROM books")[0][0]
    clean = [replay.rows(query.format(book=first)) for query in (_ORDERS, _FILLS)]
    _check_book(replay, first, bars)
    _check_api(replay, len(clean[0]))
    assert replay.stop(portfolio) == 0
    replay.stop(recycler)

    replay.start_recycler()
    portfolio = replay.start_portfolio()
    replay_id = replay.replay()["replay_id"]
    cut_by_ns, killed_by_ns = (clean[0][part * len(clean[0]) // 3][_DECIDED] for part in (1, 2))  # then the market waits for us
    before_cut = sum(order[_DECIDED] <= cut_by_ns for order in clean[0])
    replay.publish_forecasts(replay_id, to_ns=cut_by_ns)
    replay.begin()
    second = replay.rows("SELECT max(book) FROM books")[0][0]
    assert second != first, "a new recycler is a new account, and a new book"
    count = f"SELECT count(*) FROM orders WHERE book = '{second}'"
    until("ten orders", lambda: replay.alive(portfolio) and replay.rows(count)[0][0] >= 10)
    replay.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tandem-portfolio'")
    replay.publish_forecasts(replay_id, after_ns=cut_by_ns, to_ns=killed_by_ns)
    until("orders after the cut", lambda: replay.alive(portfolio) and replay.rows(count)[0][0] >= before_cut + 5)
    replay.processes.remove(portfolio)
    portfolio.kill()
    portfolio.wait()
    replay.publish_forecasts(replay_id, after_ns=killed_by_ns)
    replay.start_portfolio()
    replay.finish()

    assert [replay.rows(query.format(book=second)) for query in (_ORDERS, _FILLS)] == clean
    assert replay.rows("SELECT count(*), count(*) FILTER (WHERE equal) FROM reconciliations") == [(6, 6)]


def _check_book(replay: World, book: str, bars: int) -> None:
    (orders,) = replay.rows(f"SELECT count(*), count(*) FILTER (WHERE status = 'filled') FROM orders WHERE book = '{book}'")
    assert orders[0] > 20
    assert orders[0] - orders[1] <= 2 * len(PAIRS), "only orders of the last bar may be open"
    assert replay.rows("SELECT commodity, sum(amount) FROM postings GROUP BY 1 HAVING sum(amount) <> 0") == []
    assert replay.rows("SELECT occasion, equal, differences FROM reconciliations ORDER BY seq") == [
        ("start", True, []),
        ("end_of_stream", True, []),
    ]
    assert replay.rows("SELECT max(greatest(unhedged_open_s, unhedged_close_s)) FROM pair_trades") == [(0.0,)]
    assert 0 < replay.rows("SELECT count(*) FROM equity_curve")[0][0] <= bars
    late = replay.rows("SELECT count(*) FROM fills f JOIN orders o USING (book, client_order_id) WHERE f.event_ns <= o.decided_ns")
    assert late == [(0,)], "no fill at or before its decision"
    parts = replay.rows("SELECT coalesce(sum(pnl_usd), 0) FROM pair_trades WHERE closed_ns IS NOT NULL")[0][0]
    pnl = replay.ask("pnl")
    assert Decimal(pnl["total_usd"]) == sum(Decimal(row["total_usd"]) for row in pnl["pairs"]) + Decimal(pnl["unallocated_usd"])
    assert parts == sum(Decimal(row["realized_usd"]) for row in pnl["pairs"])


def _check_api(replay: World, orders: int) -> None:
    summary, account = replay.ask("summary"), replay.ask("account")
    assert Decimal(summary["cash_usd"]) == Decimal(account["cash"])
    assert summary["broker"]["equity_usd"] == account["equity"]
    pairs = replay.ask("pairs")
    assert [pair["pair"] for pair in pairs] == sorted(f"{a}-{b}" for _, a, b, _ in PAIRS)
    assert all(pair["forecast"]["version"] == "1" for pair in pairs)
    assert len(replay.ask("orders", limit=500)) == min(orders, 500)
    assert {order["pair"] for order in replay.ask("orders", pair="KO-PEP")} == {"KO-PEP"}
    assert all(fill["symbol"] in fill["pair"].split("-") for fill in replay.ask("fills"))
    for position in replay.ask("positions"):
        assert Decimal(position["qty"]) == sum(Decimal(part["qty"]) for part in position["pairs"])
    assert replay.ask("reconciliation")[0]["equal"] is True
    until("an answer out of the cache", lambda: _counted_as_hit(replay))
    schema = httpx.get(f"http://127.0.0.1:{replay.portfolio_port}/openapi.json", timeout=60).json()
    assert all(route[method]["description"] for route in schema["paths"].values() for method in route)
    metrics = httpx.get(f"http://127.0.0.1:{replay.portfolio_port}/metrics", timeout=60).text
    assert f'tandem_portfolio_orders_total{{status="filled"}} {float(orders)}' in metrics or "tandem_portfolio_orders_total" in metrics


def _counted_as_hit(replay: World) -> bool:
    """The next answer comes out of the cache and is counted once. One that Redis takes too long for does not, and rests for a second."""
    before = replay.ask("cache")
    replay.ask("account")
    after = replay.ask("cache")
    counted = (after["hits"] - before["hits"], after["misses"] - before["misses"])
    assert sum(counted) == 1, counted
    return counted == (1, 0)


def test_the_kill_switch_stops_new_positions_within_a_second_and_survives_a_restart(replay: World) -> None:
    replay.to_day = "2019-03-31"
    recycler, portfolio = replay.start_recycler("--label", "kill-switch"), replay.start_portfolio()
    url = f"http://127.0.0.1:{replay.portfolio_port}/v1/trading-state"
    order = {"scope": "global", "mode": "reducing", "reason": "test"}
    assert httpx.post(url, json=order, timeout=60).status_code == 401
    assert httpx.post(url, json=order, headers={"Authorization": "Bearer wrong"}, timeout=60).status_code == 401
    bad = httpx.post(url, json={**order, "scope": "everything"}, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert bad.status_code == 422

    assert httpx.post(url, json=order, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).status_code == 202
    accepted = Stopwatch()
    until("the switch", lambda: [(s["scope"], s["mode"]) for s in replay.ask("trading-state")] == [("global", "reducing")])
    assert accepted.seconds() < 1.0

    assert replay.stop(portfolio) == 0
    replay.start_portfolio()
    replay.publish_forecasts(replay.replay()["replay_id"])
    replay.begin()
    replay.finish()

    book = replay.rows("SELECT max(book) FROM books")[0][0]
    assert replay.rows(f"SELECT count(*) FROM orders WHERE book = '{book}'") == [(0,)]
    assert {pair["waiting"] for pair in replay.ask("pairs")} == {"mode_reducing"}
    replay.stop(recycler)


def test_a_book_that_differs_from_the_broker_is_not_traded(replay: World) -> None:
    """A broker with another capital: the service stays up, says why, and registers for nothing."""
    replay.capital_usd = 999_999
    replay.start_recycler("--label", "other-capital")
    process = replay.start("portfolio")

    def reason() -> str:
        replay.alive(process)
        try:
            answer = httpx.get(f"http://127.0.0.1:{replay.portfolio_port}/readyz", timeout=60)
        except httpx.TransportError:
            return ""
        return str(answer.json()["reason"]) if answer.status_code == 503 else ""

    assert until("a reason", lambda: "999999" in reason() and reason())
    assert httpx.get(f"http://127.0.0.1:{replay.portfolio_port}/v1/pairs", timeout=60).status_code == 503
    assert replay.stop(process) == 0
