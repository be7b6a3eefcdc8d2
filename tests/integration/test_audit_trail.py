"""The audit chain on a real PostgreSQL: it grows with what it tells of, refuses every change, and shows what a superuser has done."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest
from typer.testing import CliRunner

from ledger_cases import order, trade
from tandem.adapters import postgres
from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.cli.main import app
from tandem.domain.errors import InvariantBroken
from tandem.domain.trading import Action
from tandem.flow.accounting import deposit_entry, fill_entry
from tandem.flow.journal import Changes, RiskEvent
from trading_cases import MODEL, PAIR


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    postgres.upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[PortfolioStore]:
    """A new account, whose book has its capital and one opened trade."""
    made = PortfolioStore(url, request.node.name)
    made.begin_book("recycled", Decimal(1_000_000))
    made.append([deposit_entry(made.book, Decimal(1_000_000), 0)])
    made.commit(trade("i1", Action.OPEN_LONG, 1000, "i1"))
    yield made
    made.close()


def test_an_order_leads_back_to_the_ticks_and_on_to_the_ledger(url: str, store: PortfolioStore) -> None:
    store.commit(trade("i2", Action.CLOSE, 2000, "i1"))
    trail, wanted = AuditTrail(url), order("i1", "a", 1000)

    links = trail.of(store.book, wanted.client_order_id)

    assert [link.record.kind for link in links] == ["signal", "intent", "order", "order_status", "fill", "entry"]
    intent = json.loads(links[1].record.document)
    assert intent["decision"]["place"] == {
        "topic": "tandem.forecasts",
        "partition": 0,
        "offset": 77,
        "sha256": "ab" * 32,
        "tick_topic": "tandem.ticks.consumer",
        "tick_first": 5,
        "tick_last": 9,
    }
    assert intent["model"] == {"name": MODEL.name, "version": MODEL.version, "digest": MODEL.digest}
    for other in ("B-i1", "e-i1", fill_entry(trade("i1", Action.OPEN_LONG, 1000, "i1").fills[0][0], PAIR).entry_id):
        assert trail.of(store.book, other) == links, f"{other} leads to the same chain"
    both = {link.record.subject for link in trail.of(store.book, "i1") if link.record.kind == "order"}
    assert both == {wanted.client_order_id, order("i1", "b", 1000).client_order_id}, "an intent leads to all its orders, and no other's"
    assert trail.of(store.book, "nobody") == ()


def test_what_is_measured_again_after_a_restart_is_told_once(url: str, store: PortfolioStore) -> None:
    """A refused signal and an alarm come again when the bar is decided again; the tables keep the first, and so does the chain."""
    alarm = RiskEvent(event_id="x", scope="book", code="test", detail="", event_ns=1)
    refused = replace(trade("i9", Action.OPEN_SHORT, 3000, "i9").signals[0], refusal="gross_exposure")
    for _ in range(2):
        store.commit(Changes(signals=[refused], risk_events={"x": alarm}))

    checked = AuditTrail(url).check(store.book)

    first = 1 + len(("signal", "intent", "order", "order", "order_status", "order_status", "fill", "entry"))
    assert (checked.links, checked.faults) == (first + 2, ())


def test_a_transaction_that_fails_leaves_no_link(url: str, store: PortfolioStore) -> None:
    before = AuditTrail(url).check(store.book)
    with pytest.raises(InvariantBroken):
        store.commit(trade("i1", Action.OPEN_LONG, 1000, "i1"))

    assert AuditTrail(url).check(store.book) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET document = '{}' WHERE book = %(book)s",
        "DELETE FROM audit_log WHERE book = %(book)s",
        "TRUNCATE audit_log",
        "UPDATE postings SET amount = 0 WHERE book = %(book)s",
        "DELETE FROM postings WHERE book = %(book)s",
        "UPDATE entries SET pair = 'XOM-CVX' WHERE book = %(book)s",
        "DELETE FROM entries WHERE book = %(book)s",
        "TRUNCATE entries CASCADE",
        "INSERT INTO audit_log (book, seq, kind, subject, refs, event_ns, document, previous, hash) "
        "VALUES (%(book)s, 99, 'fill', 'x', '{}', 0, '{}', repeat('0', 64), repeat('1', 64))",
    ],
)
def test_the_database_refuses_to_change_the_chain_and_the_ledger(url: str, store: PortfolioStore, statement: str) -> None:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor, pytest.raises(psycopg2.IntegrityError, match=r"append-only|does not follow"):
        cursor.execute(statement, {"book": store.book})
    connection.close()

    assert AuditTrail(url).check(store.book).faults == ()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_log SET document = replace(document, '50.25', '49.25') WHERE book = %s AND kind = 'fill'", "its content"),
        ("DELETE FROM audit_log WHERE book = %s AND kind = 'fill'", "are missing"),
    ],
    ids=["a price changed", "a fill taken out"],
)
def test_what_a_superuser_does_behind_the_triggers_shows(url: str, store: PortfolioStore, statement: str, fault: str) -> None:
    _as_superuser(url, statement, store.book)

    found = AuditTrail(url).check(store.book)
    answer = CliRunner().invoke(app, ["audit", "--check", "--book", store.book], env={"TANDEM_POSTGRES_URL": url})

    assert len(found.faults) == 1
    assert fault in found.faults[0]
    assert (answer.exit_code, found.faults[0] in answer.stdout) == (1, True)


def test_a_chain_cut_short_is_found_by_a_head_that_was_noted(url: str, store: PortfolioStore) -> None:
    noted = AuditTrail(url).check(store.book).head
    _as_superuser(url, "DELETE FROM audit_log WHERE book = %s AND seq > 3", store.book)
    run = CliRunner()

    plain = run.invoke(app, ["audit", "--check", "--book", store.book], env={"TANDEM_POSTGRES_URL": url})
    expecting = run.invoke(app, ["audit", "--check", "--book", store.book, "--expect", noted], env={"TANDEM_POSTGRES_URL": url})

    assert (plain.exit_code, expecting.exit_code) == (0, 1)
    assert "was cut" in expecting.stdout


def test_the_command_prints_the_chain(url: str, store: PortfolioStore) -> None:
    wanted = order("i1", "a", 1000).client_order_id
    run, environment = CliRunner(), {"TANDEM_POSTGRES_URL": url}

    text = run.invoke(app, ["audit", wanted, "--book", store.book], env=environment)
    document = run.invoke(app, ["audit", wanted, "--book", store.book, "--json"], env=environment)
    unknown = run.invoke(app, ["audit", "nobody", "--book", store.book], env=environment)

    for said in (
        "tandem.ticks.consumer offsets 5 to 9",
        "tandem.forecasts partition 0 offset 77",
        "open_long KO-PEP",
        "buy 20 KO, market",
        "assets:cash -1005",
    ):
        assert said in text.stdout
    assert [row["kind"] for row in json.loads(document.stdout)] == ["signal", "intent", "order", "order_status", "fill", "entry"]
    assert (text.exit_code, document.exit_code, unknown.exit_code) == (0, 0, 1)
    assert run.invoke(app, ["audit"], env=environment).exit_code == 2


def _as_superuser(url: str, statement: str, book: str) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no trigger fires
        cursor.execute(statement, (book,))
    connection.close()
