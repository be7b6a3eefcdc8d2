"""Two real portfolios of one account: one trades, one stands by; whatever happens to the first, the second goes on within ten seconds."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from free_ports import free_port
from replay_world import World, until, world
from stopwatch import Stopwatch
from tandem.domain.units import ns_of

_TAKEOVER_S = 10.0
_MIDST_NS = ns_of(datetime(2019, 7, 1, tzinfo=UTC))  # the market waits here for the takeover, however late it comes
_ORDERS = (
    "SELECT client_order_id, symbol, side, qty, decided_ns, status, filled_qty FROM orders WHERE book = '{book}' "
    "ORDER BY decided_ns, client_order_id"
)


@pytest.fixture
def replay(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.declare()
        made.to_day = "2019-12-31"
        yield made


def _reason(port: int) -> str:
    """Why a portfolio is not ready: "" when it is."""
    try:
        return str(httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60).json().get("reason") or "")
    except httpx.TransportError:
        return "no answer"


def _writer(port: int) -> str:
    """Whom a portfolio that stands by passes calls on to."""
    return str(httpx.get(f"http://127.0.0.1:{port}/readyz/replica", timeout=60).json()["writer"])


def _passed_on(port: int) -> tuple[int, object, int]:
    """What the API says of the book, and what it says to somebody without a token who would stop trading."""
    base = f"http://127.0.0.1:{port}"
    book = httpx.get(f"{base}/v1/summary", timeout=60)
    refused = httpx.post(f"{base}/v1/trading-state", json={"mode": "halted", "reason": "test"}, timeout=60)
    return book.status_code, book.json().get("book"), refused.status_code


def _start_on(replay: World, port: int) -> subprocess.Popen[bytes]:
    replay.portfolio_port = port
    return replay.start("portfolio")


def _book(replay: World) -> str:
    return str(replay.rows("SELECT max(book) FROM books")[0][0])


@pytest.mark.parametrize("end", ["killed", "hung"])
def test_the_one_that_stands_by_takes_over_and_no_order_is_lost_or_doubled(replay: World, end: str) -> None:
    """In the midst of a replay; a hung writer wakes up afterwards, and only stands by."""
    replay.start_recycler("--label", end)
    first_port, second_port = free_port(), free_port()
    first = _start_on(replay, first_port)
    until("the first is ready", lambda: replay.alive(first) and _reason(first_port) == "")
    second = _start_on(replay, second_port)
    until("the second stands by", lambda: replay.alive(second) and "standing by" in _reason(second_port))
    until("the second knows who writes", lambda: _writer(second_port) == f"127.0.0.1:{first_port}")
    assert _passed_on(first_port) == _passed_on(second_port), "whoever is asked, the writer answers"
    replay_id = replay.replay()["replay_id"]
    replay.publish_forecasts(replay_id, to_ns=_MIDST_NS)
    replay.begin()
    count = f"SELECT count(*) FROM orders WHERE book = '{_book(replay)}'"
    until("ten orders", lambda: replay.rows(count)[0][0] >= 10)

    first.send_signal(signal.SIGKILL if end == "killed" else signal.SIGSTOP)
    watch = Stopwatch()
    if end == "killed":
        first.wait()
        replay.processes.remove(first)
    until("the second is ready", lambda: replay.alive(second) and _reason(second_port) == "")
    took_s = watch.seconds()
    assert took_s < _TAKEOVER_S
    print(f"takeover after a writer was {end}: {took_s:.1f} s")
    if end == "hung":
        first.send_signal(signal.SIGCONT)
        until("the first stands by", lambda: replay.alive(first) and "standing by" in _reason(first_port))
    replay.publish_forecasts(replay_id, after_ns=_MIDST_NS)
    replay.finish()

    book = _book(replay)
    assert replay.rows(f"SELECT max(epoch) - min(epoch) FROM intents WHERE book = '{book}'") == [(1,)]
    assert replay.rows(f"SELECT count(*) FILTER (WHERE NOT equal) FROM reconciliations WHERE book = '{book}'") == [(0,)]
    ours = replay.rows(_ORDERS.format(book=book))
    answer = httpx.get(
        f"http://127.0.0.1:{replay.recycler_port}/v2/orders",
        params={"status": "all", "limit": 500},
        headers={"APCA-API-KEY-ID": "test", "APCA-API-SECRET-KEY": "test"},
        timeout=60,
    )
    theirs = [order["client_order_id"] for order in answer.json()]
    assert sorted(theirs) == sorted(row[0] for row in ours if row[5] not in ("denied", "rejected"))
    assert len(set(theirs)) == len(theirs) > 20
