"""Bars of a recording: of any length, for any span and page, as they are known at a place of the tape, and as the channels send them."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded_cases import DAY_NS, MINUTE_NS, OPEN_NS, closes, events, times, trades, write
from tandem.adapters.calendar import session_grid
from tandem.adapters.tick_store import open_store
from tandem.flow.trade_bars import by_length, trade_table
from tandem.recycler.history import History
from tandem.recycler.live_bars import BARS, DAILY_BARS, UPDATED_BARS, LiveBars
from tandem.recycler.past_trades import PastTrades

SECOND_NS = 1_000_000_000


def history(folder, rows, more=()):
    """Trades of (seconds after the open, symbol, price, size), and events of (seconds, symbol, event, values)."""
    files = [trades(folder / "t.parquet", [(symbol, OPEN_NS + int(at * SECOND_NS), price, size) for at, symbol, price, size in rows])]
    if more:
        files.append(
            events(folder / "e.parquet", [(symbol, OPEN_NS + int(at * SECOND_NS), name, values) for at, symbol, name, values in more])
        )
    store = open_store(files, folder=folder)
    return History(store, session_grid("1min", int(store.event_ns[0]), int(store.event_ns[-1]) + 2 * DAY_NS))


def bars(of, name, timeframe="1Min", *, start_s=0.0, end_s=1e6, now_s=1e6, limit=1000, is_descending=False):
    known = of.place(OPEN_NS + int(now_s * SECOND_NS))
    span = {
        "from_ns": OPEN_NS + int(start_s * SECOND_NS),
        "to_ns": OPEN_NS + int(end_s * SECOND_NS),
        "now_ns": OPEN_NS + int(now_s * SECOND_NS),
    }
    return of.bars(name, timeframe, **span, known=known, limit=limit, is_descending=is_descending)


def test_a_bar_is_known_when_it_has_ended_and_is_the_symbols_own(tmp_path):
    of = history(tmp_path, [(0, "KO", 1.0, 1), (60, "KO", 2.0, 1), (61, "PEP", 3.0, 1)])
    assert bars(of, "KO", now_s=119).close.tolist() == [1.0]
    assert bars(of, "KO", now_s=120).close.tolist() == [1.0, 2.0]
    assert bars(of, "PEP", now_s=120).close.tolist() == [3.0]
    assert bars(of, "KO", start_s=1, now_s=120).close.tolist() == [2.0]
    assert bars(of, "KO", end_s=59.9, now_s=120).close.tolist() == [1.0]


@given(
    at=st.lists(st.integers(0, 1_500), min_size=1, max_size=70),
    piece=st.integers(1, 12),
    limit=st.integers(1, 30),
    is_descending=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_a_page_of_bars_is_the_beginning_of_all_bars_whatever_the_pieces(tmp_path_factory, at, piece, limit, is_descending):
    """At least as many as asked for, if there are as many, and each the same as if all had been made at once."""
    rows = [(second, "KO", 10.0 + n, 1 + n) for n, second in enumerate(sorted(at))]
    of = history(tmp_path_factory.mktemp("h"), rows)
    every = by_length(trade_table(of.store.data.symbols, of.store.data.ticks), MINUTE_NS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tandem.recycler.history.PIECE_TICKS", piece)
        found = bars(of, "KO", limit=limit, is_descending=is_descending)
    assert len(found) >= min(limit, len(every))
    part = slice(len(every) - len(found), None) if is_descending else slice(0, len(found))
    for name in ("start_ns", "open", "high", "low", "close", "volume", "trades"):
        assert getattr(found, name).tolist() == getattr(every, name)[part].tolist()


def test_daily_bars_end_with_their_session_and_start_at_midnight(tmp_path):
    of = history(
        tmp_path, [(-60, "KO", 9.0, 1), (0, "KO", 10.0, 1), (23_399, "KO", 12.0, 2), (23_400, "KO", 99.0, 1), (86_400, "KO", 13.0, 1)]
    )
    found = bars(of, "KO", "1Day", start_s=-40_000, now_s=23_400)
    assert (found.open.tolist(), found.high.tolist(), found.volume.tolist()) == ([10.0], [12.0], [3])
    assert found.start_ns.tolist() == [OPEN_NS - 34_200 * SECOND_NS]
    assert len(bars(of, "KO", "1Day", start_s=-40_000, now_s=23_399)) == 0


CORRECTED = [(10, "KO", 10.0, 1), (20, "KO", 99.0, 5), (30, "KO", 11.0, 1), (70, "KO", 12.0, 1), (130, "KO", 13.0, 1)]


def test_a_cancel_counts_from_when_it_is_known(tmp_path):
    of = history(tmp_path, CORRECTED, [(75, "KO", "cancel", {"trade_id": 2})])
    assert bars(of, "KO", end_s=59, now_s=74).high.tolist() == [99.0]
    found = bars(of, "KO", end_s=59, now_s=76)
    assert (found.high.tolist(), found.volume.tolist(), found.trades.tolist()) == ([11.0], [2], [2])


def sent(of, *moments_s):
    """What the channels send when the replay comes to these moments, as (channel, minute of the start, close, volume) at each."""
    live = LiveBars(of)
    live.begin(int(of.store.event_ns[0]) - 1)
    found = []
    for second in moments_s:
        now_ns = OPEN_NS + int(second * SECOND_NS)
        due = live.due(now_ns, is_wanted=True)
        found.append(
            [
                (
                    one.channel,
                    (int(one.table.start_ns[row]) - OPEN_NS) // MINUTE_NS,
                    float(one.table.close[row]),
                    int(one.table.volume[row]),
                )
                for one in due
                for row in range(len(one.table))
            ]
        )
    return found


MIDNIGHT = -570  # minutes from the open


def test_a_wrong_print_is_in_the_bar_that_was_sent_and_out_of_the_updated_one_at_the_next_half_minute(tmp_path):
    of = history(tmp_path, [*CORRECTED, (190, "KO", 14.0, 1)], [(75, "KO", "correction", {"trade_id": 2, "price": 10.5, "size": 2})])
    first, none, updated, second, third = sent(of, 60, 89, 90, 120, 180)
    assert first == [(BARS, 0, 11.0, 7), (DAILY_BARS, MIDNIGHT, 11.0, 7)]
    assert none == []
    assert updated == [(UPDATED_BARS, 0, 11.0, 4)]
    assert second == [(BARS, 1, 12.0, 1), (DAILY_BARS, MIDNIGHT, 12.0, 5)]
    assert third == [(BARS, 2, 13.0, 1), (DAILY_BARS, MIDNIGHT, 13.0, 6)]


def test_steps_of_several_minutes_send_the_same_bars_as_steps_of_one(tmp_path):
    of = history(tmp_path, [*CORRECTED, (190, "KO", 14.0, 1)], [(75, "KO", "correction", {"trade_id": 2, "price": 10.5, "size": 2})])
    steps = [sent(of, *moments) for moments in ((60, 90, 120, 150, 180), (180,))]
    small, large = ([one for due in found for one in due] for found in steps)
    assert small == large


def test_a_correction_within_its_minute_makes_the_bar_right_and_no_update(tmp_path):
    of = history(tmp_path, CORRECTED, [(40, "KO", "cancel", {"trade_id": 2})])
    assert sent(of, 60, 120) == [
        [(BARS, 0, 11.0, 2), (DAILY_BARS, MIDNIGHT, 11.0, 2)],
        [(BARS, 1, 12.0, 1), (DAILY_BARS, MIDNIGHT, 12.0, 3)],
    ]


def test_who_comes_later_gets_the_day_so_far(tmp_path):
    of = history(tmp_path, CORRECTED)
    live = LiveBars(of)
    live.begin(OPEN_NS)
    assert live.due(OPEN_NS + MINUTE_NS, is_wanted=False) == ()
    due = live.due(OPEN_NS + 2 * MINUTE_NS, is_wanted=True)
    assert [(one.channel, one.table.volume.tolist()) for one in due] == [(BARS, [1]), (DAILY_BARS, [8])]


def test_before_the_session_there_is_no_day(tmp_path):
    of = history(tmp_path, [(-120, "KO", 9.0, 1), (-30, "KO", 9.5, 1), (10, "KO", 10.0, 1)])
    assert [[one[0] for one in found] for found in sent(of, -60, 0, 60)] == [[BARS], [BARS], [BARS, DAILY_BARS]]


def test_a_file_of_closes_sends_a_daily_bar_at_each_close(tmp_path):
    store = open_store([closes(tmp_path / "c.parquet", [date(2024, 7, 1), date(2024, 7, 2)], KO=[60.0, 61.0])], folder=tmp_path)
    of = History(store, session_grid("1d", int(store.event_ns[0]), int(store.event_ns[-1]) + 2 * DAY_NS))
    close_s = 23_400
    found = sent(of, close_s, close_s + 86_400)
    assert [[(channel, close) for channel, _, close, _ in step] for step in found] == [[(BARS, c), (DAILY_BARS, c)] for c in (60.0, 61.0)]
    assert np.isin([one[1] for one in found[0] if one[0] == DAILY_BARS], [MIDNIGHT]).all()


@pytest.fixture
def conditioned(tmp_path):
    """KO: 10 and 12 set prices; an odd lot among them, one alone in its minute, and an official close that others have counted."""
    rows = [(0, 10.0, 1, "@"), (10, 99.0, 4, "@I"), (70, 1.0, 5, "@I"), (130, 12.0, 2, "@"), (140, 12.0, 2, "@M"), (200, 13.0, 1, "@")]
    file = write(
        tmp_path / "t.parquet",
        symbol=["KO"] * len(rows),
        ts=times([OPEN_NS + at * SECOND_NS for at, *_ in rows]),
        price=[price for _, price, _, _ in rows],
        size=[size for _, _, size, _ in rows],
        conditions=[codes for *_, codes in rows],
        tape=["C"] * len(rows),
    )
    store = open_store([file], folder=tmp_path)
    return History(store, session_grid("1min", int(store.event_ns[0]), int(store.event_ns[-1]) + 2 * DAY_NS))


def test_bars_of_history_go_by_the_conditions(conditioned):
    """What sets no price counts, a minute of odd lots is no bar, and the day has their shares."""
    found = bars(conditioned, "KO", now_s=180)
    assert ((found.start_ns - OPEN_NS) // MINUTE_NS).tolist() == [0, 2]
    assert (found.high.tolist(), found.low.tolist(), found.volume.tolist(), found.trades.tolist()) == ([10, 12], [10, 12], [5, 2], [2, 1])
    assert len(bars(conditioned, "KO", limit=1, now_s=180)) >= 1
    today = conditioned.today("KO", OPEN_NS + 180 * SECOND_NS, conditioned.place(OPEN_NS + 180 * SECOND_NS))
    assert (today.open[0], today.high[0], today.low[0], today.close[0], today.volume[0]) == (10.0, 12.0, 10.0, 12.0, 12)


@pytest.mark.parametrize(("now_s", "price"), [(0, None), (60, 10.0), (120, 10.0), (180, 12.0)])
def test_the_latest_trade_is_the_last_that_set_a_price(conditioned, now_s, price):
    """As the close of the newest bar is: an odd lot or an official close after it changes nothing."""
    found = PastTrades(conditioned).latest("KO", conditioned.place(OPEN_NS + now_s * SECOND_NS))
    assert (found and found["p"]) == price


def test_channels_send_no_bar_of_a_minute_without_a_price_and_its_shares_with_the_day(conditioned):
    assert sent(conditioned, 60, 120, 180) == [
        [(BARS, 0, 10.0, 5), (DAILY_BARS, MIDNIGHT, 10.0, 5)],
        [(DAILY_BARS, MIDNIGHT, 10.0, 10)],
        [(BARS, 2, 12.0, 2), (DAILY_BARS, MIDNIGHT, 12.0, 12)],
    ]


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_page_has_as_many_bars_as_asked_for_among_minutes_without_a_price(conditioned, monkeypatch, piece, is_descending, limit):
    monkeypatch.setattr("tandem.recycler.history.PIECE_TICKS", piece)
    found = ((bars(conditioned, "KO", limit=limit, is_descending=is_descending).start_ns - OPEN_NS) // MINUTE_NS).tolist()
    every = [0, 2, 3]
    assert len(found) >= limit
    assert found == (every[-len(found) :] if is_descending else every[: len(found)])
