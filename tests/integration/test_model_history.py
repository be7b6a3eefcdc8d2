"""Training history, rankings and trends in a real Postgres: real runs only, recent scores only, the same rows from the same run."""

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import psycopg2
import pytest

from model_cases import bundle_of, pair_model
from tandem.adapters.history_store import HistoryStore
from tandem.adapters.model_history import FEATURE_ROWS_MAX, DataOrigin, Diagnosed, ModelHistory
from tandem.adapters.postgres import upgrade
from tandem.domain.errors import Transient
from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import PairId, SectorId, pair_legs
from tandem.domain.market import Source
from tandem.domain.scores import Outcome, ScoredForecast
from tandem.quant import scores
from tandem.quant.history import reverted
from tandem.quant.stability import Finding, Verdict, features, stability

DAY_NS = 86_400_000_000_000
CLOSE_NS = 1_704_142_800 * 1_000_000_000  # 2024-01-01 16:00 in New York; the days that follow stand for sessions
FILE = DataOrigin(timeframe="1d", source="file", origin="f" * 64)
REF = ModelRef(name="m", version="1", digest="d1")
NOW_NS = CLOSE_NS + 400 * DAY_NS


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def history(url: str) -> ModelHistory:
    """On empty tables."""
    run(url, "TRUNCATE forecast_scores, model_performance, model_rankings, model_trends, market_data_features, variance_stability_tracking")
    run(url, "SET session_replication_role = replica; TRUNCATE books CASCADE")  # the ledger's triggers refuse it otherwise
    return ModelHistory(url)


def run(url: str, statement: str, *values: object) -> list[tuple]:
    """One statement in a transaction of its own."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def forecasts(
    url: str,
    spreads: np.ndarray,
    *,
    ref: ModelRef = REF,
    pair: str = "KO-PEP",
    qlike: float | np.ndarray = 1.0,
    source: Source = Source.LIVE,
    replay_id: str = "",
    first_day: int = 0,
    probability: float = 0.6,
) -> None:
    """A forecast a day of this pair with these spreads; each but the last has its outcome, with QLIKE as given against 2 of GARCH."""
    leg_a, leg_b = pair_legs(pair)
    losses = np.broadcast_to(np.asarray(qlike, dtype=float), spreads.shape)
    rows = []
    for i, (spread, loss) in enumerate(zip(spreads.tolist(), losses.tolist(), strict=True)):
        forecast = Forecast(
            pair=PairId(pair),
            leg_a=leg_a,
            leg_b=leg_b,
            price_a=60.0,
            price_b=100.0,
            beta=0.8,
            mu=0.1,
            z=0.0,
            spread=spread,
            expected_spread=0.0,
            variance=1e-4,
            garch_variance=1e-4,
            half_life_bars=5.0,
            reversion_probability=probability,
            bar_index=i,
        )
        close_ns = CLOSE_NS + (first_day + i) * DAY_NS
        outcome = Outcome(next_close_ns=close_ns + DAY_NS, realised=1e-4, qlike=loss, garch_qlike=2.0)
        rows.append(
            ScoredForecast(
                sector=SectorId("consumer"),
                model=ref,
                source=source,
                replay_id=replay_id,
                bar_close_ns=close_ns,
                forecast=forecast,
                outcome=outcome if i + 1 < len(spreads) else None,
            )
        )
    store = HistoryStore(url, "recorder")
    store.save([], rows, {})
    store.close()


def spread_path(count: int, seed: int = 1) -> np.ndarray:
    return 0.01 * np.cumsum(np.random.default_rng(seed).standard_normal(count))


def test_nothing_is_seeded(url):
    """The old tables began with invented models; these begin empty."""
    for table in ("model_performance", "model_rankings", "model_trends", "market_data_features", "variance_stability_tracking"):
        assert run(url, f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_training_is_one_row_for_the_sector_and_one_for_each_pair(history):
    """With the scores of the hold-out, and a second recording adds nothing."""
    bundle = replace(bundle_of(pair_model(), pair_model("HD", "WMT")), metrics={"holdout_qlike_hybrid": 1.25, "holdout_brier": 0.2})
    ref = ModelRef(name="m", version="7", digest=bundle.digest)
    assert history.record_training(bundle, ref, data=FILE, run_id="r") == 3
    assert history.record_training(bundle, ref, data=FILE, run_id="r") == 0
    (row,) = history.history(sector="consumer")
    assert (row["model_version"], row["qlike"], row["brier"], row["auc"], row["run_id"]) == ("7", 1.25, 0.2, None, "r")
    assert (row["horizon_bars"], row["hyperparameters"]) == (5, {"refit": True})
    (of_pair,) = history.history(pair="HD-WMT")
    assert (of_pair["qlike"], of_pair["metrics"]["half_life_bars"]) == (None, 13.5)


def test_a_version_is_ranked_by_its_recent_score_and_not_by_its_best(history, url):
    """A version that was perfect a year ago and is bad now stands below one that is steadily good."""
    path = spread_path(101)
    once_lucky = np.where(np.arange(101) < 60, 0.01, 2.4)
    forecasts(url, path, qlike=once_lucky, ref=ModelRef(name="m", version="1", digest="lucky"))
    forecasts(url, path, qlike=1.9, ref=ModelRef(name="m", version="2", digest="good"))
    assert history.refresh_rankings(NOW_NS) == 2
    rows = history.rankings()
    assert [(r["model_version"], r["rank_position"], r["bars"], r["sessions"]) for r in rows] == [("2", 1, 30, 30), ("1", 2, 30, 30)]
    assert [r["qlike_ratio"] for r in rows] == pytest.approx([0.95, 1.2])


def test_a_ranking_knows_only_what_was_known_at_its_time(history, url):
    """Outcomes after as_of have no part in it, and computing the day again replaces it."""
    forecasts(url, spread_path(61), qlike=np.where(np.arange(61) < 40, 1.0, 8.0))
    as_of = CLOSE_NS + 40 * DAY_NS
    assert [history.refresh_rankings(as_of), history.refresh_rankings(as_of)] == [1, 1]
    (row,) = history.rankings()
    assert (row["qlike_ratio"], row["last_ns"], row["bars"]) == (0.5, as_of, 30)
    history.refresh_rankings(NOW_NS)
    (row,) = history.rankings()
    assert row["qlike_ratio"] > 2
    assert len(run(url, "SELECT * FROM model_rankings")) == 2


def test_too_few_bars_are_not_ranked(history, url):
    """One lucky bar makes no rank."""
    forecasts(url, spread_path(20))
    assert history.refresh_rankings(NOW_NS) == 0
    assert history.refresh_rankings(NOW_NS, bars_min=19) == 1


def test_replays_and_live_markets_have_rankings_of_their_own(history, url):
    """Each is first in its own, and the timeframe of a version whose training was not recorded is unknown."""
    for source, replay_id, qlike in ((Source.LIVE, "", 1.5), (Source.RECYCLED, "a", 1.0), (Source.RECYCLED, "b", 0.5)):
        forecasts(url, spread_path(40), source=source, replay_id=replay_id, qlike=qlike)
    history.refresh_rankings(NOW_NS)
    found = [(r["source"], r["replay_id"], r["rank_position"], r["timeframe"], r["qlike_ratio"]) for r in history.rankings()]
    assert found == [("live", "", 1, "unknown", 0.75), ("recycled", "a", 1, "unknown", 0.5), ("recycled", "b", 1, "unknown", 0.25)]


def test_the_brier_score_is_of_the_label_that_the_network_learnt(history, url):
    """Computed in SQL, equal to quant/history.py on the same spreads; a missing bar takes away the labels that need it."""
    bundle = bundle_of(pair_model())
    ref = ModelRef(name="m", version="1", digest=bundle.digest)
    history.record_training(bundle, ref, data=FILE)
    path = spread_path(80, seed=5)
    forecasts(url, path, ref=ref, probability=0.7)
    history.refresh_rankings(NOW_NS, sessions=1000)
    (row,) = history.rankings()
    label = reverted(path, horizon_bars=bundle.horizon_bars, cost=2 * (1 + 0.8) * bundle.cost_bps * 1e-4)
    assert 0 < label.mean() < 1
    assert (row["labels"], row["timeframe"]) == (len(label), "1d")
    assert row["brier"] == pytest.approx(scores.brier(label, np.full(len(label), 0.7)))
    assert row["brier_base_rate"] == pytest.approx(label.mean() * (1 - label.mean()))

    run(url, "DELETE FROM forecast_scores WHERE bar_index = 40")
    history.refresh_rankings(NOW_NS, sessions=1000)
    assert history.rankings()[0]["labels"] == len(label) - 2 - bundle.horizon_bars


def test_profit_stands_beside_the_score_where_there_are_trades(history, url):
    """Closed trades of the version and pair, from books of the same source."""
    forecasts(url, spread_path(40))
    for book, source in (("live", "live"), ("replay", "recycled")):
        run(url, "INSERT INTO books (book, account, generation, source, capital_usd) VALUES (%s, %s, 1, %s, 1000)", book, book, source)
        for number, pnl in enumerate((Decimal("10.50"), Decimal("-3.25"), None)):
            closed = None if pnl is None else CLOSE_NS + 30 * DAY_NS
            run(
                url,
                "INSERT INTO pair_trades (book, trade_id, pair, sector, direction, model_name, model_version, model_digest, opened_ns, "
                "closed_ns, entry_z, cash_at_open_usd, pnl_usd) VALUES (%s, %s, 'KO-PEP', 'consumer', 1, 'm', '1', 'd1', 1, %s, 2, 0, %s)",
                *(book, str(number), closed, pnl),
            )
    history.refresh_rankings(NOW_NS)
    (row,) = history.rankings()
    assert (row["trades"], row["pnl_usd"]) == (2, Decimal("7.25"))


def test_a_trend_sets_the_last_seven_sessions_against_thirty(history, url):
    """Better, worse, steady; two versions scored on a pair are counted, and the best session is told."""
    for version, last_week in (("1", 1.0), ("2", 1.9), ("3", 1.5)):
        qlike = np.where(np.arange(61) < 53, 1.5, last_week)
        forecasts(url, spread_path(61), qlike=qlike, ref=ModelRef(name="m", version=version, digest=version))
    forecasts(url, spread_path(6), pair="HD-WMT", first_day=55)
    assert [history.refresh_trends(NOW_NS), history.refresh_trends(NOW_NS)] == [4, 4]
    rows = {(r["pair"], r["model_version"]): r for r in history.trends()}
    assert [rows["KO-PEP", v]["direction"] for v in "123"] == ["better", "worse", "steady"]
    assert rows["HD-WMT", "1"]["direction"] == "unknown"
    first = rows["KO-PEP", "1"]
    assert (first["bars_7"], first["bars_30"], first["versions_30"]) == (7, 30, 3)
    assert (first["qlike_ratio_7"], first["qlike_ratio_30"]) == pytest.approx((0.5, (23 * 1.5 + 7 * 1.0) / 60))
    assert first["best_session_ratio_30"] == 0.5


def test_features_are_stored_once_and_in_bounds(history, url):
    """NaN becomes NULL; of a long series the newest rows are kept."""
    level = np.cumsum(0.01 * np.random.default_rng(2).standard_normal(100))
    rows = features(level, bars_per_year=252)
    close_ns = CLOSE_NS + DAY_NS * np.arange(100)
    assert history.record_features("KO", close_ns, rows, data=FILE) == 100
    assert history.record_features("KO", close_ns, rows, data=FILE) == 0
    assert history.record_features("KO", close_ns, rows, data=replace(FILE, source="live", origin="")) == 100
    first, last = (
        run(url, "SELECT level, change, z_score, window_bars FROM market_data_features WHERE source = 'file' AND close_ns = %s", int(ns))[0]
        for ns in (close_ns[0], close_ns[-1])
    )
    assert first == (level[0], None, None, 30)
    assert last == (level[-1], rows.change[-1], rows.z_score[-1], 30)

    long = np.arange(FEATURE_ROWS_MAX + 5, dtype=float)
    assert history.record_features("PEP", long.astype(np.int64), features(long, bars_per_year=252), data=FILE) == FEATURE_ROWS_MAX
    assert run(url, "SELECT min(close_ns) FROM market_data_features WHERE subject = 'PEP'") == [(5,)]


def test_stability_is_recorded_with_what_was_found(history):
    """Also for a series that says nothing. A newer version's diagnostics take the older's place in the view, not in the table."""
    noise = np.random.default_rng(3).standard_normal(400) * np.repeat([1.0, 4.0], 200)
    rows = [
        Diagnosed(subject="KO-PEP", series="spread_innovation", from_ns=1, to_ns=2, stability=stability(noise), volatility_annualised=0.2),
        Diagnosed(subject="KO", series="log_return", from_ns=1, to_ns=2, stability=stability(np.zeros(9)), volatility_annualised=None),
    ]
    sector = SectorId("consumer")
    assert history.record_stability(rows, sector, REF, data=FILE) == 2
    assert history.record_stability(rows, sector, REF, data=FILE) == 0
    later = [replace(rows[0], to_ns=3)]
    assert history.record_stability(later, sector, replace(REF, version="2", digest="d2"), data=FILE) == 1
    silent, found = history.stability(sector="consumer")
    assert (silent["verdict"], silent["arch_p_value"], silent["ljung_box_p_values"]) == (Verdict.INSUFFICIENT_DATA, None, [])
    assert "9 values" in silent["reason"]
    assert (found["verdict"], found["model_version"], len(found["ljung_box_p_values"])) == (Verdict.VARYING, "2", 10)
    assert Finding.SIGMA_DRIFT in found["findings"]
    assert found["ljung_box_p_min"] == min(found["ljung_box_p_values"])


def test_recent_losses_are_means_over_the_pairs_in_order_of_time(history, url):
    """Pairs of one bar move together and count once."""
    forecasts(url, spread_path(31), qlike=1.0 + np.arange(31))
    forecasts(url, spread_path(31), qlike=2.0 + np.arange(31), pair="HD-WMT")
    hybrid, garch = history.recent_losses(REF, source="live", replay_id="", as_of_ns=CLOSE_NS + 20 * DAY_NS, bars=5)
    assert hybrid.tolist() == [16.5, 17.5, 18.5, 19.5, 20.5]
    assert garch.tolist() == [2.0] * 5
    assert history.recent_losses(REF, source="recycled", replay_id="", as_of_ns=NOW_NS, bars=5)[0].shape == (0,)


def test_rows_can_be_printed_as_json(history):
    """What the command prints with --json."""
    history.record_training(bundle_of(), None, data=FILE)
    assert json.dumps(history.history(), default=str)


def test_a_server_that_is_away_is_transient():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        ModelHistory("postgresql://tandem:x@127.0.0.1:9/tandem").rankings()
