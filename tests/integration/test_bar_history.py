"""Training data from stored bars: to the bit what was stored, one source at a time, with a digest that a second reading repeats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg2
import pytest

from tandem.adapters.bar_history import load_postgres_market
from tandem.adapters.bar_store import PostgresBarStore
from tandem.adapters.calendar import session_grid
from tandem.adapters.postgres import upgrade
from tandem.domain.errors import BadRecord, BadSetting, Transient
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Bar
from tandem.domain.units import NS_PER_MS
from tandem.trainer.data import training_panel

KO, PEP = Symbol("KO"), Symbol("PEP")
DAY_NS = 86_400_000_000_000
FROM_NS = 1_719_792_000 * 1_000_000_000  # 2024-07-01, a Monday; the 3rd is a half day, the 4th a holiday
TO_NS = FROM_NS + 12 * DAY_NS


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture(autouse=True)
def empty(url: str) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE bars")
    connection.close()


def daily(symbol: Symbol, seed: int) -> list[Bar]:
    """A bar for each session of the two weeks, prices with all their digits."""
    grid = session_grid("1d", FROM_NS, TO_NS)
    close = 60 + np.cumsum(np.random.default_rng(seed).standard_normal(len(grid.open_ns)))
    return [
        Bar(symbol=symbol, open_ns=o, close_ns=c, open=p / 3 * 3, high=p * 1.01, low=p * 0.9, close=p, volume=n, trades=1)
        for n, (o, c, p) in enumerate(zip(grid.open_ns.tolist(), grid.close_ns.tolist(), close.tolist(), strict=True))
        if FROM_NS <= o < TO_NS
    ]


def store(url: str, bars: list[Bar], source: str = "live", replay_id: str = "") -> None:
    PostgresBarStore(url).write([(bar, "1d", source, replay_id) for bar in bars])


def load(url: str, symbols=(PEP, KO), source: str = "live", **more):
    return load_postgres_market(url, symbols, "1d", FROM_NS, TO_NS, source=source, **more)


def test_bars_come_back_as_a_file_would_give_them(url):
    """A trade at each close, in order of time and symbol, with the bar beside it."""
    ko, pep = daily(KO, 1), daily(PEP, 2)
    store(url, pep + ko[::-1])
    data = load(url)
    assert (data.symbols, data.bar, data.path) == ((KO, PEP), "1d", Path("postgres"))
    assert data.ticks["price"].tolist() == [bar.close for both in zip(ko, pep, strict=True) for bar in both]
    assert data.ticks["event_ns"][::2].tolist() == [bar.close_ns - NS_PER_MS for bar in ko]
    assert data.ticks["trade_id"].tolist() == [n for n in range(1, len(ko) + 1) for _ in "ab"]
    assert data.ticks["size"][::2].tolist() == [max(bar.volume, 1) for bar in ko]
    assert [tuple(row) for row in data.bars[::2].tolist()] == [(b.open_ns, b.open, b.high, b.low, b.volume) for b in ko]


def test_training_sees_the_same_panel_from_postgres_as_was_stored(url):
    """Half day and holiday included."""
    ko, pep = daily(KO, 1), daily(PEP, 2)
    store(url, ko + pep)
    panel, slots = training_panel(load(url), SectorId("consumer"), (KO, PEP), bar="1d", from_ns=FROM_NS, to_ns=TO_NS)
    assert slots == 1
    assert panel.close_ns.tolist() == [bar.close_ns for bar in ko]
    np.testing.assert_array_equal(panel.close, [[a.close, b.close] for a, b in zip(ko, pep, strict=True)])


def test_the_digest_is_of_the_content(url):
    """The same bars give it again, stored in any order and under any label; one digit of one price changes it."""
    ko, pep = daily(KO, 1), daily(PEP, 2)
    store(url, ko + pep)
    store(url, pep[::-1] + ko, source="recycled", replay_id="r")
    digest = load(url).digest
    assert load(url, symbols=(KO, PEP)).digest == digest
    assert load(url, source="recycled", replay_id="r").digest == digest
    assert load(url, symbols=(KO,)).digest != digest
    changed = [replace(ko[0], close=np.nextafter(ko[0].close, 0)), *ko[1:]]
    store(url, changed + pep, source="paper")
    assert load(url, source="paper").digest != digest


def test_sources_and_replays_never_mix(url):
    """Each is found under its own name only."""
    store(url, daily(KO, 1))
    store(url, daily(KO, 2), source="recycled", replay_id="one")
    store(url, daily(KO, 3), source="recycled", replay_id="two")
    prices = {
        (s, r): load(url, source=s, replay_id=r).ticks["price"][0] for s, r in (("live", ""), ("recycled", "one"), ("recycled", "two"))
    }
    assert len(set(prices.values())) == 3
    assert len(load(url).ticks) == len(daily(KO, 1))


@pytest.mark.parametrize(("source", "replay_id"), [("recycled", ""), ("live", "one"), ("paper", "one"), ("file", ""), ("all", "")])
def test_a_question_that_could_mix_is_refused(url, source, replay_id):
    """Recycled bars without a replay would be of several, real ones have none."""
    with pytest.raises(BadSetting, match="source"):
        load(url, source=source, replay_id=replay_id)


def test_where_nothing_is_found_the_message_says_what_there_is(url):
    """An empty store, another source, an unknown bar."""
    with pytest.raises(BadRecord, match="no bars at all"):
        load(url)
    store(url, daily(KO, 1), source="recycled", replay_id="one")
    with pytest.raises(BadRecord, match="of 1d from recycled one"):
        load(url)
    with pytest.raises(BadRecord, match="bars_missing"):
        load(url, symbols=(), source="recycled", replay_id="one")
    with pytest.raises(BadSetting, match="2d"):
        load_postgres_market(url, (KO,), "2d", FROM_NS, TO_NS, source="live")


def test_a_symbol_without_bars_is_left_out_and_the_span_is_closed_on_the_right(url):
    """The bar that closes at to_ns is the last."""
    ko = daily(KO, 1)
    store(url, ko)
    data = load_postgres_market(url, (KO, PEP), "1d", ko[0].close_ns, ko[3].close_ns, source="live")
    assert data.symbols == (KO,)
    assert data.ticks["price"].tolist() == [bar.close for bar in ko[1:4]]


def test_a_server_that_is_away_is_transient():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        load("postgresql://tandem:x@127.0.0.1:9/tandem")
