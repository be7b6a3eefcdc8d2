"""Ticks at a steady rate through a real Kafka into a real forecaster: python benchmarks/sector_latency.py [--rate 10000] [--seconds 120]

A forecaster's loop (forecaster/pump.py, without HTTP) runs in a process of its own. This one writes frames as the ingestor does, each of
the ticks of 10 ms, and reads the forecasts as the portfolio does. Event time runs faster than the clock, so that a bar closes every half
second and there are enough of them for a 99th percentile. Prints how long a bar takes from the heartbeat that closes it to its forecasts'
publication, and to the portfolio's decoded batch; whether every bar and forecast came; and the forecaster's memory with its slope.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import psutil

from forecast_step import MINUTE_NS, heartbeat, minute, records, sector_model, symbols, weights
from free_ports import free_port
from tandem.adapters import topics
from tandem.adapters.codec import decode_forecasts
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.forecaster.main import GC_THRESHOLDS
from tandem.forecaster.pump import Pump
from tandem.local import kafka as local_kafka
from tandem.local.processes import Children
from tandem.trainer.onnx_graph import onnx_graph

SECTOR, SEQUENCE = "bench", 10
BAR_S, FRAME_S = 0.5, 0.01
WARM_S = 5.0


def forecaster(servers: str, pairs: int, of: int) -> None:
    """The child: a pump until its parent ends it."""
    gc.set_threshold(*GC_THRESHOLDS)
    model = sector_model(pairs, of, OnnxNetwork(onnx_graph(weights(), SEQUENCE)))
    Pump(servers=servers, model=model, past_bars=lambda *_: ()).run()


def feed(servers: str, of: int, rate: int, seconds: float) -> int:
    """Publish at the rate, frame by frame, each at its time; how many bars were closed."""
    writer, names = KafkaWriter(servers, "feed"), symbols(of)
    per_bar, frames = int(rate * BAR_S), int(BAR_S / FRAME_S)
    bars = int(seconds / BAR_S)
    due_s = time.monotonic()
    for number in range(bars):
        for record in records(names, minute(number, names, per_bar), -(-per_bar // frames)):
            _wait(due_s)
            writer.publish(topics.ticks(SECTOR), record, headers=_stamp())
            due_s += FRAME_S
        writer.publish(topics.ticks(SECTOR), heartbeat(number), headers=_stamp())
    writer.close()
    return bars


def _stamp() -> dict[str, bytes]:
    return {topics.HEADER_INGESTED: time.time_ns().to_bytes(8, "little")}


def _wait(due_s: float) -> None:
    left_s = due_s - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)


class Reader(threading.Thread):
    """Reads the forecasts; by bar how many, and the milliseconds from the heartbeat to publication and to the decoded batch."""

    def __init__(self, servers: str) -> None:
        super().__init__(daemon=True)
        self.bars: dict[int, tuple[int, float, float]] = {}
        self._reader = KafkaReader(servers, [topics.FORECASTS], client_id="read")

    def run(self) -> None:
        while True:
            for record in self._reader.poll(0.2):
                batch = decode_forecasts(record.value or b"")
                now_ns = time.time_ns()
                ingested = int.from_bytes(record.headers[topics.HEADER_INGESTED], "little")
                published = int.from_bytes(record.headers[topics.HEADER_PUBLISHED], "little")
                self.bars[batch.bar_close_ns] = (len(batch.forecasts), (published - ingested) / 1e6, (now_ns - ingested) / 1e6)


class Memory(threading.Thread):
    """The child's resident memory, once a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.mib: list[float] = []
        self._process = psutil.Process(pid)

    def run(self) -> None:
        while self._process.is_running():
            self.mib.append(self._process.memory_info().rss / 2**20)
            time.sleep(1)

    def slope(self) -> float:
        """MiB a minute over the second half."""
        half = self.mib[len(self.mib) // 2 :]
        return 60 * float(np.polyfit(np.arange(len(half)), half, 1)[0]) if len(half) > 2 else float("nan")


def measure(servers: str, args: argparse.Namespace) -> None:
    """One run, and its figures."""
    create_topics(servers, [SECTOR])
    command = [sys.executable, __file__, "--child", servers, "--pairs", str(args.pairs), "--symbols", str(args.symbols)]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        time.sleep(WARM_S)
        reader, memory = Reader(servers), Memory(child.pid)
        reader.start()
        memory.start()
        cpu_s = sum(psutil.Process(child.pid).cpu_times()[:2])
        bars = feed(servers, args.symbols, args.rate, args.seconds)
        time.sleep(1)
        cpu_s = sum(psutil.Process(child.pid).cpu_times()[:2]) - cpu_s
    finally:
        child.terminate()
        child.wait(20)
    report(args, bars, reader.bars, memory, cpu_s)


def report(args: argparse.Namespace, bars: int, got: dict[int, tuple[int, float, float]], memory: Memory, cpu_s: float) -> None:
    """Print it. The first bars warm the caches and are counted, not timed."""
    whole = sum(count == args.pairs for count, _, _ in got.values())
    ticks = int(args.rate * BAR_S) * bars
    print(f"{args.pairs} pairs of {args.symbols} symbols, {args.rate:,d} ticks/s for {args.seconds:.0f} s: {ticks:,d} ticks, {bars} bars")
    print(f"  bars that came {len(got)}, with all forecasts {whole}; lost {bars - whole}")
    timed = np.array([row[1:] for close, row in sorted(got.items()) if close > 1 + 10 * MINUTE_NS])
    for name, column in zip(("heartbeat to publication", "heartbeat to the reader's decoded batch"), timed.T, strict=True):
        p50, p99 = np.quantile(column, (0.5, 0.99))
        print(f"  {name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, largest {column.max():.2f} ms")
    print(f"  forecaster: {100 * cpu_s / args.seconds:.0f} % of a core, {memory.mib[-1]:.0f} MiB, {memory.slope():+.2f} MiB a minute")


def main() -> None:
    """Start Kafka unless one is given, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--child", default="")
    args = parser.parse_args()
    if args.child:
        forecaster(args.child, args.pairs, args.symbols)
        return
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        children = Children(Path(folder))
        try:
            port, controller = free_port(), free_port()
            children.start(local_kafka.command(local_kafka.prepare(Path(folder) / "kafka", port, controller, children), port, children))
            children.wait_ready(["kafka"], 120)
            measure(local_kafka.servers(port), args)
        finally:
            children.stop_all()


if __name__ == "__main__":
    main()
