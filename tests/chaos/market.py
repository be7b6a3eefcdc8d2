"""What is replayed in a chaos run: the file, the span, the sectors and pairs, and the watermarks that faults are placed at."""

import shutil
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tandem.adapters.calendar import session_grid
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadSetting
from tandem.domain.ids import pair_id
from tandem.domain.units import NS_PER_S
from tandem.flow.replay import schedule
from tandem.local.demo_plan import SectorPlan, Spans, bar_of, sectors_of, spans_of

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
# Without DATA: five years of daily closes to fit on, then as many days as asked for. Fixed before any seed was run.
_TRAIN_FROM, _REPLAY_FROM = "2014-01-01", "2019-01-01"
_SECTORS = ("consumer", "healthcare")  # two forecasters, four pairs: what two cores play in seconds
_TRAIN_BARS_MAX = 6_000  # 15 sessions of minutes: a minute of fitting, and more than the five years of days
_PAIRS_MAX = 6  # of a sector
_AHEAD_NS = 7 * 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayPlan:
    """One span of recorded data. watermark_ns: one for each bar, then the end of the stream."""

    data: Path
    part: Path  # what is replayed of it: nobody reads thirty years to send sixty days
    digest: str
    bar: str
    spans: Spans
    sectors: tuple[SectorPlan, ...]
    watermark_ns: NDArray[np.int64]
    config: Path = CONFIG  # of the services, with its risk.yaml

    @property
    def pairs(self) -> tuple[PairSpec, ...]:
        """All declared pairs."""
        return tuple(spec for plan in self.sectors for spec in plan.declared)

    def event_s(self, bars: int) -> float:
        """The longest event time that so many bars take, nights and weekends included."""
        return float((self.watermark_ns[bars:] - self.watermark_ns[:-bars]).max()) / NS_PER_S

    @property
    def symbols(self) -> tuple[str, ...]:
        """The legs of all pairs, in order."""
        return tuple(sorted({leg for spec in self.pairs for leg in (spec.leg_a, spec.leg_b)}))


def replay_plan(
    data: Path | None, folder: Path, *, bars: int, sectors: tuple[str, ...] = (), pairs: tuple[str, ...] = (), replay_from: str = ""
) -> ReplayPlan:
    """The first `bars` bars after replay_from, or after the training span. data: None for the 20 stocks of the skfolio wheel, daily.

    pairs: as A-B, besides those that config/pairs declares of the file's symbols; then none are made up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = data or skfolio_dataset(folder / "us_stocks_20_daily.parquet")
    market = load_market_data(path)
    bar = bar_of(market)
    begins = replay_from or (None if data else _REPLAY_FROM)
    spans = spans_of(market, bar, train_from=None if data else _TRAIN_FROM, replay_from=begins, replay_to=None)
    plans = sectors_of(market, load_sectors(CONFIG), load_pairs(CONFIG), pairs)
    wanted = sectors or (() if data else _SECTORS)
    chosen = tuple(_eager(plan, made_up=not pairs) for plan in plans if plan.declared and (not wanted or plan.sector in wanted))
    if not chosen:
        held = ", ".join(plan.sector for plan in plans if plan.declared) or "none"
        asked = ", ".join(wanted) or "any sector"
        raise BadSetting(f"{path}: no declared pair of {asked} has both legs there; sectors with one: {held}")
    spans, watermark_ns = _first_bars(market, bar, _recent(market, bar, spans), bars)
    part = _part(path, folder / "replayed.parquet", spans)
    return ReplayPlan(
        data=path.resolve(), part=part.resolve(), digest=market.digest, bar=bar, spans=spans, sectors=chosen, watermark_ns=watermark_ns
    )


def closing(plan: ReplayPlan, folder: Path) -> ReplayPlan:
    """The plan with nothing held over a session's end, by a configuration of its own."""
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    path = folder / "risk.yaml"
    kept, closed = "policy: keep", "policy: close"
    text = path.read_text()
    assert text.count(kept) == 1, f"{path} has {kept} {text.count(kept)} times, must have it once"
    path.write_text(text.replace(kept, closed))
    return replace(plan, config=folder.resolve())


def _part(path: Path, target: Path, spans: Spans) -> Path:
    """The rows of the replayed span, and of a day before and after it."""
    table = pq.read_table(path)
    column = table["ts" if "ts" in table.column_names else "date" if "date" in table.column_names else "Date"]
    day_ns = _AHEAD_NS // 7
    first, last = (
        pa.scalar(ns, pa.timestamp("ns")).cast(_naive(column.type), safe=False)
        for ns in (spans.replay_from_ns - day_ns, spans.replay_to_ns + day_ns)
    )
    values = column.cast(_naive(column.type))
    pq.write_table(table.filter(pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))), target)
    return target


def _naive(kind: pa.DataType) -> pa.DataType:
    """The same without a zone: times in a column with one are UTC inside."""
    return pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind


def _eager(plan: SectorPlan, *, made_up: bool) -> SectorPlan:
    """The sector with its declared pairs and, where asked for, some made up, which share symbols; all trade at the least occasion.

    A run without orders would prove nothing, and pairs that share no symbol would never meet inside.
    """
    neighbours = [(a, b) for step in (1, 2) for a, b in zip(plan.symbols, plan.symbols[step:], strict=False)] if made_up else []
    declared = [(spec.leg_a, spec.leg_b) for spec in plan.declared]
    more = [legs for legs in neighbours if legs not in declared and legs[::-1] not in declared]
    specs = tuple(
        PairSpec(
            pair=pair_id(a, b),
            sector=plan.sector,
            leg_a=a,
            leg_b=b,
            entry_z=0.2 + 0.15 * number,  # each pair at another time, so that something is under way at most bars
            exit_z=0.1 + 0.15 * number,
            stop_z=9.0,
            probability_min=0.0,
            notional_usd=Decimal(20_000),
            hold_half_lives_max=20.0 if number % 2 else 0.1,
        )
        for number, (a, b) in enumerate((*declared, *more)[:_PAIRS_MAX])
    )
    return replace(plan, symbols=tuple(sorted({leg for spec in specs for leg in (spec.leg_a, spec.leg_b)})), declared=specs)


def _recent(market: MarketData, bar: str, spans: Spans) -> Spans:
    """The spans with no more to train on than a chaos run's models need: they must forecast, not earn."""
    event_ns = market.ticks["event_ns"]
    grid = session_grid(bar, int(event_ns[0]), int(event_ns[-1]) + _AHEAD_NS)
    closes = schedule(event_ns, grid, from_ns=spans.train_from_ns, to_ns=spans.train_to_ns).watermark_ns
    if len(closes) <= _TRAIN_BARS_MAX:
        return spans
    session = int(np.searchsorted(grid.open_ns, closes[-_TRAIN_BARS_MAX], side="right")) - 1
    return replace(spans, train_from_ns=int(grid.open_ns[session]))


def _first_bars(market: MarketData, bar: str, spans: Spans, bars: int) -> tuple[Spans, NDArray[np.int64]]:
    event_ns = market.ticks["event_ns"]
    grid = session_grid(bar, int(event_ns[0]), int(event_ns[-1]) + _AHEAD_NS)
    whole = schedule(event_ns, grid, from_ns=spans.replay_from_ns, to_ns=spans.replay_to_ns)
    if len(whole) <= bars + 1:
        return spans, whole.watermark_ns
    until_ns = int(whole.watermark_ns[bars - 1])
    cut = schedule(event_ns, grid, from_ns=spans.replay_from_ns, to_ns=until_ns)
    return replace(spans, replay_to_ns=until_ns), cut.watermark_ns
