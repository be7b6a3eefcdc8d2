"""What a forecaster counts of itself, and over which bars."""

from dataclasses import replace

import numpy as np
import pytest

from model_cases import DAY_NS, bundle_of
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow.sector import SectorModel, initial_sector, step
from tandem.forecaster.health import HealthCounts, live_latency_s
from tandem.quant.network import Outputs, Windows

SYMBOLS = (Symbol("KO"), Symbol("PEP"))
CLOSES = np.arange(1, 9) * DAY_NS
GRID = SessionGrid(open_ns=CLOSES - DAY_NS // 2, close_ns=CLOSES, bar_ns=DAY_NS)


class Moody:
    """A network whose third and fifth bar are not finite."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, windows: Windows) -> Outputs:
        self.calls += 1
        value = np.nan if self.calls in (3, 5) else 0.0
        return np.full((len(windows), 2), value, dtype=np.float32)


def through(counts: HealthCounts, model: SectorModel, replay_id: str, days: int) -> None:
    """Step so many days of a replay, from the state of a new one."""
    state = initial_sector(model)
    for close_ns in CLOSES[:days].tolist():
        ticks = np.zeros(2, TICK_DTYPE)
        ticks["event_ns"], ticks["kind"], ticks["size"] = close_ns - 1, KIND_TRADE, 1
        ticks["symbol"], ticks["price"] = (0, 1), (60.0, 148.0)
        frame = TickFrame(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id=replay_id, symbols=SYMBOLS, ticks=ticks)
        beat = Heartbeat(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id=replay_id, watermark_ns=close_ns)
        for event in (frame, beat):
            state, _ = step(model, state, event)
            counts.step(state)


def test_forecasts_and_withheld_ones_are_counted_over_the_same_bars() -> None:
    """Their ratio is what a gate looks at; with another replay the state begins anew, and both counts with it."""
    bundle = replace(bundle_of(), trained_to_ns=0)
    counts = HealthCounts()
    model = SectorModel(bundle=bundle, ref=ModelRef(name="m", version="1", digest="d"), network=Moody(), grid=GRID)
    through(counts, model, "a", 8)
    assert (counts.forecasts, counts.withheld) == (6, 2)
    assert (counts.newly_withheld(), counts.newly_withheld()) == (2, 0)
    through(counts, model, "b", 3)
    assert (counts.forecasts, counts.withheld) == (3, 0)
    assert counts.newly_withheld() == 0, "another replay takes nothing back"


def test_the_report_has_null_for_what_was_not_measured() -> None:
    """Nothing is invented: no latency before a live bar, no lag before the first look at it."""
    counts = HealthCounts()
    assert counts.report() == {"errors": 0, "forecasts": 0, "withheld": 0, "latency_p99_s": None, "lag_records": None}


def test_the_99th_percentile_is_a_latency_that_occurred() -> None:
    """Of few values the largest, of many the one that one in a hundred exceeds; old ones are forgotten."""
    counts = HealthCounts()
    for elapsed_s in (0.1, 0.3, 0.2):
        counts.published(elapsed_s)
    assert counts.report()["latency_p99_s"] == 0.3
    for number in range(2_000):
        counts.published(number / 1_000)
    assert counts.report()["latency_p99_s"] == 1.98
    counts.bad_record()
    assert counts.report()["errors"] == 1


@pytest.mark.parametrize(
    ("received_s", "live_from_s", "latency_s"),
    [
        (10, 8, 0.5),
        (8, 8, 2.5),
        (7, 8, None),  # came while the state was rebuilt: it waited for that, and not for the version's arithmetic
        (10, None, None),
    ],
)
def test_latency_is_of_what_came_after_the_state_was_rebuilt(received_s: int, live_from_s: int | None, latency_s: float | None) -> None:
    """Bars that wait while a candidate reads the log do not make it a slow one: a gate would refuse it for its start."""
    live_from_ns = None if live_from_s is None else live_from_s * 10**9
    assert live_latency_s(received_s * 10**9, published_ns=10_500_000_000, live_from_ns=live_from_ns) == latency_s
