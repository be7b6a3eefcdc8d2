"""The paired losses of two versions, read from a real Postgres: what is paired with what, and what counts once."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import psycopg2
import pytest

from tandem.adapters.history_store import HistoryStore, Position
from tandem.adapters.postgres import upgrade
from tandem.adapters.score_evidence import read_losses
from tandem.adapters.topics import ticks
from tandem.domain.errors import Transient
from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.scores import Outcome, ScoredForecast
from tandem.domain.units import NS_PER_S
from tandem.rollout.state import RolloutState

STABLE, CANDIDATE = (ModelRef(name="m", version=version, digest=f"d{version}") for version in ("1", "2"))
STATE = RolloutState(sector=SectorId("staples"), candidate=CANDIDATE, stable=STABLE)
NOON_NS = 1_700_000_000 * NS_PER_S // (86_400 * NS_PER_S) * 86_400 * NS_PER_S + 17 * 3_600 * NS_PER_S  # in New York, on a Tuesday
DAY_NS = 86_400 * NS_PER_S


def score(
    model: ModelRef, close_ns: int, qlike: float | None, *, pair: str = "KO-PEP", variance: float = 1e-4, replay_id: str = "r"
) -> ScoredForecast:
    """A row; qlike None: its next bar has not closed yet."""
    legs = [Symbol(leg) for leg in pair.split("-")]
    forecast = Forecast(
        pair=PairId(pair),
        leg_a=legs[0],
        leg_b=legs[1],
        price_a=60.1,
        price_b=50.0,
        beta=1.0,
        mu=0.1,
        spread=0.0,
        expected_spread=0.0,
        z=0.0,
        variance=variance,
        garch_variance=1e-4,
        reversion_probability=0.6,
        half_life_bars=5.0,
        bar_index=3,
    )
    outcome = None if qlike is None else Outcome(next_close_ns=close_ns + 1, realised=1e-4, qlike=qlike, garch_qlike=1.0)
    return ScoredForecast(
        sector=SectorId("staples"),
        model=model,
        source=Source.RECYCLED,
        replay_id=replay_id,
        bar_close_ns=close_ns,
        forecast=forecast,
        outcome=outcome,
    )


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    """A database with our tables."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[HistoryStore]:
    """On empty tables."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE forecast_scores, consumer_positions")
    connection.close()
    made = HistoryStore(url, "recorder")
    yield made
    made.close()


def test_losses_are_paired_by_bar_and_pair(store: HistoryStore, url: str) -> None:
    """What only one version has forecast is left out; what is not scored yet is NaN, and its variances compare all the same."""
    times = [NOON_NS, NOON_NS + DAY_NS, NOON_NS + 2 * DAY_NS]
    rows = [
        score(STABLE, times[0], 1.0),
        score(CANDIDATE, times[0], 0.5, variance=2e-4),
        score(STABLE, times[0], 3.0, pair="CL-KO"),
        score(CANDIDATE, times[0], 4.0, pair="CL-KO"),
        score(STABLE, times[1], 1.5),
        score(CANDIDATE, times[1], None),
        score(STABLE, times[2], 9.0),  # the candidate has not forecast it
        score(CANDIDATE, times[1], 8.0, pair="KO-XOM"),  # the stable version does not hold this pair
    ]
    store.save([], rows, {})
    losses = read_losses(url, "recycled", STATE)
    assert losses.pairs == ("CL-KO", "KO-PEP")
    assert losses.close_ns.tolist() == times[:2]
    np.testing.assert_array_equal(losses.stable, [[3.0, 1.0], [np.nan, 1.5]])
    np.testing.assert_array_equal(losses.candidate, [[4.0, 0.5], [np.nan, np.nan]])
    np.testing.assert_allclose(losses.log_variance_ratio, [[0.0, np.log(2)], [np.nan, 0.0]], atol=1e-12)
    np.testing.assert_array_equal(losses.realised_stable, [[1e-4, 1e-4], [np.nan, 1e-4]])
    np.testing.assert_array_equal(losses.realised_candidate, [[1e-4, 1e-4], [np.nan, np.nan]])
    assert losses.sessions.tolist() == [19675, 19676]  # days since 1970-01-01: 2023-11-14 and the day after
    assert losses.bars == 1


def test_the_session_is_new_yorks_day(store: HistoryStore, url: str) -> None:
    """A bar that closes at 19:30 in New York, after midnight UTC, belongs to the day that began there."""
    late_ns = NOON_NS + 7 * 3_600 * NS_PER_S + NS_PER_S * 1_800
    store.save([], [score(model, close_ns, 1.0) for model in (STABLE, CANDIDATE) for close_ns in (NOON_NS, late_ns)], {})
    assert len(set(read_losses(url, "recycled", STATE).sessions.tolist())) == 1


def test_only_what_closed_after_both_trainings_counts(store: HistoryStore, url: str) -> None:
    """The border itself was part of a training."""
    store.save([], [score(model, NOON_NS + n, 1.0) for model in (STABLE, CANDIDATE) for n in range(3)], {})
    assert read_losses(url, "recycled", replace(STATE, evidence_from_ns=NOON_NS)).close_ns.tolist() == [NOON_NS + 1, NOON_NS + 2]


def test_a_replay_of_the_same_bars_is_no_new_evidence(store: HistoryStore, url: str) -> None:
    """Each bar counts once, from a replay in which it is scored, and versions of two replays are never paired."""
    rows = [
        score(STABLE, NOON_NS, 1.0, replay_id="a"),
        score(CANDIDATE, NOON_NS, None, replay_id="a"),
        score(STABLE, NOON_NS, 2.0, replay_id="b"),
        score(CANDIDATE, NOON_NS, 3.0, replay_id="b"),
        score(STABLE, NOON_NS + 1, 1.0, replay_id="a"),
        score(CANDIDATE, NOON_NS + 1, 1.0, replay_id="c"),
    ]
    store.save([], rows, {})
    losses = read_losses(url, "recycled", STATE)
    assert (losses.stable.tolist(), losses.candidate.tolist()) == ([[2.0]], [[3.0]])


def test_how_far_the_market_is_comes_with_the_losses(store: HistoryStore, url: str) -> None:
    """By the recorder's own position in the sector's topic, of the same source: a replay that has begun again is behind its losses."""
    rows = [score(model, NOON_NS, 1.0) for model in (STABLE, CANDIDATE)]
    store.save([], rows, {})
    assert read_losses(url, "recycled", STATE).market_ns == 0
    for replay_id, watermark_ns in (("a", NOON_NS + DAY_NS), ("b", NOON_NS - DAY_NS)):
        position = Position(next_offset=1, restart_offset=1, source="recycled", replay_id=replay_id, watermark_ns=watermark_ns)
        store.save([], [], {ticks("staples"): position, ticks("energy"): replace(position, watermark_ns=NOON_NS)})
        assert read_losses(url, "recycled", STATE).market_ns == watermark_ns
    losses = read_losses(url, "recycled", STATE)
    assert (losses.newest_ns, losses.bars) == (NOON_NS, 1)
    assert read_losses(url, "live", STATE).market_ns == 0


def test_another_source_or_content_is_not_taken(store: HistoryStore, url: str) -> None:
    """Recycled forecasts prove nothing about live ones; a version whose digest differs is another model."""
    store.save([], [score(model, NOON_NS, 1.0) for model in (STABLE, CANDIDATE)], {})
    assert read_losses(url, "live", STATE).bars == 0
    assert read_losses(url, "recycled", replace(STATE, candidate=replace(CANDIDATE, digest="other"))).bars == 0
    assert read_losses(url, "recycled", replace(STATE, stable=None)).bars == 0


def test_a_server_that_is_away_is_transient() -> None:
    """No data is never a failure: the caller says what it could not look at."""
    with pytest.raises(Transient, match=r"PostgreSQL at 127\.0\.0\.1:9"):
        read_losses("postgresql://u:p@127.0.0.1:9/tandem", "recycled", STATE)
