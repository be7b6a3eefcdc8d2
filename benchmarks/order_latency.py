"""From a forecast to its order's POST at the broker: python benchmarks/order_latency.py [--rate 10000] [--seconds 180]

Everything real but the broker: ticks at a steady rate through Kafka into a forecaster's loop, its forecasts through Kafka into the
whole portfolio, with Postgres and Redis; orders by alpaca-py to a broker that answers at once (paper_broker.py), so
that the time is ours. 100 pairs whose spreads return as their models say, so that some open or close at nearly every bar. Event time is a
session of the exchange to come, hastened: a bar closes every half second. A POST's time is when the broker had it; its forecast's, the
stamp in the record, taken right before it was published. The bar that an order belongs to is read from the ledger.
Prints quantiles over the orders that left first, and over all: the second leg of a pair waits for the broker's answer to the first;
and where the time of the first ones goes.
"""

import argparse
import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import httpx
import numpy as np
import psutil

from forecast_step import sector_model, symbols, weights
from free_ports import free_port
from order_parts import Moments, print_parts
from paper_broker import PRICE_USD, serve
from sector_latency import BAR_S, FRAME_S
from tandem.adapters import topics
from tandem.adapters.calendar import service_grid
from tandem.adapters.codec import decode_forecasts, encode_frame, encode_heartbeat
from tandem.adapters.control_log import publish_control
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.adapters.postgres import connect
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.ids import SectorId
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.forecaster.main import GC_THRESHOLDS
from tandem.forecaster.pump import Pump
from tandem.local import kafka as local_kafka
from tandem.local import postgres as local_postgres
from tandem.local import redis as local_redis
from tandem.local.processes import Children
from tandem.trainer.onnx_graph import onnx_graph

SECTOR = SectorId("bench")
PAIRS, SYMBOLS, SEQUENCE = 100, symbols(200), 10
CAPITAL_USD = "100000000"
MINUTE_NS = 60_000_000_000
WARM_BARS = 20
MOMENTS = "moments.json"
_PHI, _SD = 0.95, 0.05  # of the spreads, as forecast_step's models have them


def sessions() -> SessionGrid:
    """The exchange's sessions from the next one on, minute bars."""
    grid = service_grid("1min", time.time_ns())
    first = int(np.searchsorted(grid.open_ns, time.time_ns() + 60 * 10**9))
    return SessionGrid(open_ns=grid.open_ns[first : first + 5], close_ns=grid.close_ns[first : first + 5], bar_ns=MINUTE_NS)


def forecaster(servers: str) -> None:
    """The child: a pump until its parent ends it."""
    gc.set_threshold(*GC_THRESHOLDS)
    model = sector_model(PAIRS, 0, OnnxNetwork(onnx_graph(weights(), SEQUENCE)))
    Pump(servers=servers, model=replace(model, grid=sessions()), past_bars=lambda *_: ()).run()


def declare(servers: str) -> None:
    """100 pairs that trade whatever the network says of them, and the version that decides."""
    create_topics(servers, [SECTOR])
    writer, model = KafkaWriter(servers, "bench"), sector_model(PAIRS, 0, lambda windows: windows)
    for pair in model.bundle.pairs:
        publish_control(writer, PairSpec(pair=pair.pair, sector=SECTOR, leg_a=pair.leg_a, leg_b=pair.leg_b, probability_min=0, stop_z=8))
    publish_control(writer, RoutingPointer(sector=SECTOR, version=model.ref.version, digest=model.ref.digest, epoch=1))
    writer.close()


def feed(servers: str, rate: int, seconds: float) -> int:
    """Publish at the rate, frame by frame, each at its time; how many bars were closed."""
    writer, rng, spread = KafkaWriter(servers, "feed"), np.random.default_rng(0), np.zeros(PAIRS)
    closes = np.concatenate([np.arange(o, c, MINUTE_NS) for o, c in zip(sessions().open_ns, sessions().close_ns, strict=True)]) + MINUTE_NS
    stream: dict[str, Any] = {"sector": SECTOR, "source": Source.PAPER, "replay_id": ""}
    bars, frames, count = int(seconds / BAR_S), int(BAR_S / FRAME_S), int(rate * FRAME_S)
    due_s = time.monotonic()
    for number, close_ns in enumerate(closes[:bars].tolist()):
        spread = _PHI * spread + _SD * np.sqrt(1 - _PHI**2) * rng.standard_normal(PAIRS)
        logs = np.log(float(PRICE_USD)) + np.stack((spread / 2, -spread / 2), axis=1).ravel()
        for frame in range(frames):
            ticks = np.zeros(count, TICK_DTYPE)
            places = (frame * count + np.arange(count)) % len(SYMBOLS)
            span_ns = MINUTE_NS // frames
            ticks["event_ns"] = close_ns - MINUTE_NS + frame * span_ns + np.arange(count) * (span_ns // count)
            ticks["symbol"], ticks["kind"], ticks["size"] = places, KIND_TRADE, 100
            ticks["trade_id"] = (number * frames + frame) * count + np.arange(count)
            ticks["price"] = np.round(np.exp(logs[places]), 2)
            while (left_s := due_s - time.monotonic()) > 0:
                time.sleep(left_s)
            writer.publish(topics.ticks(SECTOR), encode_frame(TickFrame(**stream, symbols=SYMBOLS, ticks=ticks)), headers=_stamp())
            due_s += FRAME_S
        writer.publish(topics.ticks(SECTOR), encode_heartbeat(Heartbeat(**stream, watermark_ns=close_ns)), headers=_stamp())
    writer.close()
    return bars


def _stamp() -> dict[str, bytes]:
    return {topics.HEADER_INGESTED: time.time_ns().to_bytes(8, "little")}


def publications(servers: str) -> dict[int, int]:
    """When each bar's forecasts were published, by its close."""
    reader, found = KafkaReader(servers, [topics.FORECASTS], client_id="bench"), {}
    while any(reader.position(place) < end for place, end in reader.end_offsets().items()):
        for record in reader.poll(1.0):
            close_ns = decode_forecasts(record.value or b"").bar_close_ns
            found[close_ns] = int.from_bytes(record.headers[topics.HEADER_PUBLISHED], "little")
    reader.close()
    return found


def in_session(ahead_ns: int, moments_file: Path) -> None:
    """The child: the portfolio, its clock set ahead to the session of the ticks, so that both say the same of the day."""
    now_ns = time.time_ns
    time.time_ns = lambda: now_ns() + ahead_ns
    from tandem.portfolio.main import main as run  # noqa: PLC0415 only in this child

    moments = Moments(now_ns)
    moments.follow()
    run()
    moments.write(moments_file)


@contextmanager
def portfolio(folder: Path, env: dict[str, str]) -> Iterator[psutil.Process]:
    """The whole service, with a limit on open pairs that lets all of them trade."""
    config = folder / "config"
    config.mkdir()
    text = (Path(__file__).parents[1] / "config" / "risk.yaml").read_text()
    (config / "risk.yaml").write_text(text.replace("pairs_open_max: 20", f"pairs_open_max: {PAIRS}"))
    log = folder / "portfolio.log"
    with log.open("wb") as out:
        command = [
            sys.executable,
            __file__,
            "--portfolio",
            str(int(sessions().open_ns[0]) - time.time_ns()),
            "--moments",
            str(folder / MOMENTS),
        ]
        child = subprocess.Popen(command, env=os.environ | env | {"TANDEM_CONFIG_DIR": str(config)}, stdout=out, stderr=out)
    try:
        _until_ready(f"http://127.0.0.1:{env['TANDEM_PORT']}/readyz", child, log)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(20)


def _until_ready(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if child.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"the portfolio is not ready:\n{log.read_text()[-3000:]}")


def orders(postgres_url: str) -> dict[str, tuple[int, str, str]]:
    """By client_order_id: the close of the bar that decided it, its intent and its status."""
    connection = connect(postgres_url, application="bench")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT client_order_id, decided_ns, intent_id, status FROM orders")
        return {name: (int(decided), intent, status) for name, decided, intent, status in cursor.fetchall()}


def measure(servers: str, postgres_url: str, redis_url: str, folder: Path, args: argparse.Namespace) -> None:
    """One run, and its figures."""
    declare(servers)
    port, broker_port = free_port(), free_port()
    context = multiprocessing.get_context("spawn")
    broker = context.Process(target=serve, args=(broker_port, CAPITAL_USD, SYMBOLS), daemon=True)
    broker.start()
    env = {
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": servers,
        "TANDEM_POSTGRES_URL": postgres_url,
        "TANDEM_REDIS_URL": redis_url,
        "TANDEM_SOURCE": "paper",
        "TANDEM_ALPACA_KEY_ID": "any",
        "TANDEM_ALPACA_SECRET_KEY": "any",
        "TANDEM_ALPACA_API_URL": f"http://127.0.0.1:{broker_port}",
        "TANDEM_ALPACA_STREAM_URL": f"ws://127.0.0.1:{broker_port}/stream",
        "TANDEM_ALPACA_HISTORY_URL": f"http://127.0.0.1:{broker_port}",
        "TANDEM_CAPITAL_USD": CAPITAL_USD,
        "TANDEM_BAR": "1min",
        "TANDEM_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    child = subprocess.Popen([sys.executable, __file__, "--child", servers], env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        with portfolio(folder, env) as process:
            began_s, cpu_s = time.monotonic(), _cpu_s(process)
            bars = feed(servers, args.rate, args.seconds)
            time.sleep(2)
            cpu_share = (_cpu_s(process) - cpu_s) / (time.monotonic() - began_s)
            posted = httpx.get(f"http://127.0.0.1:{broker_port}/posts", timeout=30).json()
    finally:
        child.terminate()
        child.wait(20)
        broker.kill()
        broker.join()
    published = publications(servers)
    first = report(args, bars, published, posted, orders(postgres_url))
    print_parts(folder / MOMENTS, published, first)
    print(f"  portfolio: {100 * cpu_share:.0f} % of a core")
    if args.keep_log:
        print((folder / "portfolio.log").read_text()[-4000:])


def report(
    args: argparse.Namespace, bars: int, published: dict[int, int], posted: dict[str, int], ledger: dict[str, tuple[int, str, str]]
) -> dict[int, int]:
    """Print it; the time of each bar's first POST. The first bars warm the caches and are counted, not timed."""
    warm = set(sorted(published)[:WARM_BARS])
    print(
        f"{PAIRS} pairs of {len(SYMBOLS)} symbols, {args.rate:,d} ticks/s for {args.seconds:.0f} s: {bars} bars, {len(published)} forecast"
    )
    filled = sum(status == "filled" for _, _, status in ledger.values())
    bars_acted = len({decided for decided, _, _ in ledger.values()})
    print(f"  orders in the ledger {len(ledger)}, filled {filled}, posted {len(posted)}, of {bars_acted} bars")

    rows = sorted((ledger[name][0], at_ns, ledger[name][1]) for name, at_ns in posted.items())
    timed = [(close, (at_ns - published[close]) / 1e6, intent) for close, at_ns, intent in rows if close not in warm]
    first = {close: at_ns for close, at_ns, _ in sorted(rows, reverse=True) if close not in warm}
    of_pair, of_bar = {}, {}
    for close, ms, intent in timed:
        of_pair.setdefault(intent, ms)
        of_bar.setdefault(close, ms)
    _print("forecast to the first POST of its bar", list(of_bar.values()))
    _print("forecast to the first POST of each pair", list(of_pair.values()))
    _print("forecast to every POST", [ms for _, ms, _ in timed])
    return first


def _print(what: str, values: list[float]) -> None:
    p50, p99 = np.quantile(values, (0.5, 0.99))
    print(f"  {what}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, largest {max(values):.2f} ms of {len(values)}")


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def main() -> None:
    """Start the servers, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--keep-log", action="store_true", help="print the end of the portfolio's log")
    parser.add_argument("--child", default="", help="for this program's own use, like --portfolio")
    parser.add_argument("--portfolio", type=int, default=0)
    parser.add_argument("--moments", type=Path)
    args = parser.parse_args()
    if args.child:
        forecaster(args.child)
        return
    if args.portfolio:
        in_session(args.portfolio, args.moments)
        return
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        children, ports = Children(folder), [free_port() for _ in range(4)]
        try:
            children.start(local_kafka.command(local_kafka.prepare(folder / "kafka", ports[0], ports[1], children), ports[0], children))
            place = local_postgres.locate(folder)
            local_postgres.initialise(place, children)
            children.start(local_postgres.command(place, ports[2]))
            children.start(local_redis.command(folder / "redis", ports[3]))
            children.wait_ready(["kafka", "postgres", "redis"], 120)
            local_postgres.create_databases(local_postgres.url(place, ports[2], "postgres"), (local_postgres.DATABASE,))
            measure(local_kafka.servers(ports[0]), local_postgres.url(place, ports[2]), local_redis.url(ports[3]), folder, args)
        finally:
            children.stop_all()


if __name__ == "__main__":
    main()
