"""`tandem verify` on a ledger in a real PostgreSQL: it is told the bars, so that openings are held against the exchange's sessions."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tandem.adapters import postgres
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.cli.main import app
from tandem.domain.ids import client_order_id
from tandem.domain.trading import Order, OrderStatus, Side
from tandem.domain.units import ns_of
from tandem.flow.journal import Changes, Trade
from tandem.flow.orders import OrderState
from trading_cases import INTENT, KO, PAIR

CONFIG = Path(__file__).parents[2] / "config"
HALF_DAY_CLOSE = datetime(2019, 11, 29, 18, tzinfo=UTC)  # 13:00 in New York


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    postgres.upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[PortfolioStore]:
    """A book that somebody may open positions in."""
    made = PortfolioStore(url, request.node.name)
    made.begin_book("recycled", Decimal(1_000_000))
    yield made
    made.close()


def opened(store: PortfolioStore, moment: datetime) -> None:
    """One order of an opening that the broker has taken."""
    at_ns = ns_of(moment)
    intent = replace(INTENT, bar_close_ns=at_ns)
    order = Order(
        client_order_id=client_order_id("i1", "a", 0),
        intent_id="i1",
        pair=PAIR,
        leg="a",
        attempt=0,
        symbol=KO,
        side=Side.BUY,
        qty=1,
        limit_usd=None,
        decided_ns=at_ns,
    )
    state = OrderState(order=order, status=OrderStatus.ACCEPTED, broker_order_id="b1")
    store.commit(Changes(intents=[intent], new_orders=[order], orders={order.client_order_id: state}))


def kept_over_night(store: PortfolioStore) -> None:
    """A round trip that is opened before a half day's close, and a bar of the next session that is decided."""
    opened(store, HALF_DAY_CLOSE - timedelta(minutes=60))
    opened_ns = ns_of(HALF_DAY_CLOSE - timedelta(minutes=60))
    trade = Trade(
        trade_id="i1",
        pair=PAIR,
        sector=INTENT.sector,
        direction=1,
        model=INTENT.model,
        opened_ns=opened_ns,
        entry_z=-1.0,
        cash_at_open_usd=Decimal(0),
    )
    later = replace(INTENT, intent_id="i2", bar_close_ns=ns_of(HALF_DAY_CLOSE + timedelta(days=2, hours=22)))
    store.commit(Changes(intents=[later], trades={"i1": trade}, decided={"run": (later.bar_close_ns, False)}))


def verdict(url: str, store: PortfolioStore, *arguments: str, invariant: str = "opened_in_time", **environment: str) -> dict[str, Any]:
    """What it says of openings, or of another thing."""
    told = {"TANDEM_POSTGRES_URL": url, "TANDEM_KAFKA_BOOTSTRAP_SERVERS": "", "TANDEM_CONFIG_DIR": str(CONFIG), **environment}
    answer = CliRunner().invoke(app, ["verify", "--book", store.book, "--running", "--json", *arguments], env=told)
    found: dict[str, Any] = json.loads(answer.stdout)["invariants"][invariant]
    return found


@pytest.mark.parametrize(
    ("minutes_before", "violated"), [(16, 0), (15, 1), (-30, 1)], ids=["before the cut-off", "at the cut-off", "after the close"]
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_openings_of_a_half_day_are_held_against_its_own_close(
    url: str, store: PortfolioStore, minutes_before: int, violated: int, way: str
) -> None:
    opened(store, datetime.fromtimestamp(HALF_DAY_CLOSE.timestamp() - 60 * minutes_before, UTC))
    found = verdict(url, store, "--bar", "1min") if way == "option" else verdict(url, store, TANDEM_BAR="1min")
    assert (found["checked"], found["violated"]) == (1, violated)


@pytest.mark.parametrize(("policy", "counts"), [("keep", (0, 0)), ("close", (1, 1))])
def test_what_is_held_over_a_session_s_end_is_held_against_the_policy(
    url: str, store: PortfolioStore, tmp_path: Path, policy: str, counts: tuple[int, int]
) -> None:
    (tmp_path / "risk.yaml").write_text(f"session_end: {{policy: {policy}}}\n")
    kept_over_night(store)
    found = verdict(*(url, store, "--bar", "1min"), invariant="nothing_held_over_night", TANDEM_CONFIG_DIR=str(tmp_path))
    assert (found["checked"], found["violated"]) == counts


@pytest.mark.parametrize("bar", ["", "1d"], ids=["not told", "days"])
def test_without_bars_of_a_session_nothing_is_said(url: str, store: PortfolioStore, bar: str) -> None:
    """A decision on a daily bar comes at the close, for the next session."""
    opened(store, HALF_DAY_CLOSE)
    found = verdict(url, store, *(("--bar", bar) if bar else ()))
    assert found["not_checked"] == "not given: sessions"


@pytest.mark.parametrize(
    ("bar", "risk", "told"),
    [("7min", "{}", "bar '7min'"), ("1min", "pretrade: {close_cutoff_s: soon}", "close_cutoff_s"), ("1min", "- a list", "close_cutoff_s")],
)
def test_what_cannot_be_used_is_refused_with_its_name(url: str, tmp_path: Path, bar: str, risk: str, told: str) -> None:
    (tmp_path / "risk.yaml").write_text(risk)
    environment = {"TANDEM_POSTGRES_URL": url, "TANDEM_CONFIG_DIR": str(tmp_path)}
    answer = CliRunner().invoke(app, ["verify", "--bar", bar], env=environment)
    assert answer.exit_code != 0
    assert told in str(answer.exception) + answer.output
