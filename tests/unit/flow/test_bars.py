"""Bars: which tick belongs to which bar, what closes a bar, what is late, and what a used-up grid does."""

import numpy as np
import pytest

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE, TICK_DTYPE, Bar, Heartbeat, SessionGrid, Source, TickFrame
from tandem.flow.bars import bar_closes, initial_bars, step
from tandem.flow.recorded_bars import bars_of

# Two sessions of 10 and 7 ns with bars of 4 ns: [100,104) [104,108) [108,110) and [200,204) [204,207).
GRID = SessionGrid(open_ns=np.array([100, 200]), close_ns=np.array([110, 207]), bar_ns=4)
KO, PEP = Symbol("KO"), Symbol("PEP")


def frame(*ticks: tuple[int, str, float, int], replay_id: str = "r", symbols: tuple[Symbol, ...] = (KO, PEP)) -> TickFrame:
    """A frame of (event_ns, symbol, price, size)."""
    rows = [(ns, i, price, size, symbols.index(Symbol(name)), KIND_TRADE, 0) for i, (ns, name, price, size) in enumerate(ticks)]
    return TickFrame(
        sector=SectorId("consumer"),
        source=Source.RECYCLED,
        replay_id=replay_id,
        symbols=symbols,
        ticks=np.array(rows, TICK_DTYPE),
    )


def heartbeat(watermark_ns: int, replay_id: str = "r") -> Heartbeat:
    return Heartbeat(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id=replay_id, watermark_ns=watermark_ns)


def run(*events: TickFrame | Heartbeat):
    """The last state and the bar sets of every step, as (close_ns, symbols)."""
    state, sets = initial_bars(GRID), []
    for event in events:
        state, out = step(state, event)
        sets.extend(out)
    return state, sets


def test_a_bar_holds_open_high_low_close_volume_and_count_of_its_ticks():
    _, sets = run(frame((100, "KO", 5.0, 2), (101, "KO", 7.0, 3), (102, "KO", 4.0, 1), (103, "KO", 6.0, 9)), heartbeat(104))

    expected = Bar(symbol=KO, open_ns=100, close_ns=104, open=5.0, high=7.0, low=4.0, close=6.0, volume=15, trades=4)
    assert [s.bars for s in sets] == [{KO: expected}]
    assert (sets[0].close_ns, sets[0].session_ns, sets[0].slot) == (104, 100, 0)


def test_a_bar_closes_only_when_the_watermark_reaches_its_close():
    state, sets = run(frame((103, "KO", 5.0, 1)), heartbeat(103), frame((109, "KO", 5.0, 1)))
    assert sets == []

    _, closed = step(state, heartbeat(104))
    assert [s.close_ns for s in closed] == [104]


def test_the_right_edge_of_a_bar_belongs_to_the_next_one():
    _, sets = run(frame((103, "KO", 1.0, 1), (104, "KO", 2.0, 1)), heartbeat(108))
    assert [(s.close_ns, s.bars[KO].close) for s in sets] == [(104, 1.0), (108, 2.0)]


def test_the_last_bar_of_a_session_is_cut_at_its_close():
    _, sets = run(frame((109, "KO", 1.0, 1), (206, "KO", 2.0, 1)), heartbeat(207))
    assert [(s.bars[KO].open_ns, s.close_ns, s.session_ns, s.slot) for s in sets] == [(108, 110, 100, 2), (204, 207, 200, 1)]


def test_a_daily_bar_spans_the_session():
    grid = SessionGrid(open_ns=GRID.open_ns, close_ns=GRID.close_ns, bar_ns=86_400)
    sets = bars_of(grid, frame((100, "KO", 1.0, 1), (109, "KO", 2.0, 1), (206, "KO", 3.0, 1)))
    assert [(s.bars[KO].open_ns, s.close_ns, s.slot, s.bars[KO].close) for s in sets] == [(100, 110, 0, 2.0), (200, 207, 0, 3.0)]


def test_one_heartbeat_closes_several_bars_in_order_and_empty_bars_yield_nothing():
    _, sets = run(frame((100, "PEP", 1.0, 1), (100, "KO", 1.0, 1), (109, "KO", 2.0, 1)), heartbeat(200))
    assert [(s.close_ns, list(s.bars)) for s in sets] == [(104, [KO, PEP]), (110, [KO])]


def test_ticks_outside_the_sessions_are_counted_and_belong_to_no_bar():
    state, sets = run(frame((110, "KO", 1.0, 1), (150, "KO", 2.0, 1), (200, "KO", 3.0, 1)), heartbeat(204))
    assert state.outside_ticks == 2
    assert [(s.close_ns, s.bars[KO].trades) for s in sets] == [(204, 1)]


def test_a_late_tick_is_handed_back_and_changes_nothing():
    state, _ = run(frame((100, "KO", 1.0, 1), (104, "KO", 2.0, 1)), heartbeat(104))

    after, out = step(state, frame((102, "KO", 99.0, 7), (105, "KO", 3.0, 1)))

    assert out == ()
    assert [late.ticks["price"].tolist() for late in after.late] == [[99.0]]
    _, closed = step(after, heartbeat(108))
    assert (closed[0].bars[KO].high, closed[0].bars[KO].volume) == (3.0, 2)


def test_late_ticks_of_one_step_do_not_pile_up_in_the_next():
    state, _ = run(heartbeat(104), frame((102, "KO", 1.0, 1)), heartbeat(105))
    assert state.late == ()


def test_a_tick_before_the_watermark_whose_bar_is_open_is_not_late():
    state, _ = run(heartbeat(106), frame((105, "KO", 1.0, 1)))
    assert state.late == ()
    assert step(state, heartbeat(108))[1][0].bars[KO].trades == 1


def test_a_watermark_that_goes_back_or_repeats_changes_nothing():
    events = (frame((100, "KO", 1.0, 1)), heartbeat(104), frame((105, "KO", 2.0, 1)))
    _, once = run(*events, heartbeat(108))
    _, again = run(*events, heartbeat(104), heartbeat(101), heartbeat(108))
    assert once == again


def test_open_and_close_follow_event_time_and_ties_follow_arrival():
    _, sets = run(
        frame((102, "KO", 3.0, 1), (102, "KO", 4.0, 1)),
        frame((101, "KO", 1.0, 1), (101, "KO", 2.0, 1), (102, "KO", 5.0, 1)),
        heartbeat(104),
    )
    bar = sets[0].bars[KO]
    assert (bar.open, bar.close, bar.high, bar.low) == (1.0, 5.0, 5.0, 1.0)


def test_frames_may_number_their_symbols_differently():
    _, sets = run(
        frame((100, "KO", 1.0, 1), symbols=(KO,)),
        frame((101, "PEP", 2.0, 1), (101, "KO", 3.0, 1), symbols=(PEP, KO)),
        heartbeat(104),
    )
    assert {s: b.close for s, b in sets[0].bars.items()} == {KO: 3.0, PEP: 2.0}


def test_another_replay_starts_event_time_anew_and_drops_open_bars():
    _, sets = run(
        frame((100, "KO", 1.0, 1)),
        heartbeat(108),
        frame((109, "KO", 2.0, 1)),
        frame((100, "KO", 3.0, 1), replay_id="second"),
        heartbeat(110, replay_id="second"),
    )
    assert [(s.close_ns, s.bars[KO].close) for s in sets] == [(104, 1.0), (104, 3.0)]


@pytest.mark.parametrize(
    "event", [frame((99, "KO", 1.0, 1)), frame((208, "KO", 1.0, 1)), heartbeat(208)], ids=["before", "after", "heartbeat"]
)
def test_an_event_beyond_the_grid_stops_the_service(event):
    with pytest.raises(InvariantBroken, match="covers 100 to 207"):
        step(initial_bars(GRID), event)


def test_a_heartbeat_before_the_grid_is_a_start_that_closes_nothing():
    state, out = step(initial_bars(GRID), heartbeat(0))
    assert (state.watermark_ns, out) == (0, ())


def test_bar_closes_gives_each_time_its_bar_and_zero_outside():
    times = np.array([100, 103, 104, 109, 110, 199, 200, 206, 207])
    assert bar_closes(GRID, times).tolist() == [104, 104, 108, 110, 0, 0, 204, 207, 0]


def test_bars_of_nothing_is_nothing():
    assert bars_of(GRID, frame()) == ()


def amendment(kind: int, trade_id: int, price: float = 0.0, size: int = 0, *, event_ns: int = 105, symbol: str = "KO") -> TickFrame:
    """A frame of one correction or cancel."""
    ticks = np.array([(event_ns, trade_id, price, size, (KO, PEP).index(Symbol(symbol)), kind, 0)], TICK_DTYPE)
    return TickFrame(sector=SectorId("consumer"), source=Source.RECYCLED, replay_id="r", symbols=(KO, PEP), ticks=ticks)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((amendment(KIND_CANCEL, 1),), (5.0, 6.0, 4.0, 6.0, 12, 3)),  # the highest trade never was
        ((amendment(KIND_CORRECTION, 0, 3.5, 10),), (3.5, 7.0, 3.5, 6.0, 23, 4)),  # the first one was another
        ((amendment(KIND_CORRECTION, 3, 9.0, 9), amendment(KIND_CANCEL, 3)), (5.0, 7.0, 4.0, 4.0, 6, 3)),
        ((amendment(KIND_CORRECTION, 1, 8.0, 1), amendment(KIND_CORRECTION, 1, 6.5, 2)), (5.0, 6.5, 4.0, 6.0, 14, 4)),
    ],
)
def test_a_correction_or_cancel_makes_the_open_bar_what_it_should_have_been(after, expected):
    _, sets = run(frame((100, "KO", 5.0, 2), (101, "KO", 7.0, 3), (102, "KO", 4.0, 1), (103, "KO", 6.0, 9)), *after, heartbeat(104))
    bar = sets[0].bars[KO]
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades) == expected


@pytest.mark.parametrize(
    "unknown",
    [
        amendment(KIND_CANCEL, 7),  # no such trade
        amendment(KIND_CANCEL, 0, symbol="PEP"),  # another symbol's
    ],
)
def test_an_amendment_that_names_no_trade_of_an_open_bar_is_handed_back(unknown):
    state, _ = run(frame((100, "KO", 5.0, 2)), unknown)
    assert [late.ticks["kind"].tolist() for late in state.late] == [[KIND_CANCEL]]


def test_an_amendment_of_a_closed_bar_is_late_and_changes_nothing():
    state, sets = run(frame((100, "KO", 5.0, 2)), heartbeat(104), amendment(KIND_CORRECTION, 0, 4.0, 2))
    assert [late.ticks["trade_id"].tolist() for late in state.late] == [[0]]
    assert sets[0].bars[KO].close == 5.0


def test_a_bar_whose_only_trade_is_cancelled_is_none():
    _, sets = run(frame((100, "KO", 5.0, 2)), amendment(KIND_CANCEL, 0), heartbeat(104))
    assert sets == []


def test_states_before_a_frame_stay_as_they_were():
    """A state shares its kept trades with the ones that follow; none of them sees another's."""
    state, _ = step(initial_bars(GRID), frame((100, "KO", 5.0, 2)))
    one, _ = step(state, frame((101, "KO", 6.0, 1)))
    other, _ = step(state, amendment(KIND_CANCEL, 0))
    assert step(one, heartbeat(104))[1][0].bars[KO].volume == 3
    assert step(other, heartbeat(104))[1] == ()
    assert step(state, heartbeat(104))[1][0].bars[KO].volume == 2


def test_a_bar_of_very_many_frames_can_be_let_go():
    """The chain of kept frames is as long as a day of them."""
    state = initial_bars(GRID)
    for _ in range(50_000):
        state, _ = step(state, _ONE)
    state, sets = step(state, heartbeat(104))
    assert sets[0].bars[KO].trades == 50_000


_ONE = frame((100, "KO", 5.0, 1))
