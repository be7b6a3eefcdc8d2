"""Cost of the serving step per bar and of the network per call. Run: python benchmarks/forecast_step.py

Prints medians; what they are compared with is measured in the same run.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tandem.adapters.onnx_network import CHUNK_ROWS, OnnxNetwork
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Bar, BarSet
from tandem.flow.forecast import initial_forecasts, step
from tandem.quant.bundle import Bundle, Calibration, PairModel, PairStart
from tandem.quant.features import FEATURES
from tandem.quant.gru import Weights, predict
from tandem.quant.network import neutral
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


def bundle(pairs: int) -> Bundle:
    """A sector of so many pairs."""
    legs = [(f"A{chr(65 + i // 26)}{chr(65 + i % 26)}", f"B{chr(65 + i // 26)}{chr(65 + i % 26)}") for i in range(pairs)]
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


def bar(close_ns: int, model: Bundle, rng: np.random.Generator) -> BarSet:
    """A bar in which all legs traded."""
    legs = [leg for pair in model.pairs for leg in (pair.leg_a, pair.leg_b)]
    template = Bar(symbol=Symbol("X"), open_ns=0, close_ns=close_ns, open=1, high=1, low=1, close=1, volume=1, trades=1)
    prices = np.exp(4 + 0.01 * rng.standard_normal(len(legs)))
    bars = {leg: replace(template, symbol=leg, close=price) for leg, price in zip(legs, prices.tolist(), strict=True)}
    return BarSet(close_ns=close_ns, bars=bars, session_ns=0, slot=close_ns % 390, number=close_ns, next_slot=(close_ns + 1) % 390)


def median_us(call: Callable[[], object], repeats: int = 400) -> float:
    """Of one call, after a warm-up."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times[repeats // 10 :])) / 1e3


def main() -> None:
    """Print the table."""
    network, rng = OnnxNetwork(onnx_graph(weights(), SEQUENCE)), np.random.default_rng(1)
    print(f"network, {SEQUENCE} x {len(FEATURES)} -> 2, chunks of {CHUNK_ROWS} rows")
    for rows in (1, CHUNK_ROWS, 10 * CHUNK_ROWS):
        windows = rng.standard_normal((rows, SEQUENCE, len(FEATURES))).astype(np.float32)
        served, reference = median_us(lambda w=windows: network(w)), median_us(lambda w=windows: predict(weights(), w), 100)
        print(f"  {rows:4d} rows  ONNX Runtime {served:8.1f} us   torch, weights loaded each time {reference:9.1f} us")
    print("step of a sector, all pairs advance")
    for pairs in (1, 10, 100):
        model = bundle(pairs)
        bars = [bar(t, model, rng) for t in range(1, 301)]
        for name, used in (("with the network", network), ("without", neutral)):
            state, times = initial_forecasts(model), []
            for item in bars:
                start = time.perf_counter_ns()
                state, _ = step(state, item, used)
                times.append(time.perf_counter_ns() - start)
            print(f"  {pairs:4d} pairs {name:17s} {np.median(times) / 1e3:8.1f} us a bar, p99 {np.quantile(times, 0.99) / 1e3:8.1f} us")


if __name__ == "__main__":
    main()
