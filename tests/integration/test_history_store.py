"""Bars, scores and positions in a real Postgres: idempotent, all or nothing, and never mixed between sources and replays."""

import math
from dataclasses import replace

import numpy as np
import psycopg2
import pytest

from tandem.adapters.bar_store import PostgresBarStore, read_bar_sets
from tandem.adapters.history_store import HistoryStore, Position, Saved
from tandem.adapters.postgres import upgrade
from tandem.domain.errors import InvariantBroken, Transient
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Bar, SessionGrid, Source
from tandem.domain.scores import Outcome, ScoredForecast

GRID = SessionGrid(open_ns=np.array([100, 200]), close_ns=np.array([110, 210]), bar_ns=4)
KO, PEP = Symbol("KO"), Symbol("PEP")
MODEL = ModelRef(name="m", version="1", digest="d")


def bar(symbol: Symbol, open_ns: int, close_ns: int, close: float = 0.1 + 0.2) -> Bar:
    return Bar(symbol=symbol, open_ns=open_ns, close_ns=close_ns, open=close, high=close, low=close, close=close, volume=3, trades=2)


def forecast(pair: str = "KO-PEP", **changes: object) -> Forecast:
    made = Forecast(
        pair=PairId(pair),
        leg_a=KO,
        leg_b=PEP,
        price_a=60.1,
        price_b=math.pi,
        beta=1 / 3,
        mu=-0.1,
        spread=1e-17,
        expected_spread=-0.02,
        z=1.0,
        variance=4e-14,
        garch_variance=2e-4,
        reversion_probability=0.6,
        half_life_bars=5.0,
        bar_index=3,
    )
    return replace(made, **changes)


def score(bar_close_ns: int, outcome: Outcome | None = None, replay_id: str = "r", **changes: object) -> ScoredForecast:
    return ScoredForecast(
        sector=SectorId("staples"),
        model=MODEL,
        source=Source.RECYCLED,
        replay_id=replay_id,
        bar_close_ns=bar_close_ns,
        forecast=forecast(**changes),
        outcome=outcome,
    )


def batch(replay_id: str = "r") -> ForecastBatch:
    return ForecastBatch(
        sector=SectorId("staples"),
        model=MODEL,
        source=Source.RECYCLED,
        replay_id=replay_id,
        bar_close_ns=999,
        lockstep=False,
        end_of_stream=False,
        forecasts=(),
    )


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str):
    """On empty tables."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE bars, forecast_scores, consumer_positions")
    connection.close()
    made = HistoryStore(url, "recorder")
    yield made
    made.close()


OUTCOME = Outcome(next_close_ns=200, realised=0.0, qlike=1.5, garch_qlike=2.5)


def test_bars_come_back_to_the_bit_with_their_session_and_slot(store, url):
    rows = [(bar(PEP, 104, 108), "1min", "live", ""), (bar(KO, 104, 108), "1min", "live", ""), (bar(KO, 208, 210), "1min", "live", "")]
    assert store.save(rows, [], {}) == Saved(bars=3, scores=0)

    first, second = read_bar_sets(url, {KO, PEP}, "1min", "live", 0, 1000, GRID)
    assert (first.close_ns, first.session_ns, first.slot) == (108, 100, 1)
    assert list(first.bars.items()) == [(KO, bar(KO, 104, 108)), (PEP, bar(PEP, 104, 108))]
    assert (second.close_ns, second.session_ns, second.slot, list(second.bars)) == (210, 200, 2, [KO])


def test_the_range_is_open_on_the_left_and_closed_on_the_right(store, url):
    store.save([(bar(KO, close_ns - 4, close_ns), "1min", "live", "") for close_ns in (104, 108, 204)], [], {})
    assert [s.close_ns for s in read_bar_sets(url, {KO}, "1min", "live", 104, 204, GRID)] == [108, 204]


def test_a_bar_that_is_there_is_left_alone(store, url):
    store.save([(bar(KO, 104, 108, 1.0), "1min", "live", "")], [], {})
    again = [(bar(KO, 104, 108, 2.0), "1min", "live", ""), (bar(PEP, 104, 108, 3.0), "1min", "live", "")]
    assert store.save(again, [], {}).bars == 1
    assert PostgresBarStore(url).write(again) == 0
    assert read_bar_sets(url, {KO}, "1min", "live", 0, 1000, GRID)[0].bars[KO].close == 1.0


def test_recycled_bars_never_pass_for_history_nor_for_those_of_another_replay(store, url):
    store.save([(bar(KO, 104, 108, price), "1min", source, replay) for price, source, replay in PLACES], [], {})
    found = {
        (source, replay): read_bar_sets(url, {KO}, "1min", source, 0, 1000, GRID, replay)[0].bars[KO].close for _, source, replay in PLACES
    }
    assert found == {(source, replay): price for price, source, replay in PLACES}
    assert read_bar_sets(url, {KO}, "1min", "recycled", 0, 1000, GRID) == ()
    assert read_bar_sets(url, {KO}, "5min", "live", 0, 1000, GRID) == ()


PLACES = [(1.0, "live", ""), (2.0, "paper", ""), (3.0, "recycled", "one"), (4.0, "recycled", "two")]


def test_a_forecast_waits_for_its_outcome_and_gets_it_once(store):
    assert store.save([], [score(100)], {}).scores == 1
    assert store.unscored(batch()) == {"KO-PEP": (100, forecast())}
    assert store.save([], [score(100, OUTCOME), score(200, bar_index=4)], {}).scores == 2
    assert store.save([], [score(100, OUTCOME), score(100), score(200, bar_index=4)][:1], {}).scores == 0
    assert store.unscored(batch()) == {"KO-PEP": (200, forecast(bar_index=4))}


def test_an_outcome_is_never_taken_back(store, url):
    store.save([], [score(100, OUTCOME)], {})
    store.save([], [score(100)], {})
    store.save([], [score(100, replace(OUTCOME, realised=9.0))], {})
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT bar_close_ns, next_close_ns, realised, qlike, garch_qlike FROM forecast_scores")
        assert cursor.fetchall() == [(100, 200, 0.0, 1.5, 2.5)]
    connection.close()


def test_only_the_newest_forecast_of_a_pair_in_the_stream_waits(store):
    """An older one was withheld its next bar; another replay is another stream."""
    store.save([], [score(100), score(300, bar_index=5), score(400, replay_id="other")], {})
    assert store.unscored(batch()) == {"KO-PEP": (300, forecast(bar_index=5))}
    assert store.unscored(batch("third")) == {}


def test_rows_and_positions_are_one(store, url):
    """A bar that Postgres refuses takes the whole transaction with it, the position included; the store works on."""
    position = Position(next_offset=9, restart_offset=4, source="recycled", replay_id="r", watermark_ns=108)
    broken = replace(bar(KO, 104, 108), high=0.0)
    with pytest.raises(InvariantBroken, match="bars_check"):
        store.save([(bar(PEP, 104, 108), "1min", "live", ""), (broken, "1min", "live", "")], [score(100)], {"t": position})
    assert (store.positions(), store.unscored(batch())) == ({}, {})
    assert read_bar_sets(url, {PEP}, "1min", "live", 0, 1000, GRID) == ()

    assert store.save([(bar(PEP, 104, 108), "1min", "live", "")], [score(100)], {"t": position}) == Saved(bars=1, scores=1)
    assert store.positions() == {"t": position}


def test_positions_belong_to_their_consumer(store, url):
    store.save([], [], {"t": Position(next_offset=1, restart_offset=1)})
    other = HistoryStore(url, "somebody")
    assert other.positions() == {}
    other.close()


def test_strange_names_survive(store, url):
    """Quotes, backslashes and commas in an id from outside do not break the bulk load."""
    name = 'a"b\\c,d\te'
    store.save([(bar(KO, 104, 108), "1min", "recycled", name)], [], {})
    assert len(read_bar_sets(url, {KO}, "1min", "recycled", 0, 1000, GRID, name)) == 1


def test_a_server_that_is_away_is_transient():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        HistoryStore("postgresql://tandem:x@127.0.0.1:9/tandem", "recorder")
