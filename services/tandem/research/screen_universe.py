"""What is screened: the symbols of a file or of a sector, their closes on the span that pairs are chosen on, and on the next one.

A symbol that is not fit to be tested is left out with its reason. The next span is looked at only to see what became of the pairs: whether
its prices are sound is judged apart and takes nothing out of the first span.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.calendar import bar_ns
from tandem.adapters.market_file import BAR_LENGTHS_NS, MarketData, load_market_data
from tandem.adapters.market_sectors import file_sectors
from tandem.domain.errors import BadSetting, Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.units import NS_PER_MS
from tandem.quant.quality import QualityRule, SymbolRejection, check_prices
from tandem.trainer.data import training_panel

Vector = NDArray[np.float64]

NEXT_BARS_MIN = 60  # a quarter of daily bars: on fewer the tests of the next span find nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRequest:
    """What the caller asks for. from_ns, to_ns: the span to choose on, [from_ns, to_ns), None for all that the file holds."""

    data: Path
    sector: SectorId | None
    sector_symbols: tuple[Symbol, ...]  # of the configuration, used when the file names no sectors
    bar: str
    from_ns: int | None
    to_ns: int | None
    persist_bars: int | None  # length of the next span, None for as many as the first
    bars_min: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Universe:
    """Log closes of S symbols, (T, S) on the span to choose on and (N, S) on the next one, NaN where a symbol did not trade."""

    symbols: tuple[Symbol, ...]
    sectors: Mapping[str, SectorId]
    close_ns: NDArray[np.int64]  # (T,)
    log_close: Vector
    next_ns: NDArray[np.int64]  # (N,), empty when the file holds no next span
    next_log_close: Vector  # NaN throughout for a symbol that is not sound there
    rejections: tuple[SymbolRejection, ...]
    next_rejections: tuple[SymbolRejection, ...]
    data_digest: str


def load_universe(request: ScreenRequest) -> Universe:
    """Read, cut and check. Raises BadSetting for a sector or bar that is not known, Permanent when fewer than two symbols are left."""
    data = load_market_data(request.data, drop_bad=True)
    sectors = file_sectors(request.data)
    wanted = _wanted(request, data, sectors)
    symbols, close_ns, close = closes(data, wanted, bar=request.bar)
    first = 0 if request.from_ns is None else int(np.searchsorted(close_ns, request.from_ns, side="right"))
    stop = len(close_ns) if request.to_ns is None else int(np.searchsorted(close_ns, request.to_ns, side="right"))
    end = min(len(close_ns), stop + (stop - first if request.persist_bars is None else request.persist_bars))
    rule = QualityRule.for_bar(request.bar, bars_min=request.bars_min)
    rejections = {r.symbol: r for r in data.rejections if request.sector is None or r.symbol in _named(request, sectors)}
    kept: list[int] = []
    for place, name in enumerate(symbols):
        if found := check_prices(name, close_ns[first:stop], close[first:stop, place], rule):
            rejections[name] = found
        else:
            kept.append(place)
    if len(kept) < 2:
        reasons = "; ".join(f"{r.symbol}: {r.reason}: {r.detail}" for r in list(rejections.values())[:5])
        raise Permanent(f"{request.data}: {len(kept)} symbols are fit to be tested, a pair needs 2 ({reasons or 'no others'})")
    if end - stop < NEXT_BARS_MIN:
        end = stop
    names = tuple(symbols[place] for place in kept)
    following, next_rejections = _next(close_ns[stop:end], close[stop:end, kept], names, bar=request.bar)
    return Universe(
        symbols=names,
        sectors=sectors,
        close_ns=close_ns[first:stop],
        log_close=np.log(close[first:stop, kept]),
        next_ns=close_ns[stop:end],
        next_log_close=following,
        rejections=tuple(rejections[name] for name in sorted(rejections)),
        next_rejections=next_rejections,
        data_digest=data.digest,
    )


def closes(data: MarketData, symbols: tuple[Symbol, ...], *, bar: str) -> tuple[tuple[Symbol, ...], NDArray[np.int64], Vector]:
    """The symbols, the ends of the bars (T,) and the closes (T, S).

    A file of bars of this length is such a table already; trades and shorter bars become bars as everywhere else.
    """
    if bar == data.bar:
        event_ns, row = np.unique(data.ticks["event_ns"], return_inverse=True)
        close = np.full((len(event_ns), len(data.symbols)), np.nan)
        close[row, data.ticks["symbol"]] = data.ticks["price"]
        places = [data.symbols.index(name) for name in symbols]
        some = ~np.isnan(close[:, places]).all(axis=1)
        return symbols, event_ns[some] + NS_PER_MS, close[np.ix_(some, places)]
    if data.bar is not None and BAR_LENGTHS_NS[data.bar] > bar_ns(bar):
        raise BadSetting(f"--bar {bar}: {data.path.name} holds bars of {data.bar}, which are longer")
    event_ns = data.ticks["event_ns"]
    panel, _ = training_panel(data, SectorId("screen"), symbols, bar=bar, from_ns=int(event_ns[0]), to_ns=int(event_ns[-1]) + bar_ns(bar))
    return panel.symbols, panel.close_ns, panel.close


def _named(request: ScreenRequest, sectors: Mapping[str, SectorId]) -> set[str]:
    """The symbols of the sector that is asked for, by the file's own sectors, else by the configuration's."""
    if request.sector in sectors.values():
        return {name for name, sector in sectors.items() if sector == request.sector}
    return set(request.sector_symbols)


def _wanted(request: ScreenRequest, data: MarketData, sectors: Mapping[str, SectorId]) -> tuple[Symbol, ...]:
    if request.sector is None:
        return data.symbols
    named = _named(request, sectors)
    if not named:
        known = ", ".join(sorted(set(sectors.values()))) or "none"
        raise BadSetting(f"--sector {request.sector}: neither config/sectors.yaml nor the file knows it; the file's sectors: {known}")
    found = tuple(name for name in data.symbols if name in named)
    if len(found) < 2:
        raise Permanent(f"sector {request.sector}: {data.path.name} holds {len(found)} of its symbols, a pair needs 2")
    return found


def _next(close_ns: NDArray[np.int64], close: Vector, names: tuple[Symbol, ...], *, bar: str) -> tuple[Vector, tuple[SymbolRejection, ...]]:
    """Log closes of the next span, without those that are not sound there."""
    log_close = np.log(close)
    if not len(close_ns):
        return log_close, ()
    rule = QualityRule.for_bar(bar, bars_min=NEXT_BARS_MIN)
    rejections: list[SymbolRejection] = []
    for place, name in enumerate(names):
        if found := check_prices(name, close_ns, close[:, place], rule):
            rejections.append(found)
            log_close[:, place] = np.nan
    return log_close, tuple(rejections)
