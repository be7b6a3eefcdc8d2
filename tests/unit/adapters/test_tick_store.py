"""The tick store: the same ticks as from memory whatever the pieces, several files and kinds in one order of time, and what it refuses."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded_cases import DAY_NS, MINUTE_NS, OPEN_NS, closes, events, quotes, shared_data, steady_trades, times, trades, write
from tandem.adapters.market_file import load_market_data
from tandem.adapters.synthetic_twin import PRICE_RATIO, SPREAD_STD, twin
from tandem.adapters.tick_store import StoreOptions, open_store
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.market import (
    KIND_ASK,
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_BID,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
)

SMALL = StoreOptions(run_rows=8, merge_rows=32)


@pytest.fixture
def pieces_of_five(monkeypatch):
    """Files are read five rows at a time, so that every boundary is met."""
    monkeypatch.setattr("tandem.adapters.market_pieces.PIECE_ROWS", 5)


def same(store, expected):
    found = store.data
    assert found.symbols == expected.symbols
    assert found.digest == expected.digest
    assert (found.bar, found.ignored, found.empty_cells) == (expected.bar, expected.ignored, expected.empty_cells)
    np.testing.assert_array_equal(found.ticks, expected.ticks)
    if expected.bars is None:
        assert found.bars is None
    else:
        np.testing.assert_array_equal(found.bars, expected.bars)
    for name in ("event_ns", "price", "symbol"):
        np.testing.assert_array_equal(getattr(store, name), expected.ticks[name])
    for number, symbol in enumerate(expected.symbols):
        np.testing.assert_array_equal(store.trades[symbol], np.flatnonzero(expected.ticks["symbol"] == number))


def bars_file(path, starts, **options):
    count = len(starts)
    columns = {"symbol": (["KO", "PEP"] * count)[:count], "ts": times(starts)} | options
    ramp = np.arange(count) + 10.0
    return write(path, **columns, open=ramp, high=ramp + 2, low=ramp - 2, close=ramp + 1, volume=[n % 4 for n in range(count)])


FILES = {
    "trades": lambda p: steady_trades(p, symbols=("PEP", "KO", "XOM")),
    "bars": lambda p: bars_file(p, [OPEN_NS + (n // 2) * MINUTE_NS for n in range(40)]),
    "daily bars": lambda p: bars_file(p, [(OPEN_NS - OPEN_NS % DAY_NS) + 4 * 3600 * 10**9 + (n // 2) * DAY_NS for n in range(6)]),
    "closes": lambda p: closes(p, [date(2024, 7, 1), date(2024, 7, 2), date(2024, 7, 3)], PEP=[1.0, 2, 3], KO=[4.0, 5, 6]),
    "wide": lambda p: write(
        p,
        date=[date(2024, 7, 1) + timedelta(days=n) for n in range(3)],
        PEP=[1.0, None, 3.0],
        KO=[4.0, 5.0, float("nan")],
        SP_INDEX=[1.0, 1.0, 1.0],
    ),
}


@pytest.mark.usefixtures("pieces_of_five")
@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_gives_the_ticks_that_it_gives_from_memory(tmp_path, kind):
    path = FILES[kind](tmp_path / "data.parquet")
    same(open_store([path], SMALL, folder=tmp_path), load_market_data(path))


@given(
    rows=st.lists(st.tuples(st.sampled_from(["KO", "PEP", "XOM"]), st.integers(0, 12)), min_size=1, max_size=80),
    piece=st.integers(1, 9),
    run=st.integers(1, 30),
)
@settings(deadline=None, max_examples=60)
def test_ticks_are_in_order_of_time_and_ties_in_the_order_of_the_file_whatever_the_pieces(tmp_path_factory, rows, piece, run):
    folder = tmp_path_factory.mktemp("store")
    path = trades(folder / "t.parquet", [(symbol, OPEN_NS + at, 10.0 + n, n + 1) for n, (symbol, at) in enumerate(rows)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tandem.adapters.market_pieces.PIECE_ROWS", piece)
        patch.setattr("tandem.adapters.tick_merge._BLOCK_ROWS_MIN", 2)
        same(open_store([path], StoreOptions(run_rows=run, merge_rows=4), folder=folder), load_market_data(path))


@pytest.mark.parametrize(
    "name", ["ticks_trades_2013-10-07_09.parquet", "bars_1hour_1998_2018.parquet", "bars_1min_2025-09_2026-02.parquet"]
)
def test_recorded_files_give_the_ticks_that_they_give_from_memory(name):
    path = shared_data(name)
    same(open_store([path], StoreOptions(run_rows=200_000, merge_rows=50_000)), load_market_data(path))


def test_files_are_merged_by_time_and_a_quote_is_a_bid_and_then_its_ask(tmp_path):
    first = trades(tmp_path / "a.parquet", [("KO", OPEN_NS + 5, 60.0, 1), ("KO", OPEN_NS + 9, 61.0, 1)])
    second = trades(tmp_path / "b.parquet", [("PEP", OPEN_NS + 7, 170.0, 2)])
    third = quotes(tmp_path / "q.parquet", [("PEP", OPEN_NS + 5, 169.0, 171.0), ("KO", OPEN_NS + 8, 0.0, 60.5)])
    store = open_store([first, second, third], folder=tmp_path)
    ticks = store.data.ticks
    assert [(t["symbol"], t["kind"], t["event_ns"] - OPEN_NS, t["price"]) for t in ticks] == [
        (0, KIND_TRADE, 5, 60.0),
        (1, KIND_BID, 5, 169.0),
        (1, KIND_ASK, 5, 171.0),
        (1, KIND_TRADE, 7, 170.0),
        (0, KIND_BID, 8, 0.0),
        (0, KIND_ASK, 8, 60.5),
        (0, KIND_TRADE, 9, 61.0),
    ]
    assert {name: places.tolist() for name, places in store.trades.items()} == {"KO": [0, 6], "PEP": [3]}
    assert {name: places.tolist() for name, places in store.quotes.items()} == {"KO": [4], "PEP": [1]}
    assert store.data.digest != load_market_data(first).digest
    assert store.files == ("a.parquet", "b.parquet", "q.parquet")


def test_events_become_states_bands_corrections_and_cancels(tmp_path):
    prints = trades(tmp_path / "t.parquet", [("KO", OPEN_NS + n, 60.0 + n, 10 + n) for n in range(1, 5)])
    happened = events(
        tmp_path / "e.parquet",
        [
            ("KO", OPEN_NS + 10, "short_restriction", {}),
            ("KO", OPEN_NS + 11, "halt", {"reason": "T1"}),
            ("KO", OPEN_NS + 12, "resume", {}),
            ("KO", OPEN_NS + 13, "band", {"low": 55.0, "high": 65.0}),
            ("KO", OPEN_NS + 14, "correction", {"trade_id": 2, "price": 61.5, "size": 7}),
            ("KO", OPEN_NS + 15, "cancel", {"trade_id": 3}),
        ],
    )
    store = open_store([prints, happened], folder=tmp_path)
    assert [(t["kind"], t["price"], t["size"], t["flags"]) for t in store.data.ticks[4:]] == [
        (KIND_STATUS, 0.0, 0, STATUS_SHORT_RESTRICTED),
        (KIND_STATUS, 0.0, 0, STATUS_SHORT_RESTRICTED | STATUS_HALTED),
        (KIND_STATUS, 0.0, 0, STATUS_SHORT_RESTRICTED),
        (KIND_BAND_LOW, 55.0, 0, 0),
        (KIND_BAND_HIGH, 65.0, 0, 0),
        (KIND_CORRECTION, 61.5, 7, 0),
        (KIND_CANCEL, 63.0, 13, 0),
    ]
    assert store.reasons[int(store.data.ticks["trade_id"][5])] == "T1"
    assert [(fix.trade, fix.cancels, fix.price, fix.size) for fix in store.fixes] == [(1, False, 61.5, 7), (2, True, 63.0, 13)]
    assert store.events.tolist() == list(range(4, 11))


def test_ids_of_the_file_are_kept_and_a_correction_finds_its_trade_by_them(tmp_path):
    prints = write(
        tmp_path / "t.parquet",
        symbol=["KO", "KO"],
        ts=times([OPEN_NS + 1, OPEN_NS + 2]),
        price=[60.0, 61.0],
        size=[1, 2],
        trade_id=[900, 700],
    )
    happened = events(tmp_path / "e.parquet", [("KO", OPEN_NS + 3, "cancel", {"trade_id": 700})])
    store = open_store([prints, happened], folder=tmp_path)
    assert store.data.ticks["trade_id"].tolist() == [900, 700, 700]
    assert store.fixes[0].trade == 1
    assert load_market_data(prints).ticks["trade_id"].tolist() == [900, 700]


def test_only_the_session_and_only_some_symbols_when_asked_with_the_ids_of_the_whole(tmp_path):
    path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS - 1, 1.0, 1), ("PEP", OPEN_NS, 2.0, 1), ("KO", OPEN_NS + 1, 3.0, 1)])
    store = open_store([path], StoreOptions(session_only=True, symbols=("KO",)), folder=tmp_path)
    assert store.data.symbols == ("KO",)
    assert store.data.ticks[["event_ns", "trade_id"]].tolist() == [(OPEN_NS + 1, 2)]


class TestTwin:
    """The made-up symbol."""

    def test_it_follows_its_base_within_a_stationary_spread_and_is_the_same_whatever_the_pieces(self, tmp_path):
        days = [datetime(2000, 1, 1, tzinfo=UTC).date() + timedelta(days=n) for n in range(3_000)]
        sessions = [day for day in days if load_is_session(day)]
        random = np.random.default_rng(5)
        prices = np.exp(np.cumsum(random.normal(0, 0.02, len(sessions)))) * 50
        path = closes(tmp_path / "c.parquet", sessions, KO=prices.tolist(), PEP=prices.tolist())
        options = StoreOptions(twins=(twin("KO=KO.SYN"),), bar_ns=DAY_NS)
        store = open_store([path], options, folder=tmp_path)
        assert store.data.symbols == ("KO", "KO.SYN", "PEP")
        assert store.synthetic == {"KO.SYN": "KO"}
        ticks = store.data.ticks
        base, made = (ticks["price"][store.trades[name]] for name in ("KO", "KO.SYN"))
        spread = np.log(base) - np.log(made) + np.log(PRICE_RATIO)
        assert abs(spread.std() / SPREAD_STD - 1) < 0.25
        first_lag = np.corrcoef(spread[1:], spread[:-1])[0, 1]
        assert abs(first_lag - 0.5 ** (1 / 20)) < 0.02
        again = open_store([path], StoreOptions(twins=options.twins, bar_ns=DAY_NS, run_rows=100, merge_rows=100), folder=tmp_path)
        np.testing.assert_array_equal(ticks, again.data.ticks)

    def test_quotes_of_the_twin_stay_pairs(self, tmp_path):
        path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS + 5, 60.0, 1)])
        book = quotes(tmp_path / "q.parquet", [("KO", OPEN_NS + 6, 59.0, 61.0)])
        store = open_store([path, book], StoreOptions(twins=(twin("KO=KO.SYN"),)), folder=tmp_path)
        assert store.data.ticks[["symbol", "kind"]].tolist() == [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]

    @pytest.mark.parametrize("text", ["KO", "KO=KO2", "ko=KO.SYN", "=KO.SYN", "KO="])
    def test_a_twin_that_does_not_say_what_it_is_is_refused(self, text):
        with pytest.raises(BadSetting, match="twin"):
            twin(text)

    def test_a_twin_of_what_is_not_recorded_is_refused(self, tmp_path):
        path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 60.0, 1)])
        with pytest.raises(BadRecord, match="holds no XOM"):
            open_store([path], StoreOptions(twins=(twin("XOM=XOM.SYN"),)), folder=tmp_path)


def load_is_session(day):
    """Weekdays that are no holiday, by the calendar itself."""
    return day in SESSIONS


def _sessions():
    from tandem.adapters.calendar import session_grid

    start = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    grid = session_grid("1d", start, start + 3_000 * DAY_NS)
    return {datetime.fromtimestamp(ns / 1e9, UTC).date() for ns in grid.open_ns}


SESSIONS = _sessions()


@pytest.mark.usefixtures("pieces_of_five")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("KO", OPEN_NS, float("nan"), 1)] * 7, "row 1, column price"),
        ([("KO", OPEN_NS, 1.0, 1)] * 6 + [("KO", OPEN_NS, -1.0, 1)], "row 7, column price: found -1.0"),
        ([("KO", OPEN_NS, 1.0, 1)] * 8 + [("KO", OPEN_NS, 1.0, 0)], "row 9, column size: found 0"),
        ([("KO", OPEN_NS, 1.0, 1)] * 5 + [("k o", OPEN_NS, 1.0, 1)], "row 6, column symbol"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_number_in_the_file(tmp_path, rows, message):
    with pytest.raises(BadRecord, match=message):
        open_store([trades(tmp_path / "t.parquet", rows)], SMALL, folder=tmp_path)


@pytest.mark.usefixtures("pieces_of_five")
def test_a_bar_that_is_there_twice_is_refused_even_far_apart(tmp_path):
    path = bars_file(tmp_path / "b.parquet", [OPEN_NS + (n // 2) * MINUTE_NS for n in range(20)] + [OPEN_NS])
    with pytest.raises(BadRecord, match=r"row 21, column ts: found one more, allowed is one row for each symbol and ts"):
        open_store([path], SMALL, folder=tmp_path)


@pytest.mark.parametrize(
    ("event", "more", "message"),
    [
        ("correction", {"trade_id": 9, "price": 1.0, "size": 1}, "found trade_id 9, allowed is a trade of KO before it"),
        ("correction", {"trade_id": 1, "price": 0.0, "size": 1}, "column price: found 0.0"),
        ("correction", {"trade_id": 1, "price": 1.0}, "column size: found None"),
        ("band", {"low": 1.0}, "column high: found None"),
        ("dance", {}, "column event: found dance, allowed is halt, resume"),
    ],
)
def test_an_event_that_means_nothing_is_refused(tmp_path, event, more, message):
    prints = trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 60.0, 1)])
    with pytest.raises(BadRecord, match=message):
        open_store([prints, events(tmp_path / "e.parquet", [("KO", OPEN_NS + 1, event, more)])], folder=tmp_path)


def test_files_that_do_not_go_together_are_refused(tmp_path):
    prints = trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 60.0, 1)])
    bars = bars_file(tmp_path / "b.parquet", [OPEN_NS + (n // 2) * MINUTE_NS for n in range(4)])
    longer = bars_file(tmp_path / "l.parquet", [OPEN_NS + (n // 2) * 5 * MINUTE_NS for n in range(4)])
    with pytest.raises(BadSetting, match="counted twice"):
        open_store([prints, bars])
    with pytest.raises(BadSetting, match="1min, 5min do not go together"):
        open_store([bars, longer])
    with pytest.raises(BadSetting, match="at least one file of trades"):
        open_store([quotes(tmp_path / "q.parquet", [("KO", OPEN_NS, 1.0, 2.0)])])
    with pytest.raises(BadSetting, match="no such file"):
        open_store([tmp_path / "none.parquet"])
    empty = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(prints).slice(0, 0), empty)
    with pytest.raises(BadRecord, match="no rows"):
        open_store([empty])


SALES = [("@", "C"), (" FI", "A"), ("", ""), ("@M", "C"), ("B", "A"), ("B", "C"), ("!", "C")]
SALE_FLAGS = [0, 6, 0, 135, 2, 0, 1]


def conditioned(path, *, as_list=False, tape=True):
    """A trade of KO a second with each of the conditions, twice."""
    count = 2 * len(SALES)
    codes = [list(codes) if as_list else codes for codes, _ in SALES] * 2
    more = {"tape": [tape for _, tape in SALES] * 2} if tape else {}
    columns = {"symbol": ["KO"] * count, "ts": times([OPEN_NS + n for n in range(count)]), "price": [60.0] * count, "size": [1] * count}
    return write(path, **columns, conditions=codes, **more)


@pytest.mark.parametrize("as_list", [False, True])
def test_recorded_conditions_say_which_trades_set_prices(tmp_path, pieces_of_five, as_list):
    """As a text or as a list of codes; the same from memory and from the store, which keeps what was recorded."""
    file = conditioned(tmp_path / "t.parquet", as_list=as_list)
    store = open_store([file], SMALL, folder=tmp_path)
    same(store, load_market_data(file))
    assert store.data.ticks["flags"].tolist() == SALE_FLAGS * 2
    assert [store.sale_at(n) for n in range(7)] == [(tape, codes) for codes, tape in SALES]
    assert store.priced["KO"].tolist() == [n for n, flags in enumerate(SALE_FLAGS * 2) if flags == 0]


def test_conditions_without_a_tape_go_by_the_strictest(tmp_path):
    store = open_store([conditioned(tmp_path / "t.parquet", tape=False)], folder=tmp_path)
    assert store.data.ticks["flags"].tolist() == [0, 6, 0, 135, 2, 2, 1] * 2


def test_a_recording_without_conditions_has_none(tmp_path):
    store = open_store([steady_trades(tmp_path / "t.parquet")], folder=tmp_path)
    assert (store.sale, store.sale_at(0)) == (None, ("", ""))
    assert not store.data.ticks["flags"].any()
    assert all(np.array_equal(store.priced[name], places) for name, places in store.trades.items())


def test_files_with_and_without_conditions_go_together(tmp_path):
    plain = trades(tmp_path / "p.parquet", [("PEP", OPEN_NS, 170.0, 1)])
    store = open_store([conditioned(tmp_path / "t.parquet"), plain], folder=tmp_path)
    of_pep = int(store.trades["PEP"][0])
    assert (store.sale_at(of_pep), int(store.data.ticks["flags"][of_pep])) == (("", ""), 0)


def test_a_corrected_trade_keeps_what_its_conditions_forbid(tmp_path):
    """A recording corrects price and size: the correction does not make an odd lot one that sets prices."""
    happened = events(tmp_path / "e.parquet", [("KO", OPEN_NS + 50, "correction", {"trade_id": 2, "price": 61.0, "size": 3})])
    store = open_store([conditioned(tmp_path / "t.parquet"), happened], folder=tmp_path)
    assert int(store.data.ticks["flags"][store.fixes[0].place]) == 6


@pytest.mark.parametrize("reader", [load_market_data, lambda path: open_store([path], folder=path.parent)])
def test_conditions_that_are_no_texts_are_refused(tmp_path, reader):
    for bad in (7, ["@", None]):
        file = write(tmp_path / "t.parquet", symbol=["KO"], ts=times([OPEN_NS]), price=[1.0], size=[1], conditions=[bad])
        with pytest.raises(BadRecord, match="column conditions: found"):
            reader(file)


@pytest.mark.parametrize("empty", [None, ""])
def test_cells_without_conditions_are_regular_sales(tmp_path, empty):
    columns = {"symbol": ["KO"] * 2, "ts": times([OPEN_NS, OPEN_NS + 1]), "price": [1.0] * 2, "size": [1] * 2}
    for others in (["@I"], []):
        codes = [empty] * (2 - len(others)) + others
        file = write(tmp_path / "t.parquet", **columns, conditions=codes, tape=[None, "C"])
        assert load_market_data(file).ticks["flags"].tolist() == [0, 6 * len(others)]
