"""`tandem models` over a real Postgres: an empty table says how it fills, a full one is shown, and JSON holds every column."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import psycopg2
import pytest
from typer.testing import CliRunner, Result

from model_cases import bundle_of, pair_model
from tandem.adapters.decision_log import Decision, DecisionLog, Outcome
from tandem.adapters.model_history import DataOrigin, Diagnosed, ModelHistory
from tandem.adapters.postgres import upgrade
from tandem.cli.main import app
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.quant.stability import stability
from tandem.rollout.gates import Gate, Need

DAY = date(2025, 7, 1)
CONSUMER = SectorId("consumer")
FILE = DataOrigin(timeframe="1d", source="file", origin="f" * 64)
RANKING = """
INSERT INTO model_rankings (ranking_day, timeframe, source, replay_id, sector, model_name, model_version, model_digest, pair, rank_position,
    sector_position, qlike_ratio, qlike, garch_qlike, bars, sessions, last_ns, brier, brier_base_rate, labels, trades, pnl_usd, as_of_ns)
VALUES ('2025-07-01', '1d', 'live', '', 'consumer', 'm', '7', 'd', 'KO-PEP', 1, 1, 0.9, 1.8, 2.0, 30, 30, 1, NULL, NULL, 0, 2, 7.25, 1);
INSERT INTO model_trends (trend_day, timeframe, source, replay_id, sector, model_name, model_version, model_digest, pair, qlike_ratio_7,
    qlike_ratio_30, bars_7, bars_30, best_session_ratio_30, versions_30, direction, as_of_ns)
VALUES ('2025-07-01', '1d', 'live', '', 'consumer', 'm', '7', 'd', 'KO-PEP', NULL, 1.25, 0, 30, 0.5, 3, 'unknown', 1)
"""


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


def models(url: str, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["models", *arguments], env={"TANDEM_POSTGRES_URL": url})
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("rankings", "at least 20 scored forecasts"),
        ("trends", "scored forecasts"),
        ("history", "tandem train"),
        ("stability", "TANDEM_POSTGRES_URL"),
        ("decisions", "tandem rebaseline"),
    ],
)
def test_an_empty_table_says_what_fills_it(url, command, hint):
    """On stderr, so that a program that reads the output is not misled; as JSON it is an empty list."""
    result = models(url, command, "--sector", "nobody")
    assert (result.stdout, hint in result.stderr) == ("", True)
    assert json.loads(models(url, command, "--sector", "nobody", "--json").stdout) == []


@pytest.fixture(scope="module")
def filled(url: str) -> str:
    """One row of each kind."""
    history = ModelHistory(url)
    bundle = replace(bundle_of(pair_model()), metrics={"holdout_qlike_hybrid": 1.25, "holdout_qlike_garch": 1.5})
    ref = ModelRef(name="m", version="7", digest=bundle.digest)
    history.record_training(bundle, ref, data=FILE)
    noise = stability(np.random.default_rng(2).standard_normal(200))
    one = Diagnosed(subject="KO-PEP", series="spread_innovation", from_ns=1, to_ns=2, stability=noise, volatility_annualised=0.25)
    history.record_stability([one], CONSUMER, ref, data=FILE)
    DecisionLog(url).record(
        Decision(
            sector=CONSUMER,
            timeframe="1d",
            source="file",
            session_day=DAY,
            outcome=Outcome.REJECTED,
            reason="span_newer: its last bar is 0.0 h after the champion's",
            weekly=False,
            half_day=False,
            decided_ns=1,
            model_name="m",
            needs=(Need(name="age", found=True, reason="old"),),
            gates=(Gate(name="span_newer", passed=False, reason="0.0 h"),),
            metrics={"holdout_qlike_hybrid": 1.25},
        )
    )
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(RANKING)
    connection.close()
    return url


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["rankings"], ["KO-PEP", "7", "live", "0.900", "7.25"]),
        (["trends", "--day", "2025-07-01"], ["KO-PEP", "1.250", "0.500", "unknown"]),
        (["history"], ["consumer", "file ffffffffffff", "1970-01-01", "1.250", "1.500", "1 of 1"]),
        (["history", "--pair", "ko-pep"], ["13.5", "garch t", "0.950", "500"]),
        (["stability", "--sector", "consumer"], ["KO-PEP spread innovation", "steady", "200", "0.250"]),
        (["decisions"], ["2025-07-01", "rejected", "span_newer: its last bar is 0.0 h"]),
    ],
)
def test_a_row_is_shown(filled, arguments, shown):
    """What a person looks for stands in the table."""
    output = models(filled, *arguments).stdout
    assert [text for text in shown if text not in output] == []


def test_json_holds_every_column(filled):
    """Decisions with all needs and gates."""
    (decision,) = json.loads(models(filled, "decisions", "--json").stdout)
    assert decision["gates"] == [{"name": "span_newer", "passed": False, "reason": "0.0 h"}]
    assert (decision["needs"][0]["name"], decision["session_day"], decision["attempt"]) == ("age", "2025-07-01", 1)
    (ranking,) = json.loads(models(filled, "rankings", "--json").stdout)
    assert (ranking["pnl_usd"], ranking["brier"]) == ("7.25", None)


def test_a_day_that_is_none_is_refused(filled):
    result = CliRunner().invoke(app, ["models", "rankings", "--day", "July"], env={"TANDEM_POSTGRES_URL": filled})
    assert (result.exit_code, "YYYY-MM-DD" in result.stderr) == (1, True)


def test_without_a_database_the_next_step_is_told(tmp_path):
    result = CliRunner().invoke(app, ["models", "decisions"], env={"TANDEM_POSTGRES_URL": "", "TANDEM_HOME": str(tmp_path)})
    assert (result.exit_code, "tandem up" in result.stderr) == (1, True)
