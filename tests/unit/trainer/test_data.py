"""From ticks to the training table."""

from pathlib import Path

import numpy as np
import pytest

from tandem.adapters.market_file import MarketData
from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE
from tandem.trainer.data import training_panel

MIDDAY_NS = 1_577_984_400_000_000_000  # 2020-01-02 17:00 UTC, a Thursday: 12:00 in New York
MINUTE_NS, DAY_NS = 60_000_000_000, 86_400_000_000_000
SECTOR = SectorId("consumer")


def market_data(rows: list[tuple[int, int, float]]) -> MarketData:
    """Ticks (event_ns, symbol, price) of KO, PEP and ZZZ."""
    ticks = np.array([(ns, i, price, 1, symbol, KIND_TRADE, 0) for i, (ns, symbol, price) in enumerate(rows)], TICK_DTYPE)
    return MarketData(
        path=Path("trades.parquet"), digest="d", symbols=(Symbol("KO"), Symbol("PEP"), Symbol("ZZZ")), ticks=ticks, bar=None, bars=None
    )


def test_the_last_price_of_each_bar_and_nothing_of_other_symbols() -> None:
    """Two minutes of KO, one of PEP; ZZZ is not asked for, CCC is not there."""
    data = market_data(
        [
            (MIDDAY_NS, 0, 60.0),
            (MIDDAY_NS + 1, 1, 150.0),
            (MIDDAY_NS + 2, 0, 61.0),
            (MIDDAY_NS + 3, 2, 9.0),
            (MIDDAY_NS + MINUTE_NS, 0, 62.0),
        ]
    )
    panel, slots = training_panel(
        data, SECTOR, (Symbol("CCC"), Symbol("KO"), Symbol("PEP")), bar="1min", from_ns=MIDDAY_NS, to_ns=MIDDAY_NS + DAY_NS
    )
    assert panel.symbols == ("KO", "PEP")
    np.testing.assert_array_equal(panel.close, [[61.0, 150.0], [62.0, np.nan]])
    assert panel.close_ns.tolist() == [MIDDAY_NS + MINUTE_NS, MIDDAY_NS + 2 * MINUTE_NS]
    assert panel.slot.tolist() == [150, 151]  # minutes since 9:30
    assert slots == 390


def test_a_bar_that_ends_after_the_span_is_left_out() -> None:
    """Its end belongs to the replay: a half bar would be another close than the one that serving sees."""
    data = market_data([(MIDDAY_NS, 0, 60.0), (MIDDAY_NS + MINUTE_NS, 0, 62.0)])
    panel, _ = training_panel(data, SECTOR, (Symbol("KO"),), bar="1min", from_ns=0, to_ns=MIDDAY_NS + MINUTE_NS + 30)
    assert panel.close_ns.tolist() == [MIDDAY_NS + MINUTE_NS]
    with pytest.raises(Permanent, match="no bar of 1d"):
        training_panel(data, SECTOR, (Symbol("KO"),), bar="1d", from_ns=0, to_ns=MIDDAY_NS + 30)


def test_a_span_without_ticks_is_an_error_that_names_it() -> None:
    """File, symbols and span."""
    with pytest.raises(Permanent, match=r"trades\.parquet holds no tick of PEP from"):
        training_panel(market_data([(MIDDAY_NS, 0, 60.0)]), SECTOR, (Symbol("PEP"),), bar="1d", from_ns=0, to_ns=2 * MIDDAY_NS)
