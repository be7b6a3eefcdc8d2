"""What the metrics cost the forecaster: python benchmarks/metrics_overhead.py

The pump's own loop takes the same frames and heartbeats twice, minute by minute in turn: with its series as in service, and with series
that do nothing. CPU time of the thread, which other work on the machine changes little. Kafka is left out on both sides, so that the
share is rather too large. To it comes what a scrape costs the same process, four times a minute.
"""

import gc
import os
import shutil
import tempfile
import time
from types import SimpleNamespace

# In service BentoML switches prometheus_client to files that processes share, the dearer of its two ways. Chosen when it is imported.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="tandem-metrics-")

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

import forecast_step as steps
from tandem.adapters import telemetry, topics
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.forecaster.main import GC_THRESHOLDS
from tandem.forecaster.pump import Pump
from tandem.ports import LogRecord
from tandem.trainer.onnx_graph import onnx_graph

PAIRS, TICKS, WARM_MINUTES = 100, 20_000, 10
MINUTES = 1_010  # a minute's pair differs by a tenth on a busy machine: with fewer the interval is as wide as what is allowed
POLL_RECORDS = 8  # a poll that finds so few is one of a forecaster that keeps up; more of them make the share smaller
SCRAPE_S = 15.0  # of the chart's monitors
ALLOWED = 0.02
_REAL = {name: getattr(telemetry, name) for name in ("counter", "gauge", "histogram")}


class NoSeries:
    """A series that does nothing."""

    def labels(self, **_: str) -> "NoSeries":
        """Itself."""
        return self

    def inc(self, _: float = 1) -> None:
        """Nothing."""

    set = observe = inc

    def set_to_current_time(self) -> None:
        """Nothing."""


class Swallow:
    """In the place of Kafka: takes what is published."""

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        """Nothing."""


def _switch(*, with_series: bool) -> None:
    """What our code gets when it asks for a series."""
    nothing = NoSeries()
    for name, real in _REAL.items():
        setattr(telemetry, name, real if with_series else lambda _: nothing)


class Log:
    """In the place of Kafka: gives the records of a minute in polls of at most so many, and takes what is published."""

    def __init__(self, records: list[LogRecord]) -> None:
        self._polls = [records[at : at + POLL_RECORDS] for at in range(0, len(records), POLL_RECORDS)]

    def __bool__(self) -> bool:
        return bool(self._polls)

    def poll(self, _: float) -> list[LogRecord]:
        """The next ones."""
        return self._polls.pop(0)

    def lag(self) -> int:
        """None is left behind."""
        return 0

    def publish(self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: dict[str, bytes] | None = None) -> None:
        """Taken."""


def pump_of(model: steps.SectorModel, *, with_series: bool) -> Pump:
    """One that has caught up and publishes all shards."""
    _switch(with_series=with_series)
    pump = Pump(servers="", model=model, past_bars=lambda *_: ())
    pump._caught_up, pump._live_from_ns = True, 1
    return pump


def minute_records(number: int, names: tuple[steps.Symbol, ...], size: int, offset: int) -> list[LogRecord]:
    """The frames of a minute and the heartbeat that ends it."""
    values = [*steps.records(names, steps.minute(number, names, TICKS), size), steps.heartbeat(number)]
    headers = {topics.HEADER_INGESTED: time.time_ns().to_bytes(8, "little")}
    return [
        LogRecord(topic="ticks", partition=0, offset=offset + at, key=None, value=value, headers=headers) for at, value in enumerate(values)
    ]


def cpu_s(pump: Pump, records: list[LogRecord], *, with_series: bool) -> float:
    """CPU time of a minute."""
    shares = SimpleNamespace(owned=frozenset({0}), publishes=lambda *_: True, follow=lambda _: None, reached=lambda _: None, alive=("me",))
    pump._shares = shares  # type: ignore[assignment]
    log = Log(records)
    _switch(with_series=with_series)
    began_s = time.thread_time()
    while log:
        pump._turn(log, log, shares)  # type: ignore[arg-type]
    return time.thread_time() - began_s


def measure(model: steps.SectorModel, size: int) -> tuple[float, float, float]:
    """(ticks a second without series, what series add as a share: median, and half the width of its 95 % interval)."""
    names = tuple(sorted({leg for pair in model.bundle.pairs for leg in (pair.leg_a, pair.leg_b)}))
    pumps = {on: pump_of(model, with_series=on) for on in (True, False)}
    shares, plain_s, offset = [], [], 0
    for number in range(MINUTES):
        records = minute_records(number, names, size, offset)
        offset += len(records)
        first_on = number % 2 == 0  # who comes second finds warm caches
        times = {on: cpu_s(pumps[on], records, with_series=on) for on in (first_on, not first_on)}
        if number >= WARM_MINUTES:
            shares.append(times[True] / times[False] - 1)
            plain_s.append(times[False])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(shares, (2000, len(shares))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return TICKS / float(np.median(plain_s)), float(np.median(shares)), float(high - low) / 2


def scrape_s() -> float:
    """CPU time of one answer to Prometheus, as BentoML makes it."""
    times = []
    for _ in range(30):
        registry = CollectorRegistry()
        began_s = time.thread_time()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
        times.append(time.thread_time() - began_s)
    assert b"tandem_forecaster_ticks_total" in text, "the scrape shows the series that were counted"
    return float(np.median(times))


def main() -> int:
    """Print the table; 1 if the metrics cost more than they may."""
    gc.set_threshold(*GC_THRESHOLDS)
    model = steps.sector_model(PAIRS, 2 * PAIRS, OnnxNetwork(onnx_graph(steps.weights(), steps.SEQUENCE)))
    print(f"{PAIRS} pairs, {TICKS:,} ticks a minute, {MINUTES - WARM_MINUTES} minutes of each kind in turn; allowed are {ALLOWED:.0%}")
    rows = {size: measure(model, size) for size in (100, 1_000)}
    scrape = scrape_s()
    worst = 0.0
    for size, (rate, added, width) in rows.items():
        total = max(added, 0.0) + scrape / SCRAPE_S
        worst = max(worst, total)
        print(
            f"frames of {size:5,d}: {rate:9,.0f} ticks/s without series; series add {added:6.2%} +- {width:.2%}, with scrapes {total:.2%}"
        )
    print(f"a scrape: {1e3 * scrape:.2f} ms, every {SCRAPE_S:.0f} s: {scrape / SCRAPE_S:.3%} of the process")
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    return int(worst >= ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())
