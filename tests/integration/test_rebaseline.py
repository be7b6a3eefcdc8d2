"""The pre-market run on a real Postgres and a real MLflow: a candidate only when every gate passes, and each decision with its reasons."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import psycopg2
import pytest
from typer.testing import CliRunner

from model_cases import market, tiny_options
from tandem.adapters.bar_history import load_postgres_market
from tandem.adapters.bar_store import PostgresBarStore
from tandem.adapters.calendar import session_grid
from tandem.adapters.config_files import Sectors
from tandem.adapters.decision_log import DecisionLog
from tandem.adapters.mlflow_registry import load_bundle, promote, resolve_alias
from tandem.adapters.model_history import ModelHistory
from tandem.adapters.postgres import upgrade
from tandem.cli.main import app
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Bar
from tandem.quant.bundle import model_name
from tandem.rollout.gates import Policy
from tandem.rollout.registry_names import CANDIDATE, CHAMPION
from tandem.trainer.rebaseline import Run, Setup, rebaseline
from tandem.trainer.schedule import occasion, run_ns

SYMBOLS = ("AAA", "BBB", "CCC")
PAIR = PairId("AAA-BBB")
DAYS = 700  # sessions that are stored, up to the Friday before FIRST
FIRST, SECOND, THIRD = date(2025, 6, 30), date(2025, 7, 1), date(2025, 7, 2)  # a Monday and the two days after it
HOLIDAY = date(2025, 7, 4)
OPTIONS = tiny_options(epochs_max=2)
# What the tests are about is the way through the gates, not the skill of a network that learnt for two epochs.
OPEN = Policy(level=1e-9, confidence_level=0.0)


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def stored(url: str) -> str:
    """A market of 700 daily bars and some days after them, as recorded live."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE bars, rebaseline_decisions, model_performance, market_data_features, variance_stability_tracking")
    connection.close()
    grid = session_grid("1d", run_ns(FIRST) - 1100 * 86_400 * 10**9, run_ns(date(2025, 7, 8)))
    first = int(np.searchsorted(grid.open_ns, run_ns(FIRST)))
    closes = market(DAYS + 4, seed=3, phi=0.8).close
    rows = [
        (bar(name, int(grid.open_ns[place]), int(grid.close_ns[place]), price), "1d", "live", "")
        for place, prices in zip(range(first - DAYS, first + 4), closes.tolist(), strict=True)
        for name, price in zip(SYMBOLS, prices, strict=True)
    ]
    PostgresBarStore(url).write(rows)
    return url


def bar(name: str, open_ns: int, close_ns: int, price: float) -> Bar:
    return Bar(
        symbol=Symbol(name), open_ns=open_ns, close_ns=close_ns, open=price, high=price, low=price, close=price, volume=100, trades=1
    )


def setup(url: str, mlflow_uri: str, sector: str, **changes: object) -> Setup:
    """Of one sector, which each test has for itself, because the registry is shared."""

    def load(symbols: Sequence[Symbol], from_ns: int, to_ns: int):
        return load_postgres_market(url, symbols, "1d", from_ns, to_ns, source="live")

    made = Setup(
        postgres_url=url,
        tracking_uri=mlflow_uri,
        sectors=Sectors(sectors={SectorId(sector): tuple(map(Symbol, SYMBOLS))}, active=(SectorId(sector),), presets={}, preset="all"),
        declared={SectorId(sector): (PAIR,)},
        options=OPTIONS,
        bar="1d",
        market=load,
        data_source="live",
        source="live",
        replay_id="",
        sessions=DAYS,
        policy=OPEN,
    )
    return replace(made, **changes)


def run(made: Setup, day: date, **options: bool) -> Run:
    (sector,) = made.sectors.sectors
    return rebaseline(made, sector, occasion(day), now_ns=run_ns(day), **options)


def decisions(url: str) -> list[dict]:
    return DecisionLog(url).recent()


def rows(url: str, query: str) -> list[tuple]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    connection.close()
    return found


def test_from_a_first_candidate_to_a_day_that_needs_none(stored, mlflow_uri):
    """Monday: no champion, so one is trained. Again on Monday: nothing. Tuesday, after promotion: one new bar is no need."""
    made = setup(stored, mlflow_uri, "rebase-week")
    name = model_name("rebase-week")
    first = run(made, FIRST)
    assert (first.outcome, [need.name for need in first.decision.needs if need.found]) == ("registered", ["weekly", "no_champion"])
    assert [gate.name for gate in first.decision.gates if not gate.passed] == []
    assert (resolve_alias(mlflow_uri, name, CANDIDATE), resolve_alias(mlflow_uri, name, CHAMPION)) == ("1", None)
    ref, bundle = load_bundle(mlflow_uri, name, "1")
    assert bundle.trained_to_ns == occasion(FIRST).previous_close_ns
    assert (ref.digest, bundle.data_digest) == (first.decision.model_digest, first.decision.data_digest)

    # What it left besides the model.
    (trained,) = ModelHistory(stored).history(sector="rebase-week")
    assert (trained["model_version"], trained["source"], trained["qlike"]) == ("1", "live", bundle.metrics["holdout_qlike_hybrid"])
    assert rows(stored, "SELECT subject, count(*) FROM market_data_features GROUP BY 1 ORDER BY 1") == [
        ("AAA", DAYS),
        ("AAA-BBB", DAYS - 1),
        ("BBB", DAYS),
        ("CCC", DAYS),
    ]
    assert len(ModelHistory(stored).stability(sector="rebase-week")) == 5

    again = run(made, FIRST)
    assert (again.outcome, again.decision) == ("decided", None)
    assert "registered" in again.reason

    promote(mlflow_uri, ref)
    quiet = run(made, SECOND)
    assert (quiet.outcome, quiet.decision.champion_version) == ("not_needed", "1")
    assert {need.name for need in quiet.decision.needs} == {"weekly", "age", "new_bars", "performance", "drift"}

    # Asked for all the same, and refused by a gate: nothing is registered, the reason is stored.
    strict = replace(made, policy=replace(OPEN, sessions_behind_max=-1))
    refused = run(strict, SECOND, weekly=True, force=True)
    assert (refused.outcome, [gate.name for gate in refused.decision.gates if not gate.passed]) == ("rejected", ["data_fresh"])
    assert (resolve_alias(mlflow_uri, name, CANDIDATE), resolve_alias(mlflow_uri, name, CHAMPION)) == ("1", "1")

    kept = [(row["session_day"], row["attempt"], row["outcome"], row["model_version"]) for row in decisions(stored)]
    assert kept == [(SECOND, 2, "rejected", ""), (SECOND, 1, "not_needed", ""), (FIRST, 1, "registered", "1")]
    newest = decisions(stored)[0]
    assert next(gate for gate in newest["gates"] if gate["name"] == "span_newer")["passed"]
    assert newest["metrics"]["holdout_qlike_garch"] > 0


def test_a_holiday_is_skipped_with_its_reason(stored, mlflow_uri):
    """And is done: the daemon does not come back to it."""
    made = setup(stored, mlflow_uri, "rebase-holiday")
    assert [run(made, HOLIDAY).outcome, run(made, HOLIDAY).outcome] == ["skipped", "decided"]
    (row,) = decisions(stored)
    assert (row["outcome"], row["reason"], row["gates"], row["needs"]) == ("skipped", "exchange holiday", [], [])


def test_a_sector_without_a_pair_is_rejected_with_the_reason(stored, mlflow_uri):
    """Nothing is declared and one symbol makes no pair."""
    made = setup(stored, mlflow_uri, "rebase-alone", declared={})
    made = replace(made, sectors=replace(made.sectors, sectors={SectorId("rebase-alone"): (Symbol("CCC"),)}))
    found = run(made, FIRST)
    assert (found.outcome, [gate.name for gate in found.decision.gates]) == ("rejected", ["trained"])
    assert "no pair" in found.reason
    assert resolve_alias(mlflow_uri, model_name("rebase-alone"), CANDIDATE) is None


@pytest.mark.parametrize("what", ["data", "registry"])
def test_a_run_that_could_not_decide_leaves_the_day_open(stored, mlflow_uri, what):
    """Each attempt is stored, and the next one is not told that the day is done."""
    made = setup(stored, mlflow_uri, "rebase-away")
    if what == "data":
        made = replace(made, market=lambda names, start, end: load_postgres_market(stored, names, "1d", start, end, source="paper"))
    else:
        made = replace(made, tracking_uri="http://127.0.0.1:9")
    assert [run(made, SECOND).outcome, run(made, SECOND).outcome] == ["failed", "failed"]
    assert [(row["attempt"], row["outcome"]) for row in decisions(stored)] == [(2, "failed"), (1, "failed")]
    assert ("paper" if what == "data" else "MLflow") in decisions(stored)[0]["reason"]


def test_two_runs_at_once_are_one(stored, mlflow_uri):
    """The second finds the sector taken and changes nothing; another sector is free."""
    made = setup(stored, mlflow_uri, "rebase-twice")
    with DecisionLog(stored).lock(SectorId("rebase-twice"), "1d", "live") as ours, ThreadPoolExecutor(1) as pool:
        assert ours
        second = pool.submit(run, made, HOLIDAY).result()
        assert run(setup(stored, mlflow_uri, "rebase-other"), HOLIDAY).outcome == "skipped"
    assert (second.outcome, second.decision) == ("busy", None)
    assert [row["sector"] for row in decisions(stored)] == ["rebase-other"]
    assert run(made, HOLIDAY).outcome == "skipped"


@pytest.fixture
def environment(stored: str, mlflow_uri: str, tmp_path: Path) -> dict[str, str]:
    """Settings of the command, with one sector."""
    (tmp_path / "pairs").mkdir()
    (tmp_path / "sectors.yaml").write_text("sectors:\n  shelf: [AAA, BBB]\nactive: [shelf]\nactive_symbols: all\npresets: {}\n")
    (tmp_path / "training.yaml").write_text((Path(__file__).parents[2] / "config" / "training.yaml").read_text())
    return {"TANDEM_POSTGRES_URL": stored, "MLFLOW_TRACKING_URI": mlflow_uri, "TANDEM_CONFIG_DIR": str(tmp_path), "TANDEM_SOURCE": "live"}


def test_the_command_tells_and_stores_the_decision(environment, stored):
    """A holiday, as JSON, then again for people; `tandem models decisions` shows it."""
    arguments = ["rebaseline", "--at", f"{HOLIDAY}T06:00:00-04:00"]
    first = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    assert first.exit_code == 0, first.output
    (told,) = json.loads(first.stdout)
    assert (told["sector"], told["outcome"], told["decision"]["session_day"]) == ("shelf", "skipped", str(HOLIDAY))
    second = CliRunner().invoke(app, arguments, env=environment)
    assert "shelf: decided" in second.stdout
    shown = CliRunner().invoke(app, ["models", "decisions", "--json"], env=environment)
    assert [row["outcome"] for row in json.loads(shown.stdout)] == ["skipped"]


def test_a_failed_run_is_a_failed_command(environment, tmp_path):
    """A CronJob sees it by the exit code."""
    arguments = ["rebaseline", "--at", f"{SECOND}T06:00:00-04:00", "--data", str(tmp_path / "absent.parquet")]
    result = CliRunner().invoke(app, arguments, env=environment)
    assert result.exit_code == 1
    assert "absent.parquet" in result.output
