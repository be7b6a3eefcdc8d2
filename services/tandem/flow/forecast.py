"""Bars to forecasts: the state of every pair of a sector and how a bar moves it. Forward filter only, O(1) per bar.

Live, replay and backtest run this `step`; it starts from the state that the bundle carries from the end of training. Does not know where
bars come from, nor who acts on a forecast.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.domain.forecasts import FORECAST_FIELDS, Forecast, forecasts_of
from tandem.domain.ids import Symbol
from tandem.domain.market import BarColumns, BarSet
from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES, FilterState, PairArrays, Step, Vector, advance, pair_arrays, scaled, started
from tandem.quant.hybrid import hybrid
from tandem.quant.network import Network, Outputs

_FIXED = ("pair", "leg_a", "leg_b", "beta", "mu", "half_life_bars")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTable:
    """What does not change while a version runs: parameters of P pairs, and which of S symbols are their legs."""

    bundle: Bundle
    arrays: PairArrays
    symbols: dict[Symbol, int]
    leg_a: NDArray[np.intp]  # (P,)
    leg_b: NDArray[np.intp]
    fixed: dict[str, list[Any]]  # (P,) each: what every forecast of a pair repeats, by field
    feature_mean: Vector  # (F,)
    feature_sd: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForecastState:
    """The filter's state after the last bar. Arrays are never changed in place."""

    table: PairTable
    close_ns: int  # bars up to this one have been taken in
    number: int | None  # of that bar in the grid; None where training ended outside the grid: the first bar then counts as the next one
    filter: FilterState
    window: NDArray[np.float32]  # (P, sequence, F) scaled
    bars: NDArray[np.int64]  # (P,) since the end of training
    last: "tuple[Step, tuple[Vector, Vector]] | None"  # what the last bar gave, and its prices
    shown: NDArray[np.int64]  # (P,) forecasts that came out
    withheld: NDArray[np.int64]  # (P,) bars in which both legs traded and no finite forecast came out


def initial_forecasts(bundle: Bundle, number: int | None = None) -> ForecastState:
    """The state at the end of training; number: of its last bar in the grid that is served.

    Raises ValueError for a bundle with another feature schema.
    """
    if bundle.features != FEATURES:
        raise ValueError(f"the bundle has features {bundle.features}, this version computes {FEATURES}")
    symbols = {symbol: i for i, symbol in enumerate(sorted({leg for p in bundle.pairs for leg in (p.leg_a, p.leg_b)}))}
    table = PairTable(
        bundle=bundle,
        arrays=pair_arrays(bundle.pairs),
        symbols=symbols,
        leg_a=np.array([symbols[p.leg_a] for p in bundle.pairs], dtype=np.intp),
        leg_b=np.array([symbols[p.leg_b] for p in bundle.pairs], dtype=np.intp),
        fixed={name: [getattr(pair, name) for pair in bundle.pairs] for name in _FIXED},
        feature_mean=np.array(bundle.feature_mean),
        feature_sd=np.array(bundle.feature_sd),
    )
    return ForecastState(
        table=table,
        close_ns=bundle.trained_to_ns,
        number=number,
        filter=started(bundle.pairs),
        window=np.array([p.start.window for p in bundle.pairs], dtype=np.float32),
        bars=np.zeros(len(bundle.pairs), dtype=np.int64),
        last=None,
        shown=np.zeros(len(bundle.pairs), dtype=np.int64),
        withheld=np.zeros(len(bundle.pairs), dtype=np.int64),
    )


def step(
    state: ForecastState, bar_set: BarSet, network: Network, wanted: NDArray[np.bool_] | None = None
) -> tuple[ForecastState, tuple[Forecast, ...]]:
    """The forecasts of the pairs whose two legs traded in this bar. A bar that is not after the last one taken in is ignored.

    So is one up to the end of training, which the initial state has seen. A pair whose numbers leave the finite range is withheld and
    counted: with a bad price its state stays as it was. wanted: (P,) pairs to forecast, None for all; the state of every pair moves, so
    that another process can forecast the others, and this one can go on with them when that one is gone.
    """
    if bar_set.close_ns <= state.close_ns:
        return state, ()
    table = state.table
    close = _closes(table, bar_set)
    price_a, price_b = close[table.leg_a], close[table.leg_b]
    traded = ~(np.isnan(price_a) | np.isnan(price_b))
    passed = 1 if state.number is None else bar_set.number - state.number
    moved = advance(table.arrays, state.filter, prices=(price_a, price_b), slot=bar_set.slot, next_slot=bar_set.next_slot, passed=passed)
    after = replace(_taken_in(state, moved, bar_set), last=(moved, (price_a, price_b)))
    rows = np.flatnonzero(moved.valid if wanted is None else moved.valid & wanted)
    forecasts = _forecasts(after, moved, rows, outputs=network(after.window[rows]), prices=(price_a, price_b)) if len(rows) else {}
    shown = np.zeros(len(traded), dtype=bool)
    shown[list(forecasts)] = True
    missing = traded & ~shown if wanted is None else traded & ~shown & wanted
    return replace(after, shown=state.shown + shown, withheld=state.withheld + missing), tuple(forecasts.values())


def recalled(state: ForecastState, row: int, network: Network) -> Forecast | None:
    """The last bar's forecast of a pair that was not wanted then: what its step would have given. None: it had none."""
    if state.last is None or not state.last[0].valid[row]:
        return None
    moved, prices = state.last
    rows = np.array([row])
    return _forecasts(state, moved, rows, outputs=network(state.window[rows]), prices=prices).get(row)


def _closes(table: PairTable, bar_set: BarSet) -> Vector:
    """(S,) of the table's symbols; NaN: no trade in this bar. The last place takes what no pair of the table has."""
    close = np.full(len(table.symbols) + 1, np.nan)
    if isinstance(bar_set.bars, BarColumns):
        places = [table.symbols.get(symbol, -1) for symbol in bar_set.bars.symbols]
        close[places] = bar_set.bars.closes
    else:
        for symbol, bar in bar_set.bars.items():
            close[table.symbols.get(symbol, -1)] = bar.close
    return close[:-1]


def _taken_in(state: ForecastState, moved: Step, bar_set: BarSet) -> ForecastState:
    valid, table = moved.valid, state.table
    window = state.window.copy()
    window[valid, :-1] = state.window[valid, 1:]
    window[valid, -1] = scaled(moved.rows[valid], table.feature_mean, table.feature_sd)
    return replace(
        state,
        close_ns=bar_set.close_ns,
        number=bar_set.number,
        filter=moved.state,
        window=window,
        bars=state.bars + valid,
    )


def _forecasts(
    state: ForecastState, moved: Step, rows: NDArray[np.intp], *, outputs: Outputs, prices: tuple[Vector, Vector]
) -> dict[int, Forecast]:
    """Forecasts by row, without those that are not finite."""
    bundle = state.table.bundle
    variance, probability = hybrid(bundle.calibration, moved.garch_variance[rows], outputs)
    sound = np.isfinite(variance) & (variance > 0) & np.isfinite(probability)
    rows = rows[sound]
    # Columns of Python numbers: picking hundreds of them out of arrays one by one takes longer than the filter.
    numbers = {"price_a": prices[0], "price_b": prices[1], "spread": moved.spread, "expected_spread": moved.expected_spread, "z": moved.z}
    columns = {name: column[rows].tolist() for name, column in (numbers | {"garch_variance": moved.garch_variance}).items()}
    columns |= {"variance": variance[sound].tolist(), "reversion_probability": probability[sound].tolist()}
    columns["bar_index"] = (state.bars[rows] - 1).tolist()
    places = rows.tolist()
    for name, fixed in state.table.fixed.items():
        columns[name] = [fixed[place] for place in places]
    return dict(zip(places, forecasts_of([columns[name] for name in FORECAST_FIELDS]), strict=True))
