"""The portfolio's tables on a real PostgreSQL: what is written is what a restart loads, and the keys refuse doubles."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest

from tandem.adapters import postgres
from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.adapters.postgres_views import PortfolioViews
from tandem.adapters.writer_lease import WriterLease
from tandem.domain.control import TradingState
from tandem.domain.errors import BadSetting, InvariantBroken, Transient
from tandem.domain.ids import client_order_id
from tandem.domain.trading import Action, Fill, Order, OrderStatus, PairState, Side, TradingMode
from tandem.flow.accounting import Difference, deposit_entry, fill_entry
from tandem.flow.execution import flat, step
from tandem.flow.execution_records import Opened, Patience, Reported
from tandem.flow.journal import Changes, EquityPoint, Reconciliation, RiskEvent, SignalRecord, Trade
from tandem.flow.signals import Held
from trading_cases import CONSUMER, INTENT, KO, MODEL, PAIR, PEP

PATIENCE = Patience(leg_wait_bars_max=2, leg_wait_s_max=300.0, unwind_attempts_max=2)


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


SIGNAL = SignalRecord(
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
ALARM = RiskEvent(event_id="z", scope="book", code="test", detail="", event_ns=1)


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
    for _ in range(3):
        store.commit(Changes(equity=[point], signals=[SIGNAL]))


def test_a_restart_knows_whether_the_curve_has_what_was_booked_last(store: PortfolioStore) -> None:
    """Killed between the last closing and its bar, the portfolio still owes the curve its last point."""
    assert not store.load().unmarked, "the capital is no point"
    store.commit(opening())
    assert store.load().unmarked
    point = EquityPoint(
        run="r1", bar_close_ns=FILL.event_ns, equity_usd=Decimal(1), cash_usd=Decimal(1), gross_usd=Decimal(0), open_pairs=0
    )
    store.commit(Changes(equity=[point]))
    assert not store.load().unmarked


def test_appending_the_same_entries_twice_counts_once(store: PortfolioStore) -> None:
    entries = [deposit_entry("other", Decimal(5), 1)]

    assert (store.append(entries), store.append(entries)) == (1, 0)
    assert store.load().book.capital_usd == Decimal(1_000_005)


def test_a_book_has_the_accounts_name_and_an_older_one_gets_it_when_it_is_opened(url: str) -> None:
    """A renamed account is the same account, and a portfolio that is told no name leaves it."""
    found = []
    for name in ("", "paper", "renamed", ""):
        store = PortfolioStore(url, "named", trading_account=name)
        if store.open_newest_book() is None:
            store.begin_book("recycled", Decimal(1))
        store.close()
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT trading_account FROM books WHERE account = 'named'")
            found.append(cursor.fetchall())
        connection.close()
    assert found == [[(None,)], [("paper",)], [("renamed",)], [("renamed",)]]


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


def test_text_of_any_kind_arrives_as_it_was(store: PortfolioStore, url: str) -> None:
    """Statements leave together, with their values in them: none may be taken for a placeholder or for the end of a statement."""
    told = "50 %s of it; 'quoted' \\ and 3 %"
    store.commit(Changes(risk_events={"y": RiskEvent(event_id="y", scope="book", code="test", detail=told, event_ns=1)}))

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT detail FROM risk_events WHERE book = %s", (store.book,))
        assert cursor.fetchall() == [(told,)]
    connection.close()


def test_what_a_decision_writes_is_one_message(url: str) -> None:
    """Orders wait until it is written; each message more would be a round trip more between a forecast and its orders."""
    with WriterLease(url, "messages", lease_s=3) as lease:
        assert lease.try_take()
        store = PortfolioStore(url, "messages", epoch=lease.epoch)
        store.begin_book("recycled", Decimal(1_000_000))
        store.commit(Changes(risk_events={"y": replace(ALARM, event_id="y")}))  # after a start the store asks once where the chain ends
        asked: list[bytes] = []

        class Counting(psycopg2.extensions.cursor):
            def execute(self, query: str | bytes, args: object = None) -> None:
                asked.append(query if isinstance(query, bytes) else query.encode())
                super().execute(query, args)

        store._connection.cursor_factory = Counting
        decided = Changes(intents=[INTENT], new_orders=[A, B], trades={"i1": TRADE}, decided={"r1": (1000, False)}, signals=[SIGNAL])
        decided.risk_events["z"] = replace(ALARM, event_id="z")
        store.commit(decided)
        store.close()

    assert len(asked) == 1
    assert asked[0].startswith(b"SELECT hold_epoch(")
    assert asked[0].count(b"INSERT INTO") >= 7
    assert AuditTrail(url).check("messages").links == 6  # two alarms, a signal, an intent, two orders


def test_one_who_writes_beside_us_forks_no_chain(store: PortfolioStore, url: str) -> None:
    """The store knows where it left the chain. Where somebody else has gone on with it, it looks, and goes on from there."""
    store.commit(Changes(risk_events={"y": replace(ALARM, event_id="y")}))
    other = PortfolioStore(url, store.book)
    other.open_newest_book()
    other.commit(Changes(risk_events={"z": replace(ALARM, event_id="z")}))

    store.commit(Changes(intents=[INTENT], new_orders=[A, B]))
    other.commit(
        Changes(risk_events={"y": replace(ALARM, event_id="y"), "z": replace(ALARM, event_id="z"), "x": replace(ALARM, event_id="x")})
    )
    store.commit(Changes(orders={}, risk_events={"w": replace(ALARM, event_id="w")}))
    other.close()

    assert not AuditTrail(url).check(store.book).faults
    assert told(url, store.book) == ["y", "z", "x", "w"]


def test_a_message_that_is_refused_writes_nothing_and_the_next_one_does(store: PortfolioStore, url: str) -> None:
    store.commit(Changes(intents=[INTENT], new_orders=[A, B]))
    with pytest.raises(InvariantBroken, match="a key refused"):
        store.commit(Changes(intents=[replace(INTENT, intent_id="i2")], new_orders=[A], risk_events={"y": ALARM}))

    store.commit(Changes(risk_events={"x": replace(ALARM, event_id="x")}))

    assert told(url, store.book) == ["x"]
    assert not AuditTrail(url).check(store.book).faults


def told(url: str, book: str) -> list[str]:
    """The alarms of a book's audit chain, in its order; what the table has is the same."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT subject FROM audit_log WHERE book = %s AND kind = 'risk_event' ORDER BY seq", (book,))
        found = [subject for (subject,) in cursor.fetchall()]
        cursor.execute("SELECT event_id FROM risk_events WHERE book = %s", (book,))
        assert sorted(found) == sorted(event_id for (event_id,) in cursor.fetchall())
    connection.close()
    return found
