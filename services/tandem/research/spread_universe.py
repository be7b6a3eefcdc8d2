"""What the spread protocol looks at: the pairs of each sector of a file, on bars that hold every one of their symbols.

Sectors are those that the file names itself, else those of the configuration, else all symbols are one group. Of a sector with many pairs
the most correlated ones are taken, by returns before the test span. A symbol that is not fit to be used is left out with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.calendar import bar_ns
from tandem.adapters.market_file import load_market_data
from tandem.adapters.market_sectors import file_sectors
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id, pair_legs
from tandem.quant.panel import Panel
from tandem.quant.quality import QualityRule, SymbolRejection, check_prices
from tandem.trainer.data import training_panel

Vector = NDArray[np.float64]

ALL = SectorId("all")  # the one group of a file whose symbols no sector is known of
_TEST_MISSING_MAX = 0.02  # share of the test bars that a symbol may lack: every label must hold all pairs, so its holes are everyone's
_TEST_BARS_MIN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRequest:
    """What the caller asks for. Times are of the labels: [test_from_ns, test_to_ns)."""

    data: Path
    bar: str
    test_from_ns: int
    test_to_ns: int
    sectors: Mapping[SectorId, Sequence[Symbol]]  # of the configuration, used when the file names none
    sector: SectorId | None = None  # None: all
    pairs_max: int = 30  # of a sector
    bars_min: int = 500  # before the test span
    bars_max: int = 2_520  # before the test span, ten years of days: what lies further back is not read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpreadUniverse:
    """Closes from bars_max before the test span to its end, and the pairs."""

    panel: Panel
    slots: int
    first_test: int  # place in the panel of the first label
    pairs: Mapping[SectorId, tuple[PairId, ...]]
    rejections: tuple[SymbolRejection, ...]
    data_digest: str


def load_spreads(request: SpreadRequest) -> SpreadUniverse:
    """Read, cut, check and pair. Raises Permanent when no sector is left with a pair or the spans are too short."""
    data = load_market_data(request.data, drop_bad=True)
    groups = _groups(request, data.symbols)
    names = tuple(sorted({name for members in groups.values() for name in members}))
    if len(names) < 2:
        raise Permanent(f"{request.data.name}: {len(names)} symbols of {request.sector or 'any sector'}, a pair needs 2")
    from_ns = int(data.ticks["event_ns"][0])
    panel, slots = training_panel(data, request.sector or ALL, names, bar=request.bar, from_ns=from_ns, to_ns=request.test_to_ns)
    at = int(np.searchsorted(panel.close_ns, request.test_from_ns))
    begin = max(0, at - request.bars_max)
    panel, at = panel.between(begin, len(panel.close_ns)), at - begin
    if at < request.bars_min or len(panel.close_ns) - at < _TEST_BARS_MIN:
        raise Permanent(
            f"{request.data.name}: {at} bars before the test span and {len(panel.close_ns) - at} in it; "
            f"need {request.bars_min} and {_TEST_BARS_MIN} of {request.bar} ({bar_ns(request.bar) // 10**9} s)"
        )
    panel, rejections = _sound(panel, at, request)
    pairs = {sector: _pairs(panel.before(at), members, request.pairs_max) for sector, members in groups.items()}
    pairs = {sector: found for sector, found in pairs.items() if found}
    if not pairs:
        raise Permanent(f"{request.data.name}: no sector has two symbols that are fit to be used; left out {len(rejections)}")
    used = {leg for found in pairs.values() for pair in found for leg in pair_legs(pair)}
    return SpreadUniverse(
        panel=only_symbols(panel, [name for name in panel.symbols if name in used]),
        slots=slots,
        first_test=at,
        pairs=pairs,
        rejections=(*data.rejections, *rejections),
        data_digest=data.digest,
    )


def _groups(request: SpreadRequest, held: Sequence[Symbol]) -> dict[SectorId, tuple[Symbol, ...]]:
    """Sector -> its symbols that the file holds."""
    named = file_sectors(request.data)
    if named:
        groups = {sector: tuple(name for name in held if named.get(name) == sector) for sector in sorted(set(named.values()))}
    else:
        groups = {sector: tuple(name for name in members if name in held) for sector, members in request.sectors.items()}
        if not any(len(members) > 1 for members in groups.values()):
            groups = {ALL: tuple(held)}
    return {sector: members for sector, members in groups.items() if request.sector in (None, sector)}


def _sound(panel: Panel, at: int, request: SpreadRequest) -> tuple[Panel, tuple[SymbolRejection, ...]]:
    """The symbols whose prices can be used before the test span and in it; each span is judged by itself."""
    before = QualityRule.for_bar(request.bar, bars_min=request.bars_min)
    within = QualityRule(bars_min=_TEST_BARS_MIN, missing_share_max=_TEST_MISSING_MAX, stale_run_max_bars=before.stale_run_max_bars)
    rejections: list[SymbolRejection] = []
    kept: list[Symbol] = []
    for place, name in enumerate(panel.symbols):
        close = panel.close[:, place]
        found = check_prices(name, panel.close_ns[:at], close[:at], before) or check_prices(name, panel.close_ns[at:], close[at:], within)
        if found:
            rejections.append(found)
        else:
            kept.append(name)
    return only_symbols(panel, kept), tuple(rejections)


def _pairs(panel: Panel, members: Sequence[Symbol], pairs_max: int) -> tuple[PairId, ...]:
    """All pairs of the members that the panel holds, the most correlated first, at most pairs_max."""
    names = [name for name in members if name in panel.symbols]
    legs = list(combinations(sorted(names), 2))
    returns = {name: np.diff(panel.log_close(name)) for name in names}
    ranked = sorted(legs, key=lambda pair: (-_correlation(returns[pair[0]], returns[pair[1]]), pair))
    return tuple(pair_id(a, b) for a, b in ranked[:pairs_max])


def _correlation(left: Vector, right: Vector) -> float:
    both = np.isfinite(left) & np.isfinite(right)
    return float(np.corrcoef(left[both], right[both])[0, 1]) if both.sum() > 2 else -1.0


def only_symbols(panel: Panel, names: Sequence[Symbol]) -> Panel:
    """The panel of these symbols, in this order."""
    return replace(panel, symbols=tuple(names), close=panel.close[:, [panel.symbols.index(name) for name in names]])
