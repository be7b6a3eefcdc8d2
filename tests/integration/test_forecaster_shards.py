"""Three replicas share a sector's pairs; one is killed and comes back. Each bar is told whole, and what is told twice is equal."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import httpx
import numpy as np
import pytest

from free_ports import free_port
from model_cases import SEQUENCE, bundle_of, market, pair_model
from service_process import Service, running, wait_until
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import decode_forecasts, encode_frame, encode_heartbeat
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.domain.units import NS_PER_S
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved
from tandem.flow.barrier import step as barrier_step
from tandem.flow.sector import SectorModel, initial_sector, step
from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES
from tandem.quant.gru import Weights
from tandem.trainer.onnx_graph import onnx_graph
from tandem.trainer.sectors import register_sector

SECTOR = SectorId("consumer")  # the one of model_cases' bundles
SYMBOLS = tuple(map(Symbol, ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")))
PAIRS = [pair_model(a, b) for i, a in enumerate(SYMBOLS) for b in SYMBOLS[i + 1 :]]
SHARDS = 6
DAYS = 2_400  # ten minutes of them: more than the slowest machine has
HIDDEN = 8


def _grid() -> SessionGrid:
    return session_grid("1d", 1_577_836_800 * NS_PER_S, 1_893_456_000 * NS_PER_S)  # 2020 to 2030


def _weights() -> Weights:
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    return Weights(
        input=normal(3 * HIDDEN, len(FEATURES)),
        recurrent=normal(3 * HIDDEN, HIDDEN),
        input_bias=normal(3 * HIDDEN),
        recurrent_bias=normal(3 * HIDDEN),
        head=normal(2, HIDDEN),
        head_bias=normal(2),
    )


@pytest.fixture(scope="module")
def trained(mlflow_uri: str) -> tuple[ModelRef, Bundle]:
    """A registered bundle of fifteen pairs, its network with weights by seed."""
    bundle = bundle_of(*PAIRS, onnx=onnx_graph(_weights(), SEQUENCE), trained_to_ns=int(_grid().close_ns[0]))
    return register_sector(mlflow_uri, bundle), bundle


@pytest.fixture(scope="module")
def log() -> list[TickFrame | Heartbeat]:
    """A labelled synthetic market, a frame and a heartbeat for each of the days."""
    events: list[TickFrame | Heartbeat] = []
    panel = market(bars=DAYS, symbols=SYMBOLS)
    for day, row in enumerate(panel.close.tolist()):
        close_ns = int(_grid().close_ns[day + 1])
        ticks = np.zeros(len(SYMBOLS), TICK_DTYPE)
        ticks["event_ns"], ticks["kind"], ticks["size"], ticks["trade_id"] = close_ns - 1_000_000, KIND_TRADE, 1, day
        ticks["symbol"], ticks["price"] = np.arange(len(SYMBOLS)), row
        events.append(TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id="shared", symbols=SYMBOLS, ticks=ticks))
        beat = Heartbeat(sector=SECTOR, source=Source.RECYCLED, replay_id="shared", watermark_ns=close_ns, lockstep=True)
        events.append(beat)
    return events


class Publisher(threading.Thread):
    """Writes the days one after another, each a moment after the one before, so that replicas die and come in the midst of them."""

    def __init__(self, servers: str, log: list[TickFrame | Heartbeat]) -> None:
        super().__init__(daemon=True)
        self.day, self.last = 0, DAYS  # how many are there, how many there will be
        self._servers, self._log = servers, log

    def run(self) -> None:
        writer = KafkaWriter(self._servers, "test")
        while self.day < self.last:
            frame, beat = self._log[2 * self.day : 2 * self.day + 2]
            writer.publish(topics.ticks(SECTOR), encode_frame(frame))
            writer.publish(topics.ticks(SECTOR), encode_heartbeat(beat))
            writer.flush()
            self.day += 1
            threading.Event().wait(0.25)
        writer.close()


class Replicas:
    """The processes, by number."""

    def __init__(self, stack: ExitStack, environ: dict[str, str], folder: Path) -> None:
        self._stack, self._environ, self._folder = stack, environ, folder
        self.running: dict[int, Service] = {}

    def start(self, number: int) -> None:
        """A process of a new name each time, as a pod has."""
        folder = self._folder / f"{number}-{time.monotonic_ns()}"
        folder.mkdir()
        environ = self._environ | {"POD_NAME": folder.name, "BENTOML_HOME": str(folder / "bentoml")}
        self.running[number] = self._stack.enter_context(running("forecaster", free_port(), environ, folder))

    def kill(self, number: int) -> None:
        service = self.running.pop(number)
        service.process.kill()
        service.process.wait()

    def sharing(self) -> list[dict]:
        """What each says of its part; nothing while one does not answer."""
        try:
            return [httpx.post(f"{s.url}/state", timeout=10).json()["sharing"] for s in self.running.values()]
        except (httpx.TransportError, KeyError, ValueError):
            return []

    def share(self, count: int) -> list[list[int]]:
        """The shards of each, if so many replicas own all shards, each of them once; else nothing."""
        owned = [part["owned"] for part in self.sharing()]
        return owned if len(owned) == count and sorted(chain(*owned)) == list(range(SHARDS)) else []

    def ready(self) -> bool:
        return all(_status(service) == 200 for service in self.running.values())


def _status(service: Service) -> int:
    try:
        return httpx.get(f"{service.url}/readyz", timeout=5).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def _replicas(environ: dict[str, str], folder: Path) -> Iterator[Replicas]:
    with ExitStack() as stack:
        yield Replicas(stack, environ, folder)


def _published(servers: str) -> list[ForecastBatch]:
    """All batches of the first test's replay, in the topic's order."""
    reader = KafkaReader(servers, [topics.FORECASTS], client_id="test")
    end = reader.end_offsets()[(topics.FORECASTS, 0)]
    batches: list[ForecastBatch] = []
    while len(batches) < end:
        batches += [decode_forecasts(record.value or b"") for record in reader.poll(0.2)]
    reader.close()
    return batches


def _alone(ref: ModelRef, bundle: Bundle, log: list[TickFrame | Heartbeat]) -> list[ForecastBatch]:
    """What one forecaster without shards says."""
    model = SectorModel(bundle=bundle, ref=ref, network=OnnxNetwork(bundle.onnx), grid=_grid())
    state, batches = initial_sector(model), []
    for event in log:
        state, more = step(model, state, event)
        batches += more
    return batches


def _decided(batches: list[ForecastBatch], version: str) -> list[Decidable]:
    state, bars = Barrier(replay_id="shared"), []
    events = [PointersMoved(versions={SECTOR: (version,)}), BrokerReached(replay_id="shared", watermark_ns=2**62)]
    for event in [*events, *(Arrived(batch=batch, offset=i) for i, batch in enumerate(batches))]:
        state, more = barrier_step(state, event)
        bars += more
    return bars


def test_three_replicas_lose_one_and_regain_it_without_a_lost_or_doubled_forecast(
    kafka_servers: str, mlflow_uri: str, trained: tuple[ModelRef, Bundle], log: list[TickFrame | Heartbeat], tmp_path: Path
) -> None:
    """The others take over its pairs from where it stopped; the portfolio's barrier sees the bars and numbers of a single forecaster."""
    ref, bundle = trained
    create_topics(kafka_servers, [SECTOR])
    environ = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "TANDEM_SECTOR": SECTOR,
        "TANDEM_MODEL_VERSION": ref.version,
        "TANDEM_SHARDS": str(SHARDS),
    }
    publisher = Publisher(kafka_servers, log)
    with _replicas(environ, tmp_path) as replicas:
        for number in range(3):
            replicas.start(number)
        owned = wait_until(lambda: replicas.ready() and replicas.share(3), "three replicas to share")
        assert {len(shards) for shards in owned} == {SHARDS // 3}
        publisher.start()
        wait_until(lambda: publisher.day >= 15, "the first days")
        replicas.kill(1)
        killed_s = time.monotonic()
        wait_until(lambda: replicas.share(2), "the two others to take over")
        print(f"taken over {time.monotonic() - killed_s:.1f} s after kill -9")
        wait_until(lambda: publisher.day >= 60, "days with two replicas")
        replicas.start(1)
        wait_until(lambda: replicas.ready() and replicas.share(3), "the third to be back")
        assert publisher.is_alive(), "the third must come back in the midst of the days"
        publisher.last = publisher.day + 20
        wait_until(lambda: not publisher.is_alive(), "the last days")
        wait_until(lambda: _complete(_published(kafka_servers)) == publisher.day, "all bars")
    batches = _published(kafka_servers)
    told: dict[tuple[int, int], ForecastBatch] = {}
    for batch in batches:
        assert told.setdefault((batch.bar_close_ns, batch.shard), batch) == batch  # twice is the same
    assert len(told) == publisher.day * SHARDS
    assert _decided(batches, ref.version) == _decided(_alone(ref, bundle, log[: 2 * publisher.day]), ref.version)


def _complete(batches: list[ForecastBatch]) -> int:
    """Bars of which all shards are there."""
    shards: dict[int, set[int]] = {}
    for batch in batches:
        shards.setdefault(batch.bar_close_ns, set()).add(batch.shard)
    return sum(len(found) == SHARDS for found in shards.values())


def test_each_replica_answers_for_every_pair(
    kafka_servers: str, mlflow_uri: str, trained: tuple[ModelRef, Bundle], log: list[TickFrame | Heartbeat], tmp_path: Path
) -> None:
    """A Service sends a question to any of them: also one that does not publish the pair says what its publisher said."""
    ref, bundle = trained
    create_topics(kafka_servers, [SECTOR])
    environ = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "TANDEM_SECTOR": SECTOR,
        "TANDEM_MODEL_VERSION": ref.version,
        "TANDEM_SHARDS": str(SHARDS),
    }
    publisher = Publisher(kafka_servers, [replace(event, replay_id="asked") for event in log])
    publisher.last = 5
    publisher.run()
    last = {f.pair: f for f in _alone(ref, bundle, log[:10])[-1].forecasts}
    with _replicas(environ, tmp_path) as replicas:
        for number in range(2):
            replicas.start(number)
        wait_until(lambda: replicas.ready() and replicas.share(2), "two replicas to share")
        for service in replicas.running.values():
            for pair in last:
                answer = httpx.post(f"{service.url}/forecast", json={"pair": pair}, timeout=30).json()
                assert (answer["variance"], answer["bar_index"]) == (last[PairId(pair)].variance, last[PairId(pair)].bar_index)
