"""The ingestor between a recycler and Kafka while it is killed, cut off and muted: the log is that of an undisturbed run."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from cutting_proxy import Proxy, proxied
from free_ports import free_port
from recorded_cases import MINUTE_NS, OPEN_NS, SECOND_NS, steady_trades, trades
from recycler_server import Server, serving
from service_process import Service, running, wait_until
from tandem.adapters import topics
from tandem.adapters.codec import decode_tick_record
from tandem.adapters.control_log import publish_control
from tandem.adapters.deadletter import read_letters
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.market_file import load_market_data
from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.domain.market import KIND_TRADE, Heartbeat, TickFrame

BARS = 6
SECTORS = {"staples": ("KO", "PEP"), "drinks": ("KO", "CCEP")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 trades a second of three symbols, with ties."""
    folder = tmp_path_factory.mktemp("recovery")
    return steady_trades(folder / "trades.parquet", symbols=("KO", "PEP", "CCEP"), minutes=BARS, every_s=0.015)


@pytest.fixture(scope="module")
def declared(kafka_servers: str) -> None:
    """Two sectors that share KO."""
    create_topics(kafka_servers, list(SECTORS))
    writer = KafkaWriter(kafka_servers, "test")
    for sector, (leg_a, leg_b) in SECTORS.items():
        pair = PairSpec(pair=pair_id(leg_a, leg_b), sector=SectorId(sector), leg_a=Symbol(leg_a), leg_b=Symbol(leg_b))
        publish_control(writer, pair)
    writer.close()


def environ(servers: str, port: int) -> dict[str, str]:
    return {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": servers,
        "TANDEM_ALPACA_KEY_ID": "key",
        "TANDEM_ALPACA_SECRET_KEY": "secret",
        "TANDEM_SOURCE": "recycled",
        "TANDEM_ALPACA_DATA_URL": f"ws://127.0.0.1:{port}/v2/iex",
        "TANDEM_MUTE_S_MAX": "2",
    }


class Log:
    """What the sectors' topics hold of one replay, read on and on."""

    def __init__(self, servers: str, replay_id: str) -> None:
        self._reader = KafkaReader(servers, [topics.ticks(sector) for sector in SECTORS], client_id="test")
        self._replay_id = replay_id
        self.events: dict[str, list[TickFrame | Heartbeat]] = {sector: [] for sector in SECTORS}

    def read(self) -> None:
        for record in self._reader.poll(0.05):
            event = decode_tick_record(record.value or b"")
            if event.replay_id == self._replay_id:
                self.events[event.sector].append(event)

    def watermark_ns(self) -> int:
        """What every sector has reached."""
        beats = [[e.watermark_ns for e in events if isinstance(e, Heartbeat)] for events in self.events.values()]
        return min(max(each, default=0) for each in beats)

    @property
    def count(self) -> int:
        return sum(map(len, self.events.values()))

    def close(self) -> None:
        self._reader.close()


class Run:
    """A replay in lockstep whose portfolio is this test."""

    def __init__(self, servers: str, server: Server, port: int, folder: Path) -> None:
        self.servers, self.server, self.folder, self.environ = servers, server, folder, environ(servers, port)
        self.log = Log(servers, server.status()["replay_id"])
        self.life = ExitStack()
        self.starts = 0

    def start(self) -> Service:
        self.starts += 1
        self.service = self.life.enter_context(running("ingestor", free_port(), self.environ, self.folder))
        return self.service

    def kill(self) -> None:
        self.life.close()

    def until(self, condition, what: str) -> None:
        def ready() -> bool:
            self.log.read()
            return condition()

        wait_until(ready, what, self.service)

    def bar(self, number: int) -> None:
        """Wait until every sector has the heartbeat of a bar, then let the replay go on."""
        watermark_ns = OPEN_NS + number * MINUTE_NS
        self.until(lambda: self.log.watermark_ns() >= watermark_ns, f"the heartbeat of bar {number}")
        self.server.button("ack", name="portfolio", watermark_ns=watermark_ns)

    def end(self) -> None:
        self.until(
            lambda: all(isinstance(e[-1], Heartbeat) and e[-1].end_of_stream for e in self.log.events.values() if e),
            "the end of the stream",
        )


@pytest.fixture
def run(kafka_servers: str, declared: None, data: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Run, Proxy]]:
    """A held replay with its own id, behind a proxy."""
    with serving(data, lockstep=True, participants=("portfolio",), label=request.node.name) as server, proxied(server.port) as proxy:
        made = Run(kafka_servers, server, proxy.port, tmp_path)
        yield made, proxy
        made.kill()
        made.log.close()


def check_whole(log: Log, data: Path) -> None:
    """Each sector: every trade once; no heartbeat before a trade that is older; bars in order."""
    market = load_market_data(data)
    for sector, symbols in SECTORS.items():
        places = [market.symbols.index(symbol) for symbol in symbols]
        wanted = market.ticks[np.isin(market.ticks["symbol"], places)]
        expected = {(market.symbols[t["symbol"]], int(t["event_ns"]), int(t["trade_id"])) for t in wanted}
        seen: set[tuple[str, int, int]] = set()
        count, watermark_ns = 0, 0
        for event in log.events[sector]:
            if isinstance(event, Heartbeat):
                assert event.watermark_ns > watermark_ns
                watermark_ns = event.watermark_ns
                assert sum(1 for _, ns, _ in expected if ns < watermark_ns) == len(seen)
                continue
            assert (event.ticks["kind"] == KIND_TRADE).all()
            assert (event.ticks["event_ns"] >= watermark_ns).all()
            keys = {(event.symbols[t["symbol"]], int(t["event_ns"]), int(t["trade_id"])) for t in event.ticks}
            seen |= keys
            count += len(event.ticks)
        assert seen == expected
        assert count == len(expected), f"{sector}: {count - len(expected)} doubled"


def test_killed_in_every_bar_it_loses_nothing_and_doubles_nothing(run, data):
    """kill -9 as soon as the next bar's first frames are in Kafka: sectors, buffers and records in flight are at different places."""
    replay, _ = run
    service = replay.start()
    wait_until(lambda: service.why_not_ready() is None, "readiness", service)
    replay.server.button("start")
    for number in range(1, BARS + 1):
        before = replay.log.count
        replay.until(lambda before=before: replay.log.count > before, "the first frames of a bar")
        replay.kill()
        replay.start()
        replay.bar(number)
    replay.end()
    check_whole(replay.log, data)
    assert replay.starts == BARS + 1


def test_cut_again_and_again_in_the_midst_of_frames_it_loses_nothing_and_doubles_nothing(run, data):
    replay, proxy = run
    proxy.cut_after = 600_000  # two thirds of a bar, more than one page of history
    service = replay.start()
    wait_until(lambda: service.why_not_ready() is None, "readiness", service)
    replay.server.button("start")
    for number in range(1, BARS + 1):
        if number == BARS // 2:
            proxy.cut_after = None
        replay.bar(number)
    replay.end()
    check_whole(replay.log, data)
    assert proxy.cuts >= 2
    assert "tandem_ingestor_recovered_ticks_total" in service.metrics()
    assert service.stop() == 0


def test_frames_that_are_none_and_frames_that_nobody_takes_cost_no_trade(run, data):
    """Too large, cut short, no message at all, and values that cannot be: each is parked with its reason."""
    replay, _ = run
    service = replay.start()
    wait_until(lambda: service.why_not_ready() is None, "readiness", service)
    replay.server.button("start")
    kinds = dict(enumerate(("bad_values", "truncated", "garbled", "oversized"), start=1))  # the last costs the connection
    for number in range(1, BARS + 1):
        if number in kinds:
            replay.server.post("/tandem/faults", {"stream": kinds[number], "after": 2}).raise_for_status()
        replay.bar(number)
    replay.end()
    check_whole(replay.log, data)
    assert replay.server.get("/tandem/faults")["waiting"] == []
    parked = {line.split('"')[1] for line in service.metrics().splitlines() if line.startswith("tandem_ingestor_parked_total{")}
    assert parked >= {"payload_malformed", "price_invalid", "price_jump", "time_invalid", "field_missing"}
    assert "of more than 1048576 bytes" in "".join(letter.detail for letter in read_letters(replay.servers, client_id="test"))


def test_a_mute_replay_is_found_by_its_own_status_and_left(run, data):
    """Bytes vanish while the connection stands: in lockstep everybody would wait for ever."""
    replay, proxy = run
    service = replay.start()
    wait_until(lambda: service.why_not_ready() is None, "readiness", service)
    replay.server.button("start")
    replay.bar(1)
    proxy.mute = True
    wait_until(lambda: replay.server.status()["watermark_ns"] > OPEN_NS + MINUTE_NS, "the replay's next bar", service)
    proxy.mute = False  # the bytes that were to come are gone; new connections would work
    for number in range(2, BARS + 1):
        replay.bar(number)
    replay.end()
    check_whole(replay.log, data)
    assert '"stream_mute"' in service.log.read_text() or proxy.cuts == 0


def test_a_pair_that_is_declared_in_the_midst_of_a_bar_has_whole_bars_from_the_last_heartbeat_on(kafka_servers, tmp_path):
    """What the socket sent before the subscription is asked of history."""
    rows = [("KO", OPEN_NS + i * SECOND_NS, 60.0, 1) for i in range(1, 120)] + [
        ("XOM", OPEN_NS + i * SECOND_NS, 90.0, 1) for i in range(1, 120)
    ]
    rows += [("PEP", OPEN_NS + i * SECOND_NS, 70.0, 1) for i in range(1, 120)] + [("CCEP", OPEN_NS + SECOND_NS, 70.0, 1)]
    file = trades(tmp_path / "late.parquet", sorted(rows, key=lambda row: row[1]))
    create_topics(kafka_servers, list(SECTORS))
    with serving(file, lockstep=True, participants=("portfolio",), label="late") as server:
        replay = Run(kafka_servers, server, server.port, tmp_path)
        service = replay.start()
        wait_until(lambda: service.why_not_ready() is None, "readiness", service)
        server.button("start")
        replay.bar(0)
        replay.until(lambda: replay.log.watermark_ns() >= OPEN_NS + MINUTE_NS, "the first bar")
        writer = KafkaWriter(kafka_servers, "test")
        publish_control(writer, PairSpec(pair=pair_id("KO", "XOM"), sector=SectorId("staples"), leg_a=Symbol("KO"), leg_b=Symbol("XOM")))
        wait_until(lambda: "XOM" in service.log.read_text(), "the new symbol", service)
        server.button("ack", name="portfolio", watermark_ns=OPEN_NS + MINUTE_NS)
        replay.bar(2)
        replay.end()
        frames = [e for e in replay.log.events["staples"] if isinstance(e, TickFrame) and "XOM" in e.symbols]
        places = [(e, e.symbols.index("XOM")) for e in frames]
        times = np.concatenate([e.ticks["event_ns"][e.ticks["symbol"] == place] for e, place in places])
        assert times.tolist() == [OPEN_NS + i * SECOND_NS for i in range(60, 120)]
        replay.kill()
        replay.log.close()
        publish_control(writer, PairSpec(pair=pair_id("KO", "XOM"), sector=SectorId("other"), leg_a=Symbol("KO"), leg_b=Symbol("XOM")))
        writer.close()
