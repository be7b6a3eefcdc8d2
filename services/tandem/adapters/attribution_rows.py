"""Rows of a book as the events that a trade's profit is made of, and the ledger that they must agree with: one snapshot of both."""

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal

import psycopg2.extensions

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.domain.trading import Action
from tandem.flow.accounting import Book, book_of
from tandem.flow.attribution import Charged, Event, Execution, Foreign, Split, TradeEvents, assigned

_TRADES = """
SELECT t.trade_id, t.pair, t.sector, t.model_name, t.model_version, t.model_digest, t.opened_ns, t.closed_ns, t.hedged_ns, d.beta
FROM pair_trades t LEFT JOIN decisions d ON d.book = t.book AND d.intent_id = t.trade_id
WHERE t.book = %s ORDER BY t.opened_ns, t.trade_id"""
_EXECUTIONS = """
SELECT i.trade_id, f.event_ns, o.leg, i.action, CASE f.side WHEN 'buy' THEN f.qty ELSE -f.qty END AS shares, f.price_usd,
       d.price_a, d.price_b, CASE o.leg WHEN 'a' THEN d.half_spread_a ELSE d.half_spread_b END
FROM fills f JOIN orders o USING (book, client_order_id) JOIN intents i USING (book, intent_id)
LEFT JOIN decisions d USING (book, intent_id)
WHERE book = %s ORDER BY f.seq"""
_REST = """
SELECT e.pair, e.kind, e.event_ns, p.account, p.commodity, p.amount FROM entries e JOIN postings p USING (book, entry_id)
WHERE book = %s AND e.kind NOT IN ('deposit', 'fill') AND p.account IN ('assets:cash', 'assets:shares')
ORDER BY e.event_ns, e.entry_id, p.line"""
_SUMS = """
SELECT e.pair, p.account, p.commodity, sum(p.amount) FROM entries e JOIN postings p USING (book, entry_id)
WHERE book = %s GROUP BY 1, 2, 3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRows:
    """All trades with their events, what belongs to no trade, and the book by its ledger alone."""

    trades: tuple[TradeEvents, ...]
    account: tuple[Charged | Foreign, ...]
    book: Book


def read_book(url: str, book: str) -> BookRows:
    """A book at one moment. Raises Transient, Permanent."""
    with failures("PostgreSQL"), closing(connect(url, application="tandem-attribution")) as connection, connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            executions = _executions(cursor, book)
            cursor.execute(_TRADES, (book,))
            trades = [_trade(row, executions.get(row[0], [])) for row in cursor.fetchall()]
            loose, account = _rest(cursor, book)
            cursor.execute(_SUMS, (book,))
            ledger = book_of(cursor.fetchall())
    whole, rest = assigned(trades, loose)
    return BookRows(trades=whole, account=(*account, *(event for event in rest if isinstance(event, Charged))), book=ledger)


def _executions(cursor: psycopg2.extensions.cursor, book: str) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    cursor.execute(_EXECUTIONS, (book,))
    for trade_id, event_ns, leg, action, shares, price_usd, price_a, price_b, half_spread in cursor:
        found[trade_id].append(
            Execution(
                event_ns=event_ns,
                leg=leg,
                action=Action(action),
                shares=shares,
                money_usd=-shares * price_usd,
                price_a=price_a,
                price_b=price_b,
                half_spread=half_spread,
            )
        )
    return found


def _trade(row: tuple[str, str, str, str, str, str, int, int | None, int | None, Decimal | None], events: list[Event]) -> TradeEvents:
    trade_id, pair, sector, name, version, digest, opened_ns, closed_ns, hedged_ns, beta = row
    leg_a, leg_b = pair_legs(pair)
    return TradeEvents(
        trade_id=trade_id,
        pair=PairId(pair),
        sector=SectorId(sector),
        leg_a=leg_a,
        leg_b=leg_b,
        model=ModelRef(name=name, version=version, digest=digest),
        opened_ns=opened_ns,
        closed_ns=closed_ns,
        was_hedged=hedged_ns is not None,
        beta=beta,
        events=tuple(events),
    )


def _rest(cursor: psycopg2.extensions.cursor, book: str) -> tuple[dict[PairId, list[Event]], list[Charged | Foreign]]:
    """What no execution of ours explains: charges, splits, and what a person has booked to a pair."""
    loose: dict[PairId, list[Event]] = defaultdict(list)
    account: list[Charged | Foreign] = []
    cursor.execute(_REST, (book,))
    money: dict[tuple[str, str, int], Decimal] = {}
    for pair, kind, event_ns, where, commodity, amount in cursor:
        if where == "assets:shares":
            paid_usd = money.pop((pair, kind, event_ns), Decimal(0))
            if not pair:
                account.append(Foreign(symbol=Symbol(commodity), shares=amount, money_usd=paid_usd))
                continue
            leg = "a" if commodity == pair_legs(pair)[0] else "b"
            moved: Event = Split(event_ns=event_ns, leg=leg, shares=amount)
            if kind != "split":
                moved = Execution(event_ns=event_ns, leg=leg, action=Action.CLOSE, shares=amount, money_usd=paid_usd)
            loose[PairId(pair)].append(moved)
        elif kind in ("fee", "borrow", "dividend", "interest"):
            charged = Charged(event_ns=event_ns, kind=kind, amount_usd=amount)
            (loose[PairId(pair)] if pair else account).append(charged)
        else:
            money[pair, kind, event_ns] = amount
    return loose, account
