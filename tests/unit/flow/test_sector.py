"""The sector's step: which batches a record of the tick topic completes."""

import numpy as np
import pytest

from model_cases import bundle_of, pair_model
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_CANCEL, KIND_STATUS, KIND_TRADE, STATUS_HALTED, TICK_DTYPE, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow.recorded_bars import bars_of
from tandem.flow.sector import SectorModel, SectorState, initial_sector, step

SECTOR = SectorId("consumer")
SYMBOLS = (Symbol("KO"), Symbol("PEP"))
GRID = SessionGrid(open_ns=np.array([0, 1_000]), close_ns=np.array([100, 1_100]), bar_ns=10)


def _network(windows: np.ndarray) -> np.ndarray:
    """No correction and even odds, whatever the window."""
    return np.zeros((len(windows), 2), dtype=np.float32)


MODEL = SectorModel(
    bundle=bundle_of(pair_model(), trained_to_ns=0), ref=ModelRef(name="m", version="3", digest="d"), network=_network, grid=GRID
)


def _frame(*ticks: tuple[int, str, float], replay_id: str = "r") -> TickFrame:
    array = np.zeros(len(ticks), TICK_DTYPE)
    for row, (event_ns, symbol, price) in zip(array, ticks, strict=True):
        row["event_ns"], row["symbol"], row["price"], row["size"], row["kind"] = (
            event_ns,
            SYMBOLS.index(Symbol(symbol)),
            price,
            1,
            KIND_TRADE,
        )
    return TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, symbols=SYMBOLS, ticks=array)


def _beat(watermark_ns: int, *, end: bool = False, replay_id: str = "r") -> Heartbeat:
    return Heartbeat(
        sector=SECTOR, source=Source.RECYCLED, replay_id=replay_id, watermark_ns=watermark_ns, lockstep=True, end_of_stream=end
    )


def _run(*events: TickFrame | Heartbeat, state: SectorState | None = None) -> tuple[SectorState, list[ForecastBatch]]:
    state = state or initial_sector(MODEL)
    batches: list[ForecastBatch] = []
    for event in events:
        state, out = step(MODEL, state, event)
        batches += out
    return state, batches


def test_a_heartbeat_that_closes_a_bar_gives_its_forecast() -> None:
    """The batch carries the version, the lockstep flag and the bar's close."""
    _, (batch,) = _run(_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _beat(10))
    assert (batch.bar_close_ns, batch.model.version, batch.lockstep, batch.end_of_stream) == (10, "3", True, False)
    assert [forecast.pair for forecast in batch.forecasts] == ["KO-PEP"]


def test_every_heartbeat_is_answered_even_when_it_closes_nothing() -> None:
    """The portfolio waits for each watermark: an empty batch says that the sector has reached it."""
    _, batches = _run(_beat(10))
    assert [(batch.bar_close_ns, batch.forecasts) for batch in batches] == [(10, ())]


def test_a_late_heartbeat_gives_each_bar_and_then_its_own_watermark() -> None:
    """Bars 10 and 20 close at 25, which itself is no bar's close."""
    ticks = _frame((1, "KO", 50.0), (2, "PEP", 60.0), (11, "KO", 50.0), (12, "PEP", 60.0))
    _, batches = _run(ticks, _beat(25))
    assert [(batch.bar_close_ns, len(batch.forecasts)) for batch in batches] == [(10, 1), (20, 1), (25, 0)]


def test_a_pair_advances_only_when_both_legs_traded() -> None:
    """One leg alone gives a bar without a forecast."""
    _, batches = _run(_frame((1, "KO", 50.0)), _beat(10), _frame((11, "KO", 51.0), (12, "PEP", 60.0)), _beat(20))
    assert [len(batch.forecasts) for batch in batches] == [0, 1]
    assert batches[1].forecasts[0].bar_index == 0


def test_the_end_of_the_stream_is_said_once_at_the_end() -> None:
    """The last batch is empty and marked, also when the same heartbeat closes a bar."""
    _, batches = _run(_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _beat(10, end=True))
    assert [(len(batch.forecasts), batch.end_of_stream) for batch in batches] == [(1, False), (0, True)]


def test_another_replay_starts_from_the_state_of_the_bundle() -> None:
    """The same ticks under a new replay id give the same forecasts: nothing of the first replay is left."""
    events = (_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _beat(10))
    again = (_frame((1, "KO", 50.0), (2, "PEP", 60.0), replay_id="r2"), _beat(10, replay_id="r2"))
    _, batches = _run(*events, *again)
    assert batches[0].forecasts == batches[1].forecasts
    assert [batch.replay_id for batch in batches] == ["r", "r2"]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_how_the_log_is_cut_into_frames_does_not_matter(cut: int) -> None:
    """Frames of any size give the same batches."""
    ticks = ((1, "KO", 50.0), (2, "PEP", 60.0), (3, "KO", 50.5), (11, "PEP", 61.0), (12, "KO", 50.1))
    _, whole = _run(_frame(*ticks), _beat(10), _beat(20))
    _, parts = _run(*(_frame(*ticks[i : i + cut]) for i in range(0, len(ticks), cut)), _beat(10), _beat(20))
    assert whole == parts


def test_past_bars_bring_the_state_to_where_the_log_begins() -> None:
    """Starting from the recorder's bars equals having read the ticks."""
    first = (_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _beat(10))
    second = (_frame((11, "KO", 51.0), (12, "PEP", 61.0)), _beat(20))
    _, read = _run(*first, *second)
    restored = initial_sector(MODEL, bars_of(GRID, first[0]))
    _, resumed = _run(*second, state=restored)
    assert resumed[-1].forecasts == read[-1].forecasts


def _halt(event_ns: int, symbol: str, flags: int = STATUS_HALTED) -> TickFrame:
    ticks = np.zeros(1, TICK_DTYPE)
    ticks["event_ns"], ticks["symbol"], ticks["kind"], ticks["flags"] = event_ns, SYMBOLS.index(Symbol(symbol)), KIND_STATUS, flags
    return TickFrame(sector=SECTOR, source=Source.RECYCLED, replay_id="r", symbols=SYMBOLS, ticks=ticks)


def test_a_bar_tells_what_the_market_was_of_every_symbol_and_a_heartbeat_only_what_turned() -> None:
    """Also of a pair without a forecast; between bars a halt is news, and said once."""
    events = (_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _beat(5), _halt(6, "KO"), _beat(7), _beat(8), _beat(10))
    _, batches = _run(*events)
    told = [[(s.symbol, s.last_usd, s.halted) for s in batch.market] for batch in batches]
    assert told == [[], [("KO", 50.0, True)], [], [("KO", 50.0, True), ("PEP", 60.0, False)]]


def test_a_halt_makes_no_bar_and_no_forecast() -> None:
    """A row that is no trade moves no price."""
    _, batches = _run(_halt(1, "KO"), _frame((2, "PEP", 60.0)), _beat(10))
    assert [(batch.forecasts, [s.halted for s in batch.market]) for batch in batches] == [((), [True, False])]


def test_the_end_of_a_halt_is_told_with_every_bar_after_it() -> None:
    """Whoever starts after it learns of it with the first bar, and whoever reads the log again finds the same time."""
    events = (_frame((1, "KO", 50.0), (2, "PEP", 60.0)), _halt(3, "KO"), _halt(6, "KO", 0), _beat(10), _frame((11, "KO", 51.0)), _beat(20))
    _, batches = _run(*events)

    assert [[(s.symbol, s.halted, s.resumed_ns) for s in batch.market] for batch in batches] == [[("KO", False, 6), ("PEP", False, 0)]] * 2
    assert _run(*events)[1] == batches


def test_a_cancelled_last_trade_gives_way_to_the_one_before() -> None:
    """Bar and market agree on what was traded last; with no trade before, nothing is known."""
    trades = _frame((1, "KO", 50.0), (2, "KO", 5_000.0), (3, "PEP", 60.0))
    trades.ticks["trade_id"] = (1, 2, 3)
    cancels = _frame((4, "KO", 5_000.0), (4, "PEP", 60.0))
    cancels.ticks["trade_id"], cancels.ticks["kind"] = (2, 3), KIND_CANCEL
    _, (batch,) = _run(trades, cancels, _beat(10))
    assert [(s.symbol, s.last_usd, s.last_ns) for s in batch.market] == [("KO", 50.0, 1), ("PEP", 0.0, 0)]
