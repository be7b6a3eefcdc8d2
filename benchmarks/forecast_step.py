"""Cost of the serving step, of its network per call and of its ticks: python benchmarks/forecast_step.py

Prints medians of CPU time, which other work on the machine changes little; what they are compared with is measured in the same run.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tandem.adapters.codec import decode_tick_record, encode_forecasts, encode_frame, encode_heartbeat
from tandem.adapters.onnx_network import CHUNK_ROWS, OnnxNetwork
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickArray, TickFrame
from tandem.flow.sector import SectorModel, initial_sector
from tandem.flow.sector import step as sector_step
from tandem.forecaster.main import GC_THRESHOLDS
from tandem.quant.bundle import Bundle, Calibration, PairModel, PairStart
from tandem.quant.features import FEATURES
from tandem.quant.gru_weights import Weights
from tandem.quant.network import Network, neutral
from tandem.quant.volatility import Kind, Shocks, Volatility
from tandem.trainer.onnx_graph import onnx_graph

HIDDEN, SEQUENCE = 64, 10


def weights() -> Weights:
    """Of the product's size."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    return Weights(
        input=normal(3 * HIDDEN, len(FEATURES)),
        recurrent=normal(3 * HIDDEN, HIDDEN),
        input_bias=normal(3 * HIDDEN),
        recurrent_bias=normal(3 * HIDDEN),
        head=normal(2, HIDDEN),
        head_bias=normal(2),
    )


def symbols(count: int) -> tuple[Symbol, ...]:
    """So many names, ascending."""
    return tuple(Symbol(f"S{i:04d}") for i in range(count))


def bundle(pairs: int, of: int = 0) -> Bundle:
    """A sector of so many pairs, of so many symbols; 0: two for each pair."""
    names = symbols(of or 2 * pairs)
    near = [(names[i], names[i + step]) for step in range(1, len(names)) for i in range(len(names) - step)]
    legs = near[:pairs] if of else list(zip(names[::2], names[1::2], strict=True))
    return Bundle(
        sector=SectorId("bench"),
        bar="1min",
        trained_from_ns=-2,
        trained_to_ns=0,
        holdout_from_ns=-1,
        data_digest="",
        seed=0,
        horizon_bars=5,
        cost_bps=5.0,
        features=FEATURES,
        feature_mean=(0.0,) * len(FEATURES),
        feature_sd=(1.0,) * len(FEATURES),
        sequence=SEQUENCE,
        calibration=Calibration(shrink=1.0, slope=1.0, intercept=0.0),
        pairs=tuple(
            PairModel(
                pair=PairId(f"{a}-{b}"),
                leg_a=Symbol(a),
                leg_b=Symbol(b),
                beta=1.0,
                mu=0.0,
                spread_sd=0.05,
                intercept=0.0,
                phi=0.95,
                half_life_bars=13.5,
                volatility=Volatility(
                    kind=Kind.GARCH, shocks=Shocks.STUDENT_T, omega=0.05, alpha=0.1, gamma=0.0, beta=0.85, nu=6.0, skew=None, scale=0.01
                ),
                profile=(1.0,) * 390,
                leg_scales=(0.01, 0.01),
                start=PairStart(
                    spread=0.0,
                    variance=1.0,
                    missed=0,
                    levels=(1.2, 0.9),
                    leg_logs=(4.1, 5.0),
                    leg_levels=(1.0, 1.0),
                    bars=500,
                    window=((0.0,) * len(FEATURES),) * SEQUENCE,
                ),
            )
            for a, b in legs
        ),
        tests=(),
        rejections=(),
        metrics={},
        settings={},
        onnx=b"",
    )


MINUTE_NS = 60_000_000_000
GRID = SessionGrid(open_ns=np.array([1]), close_ns=np.array([1 + 1440 * MINUTE_NS]), bar_ns=MINUTE_NS)


def sector_model(pairs: int, of: int, network: Network) -> SectorModel:
    """A version of such a sector, with minute bars."""
    return SectorModel(bundle=bundle(pairs, of), ref=ModelRef(name="m", version="1", digest="d"), network=network, grid=GRID)


def minute(number: int, names: tuple[Symbol, ...], count: int) -> TickArray:
    """Random trades of one minute, in which every symbol trades."""
    rng = np.random.default_rng(number)
    ticks = np.zeros(count, TICK_DTYPE)
    ticks["event_ns"] = 1 + number * MINUTE_NS + np.sort(rng.integers(0, MINUTE_NS, count))
    ticks["symbol"], ticks["kind"], ticks["size"] = rng.permutation(np.arange(count) % len(names)), KIND_TRADE, 100
    ticks["trade_id"], ticks["price"] = number * count + np.arange(count), np.exp(4 + 0.01 * rng.standard_normal(count))
    return ticks


def records(names: tuple[Symbol, ...], ticks: TickArray, size: int) -> list[bytes]:
    """As frames of at most so many ticks."""
    stream = {"sector": SectorId("bench"), "source": Source.LIVE, "replay_id": "", "symbols": names}
    return [encode_frame(TickFrame(**stream, ticks=ticks[start : start + size])) for start in range(0, len(ticks), size)]


def heartbeat(number: int) -> bytes:
    """The end of a minute."""
    stream = {"sector": SectorId("bench"), "source": Source.LIVE, "replay_id": ""}
    return encode_heartbeat(Heartbeat(**stream, watermark_ns=1 + (number + 1) * MINUTE_NS))


def serve(model: SectorModel, size: int, *, count: int = 20_000, minutes: int = 30) -> tuple[float, float, float]:
    """(ticks a second from record to state, ms of CPU from heartbeat to encoded batch: median and 99th percentile)."""
    names = tuple(sorted({leg for pair in model.bundle.pairs for leg in (pair.leg_a, pair.leg_b)}))
    state, frames_s, bars_s = initial_sector(model), 0.0, []
    for number in range(minutes):
        frames = records(names, minute(number, names, count), size)
        start = time.thread_time()
        for record in frames:
            state, _ = sector_step(model, state, decode_tick_record(record))
        frames_s += time.thread_time() - start
        start = time.thread_time()
        state, batches = sector_step(model, state, decode_tick_record(heartbeat(number)))
        for batch in batches:
            encode_forecasts(batch)
        bars_s.append(time.thread_time() - start)
        assert len(batches[0].forecasts) == len(model.bundle.pairs)
    return minutes * count / frames_s, 1e3 * float(np.median(bars_s)), 1e3 * float(np.quantile(bars_s, 0.99))


def python_ticks_s(count: int = 20_000) -> float:
    """Ticks a second of the same aggregation, one tick at a time in Python: the peer of the columns."""
    names = symbols(200)
    rows = minute(0, names, count).tolist()
    start, bars = time.thread_time(), {}
    for _, _, price, size, symbol, _, _ in rows:
        found = bars.get(symbol)
        if found is None:
            bars[symbol] = [price, price, price, price, size, 1]
        else:
            found[1], found[2], found[3] = max(found[1], price), min(found[2], price), price
            found[4] += size
            found[5] += 1
    return count / (time.thread_time() - start)


def median_us(call: Callable[[], object], repeats: int = 400) -> float:
    """Of one call, after a warm-up."""
    times = []
    for _ in range(repeats):
        start = time.thread_time_ns()
        call()
        times.append(time.thread_time_ns() - start)
    return float(np.median(times[repeats // 10 :])) / 1e3


def main() -> None:
    """Print the table."""
    from tandem.quant.gru import predict  # noqa: PLC0415 torch, which no forecaster has in memory

    gc.set_threshold(*GC_THRESHOLDS)
    network, rng = OnnxNetwork(onnx_graph(weights(), SEQUENCE)), np.random.default_rng(1)
    print(f"network, {SEQUENCE} x {len(FEATURES)} -> 2, chunks of {CHUNK_ROWS} rows")
    for rows in (1, CHUNK_ROWS, 10 * CHUNK_ROWS):
        windows = rng.standard_normal((rows, SEQUENCE, len(FEATURES))).astype(np.float32)
        served, reference = median_us(lambda w=windows: network(w)), median_us(lambda w=windows: predict(weights(), w), 100)
        print(f"  {rows:4d} rows  ONNX Runtime {served:8.1f} us   torch, weights loaded each time {reference:9.1f} us")
    print(f"one tick at a time in Python: {python_ticks_s():12,.0f} ticks/s into bars of 200 symbols, nothing else")
    print("record to forecast state, and heartbeat to encoded batch; all pairs advance")
    for pairs, of in ((1, 2), (100, 200), (1_000, 500), (5_000, 500)):
        model = sector_model(pairs, of, network)
        for size in (100, 1_000) if pairs > 1 else (100,):
            rate, median, p99 = serve(model, size)
            print(
                f"  {pairs:5,d} pairs, {of:3d} symbols, frames of {size:5,d}: {rate:11,.0f} ticks/s  bar {median:.2f} ms, p99 {p99:.2f} ms"
            )
        if pairs <= 1_000:
            rate, median, p99 = serve(replace(model, network=neutral), 1_000)
            print(f"        without the network: bar {median:7.2f} ms")


if __name__ == "__main__":
    main()
