"""A replay of real closes, then its books from every side: audit chain, attribution, export, and the API under fire.

One world for the module: recycler, Kafka, Postgres, Redis and portfolio run while the API is asked; the test plays the forecasters.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pyarrow.parquet as pq
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance
from typer.testing import CliRunner

from replay_world import TOKEN, World, world
from tandem.adapters.audit_trail import AuditTrail
from tandem.cli.main import app

PARTS = ("spread_alpha", "hedge_drift", "slippage", "half_spread", "unwind", "fees", "borrow", "dividends", "interest", "foreign")


@pytest.fixture(scope="module")
def replayed(
    postgres_url: str, redis_url: str, kafka_servers: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, str]]:
    """The world at the end of a year's replay, everything still running, and its book."""
    folder = tmp_path_factory.mktemp("books")
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=folder) as made:
        made.to_day = "2019-12-31"
        made.declare()
        made.start_recycler()
        made.start_portfolio()
        made.publish_forecasts(made.replay()["replay_id"])
        made.begin()
        made.finish()
        yield made, made.rows("SELECT max(book) FROM books")[0][0]


@pytest.mark.parametrize("by", ["trade", "pair", "sector", "version"])
def test_every_cent_of_the_change_of_equity_has_a_cause(replayed: tuple[World, str], by: str) -> None:
    """The parts come from executions and decisions, the change from the ledger's postings: they meet to the last digit."""
    live, book = replayed
    report = live.ask("attribution", by=by)

    rows = [*report["rows"], report["account"]]
    assert Decimal(report["unallocated_usd"]) == 0
    assert sum(Decimal(row["total_usd"]) for row in rows) == Decimal(report["equity_change_usd"])
    for row in rows:
        assert sum(Decimal(row[f"{part}_usd"]) for part in PARTS) == Decimal(row["total_usd"])
    assert Decimal(report["equity_change_usd"]) == Decimal(live.ask("pnl")["total_usd"])
    assert sum(row["trades"] for row in report["rows"]) == live.rows(f"SELECT count(*) FROM pair_trades WHERE book = '{book}'")[0][0]


def test_a_closed_trades_parts_are_its_profit(replayed: tuple[World, str]) -> None:
    """Trade by trade against what the pair's cash had gained when it was closed."""
    live, book = replayed
    known = dict(live.rows(f"SELECT trade_id, pnl_usd FROM pair_trades WHERE book = '{book}' AND closed_ns IS NOT NULL"))
    assert len(known) > 5

    parts = {row["key"]: Decimal(row["total_usd"]) for row in live.ask("attribution", by="trade")["rows"] if row["key"] in known}

    assert parts == known
    paid = {row["key"] for row in live.ask("attribution", by="trade")["rows"] if Decimal(row["slippage_usd"]) < 0}
    assert paid & known.keys(), "the recycler fills half a spread away: somebody paid it"


def test_every_execution_leads_to_the_record_that_caused_it(replayed: tuple[World, str]) -> None:
    """The chain is whole, and each fill in the ledger stands at the end of one from a forecast's offset on."""
    live, book = replayed
    trail = AuditTrail(live.postgres_url)
    checked = trail.check(book)
    assert checked.faults == ()

    fills = live.rows(f"SELECT execution_id, client_order_id FROM fills WHERE book = '{book}' ORDER BY seq")
    assert len(fills) > 20
    for execution, order in fills[:: max(len(fills) // 12, 1)]:
        links = trail.of(book, execution)
        assert links == trail.of(book, order)
        kinds = [link.record.kind for link in links]
        assert kinds[:2] == ["signal", "intent"]
        assert {"order", "order_status", "fill", "entry"} <= set(kinds)
        place = json.loads(links[1].record.document)["decision"]["place"]
        assert place["topic"] == "tandem.forecasts"
        assert len(place["sha256"]) == 64
        assert place["tick_topic"].startswith("tandem.ticks.")
        assert 0 <= place["tick_first"] <= place["tick_last"]
    counted = dict(live.rows(f"SELECT kind, count(*) FROM audit_log WHERE book = '{book}' GROUP BY 1"))
    for kind, table in (("signal", "signals"), ("intent", "intents"), ("order", "orders"), ("fill", "fills"), ("entry", "entries")):
        assert counted[kind] == live.rows(f"SELECT count(*) FROM {table} WHERE book = '{book}'")[0][0], table
    marked = "SELECT count(*) FROM pair_trades t WHERE book = '{}' AND NOT EXISTS (SELECT FROM equity_curve e WHERE e.book = t.book AND {})"
    assert live.rows(marked.format(book, "e.bar_close_ns = t.opened_ns")) == [(0,)], "the bar of each opening has its mark"
    shown = httpx.get(f"http://127.0.0.1:{live.portfolio_port}/v1/audit/{fills[0][1]}", timeout=60).json()
    assert [row["kind"] for row in shown] == [link.record.kind for link in trail.of(book, fills[0][1])]


def test_reports_over_http_are_the_tables(replayed: tuple[World, str]) -> None:
    live, book = replayed
    points = live.ask("equity", limit=500)
    assert len(points) == min(live.rows(f"SELECT count(*) FROM equity_curve WHERE book = '{book}'")[0][0], 500)
    risk = live.ask("risk")
    assert Decimal(risk["equity_usd"]) == Decimal(live.ask("summary")["equity_usd"])
    assert Decimal(risk["net_usd"]) == sum(Decimal(row["value_usd"]) for row in risk["symbols"])
    closed = [signal for signal in live.ask("signals", limit=500) if signal["pnl_usd"] is not None]
    assert closed, "signals carry the trade that came of them and its profit"
    assert all(event["code"] for event in live.ask("risk/events", limit=500))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_export_writes_every_row_with_its_schema(replayed: tuple[World, str], tmp_path: Path, form: str) -> None:
    live, book = replayed
    environment = {"TANDEM_POSTGRES_URL": live.postgres_url}

    answer = CliRunner().invoke(app, ["export", "--out", str(tmp_path), "--format", form], env=environment)

    assert answer.exit_code == 0, answer.output
    manifest = json.loads((tmp_path / "export.json").read_text())
    assert manifest["book"] == book
    closed = manifest["tables"].pop("attribution")
    assert closed["rows"] == live.rows(f"SELECT count(*) FROM pair_trades WHERE book = '{book}' AND closed_ns IS NOT NULL")[0][0] > 0
    for name, table in manifest["tables"].items():
        where = f" WHERE book = '{book}'" if any(column["name"] == "book" for column in table["columns"]) else ""
        assert table["rows"] == live.rows(f"SELECT count(*) FROM {name}{where}")[0][0], name
        assert table["sha256"] == hashlib.sha256((tmp_path / table["file"]).read_bytes()).hexdigest()
    if form == "csv":
        with (tmp_path / "postings.csv").open() as file:
            cash = sum(Decimal(row["amount"]) for row in csv.DictReader(file) if row["account"] == "assets:cash")
    else:
        postings = pq.read_table(tmp_path / "postings.parquet").to_pylist()
        assert len(postings) == manifest["tables"]["postings"]["rows"]
        cash = sum(row["amount"] for row in postings if row["account"] == "assets:cash")
    assert cash == Decimal(live.ask("summary")["cash_usd"]), "money survives the way to the last digit"


def test_an_export_of_what_is_not_there_names_what_is(replayed: tuple[World, str], tmp_path: Path) -> None:
    live, _ = replayed
    answer = CliRunner().invoke(app, ["export", "fils", "--out", str(tmp_path)], env={"TANDEM_POSTGRES_URL": live.postgres_url})

    assert answer.exit_code == 1
    assert "no table fils; there are" in answer.output


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["sound", "unsound"])
def test_the_api_breaks_on_nothing_that_can_be_asked(replayed: tuple[World, str], mode: GenerationMode) -> None:
    """schemathesis asks every call of the description, with the token: no answer is a 5xx, each is as described. Last: it halts trading."""
    live, _ = replayed
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.portfolio_port}/openapi.json")
    asked: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        try:
            cases = operation.as_strategy(generation_mode=mode)
            _ask_all(cases, asked, live)
        except Unsatisfiable:
            continue  # a call without parameters cannot be asked wrongly

    assert len(asked) >= (20 if mode is GenerationMode.POSITIVE else 8), asked


def test_no_log_line_holds_a_secret(replayed: tuple[World, str]) -> None:
    """After a replay, wrong tokens and every unsound question: the token and the database's password were used, and never told."""
    live, _ = replayed
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    httpx.post(f"http://127.0.0.1:{live.portfolio_port}/v1/cache/refresh", headers=wrong, timeout=60)
    said = "".join(path.read_text() for path in live.folder.glob("*.log"))

    assert "pair_state" in said, "the logs are there"
    for secret in (TOKEN, str(urlsplit(live.postgres_url).password)):
        assert secret not in said


def _ask_all(cases: SearchStrategy[Case], asked: Counter[str], live: World) -> None:
    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: Case) -> None:
        asked[f"{case.method} {case.path}"] += 1
        answer = case.call(base_url=f"http://127.0.0.1:{live.portfolio_port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])

    ask()
