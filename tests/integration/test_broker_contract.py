"""The broker adapter and the trade-updates stream against the recycler's paper exchange, through alpaca-py, over real sockets."""

import queue
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from replay_world import ANSWER_S, KEYS, World, until, world
from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.alpaca_trade_stream import AlpacaTradeStream, BrokerHeartbeat, StreamLost, StreamReady, TradeUpdate
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import BadSetting, Permanent, Transient
from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Order, OrderStatus, Side

KO = Symbol("KO")


def order(name: str, side: Side = Side.BUY, qty: int = 10, limit: str | None = None) -> Order:
    return Order(
        client_order_id=name,
        intent_id="i",
        pair=PairId("KO-PEP"),
        leg="a",
        attempt=0,
        symbol=KO,
        side=side,
        qty=qty,
        limit_usd=Decimal(limit) if limit else None,
        decided_ns=0,
    )


class Bench:
    """A replay that goes on bar by bar, with a broker and a stream connected to it."""

    def __init__(self, place: World) -> None:
        self.world = place
        url = f"127.0.0.1:{place.recycler_port}"
        self.broker = AlpacaBroker(key_id="k", secret_key="s", url=f"http://{url}")
        self.replay = ReplayControl(f"http://{url}", key_id="k", secret_key="s", name="portfolio")
        self.events: queue.Queue[object] = queue.Queue()
        self.stream = AlpacaTradeStream(self.events.put, key_id="k", secret_key="s", url=f"ws://{url}/stream")
        self.stream.start()
        assert isinstance(self.events.get(timeout=ANSWER_S), StreamReady)

    def next_bar(self) -> tuple[int, list[TradeUpdate]]:
        """Acknowledge where the replay stands; its next watermark and the updates before it."""
        self.replay.acknowledge(self.replay.status().watermark_ns)
        return self.heartbeat()

    def heartbeat(self) -> tuple[int, list[TradeUpdate]]:
        updates: list[TradeUpdate] = []
        while True:
            event = self.events.get(timeout=ANSWER_S)
            if isinstance(event, BrokerHeartbeat):
                return event.watermark_ns, updates
            assert isinstance(event, TradeUpdate), event
            updates.append(event)

    def close(self) -> None:
        self.stream.stop()
        self.broker.close()
        self.replay.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """At the first bar of 2019, in lockstep with the test as the only participant."""
    folder: Path = tmp_path_factory.mktemp("recycler")
    with world(postgres_url="", redis_url="", kafka="", folder=folder) as place:
        place.start_recycler()
        made = Bench(place)
        made.replay.register()
        place.begin()
        made.heartbeat()
        yield made
        made.close()


def test_a_market_order_is_taken_filled_on_the_next_bar_and_found_everywhere(bench: Bench) -> None:
    at_ns = bench.replay.status().watermark_ns
    report = bench.broker.submit(order("one"))
    assert report.status is OrderStatus.ACCEPTED

    watermark_ns, updates = bench.next_bar()

    (fill,) = [u.fill for u in updates if u.fill]
    assert at_ns < fill.event_ns < watermark_ns
    assert (fill.client_order_id, fill.side, fill.qty) == ("one", Side.BUY, Decimal(10))
    assert bench.broker.fills(0) == (fill,)
    assert bench.broker.fills(fill.event_ns) == ()
    found = bench.broker.find("one")
    assert found is not None
    assert (found.status, found.filled_qty, found.broker_order_id) == (OrderStatus.FILLED, "10", report.broker_order_id)
    assert {p.symbol: p.qty for p in bench.broker.positions()} == {KO: Decimal(10)}
    fees = sum((fee.amount_usd for fee in bench.broker.fees(0)), Decimal(0))
    assert Decimal(bench.broker.account().cash) == Decimal(1_000_000) - 10 * fill.price_usd - fees


def test_an_id_is_taken_once_for_ever(bench: Bench) -> None:
    """The second submission answers with the first order, whatever became of it."""
    assert bench.broker.submit(order("one")).status is OrderStatus.FILLED
    assert bench.broker.find("never sent") is None


def test_a_canceled_order_cannot_be_canceled_again(bench: Bench) -> None:
    report = bench.broker.submit(order("far away", limit="1.00"))
    assert bench.broker.cancel(report.broker_order_id)
    assert not bench.broker.cancel(report.broker_order_id)
    found = bench.broker.find("far away")
    assert found is not None
    assert found.status is OrderStatus.CANCELED


def test_the_brokers_refusals_keep_their_reason(bench: Bench) -> None:
    report = bench.broker.submit(order("too much", qty=10_000_000))

    assert report.status is OrderStatus.REJECTED
    assert "buying power" in report.reason
    assert bench.broker.find("too much") is None


def test_a_short_sale_is_a_negative_position_and_pays_its_fees(bench: Bench) -> None:
    bench.broker.submit(order("sell", Side.SELL, 10))
    bench.next_bar()
    bench.broker.submit(order("short", Side.SELL, 5))
    _, updates = bench.next_bar()

    assert [u.fill.side for u in updates if u.fill] == [Side.SELL]
    assert {p.symbol: p.qty for p in bench.broker.positions()} == {KO: Decimal(-5)}
    fees = bench.broker.fees(0)
    assert fees
    assert all(fee.amount_usd > 0 and fee.symbol == KO and fee.broker_order_id for fee in fees)
    assert len({fee.activity_id for fee in fees}) == len(fees)


def test_ledger_arithmetic_over_executions_and_fees_is_the_account(bench: Bench) -> None:
    cash = Decimal(1_000_000)
    for fill in bench.broker.fills(0):
        cash -= fill.side.sign * fill.qty * fill.price_usd
    for fee in bench.broker.fees(0):
        cash -= fee.amount_usd

    assert Decimal(bench.broker.account().cash) == cash


def test_an_order_costs_a_few_milliseconds(bench: Bench) -> None:
    """The connection is kept: a new one with alpaca-py's setup alone costs more. Of our processor time; on the clock others count, too."""
    url = f"http://127.0.0.1:{bench.world.recycler_port}"
    pool = bench.broker._client._session.get_adapter(url).poolmanager.connection_from_url(url)
    connections, times, busy = pool.num_connections, [], []
    for number in range(20):
        began_s, began_busy_s = time.perf_counter(), time.thread_time()
        report = bench.broker.submit(order(f"quick {number}", qty=5, limit="1.00"))
        times.append(time.perf_counter() - began_s)
        busy.append(time.thread_time() - began_busy_s)
        assert report.broker_order_id, report
        bench.broker.cancel(report.broker_order_id)

    assert pool.num_connections == connections
    assert sorted(busy)[10] < 0.05
    assert min(times) < 0.1


def test_a_lost_stream_says_so_and_comes_back_with_the_last_heartbeat(bench: Bench) -> None:
    bench.stream._loop.call_soon_threadsafe(bench.stream._ws.transport.abort)

    seen: list[object] = []
    until("the stream is back", lambda: seen.append(bench.events.get(timeout=ANSWER_S)) or isinstance(seen[-1], BrokerHeartbeat))
    kinds = [type(event) for event in seen]
    assert kinds.index(StreamLost) < kinds.index(StreamReady)
    assert seen[-1].watermark_ns == bench.replay.status().watermark_ns


def test_an_update_too_large_to_take_costs_the_connection_and_a_few_seconds(bench: Bench) -> None:
    """It is told again when the connection is back; the server, whose frame nobody reads on, does not say goodbye."""
    url = f"http://127.0.0.1:{bench.world.recycler_port}/tandem/faults"
    httpx.post(url, headers=KEYS, json={"stream": "oversized", "socket": "updates"}, timeout=ANSWER_S).raise_for_status()

    began_s = time.monotonic()
    report = bench.broker.submit(order("large", qty=5, limit="1.00"))
    seen: list[object] = []
    until("the stream is back", lambda: seen.append(bench.events.get(timeout=ANSWER_S)) or isinstance(seen[-1], StreamReady), limit_s=60)
    took_s = time.monotonic() - began_s
    bench.broker.cancel(report.broker_order_id)

    assert any(isinstance(event, StreamLost) for event in seen)
    assert took_s < 15  # of the two waits of 10 s each that it would take


def test_replay_control_names_what_is_wrong(bench: Bench) -> None:
    with pytest.raises(BadSetting, match="TANDEM_ALPACA_API_URL"):
        ReplayControl("ws://127.0.0.1:1", key_id="k", secret_key="s", name="x")
    away = ReplayControl("http://127.0.0.1:1", key_id="k", secret_key="s", name="x")
    with pytest.raises(Transient, match="recycler at http://127"):
        away.status()
    stranger = ReplayControl(f"http://127.0.0.1:{bench.world.recycler_port}", key_id="k", secret_key="s", name="stranger")
    with pytest.raises(Permanent, match="404"):
        stranger.acknowledge(1)
    stranger.close()
