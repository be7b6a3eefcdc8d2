"""The portfolio's tables on a real PostgreSQL: what is written is what a restart loads, and the keys refuse doubles."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest

from tandem.adapters import postgres
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.adapters.postgres_views import PortfolioViews
from tandem.domain.control import TradingState
from tandem.domain.errors import BadSetting, InvariantBroken, Transient
from tandem.domain.ids import client_order_id
from tandem.domain.trading import Action, Fill, Order, OrderStatus, PairState, Side, TradingMode
from tandem.flow.accounting import Difference, deposit_entry, fill_entry
from tandem.flow.execution import Opened, Patience, Reported, flat, step
from tandem.flow.journal import Changes, EquityPoint, Intent, Reconciliation, RiskEvent, SignalRecord, Trade
from tandem.flow.signals import Held
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP

PATIENCE = Patience(leg_wait_bars_max=2, leg_wait_s_max=300.0, unwind_attempts_max=2)
INTENT = Intent(
    intent_id="i1",
    run="r1",
    pair=PAIR,
    sector=CONSUMER,
    action=Action.OPEN_LONG,
    reason="entry_long",
    bar_close_ns=1000,
    trade_id="i1",
    model=MODEL,
)


def order(leg: str, intent: str = "i1") -> Order:
    return Order(
        client_order_id=client_order_id(intent, leg, 0),
        intent_id=intent,
        pair=PAIR,
        leg=leg,
        attempt=0,
        symbol=KO if leg == "a" else PEP,
        side=Side.BUY if leg == "a" else Side.SELL,
        qty=20 if leg == "a" else 8,
        limit_usd=None,
        decided_ns=1000,
    )


A, B = order("a"), order("b")
FILL = Fill(
    execution_id="e1",
    client_order_id=A.client_order_id,
    symbol=KO,
    side=Side.BUY,
    qty=Decimal(20),
    price_usd=Decimal("50.2501"),
    event_ns=2000,
)
TRADE = Trade(
    trade_id="i1",
    pair=PAIR,
    sector=CONSUMER,
    direction=1,
    model=MODEL,
    opened_ns=1000,
    entry_z=-2.5,
    cash_at_open_usd=Decimal("12.34"),
)


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    assert postgres.upgrade(postgres_url) == postgres.head()
    return postgres_url


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[PortfolioStore]:
    """A new account, whose book has its capital."""
    made = PortfolioStore(url, request.node.name)
    assert made.open_newest_book() is None
    made.begin_book("recycled", Decimal(1_000_000))
    made.append([deposit_entry(made.book, Decimal(1_000_000), 0)])
    yield made
    made.close()


def opening() -> Changes:
    """An opening whose first leg is filled and whose second one works."""
    held = Held(direction=1, opened_bar_index=5, half_life_bars=10.5, digest="d1")
    state, _ = step(flat(PAIR, CONSUMER, KO, PEP), Opened(trade_id="i1", held=held, a=A, b=B), PATIENCE)
    state, _ = step(state, FILL, PATIENCE)
    report = Reported(client_order_id=B.client_order_id, status=OrderStatus.ACCEPTED, broker_order_id="B2")
    state, _ = step(state, report, PATIENCE)
    return Changes(
        intents=[INTENT],
        new_orders=[A, B],
        orders={leg.order.order.client_order_id: leg.order for leg in state.legs if leg.order},
        fills=[(FILL, PAIR)],
        entries=[fill_entry(FILL, PAIR)],
        executions={PAIR: state},
        trades={"i1": TRADE},
    )


def test_a_restart_loads_exactly_what_was_written(store: PortfolioStore) -> None:
    changes = opening()
    mode = TradingState(scope="global", mode=TradingMode.HALTED, reason="test")
    changes.trading_states["global"] = mode
    store.commit(changes)

    loaded = store.load()

    assert loaded.executions == changes.executions
    assert loaded.trades == {PAIR: TRADE}
    assert loaded.trading_states == {"global": mode}
    assert loaded.execution_ids == {"e1"}
    assert loaded.order_pairs == {A.client_order_id: PAIR, B.client_order_id: PAIR}
    assert loaded.book.shares == {(PAIR, KO): Decimal(20)}
    assert loaded.book.total_cash_usd == Decimal(1_000_000) - 20 * Decimal("50.2501")
    assert loaded.prices == {KO: 50.2501}
    assert (loaded.last_fill_ns, loaded.last_fee_ns) == (2000, 0)
    assert store.has_orders()
    assert store.order_of(A.client_order_id) == PAIR
    assert store.order_of("by hand") is None
    assert (store.has_fill("e1"), store.has_fill("e2")) == (True, False)


def test_a_newer_state_replaces_the_older_one(store: PortfolioStore) -> None:
    changes = opening()
    store.commit(changes)
    state, _ = step(
        changes.executions[PAIR],
        replace(FILL, execution_id="e2", client_order_id=B.client_order_id, symbol=PEP, side=Side.SELL, qty=Decimal(8)),
        PATIENCE,
    )
    assert state.state is PairState.HEDGED
    later = Changes(
        executions={PAIR: state}, trades={"i1": replace(TRADE, hedged_ns=2000, unhedged_open_s=1.5)}, decided={"r1": (1000, True)}
    )
    later.orders = {B.client_order_id: state.b.order}
    later.trading_states["global"] = None
    store.commit(later)

    loaded = store.load()
    assert loaded.executions[PAIR] == state
    assert loaded.trades[PAIR].unhedged_open_s == 1.5
    assert store.decided("r1") == (1000, True)
    assert store.decided("r2") is None


@pytest.mark.parametrize(
    "again",
    [
        Changes(intents=[INTENT]),
        Changes(new_orders=[A]),
        Changes(fills=[(FILL, PAIR)]),
        Changes(entries=[fill_entry(FILL, PAIR)]),
        Changes(intents=[replace(INTENT, intent_id="i2")], new_orders=[order("b", "i2")]),
    ],
    ids=["intent", "order", "fill", "entry", "second live order of a leg"],
)
def test_a_double_is_refused_and_takes_its_whole_transaction_with_it(store: PortfolioStore, again: Changes) -> None:
    store.commit(opening())
    again.risk_events["x"] = RiskEvent(event_id="x", scope="book", code="test", detail="", event_ns=1)

    with pytest.raises(InvariantBroken):
        store.commit(again)

    assert store.load().book.shares == {(PAIR, KO): Decimal(20)}
    store.commit(Changes(equity=[], risk_events=dict(again.risk_events)))


def test_the_next_order_of_a_leg_may_be_written_with_the_end_of_its_last_one(store: PortfolioStore) -> None:
    store.commit(opening())
    ended = replace(opening().orders[B.client_order_id], status=OrderStatus.CANCELED)

    store.commit(Changes(intents=[replace(INTENT, intent_id="i2")], new_orders=[order("b", "i2")], orders={B.client_order_id: ended}))


def test_measurements_may_be_written_again(store: PortfolioStore) -> None:
    """They are made again by a replay, and the first ones stand."""
    point = EquityPoint(run="r1", bar_close_ns=1, equity_usd=Decimal(1), cash_usd=Decimal(1), gross_usd=Decimal(0), open_pairs=1)
    signal = SignalRecord(
        run="r1",
        pair=PAIR,
        bar_close_ns=1,
        action=Action.OPEN_LONG,
        reason="entry_long",
        refusal="gross_exposure",
        detail="",
        model=MODEL,
        z=-2.5,
        reversion_probability=0.7,
        variance=1e-4,
    )
    for _ in range(2):
        store.commit(Changes(equity=[point], signals=[signal]))


def test_appending_the_same_entries_twice_counts_once(store: PortfolioStore) -> None:
    entries = [deposit_entry("other", Decimal(5), 1)]

    assert (store.append(entries), store.append(entries)) == (1, 0)
    assert store.load().book.capital_usd == Decimal(1_000_005)


def test_a_second_writer_of_an_account_is_kept_out(url: str, store: PortfolioStore) -> None:
    other = PortfolioStore(url, "test_a_second_writer_of_an_account_is_kept_out")
    assert store.lock()
    assert not other.lock()

    store.close()
    assert other.lock()
    other.close()


def test_an_accounts_next_book_starts_empty(store: PortfolioStore) -> None:
    store.commit(opening())
    store.begin_book("recycled", Decimal(500))

    assert store.book.endswith("#2")
    assert store.load().executions == {}
    assert not store.has_orders()


def test_views_show_the_book(url: str, store: PortfolioStore) -> None:
    changes = opening()
    difference = Difference(what="KO", ledger=Decimal(1), broker=Decimal("1.5"))
    changes.reconciliations.append(
        Reconciliation(
            run="r1", occasion="start", event_ns=5, differences=(difference,), ledger_cash_usd=Decimal(1), broker_cash_usd=Decimal(2)
        )
    )
    store.commit(changes)
    views = PortfolioViews(url)

    assert [row["execution_id"] for row in views.fills(store.book, limit=10)] == ["e1"]
    assert views.fills(store.book, limit=10, pair="XOM-CVX") == []
    assert views.orders(store.book, [A.client_order_id, "by hand"])[A.client_order_id]["pair"] == PAIR
    (row,) = views.reconciliations(store.book, limit=10)
    assert (row["equal"], row["differences"]) == (False, [{"what": "KO", "ledger": "1", "broker": "1.5"}])
    assert views.trading_states(store.book) == []


def test_the_ledger_cannot_be_fooled_around_the_code(url: str, store: PortfolioStore) -> None:
    """The database itself refuses an execution of an unknown order and more shares filled than ordered."""
    store.commit(opening())
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor, pytest.raises(psycopg2.IntegrityError):
        cursor.execute(
            "INSERT INTO fills (book, execution_id, client_order_id, pair, symbol, side, qty, price_usd, event_ns) "
            "VALUES (%s, 'x', 'nobody', 'KO-PEP', 'KO', 'buy', 1, 1, 1)",
            (store.book,),
        )
    connection.rollback()
    with connection.cursor() as cursor, pytest.raises(psycopg2.IntegrityError):
        cursor.execute("UPDATE orders SET filled_qty = 99 WHERE book = %s", (store.book,))
    connection.close()


def test_a_server_that_is_away_and_a_url_that_is_none_are_told_apart() -> None:
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1/x"):
        PortfolioStore("postgresql://u:secret@127.0.0.1:1/x", "a")
    with pytest.raises(BadSetting, match="TANDEM_POSTGRES_URL"):
        postgres.connect("mysql://u:secret@127.0.0.1/x")
