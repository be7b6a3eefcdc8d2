"""Small models and prices for tests: a cointegrated market by seed, a bundle written by hand, tiny training options."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Bar, BarSet
from tandem.quant.bundle import Bundle, Calibration, PairModel, PairStart
from tandem.quant.features import FEATURES
from tandem.quant.panel import Panel
from tandem.quant.volatility import Kind, Shocks, Volatility
from tandem.trainer.options import TrainingOptions, load_options

CONFIG = Path(__file__).parents[1] / "config"
DAY_NS = 86_400_000_000_000
SEQUENCE = 10


def pair_model(leg_a: str = "KO", leg_b: str = "PEP", *, slots: int = 1, beta: float = 0.8) -> PairModel:
    """A pair with plain numbers; its window is all zeros."""
    return PairModel(
        pair=PairId(f"{leg_a}-{leg_b}"),
        leg_a=Symbol(leg_a),
        leg_b=Symbol(leg_b),
        beta=beta,
        mu=0.1,
        spread_sd=0.05,
        intercept=0.0004,
        phi=0.95,
        half_life_bars=13.5,
        volatility=Volatility(
            kind=Kind.GARCH, shocks=Shocks.STUDENT_T, omega=0.05, alpha=0.1, gamma=0.0, beta=0.85, nu=6.0, skew=None, scale=0.01
        ),
        profile=tuple(np.linspace(2.0, 0.5, slots).tolist()) if slots > 1 else (1.0,),
        leg_scales=(0.012, 0.009),
        start=PairStart(
            spread=0.01,
            variance=1.1,
            missed=0,
            levels=(1.2, 0.9),
            leg_logs=(4.1, 5.0),
            leg_levels=(1.0, 1.0),
            bars=500,
            window=((0.0,) * len(FEATURES),) * SEQUENCE,
        ),
    )


def bundle_of(*pairs: PairModel, onnx: bytes = b"graph", trained_to_ns: int = 0, shrink: float = 1.0) -> Bundle:
    """A bundle of these pairs, or of one."""
    return Bundle(
        sector=SectorId("consumer"),
        bar="1d",
        trained_from_ns=-DAY_NS,
        trained_to_ns=trained_to_ns,
        holdout_from_ns=-DAY_NS // 2,
        data_digest="0" * 64,
        seed=1,
        horizon_bars=5,
        cost_bps=5.0,
        features=FEATURES,
        feature_mean=(0.1,) * len(FEATURES),
        feature_sd=(1.5,) * len(FEATURES),
        sequence=SEQUENCE,
        calibration=Calibration(shrink=shrink, slope=1.2, intercept=-0.3),
        pairs=pairs or (pair_model(),),
        tests=(),
        rejections=(),
        metrics={"holdout_qlike_garch": 1.5},
        settings={"refit": True},
        onnx=onnx,
    )


def bar_set(close_ns: int, prices: dict[str, float], *, slot: int = 0, number: int | None = None, next_slot: int = 0) -> BarSet:
    """A set with one bar per symbol that closes at this price; numbered by its day unless said otherwise."""
    bars = {
        Symbol(name): Bar(symbol=Symbol(name), open_ns=close_ns - 1, close_ns=close_ns, open=p, high=p, low=p, close=p, volume=1, trades=1)
        for name, p in prices.items()
    }
    number = close_ns // DAY_NS if number is None else number
    return BarSet(close_ns=close_ns, bars=bars, session_ns=close_ns - 1, slot=slot, number=number, next_slot=next_slot)


def market(bars: int = 700, *, seed: int = 1, symbols: tuple[str, ...] = ("AAA", "BBB", "CCC"), phi: float = 0.9, slots: int = 1) -> Panel:
    """Prices of which the first two are cointegrated (spread AR(1) with `phi` and GARCH innovations) and the others random walks."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(0.01 * rng.standard_normal((bars, len(symbols))), axis=0) + 4.0
    spread, variance, shock = 0.0, 1.0, 0.0
    for t in range(bars):
        variance = 0.05 + 0.1 * shock**2 + 0.85 * variance
        shock = float(np.sqrt(variance) * rng.standard_t(6) * np.sqrt(4 / 6))
        spread = phi * spread + 0.008 * shock
        walks[t, 0] = 0.7 * walks[t, 1] + 1.0 + spread
    times = np.arange(bars)
    close_ns = (times // slots + 1) * DAY_NS + (times % slots + 1) * (DAY_NS // (2 * slots))
    return panel_of_closes(close_ns, np.exp(walks), symbols=symbols, slots=slots)


def panel_of_closes(close_ns: np.ndarray, close: np.ndarray, *, symbols: tuple[str, ...], slots: int = 1) -> Panel:
    """A panel of these closes (T, S) without a missing bar."""
    times = np.arange(len(close_ns), dtype=np.int64)
    return Panel(
        symbols=tuple(map(Symbol, symbols)),
        close_ns=close_ns.astype(np.int64),
        slot=times % slots,
        number=times,
        next_slot=(times + 1) % slots,
        close=close,
    )


def bar_sets(panel: Panel) -> list[BarSet]:
    """The panel as the BarSets that would have made it."""
    sets = []
    columns = (panel.close_ns, panel.slot, panel.number, panel.next_slot)
    for row, close_ns, slot, number, next_slot in zip(panel.close.tolist(), *(column.tolist() for column in columns), strict=True):
        prices = {name: price for name, price in zip(panel.symbols, row, strict=True) if not np.isnan(price)}
        sets.append(bar_set(close_ns, prices, slot=slot, number=number, next_slot=next_slot))
    return sets


def with_gaps(panel: Panel, *, seed: int, share: float) -> Panel:
    """The panel with some prices missing."""
    missing = np.random.default_rng(seed).random(panel.close.shape) < share
    return replace(panel, close=np.where(missing, np.nan, panel.close))


def tiny_options(**network: float) -> TrainingOptions:
    """The product's options with a network that trains in a second."""
    options = load_options(CONFIG / "training.yaml")
    small = {"hidden": 8, "epochs_max": 3, "batches_per_epoch_max": 10, "members": 1} | network
    return options.model_copy(update={"network": options.network.model_copy(update=small)})
