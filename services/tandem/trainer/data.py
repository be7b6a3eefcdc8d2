"""From a data file's ticks to the table that is trained on, through the same bars as everywhere else."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import MarketData
from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source, TickFrame
from tandem.domain.units import rfc3339
from tandem.flow.recorded_bars import bars_of
from tandem.quant.panel import Panel, panel_of
from tandem.quant.quality import QualityRule, SymbolRejection, check_panel
from tandem.trainer.options import TrainingOptions


def training_panel(
    data: MarketData, sector: SectorId, symbols: Sequence[Symbol], *, bar: str, from_ns: int, to_ns: int
) -> tuple[Panel, int]:
    """The whole bars of a sector's symbols in [from_ns, to_ns), and the number of bars in the longest session.

    A symbol that the data do not hold is left out. Raises Permanent when nothing is left, BadSetting for an unknown bar length.
    """
    held = tuple(name for name in symbols if name in data.symbols)
    event_ns = data.ticks["event_ns"]
    wanted = np.isin(data.ticks["symbol"], [data.symbols.index(name) for name in held]) & (event_ns >= from_ns) & (event_ns < to_ns)
    ticks = data.ticks[wanted]
    if len(ticks) == 0:
        raise Permanent(f"sector {sector}: {data.path} holds no tick of {', '.join(symbols)} from {rfc3339(from_ns)} to {rfc3339(to_ns)}")
    grid = session_grid(bar, int(ticks["event_ns"][0]), int(ticks["event_ns"][-1]))
    frame = TickFrame(sector=sector, source=Source.RECYCLED, replay_id="", symbols=data.symbols, ticks=ticks)
    # A bar that ends after the span is not whole; its end belongs to the replay.
    whole = [bar_set for bar_set in bars_of(grid, frame) if bar_set.close_ns <= to_ns]
    if not whole:
        raise Permanent(f"sector {sector}: no bar of {bar} ends between {rfc3339(from_ns)} and {rfc3339(to_ns)}")
    return panel_of(whole, held), grid.slots_max


def sound_panel(panel: Panel, *, bar: str, options: TrainingOptions) -> tuple[Panel, tuple[SymbolRejection, ...]]:
    """The panel of the symbols whose prices are fit to be used, and why the others are not. Judged on the whole panel, before any split."""
    rule = QualityRule.for_bar(bar, bars_min=options.bars_min)
    return check_panel(panel, replace(rule, missing_share_max=options.bars[bar].missing_share_max))
