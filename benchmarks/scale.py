"""What a whole US market would take: python benchmarks/scale.py [--usd-per-core-hour X]

Measures, in one run and in CPU time: a frame's cost by its ticks, a bar's by pairs known and pairs owned, and what the portfolio spends on
each forecast. Carries them to the market of docs/scaling.md, and simulates the minute in which they meet: frames queue before the heartbeat
that closes the bar (Lindley's recursion with the measured service times; arrivals at 10 ms, as the ingestor sends them).
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np

from forecast_step import heartbeat, minute, records, sector_model, symbols, weights
from tandem.adapters.codec import decode_forecasts, decode_tick_record, encode_forecasts
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import SHARDS, Forecast
from tandem.domain.ids import SectorId
from tandem.domain.market import TICK_DTYPE
from tandem.domain.trading import TradingMode
from tandem.flow.sector import SectorModel, initial_sector, step
from tandem.flow.shards import shards_of
from tandem.flow.signals import Case, decide
from tandem.trainer.onnx_graph import onnx_graph

SECTORS, SYMBOLS, PAIRS = 11, 500, 5_000  # the market that is asked for: pairs and symbols of each sector
PEAK_MESSAGES_S = 580_870  # of the consolidated quotation system's public record (2012/13)
FRAME_S = 0.01  # how long the ingestor gathers ticks at most
SESSION_H = 6.5
BARS = 12


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of one core, measured here."""

    frame: float  # besides its ticks
    tick: float
    known_bar: float  # a bar's, for a replica that owns none of the PAIRS
    owned_pair: float  # a bar's, for each pair owned
    decoded_forecast: float
    decided_pair: float
    bytes_of_bar: int
    rss_mib: float

    def frames(self, ticks_s: float, frame_s: float = FRAME_S) -> float:
        """Share of a core for so many ticks a second."""
        return self.frame / frame_s + self.tick * ticks_s

    def bar(self, pairs: float) -> float:
        """From the heartbeat to the encoded batches."""
        return self.known_bar + self.owned_pair * pairs


def measured() -> Costs:
    """All of them."""
    model = sector_model(PAIRS, SYMBOLS, OnnxNetwork(onnx_graph(weights(), 10)))
    model = SectorModel(bundle=model.bundle, ref=model.ref, network=model.network, grid=model.grid, shards=SHARDS)
    small, large = frame_s(model, 100), frame_s(model, 2_000)
    tick = (large - small) / 1_900
    members = [f"forecaster-{i}" for i in range(4)]
    none, quarter, whole = bar_s(model, frozenset()), bar_s(model, shards_of(members[0], members, SHARDS)), bar_s(model, None)
    owned = sum(shard in shards_of(members[0], members, SHARDS) for shard in model.shard.tolist())
    times = none[0] * 1e3, quarter[0] * 1e3, whole[0] * 1e3
    print(f"  a bar: owning none {times[0]:.1f} ms, {owned:,d} pairs {times[1]:.1f} ms, all {times[2]:.1f} ms")
    decoded, decided = portfolio_s(whole[1])
    return Costs(
        frame=small - 100 * tick,
        tick=tick,
        known_bar=none[0],
        owned_pair=(whole[0] - none[0]) / PAIRS,
        decoded_forecast=decoded,
        decided_pair=decided,
        bytes_of_bar=sum(map(len, whole[1])),
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def frame_s(model: SectorModel, size: int) -> float:
    """Of a core for a frame of so many ticks."""
    frames = records(symbols(SYMBOLS), minute(0, symbols(SYMBOLS), 40_000), size)
    state = initial_sector(model)
    start = time.thread_time()
    for record in frames:
        state, _ = step(model, state, decode_tick_record(record))
    return (time.thread_time() - start) / len(frames)


def bar_s(model: SectorModel, owned: frozenset[int] | None) -> tuple[float, list[bytes]]:
    """(median seconds of a bar, its last encoded batches)."""
    state, times, encoded = initial_sector(model), [], [b""]
    for number in range(BARS):
        for record in records(symbols(SYMBOLS), minute(number, symbols(SYMBOLS), 5_000), 1_000):
            state, _ = step(model, state, decode_tick_record(record), owned)
        start = time.thread_time()
        state, batches = step(model, state, decode_tick_record(heartbeat(number)), owned)
        encoded = [encode_forecasts(batch) for batch in batches]
        times.append(time.thread_time() - start)
    return float(np.median(times)), encoded


def portfolio_s(encoded: list[bytes]) -> tuple[float, float]:
    """Of a core for each forecast: decoding it, and the rule of its pair alone (no risk, no books, no order)."""
    start = time.thread_time()
    forecasts = [forecast for data in encoded for forecast in decode_forecasts(data).forecasts]
    decoded = (time.thread_time() - start) / len(forecasts)
    cases = [Case(forecast=f, spec=_spec(f), held=None, mode=TradingMode.ACTIVE, fresh=True) for f in forecasts]
    start = time.thread_time()
    for case in cases:
        decide(case)
    return decoded, (time.thread_time() - start) / len(cases)


def _spec(f: Forecast) -> PairSpec:
    rules = {"entry_z": 2.0, "exit_z": 0.5, "stop_z": 4.0, "probability_min": 0.5}
    return PairSpec(pair=f.pair, sector=SectorId("bench"), leg_a=f.leg_a, leg_b=f.leg_b, **rules)


def simulate_bar(costs: Costs, *, replicas: int, ticks_s: float, burst: float) -> float:
    """99th percentile of ms from the heartbeat's arrival to the encoded batches, over 500 bars of one replica.

    The last second before a bar's end has `burst` times the ticks, Poisson in each frame; what is not done yet stands before the heartbeat.
    """
    rng = np.random.default_rng(replicas)
    slots = int(2 / FRAME_S)  # the last two seconds decide: the queue is empty before
    latencies = []
    for _ in range(500):
        rates = np.full(slots, ticks_s * FRAME_S)
        rates[slots // 2 :] *= burst
        wait_s = 0.0
        for service_s in costs.frame + costs.tick * rng.poisson(rates):
            wait_s = max(0.0, wait_s + service_s - FRAME_S)
        latencies.append(1e3 * (wait_s + costs.bar(PAIRS / replicas)))
    return float(np.quantile(latencies, 0.99))


def simulate_portfolio(costs: Costs, *, replicas: int, portfolios: int) -> tuple[float, float]:
    """(median, last) of ms from the heartbeat to a pair's decision when all sectors' bars end together.

    Each portfolio has its part of the sectors and decides a sector when the last of its replicas has published.
    """
    arrives_s = costs.bar(PAIRS / replicas)
    sectors = -(-SECTORS // portfolios)
    done_s = arrives_s + np.arange(1, sectors * PAIRS + 1) * (costs.decoded_forecast + costs.decided_pair)
    return 1e3 * float(np.median(done_s)), 1e3 * float(done_s[-1])


def main() -> None:
    """Print measurements, the market's needs and the simulation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--usd-per-core-hour", type=float, default=None)
    args = parser.parse_args()
    print(f"measured on one core of this machine, {SYMBOLS} symbols and {PAIRS:,d} pairs a sector")
    costs = measured()
    per_tick = costs.tick + costs.frame / 500
    print(f"  a frame {costs.frame * 1e6:.0f} us + {costs.tick * 1e9:.0f} ns a tick: {1 / per_tick:,.0f} ticks/s in frames of 500")
    print(f"  a bar: {costs.known_bar * 1e3:.1f} ms for the pairs known + {costs.owned_pair * 1e6:.1f} us for each pair owned")
    print(f"  a sector's batches of one bar: {costs.bytes_of_bar / 1e6:.2f} MB in {SHARDS} records; the process {costs.rss_mib:,.0f} MiB")
    print(f"  portfolio, a forecast: decoded in {costs.decoded_forecast * 1e6:.1f} us, its rule {costs.decided_pair * 1e6:.1f} us")
    market(costs, args.usd_per_core_hour)


def market(costs: Costs, usd_per_core_hour: float | None) -> None:
    """What the market takes at these costs."""
    sector_s, every = PEAK_MESSAGES_S / SECTORS, SECTORS * PAIRS
    print(f"the market at its peak: {PEAK_MESSAGES_S:,d} messages/s, {sector_s:,.0f} a sector, {every:,d} pairs in minute bars")
    print("  replicas | pods | cores busy | heartbeat to batches, p99 | 10 x ticks in the last second, p99")
    for replicas in (1, 2, 4, 6, 12):
        busy = SECTORS * replicas * (costs.frames(sector_s) + costs.bar(PAIRS / replicas) / 60)
        calm = simulate_bar(costs, replicas=replicas, ticks_s=sector_s, burst=1)
        wild = simulate_bar(costs, replicas=replicas, ticks_s=sector_s, burst=10)
        print(f"  {replicas:8d} | {SECTORS * replicas:4d} | {busy:10.1f} | {calm:22.1f} ms | {wild:.1f} ms")
        if usd_per_core_hour is not None:
            print(f"      held for a session of {SESSION_H} h: {SECTORS * replicas * SESSION_H * usd_per_core_hour:,.2f} USD")
    print("  portfolios | median and last decision after the heartbeat, 4 replicas a sector")
    for portfolios in (1, 3, SECTORS):
        median, last = simulate_portfolio(costs, replicas=4, portfolios=portfolios)
        print(f"  {portfolios:10d} | {median:8.1f} ms, {last:8.1f} ms")
    ticks, forecasts = PEAK_MESSAGES_S * TICK_DTYPE.itemsize / 1e6, SECTORS * costs.bytes_of_bar / 1e6
    print(f"  Kafka: {ticks:.1f} MB/s of ticks in {SECTORS} partitions, {forecasts:.1f} MB of forecasts a bar")


if __name__ == "__main__":
    sys.exit(main())
