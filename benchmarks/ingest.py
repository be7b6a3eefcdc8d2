"""How many messages a second go from a websocket into Kafka: `python benchmarks/ingest.py [--messages N] [--soak-s S --rate R]`.

One server process sends trades of twenty symbols as Alpaca does, as fast as the client takes them. The ingestor (the service as it runs in
production) publishes them to a real Kafka; its peers in the same run, fed by the same server: alpaca-py unmodified with raw and with parsed
messages, whose handler does nothing; confluent-kafka and kafka-python writing one record for each tick to the same broker, and kafka-python
writing frames of ticks as the ingestor does. A rate is
messages per second of wall time; beside it per second of the measured process's CPU time, which is what one core would carry.
With --soak-s a steady rate instead: what is lost, and how the ingestor's memory grows.
"""

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import confluent_kafka
import httpx
import msgpack
import numpy as np
import psutil
from alpaca.data.live import StockDataStream
from kafka import KafkaProducer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from free_ports import free_port
from tandem.adapters import topics
from tandem.adapters.codec import decode_tick_record, encode_frame
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.domain.market import TICK_DTYPE, Source, TickFrame
from tandem.ingestor.frames import FRAME_TICKS
from tandem.local import kafka as local_kafka
from tandem.local.processes import Children

SYMBOLS = [f"S{number}" for number in range(20)]
SECTORS = 5
_READY_S, _LIMIT_S = 120.0, 300.0
_WAITING_MAX = 512  # records: as many as the ingestor lets wait for Kafka's answer


def payloads(first: int, count: int, size: int) -> list[bytes]:
    """Trades number `first` and on as Alpaca sends them, `size` to a websocket message."""
    now_ns = time.time_ns()
    rows = [
        {"T": "t", "S": SYMBOLS[i % 20], "i": i, "x": "V", "p": 60.25 + i % 97 / 100, "s": 1 + i % 400, "c": ["@"], "z": "C"}
        | {"t": msgpack.Timestamp.from_unix_nano(now_ns + i)}
        for i in range(first, first + count)
    ]
    return [msgpack.packb(rows[start : start + size]) for start in range(0, count, size)]


def serve_market(port: int, messages: int, size: int, rate: int, go: Event) -> None:
    """The server process: after the subscription and `go` all messages, at `rate` a second or as fast as they are taken (0)."""
    ready = [] if rate else payloads(0, messages, size)

    async def handle(socket: ServerConnection) -> None:
        await socket.send(msgpack.packb([{"T": "success", "msg": "connected"}]))
        await socket.recv()
        await socket.send(msgpack.packb([{"T": "success", "msg": "authenticated"}]))
        asked = msgpack.unpackb(await socket.recv())
        await socket.send(msgpack.packb([{"T": "subscription", "trades": asked["trades"]}]))
        while not go.is_set():
            await asyncio.sleep(0.002)
        await (_paced(socket, messages, rate) if rate else _flood(socket, ready))
        await socket.wait_closed()

    def no_history(_: ServerConnection, request: Request) -> Response | None:
        """An ingestor that starts again asks what it missed: nothing."""
        if request.headers.get("Upgrade"):
            return None
        body = b'{"trades": {}, "next_page_token": null}'
        return Response(200, "OK", Headers({"Content-Type": "application/json", "Content-Length": str(len(body))}), body)

    async def run() -> None:
        async with serve(handle, "127.0.0.1", port, compression=None, max_size=None, process_request=no_history):
            await asyncio.Future()

    asyncio.run(run())


async def _flood(socket: ServerConnection, ready: list[bytes]) -> None:
    for payload in ready:
        await socket.send(payload)


async def _paced(socket: ServerConnection, messages: int, rate: int) -> None:
    """A payload each ten milliseconds, stamped when it is sent."""
    size, began_s = rate // 100, time.monotonic()
    for number in range(messages // size):
        for payload in payloads(number * size, size, size):
            await socket.send(payload)
        await asyncio.sleep(max(0.0, began_s + (number + 1) / 100 - time.monotonic()))


@contextmanager
def market(messages: int, size: int, rate: int = 0) -> Iterator[tuple[int, Event]]:
    """A server on a free port; the port, and what makes it send."""
    port, context = free_port(), multiprocessing.get_context("spawn")
    go = context.Event()
    process = context.Process(target=serve_market, args=(port, messages, size, rate, go), daemon=True)
    process.start()
    try:
        _until(lambda: _listens(port), "the server", 30)
        yield port, go
    finally:
        process.kill()
        process.join()


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """A Kafka of this run."""
    children = Children(folder)
    port = free_port()
    try:
        properties = local_kafka.prepare(folder / "kafka", port, free_port(), children)
        children.start(local_kafka.command(properties, port, children))
        children.wait_ready(["kafka"], _READY_S)
        yield local_kafka.servers(port)
    finally:
        children.stop_all()


@contextmanager
def ingestor(servers: str, market_port: int, log: Path) -> Iterator[tuple[psutil.Process, str]]:
    """The service, as its container starts it."""
    port = free_port()
    environment = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": servers,
        "TANDEM_ALPACA_KEY_ID": "any",
        "TANDEM_ALPACA_SECRET_KEY": "any",
        "TANDEM_SOURCE": "paper",
        "TANDEM_ALPACA_DATA_URL": f"ws://127.0.0.1:{market_port}/v2/iex",
        "TANDEM_ALPACA_HISTORY_URL": f"http://127.0.0.1:{market_port}",
        "TANDEM_AUDIT_S": "0",
        "TANDEM_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "tandem.ingestor.main"], env=os.environ | environment, stdout=out, stderr=out)
    try:
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}/metrics"
    except SystemExit:
        print(log.read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(20)


def declare(servers: str) -> None:
    """Ten pairs in five sectors over the twenty symbols."""
    sectors = [f"sector-{number}" for number in range(SECTORS)]
    create_topics(servers, sectors)
    writer = KafkaWriter(servers, "bench")
    for number in range(10):
        leg_a, leg_b = SYMBOLS[2 * number], SYMBOLS[2 * number + 1]
        sector = SectorId(sectors[number % SECTORS])
        publish_control(writer, PairSpec(pair=pair_id(leg_a, leg_b), sector=sector, leg_a=Symbol(leg_a), leg_b=Symbol(leg_b)))
    writer.close()


def through_the_ingestor(servers: str, messages: int, size: int, folder: Path) -> tuple[float, float]:
    """(seconds of wall time, seconds of the ingestor's CPU) from the word to send to the last tick in Kafka."""
    with market(messages, size) as (port, go), ingestor(servers, port, folder / f"ingestor-{size}.log") as (process, metrics):
        _until(lambda: _sum(metrics, "tandem_ingestor_connected") > 0, "the subscription", 60)
        began_s, began_cpu_s = time.perf_counter(), _cpu_s(process)
        go.set()
        _until(lambda: _ticks(metrics) >= messages, f"{messages} ticks", _LIMIT_S)
        return time.perf_counter() - began_s, _cpu_s(process) - began_cpu_s


def alpaca_client(port: int, messages: int, raw: bool, answer: "multiprocessing.Queue[tuple[float, float]]") -> None:
    """A process with alpaca-py as it is, whose handler only counts."""
    count, began = 0, (0.0, 0.0)
    stream = StockDataStream("any", "any", raw_data=raw, url_override=f"ws://127.0.0.1:{port}/v2/iex")

    async def handle(_: Any) -> None:
        nonlocal count, began
        if count == 0:
            began = (time.perf_counter(), time.process_time())
        count += 1
        if count == messages:
            answer.put((time.perf_counter() - began[0], time.process_time() - began[1]))

    stream.subscribe_trades(handle, *SYMBOLS)
    stream.run()


def through_alpaca(messages: int, size: int, *, raw: bool) -> tuple[float, float]:
    """(wall, CPU) seconds of the unmodified client."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    with market(messages, size) as (port, go):
        go.set()
        process = context.Process(target=alpaca_client, args=(port, messages, raw, answer), daemon=True)
        process.start()
        try:
            return answer.get(timeout=_LIMIT_S)
        finally:
            process.kill()
            process.join()


def confluent_records(servers: str, count: int) -> tuple[float, float]:
    """(wall, CPU) seconds of one record for each tick of 32 bytes through librdkafka, idempotent, all acknowledged."""
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "enable.idempotence": True, "queue.buffering.max.messages": 200_000})
    value, began = bytes(32), (time.perf_counter(), time.process_time())
    for _ in range(count):
        while True:
            try:
                producer.produce(topics.ticks("bench"), value)
                break
            except BufferError:
                producer.poll(0.01)
    producer.flush(_LIMIT_S)
    return time.perf_counter() - began[0], time.process_time() - began[1]


def kafka_python_records(servers: str, count: int) -> tuple[float, float]:
    """The same through kafka-python."""
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    value, began = bytes(32), (time.perf_counter(), time.process_time())
    for _ in range(count):
        producer.send(topics.ticks("bench"), value)
    producer.flush(_LIMIT_S)
    elapsed = time.perf_counter() - began[0], time.process_time() - began[1]
    producer.close()
    return elapsed


def kafka_python_frames(servers: str, ticks: int, size: int) -> tuple[float, float]:
    """(wall, CPU) seconds of ticks in frames of `size` through the ingestor's own writer, encoded one by one, all acknowledged."""
    writer, frame = KafkaWriter(servers, "bench"), np.zeros(size, TICK_DTYPE)
    stream = TickFrame(sector=SectorId("bench"), source=Source.PAPER, replay_id="", symbols=tuple(map(Symbol, SYMBOLS)), ticks=frame)
    began = (time.perf_counter(), time.process_time())
    for _ in range(ticks // size):
        while writer.unacknowledged > _WAITING_MAX:
            time.sleep(0.001)
        writer.publish(topics.ticks("bench"), encode_frame(stream))
    writer.flush(_LIMIT_S)
    elapsed = time.perf_counter() - began[0], time.process_time() - began[1]
    writer.close()
    return elapsed


def rates(servers: str, messages: int, folder: Path) -> dict[str, dict[str, float]]:
    """Messages a second of each way, by wall time and by CPU time."""
    declare(servers)
    create_topics(servers, ["bench"])
    third, tenth, tens = messages // 3, messages // 10, 10 * messages
    ways: dict[str, tuple[int, Callable[[], tuple[float, float]]]] = {
        "ingestor, 50 a payload": (messages, lambda: through_the_ingestor(servers, messages, 50, folder)),
        "alpaca-py raw, 50 a payload": (messages, lambda: through_alpaca(messages, 50, raw=True)),
        "alpaca-py parsed, 50 a payload": (third, lambda: through_alpaca(third, 50, raw=False)),
        "confluent-kafka, a record a tick": (messages, lambda: confluent_records(servers, messages)),
        "kafka-python, a record a tick": (tenth, lambda: kafka_python_records(servers, tenth)),
        "kafka-python, frames of 100": (messages, lambda: kafka_python_frames(servers, messages, 100)),
        "kafka-python, frames of 2,048": (tens, lambda: kafka_python_frames(servers, tens, FRAME_TICKS)),
        "ingestor, 5 a payload": (messages, lambda: through_the_ingestor(servers, messages, 5, folder)),
        "ingestor, 500 a payload": (messages, lambda: through_the_ingestor(servers, messages, 500, folder)),
        "alpaca-py raw, 500 a payload": (messages, lambda: through_alpaca(messages, 500, raw=True)),
    }
    measured = {}
    for name, (count, way) in ways.items():
        measured[name] = _rate(way(), count)
        print(f"{name:<34} {measured[name]['wall']:>10,.0f} messages/s {measured[name]['cpu']:>12,.0f} per CPU second", flush=True)
    return measured


def soak(servers: str, seconds: int, rate: int, folder: Path) -> dict[str, float]:
    """A steady rate: what arrived, and the slope of the ingestor's memory over the second half, by least squares."""
    declare(servers)
    messages, samples = seconds * rate, []
    with market(messages, rate // 100, rate) as (port, go), ingestor(servers, port, folder / "soak.log") as (process, metrics):
        go.set()
        _until(lambda: _ticks(metrics) > 0, "the first ticks", 60)
        began_s = time.monotonic()
        while time.monotonic() - began_s < seconds + 30 and _ticks(metrics) < messages:
            samples.append((time.monotonic() - began_s, process.memory_info().rss))
            time.sleep(1)
        cpu_s, elapsed_s = _cpu_s(process), time.monotonic() - began_s
    times, sizes = (np.array(column, float) for column in zip(*samples, strict=True))
    late = times > times[-1] / 2
    slope = float(np.polyfit(times[late], sizes[late], 1)[0])
    held = kept(servers)
    return {
        "sent": messages,
        "distinct in Kafka": len(set(held)),
        "lost": messages - len(set(held)),
        "doubled": len(held) - len(set(held)),
        "ticks/s": messages / elapsed_s,
        "CPU share of a core": cpu_s / elapsed_s,
        "memory at the end, MB": sizes[-1] / 1e6,
        "memory slope, kB/min": slope * 60 / 1e3,
    }


def kept(servers: str) -> list[int]:
    """Trade ids that the topics hold."""
    names = [topics.ticks(f"sector-{number}") for number in range(SECTORS)]
    reader, ids = KafkaReader(servers, names, client_id="bench"), []
    ends = reader.end_offsets()
    while any(reader.position(place) < end for place, end in ends.items()):
        for record in reader.poll(1.0):
            event = decode_tick_record(record.value or b"")
            if isinstance(event, TickFrame):
                ids += event.ticks["trade_id"].tolist()
    reader.close()
    return ids


def main() -> None:
    """Print the table, or the soak's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000)
    parser.add_argument("--soak-s", type=int, default=0)
    parser.add_argument("--rate", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name, broker(Path(name)) as servers:
        if options.soak_s:
            result: dict[str, Any] = soak(servers, options.soak_s, options.rate, Path(name))
        else:
            result = rates(servers, options.messages, Path(name))
    for what, figures in result.items():
        if not isinstance(figures, dict):
            print(f"{what:<24} {figures:>14,.1f}")


def _rate(seconds: tuple[float, float], count: int) -> dict[str, float]:
    return {"wall": count / seconds[0], "cpu": count / seconds[1]}


def _ticks(metrics: str) -> int:
    """Ticks that the ingestor has published."""
    return _sum(metrics, "tandem_ingestor_ticks_total{")


def _sum(metrics: str, series: str) -> int:
    """Over the labels of a series; 0 while nobody answers."""
    try:
        text = httpx.get(metrics, timeout=5).text
    except httpx.TransportError:
        return 0
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series)))


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def _until(condition: Callable[[], bool], what: str, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"waited {limit_s} s in vain for {what}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp4"))


if __name__ == "__main__":
    main()
