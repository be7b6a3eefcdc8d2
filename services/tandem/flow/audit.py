"""The audit chain: what the portfolio writes down, as documents of which each carries the hash of the one before.

A document is canonical JSON, so that the same event always has the same bytes and the same hash: keys in order, no blanks, money and shares
as decimal text. What is not in the chain is state that follows from it (pairs, trades) or is measured again (equity). The chain proves
order and content, not truth: who may write to it can still write lies, but cannot take one back. Stored by adapters/postgres_audit.py.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from tandem.flow.journal import Changes, Intent, SignalRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One event. refs: every id by which it can be found, its own subject among them."""

    kind: str
    subject: str
    refs: tuple[str, ...]
    event_ns: int
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: how many links it has, and the hash of the last."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record in its place in the chain."""

    seq: int
    previous: str
    hash: str
    record: AuditRecord

    @property
    def head(self) -> Head:
        """The head of a chain that ends here."""
        return Head(seq=self.seq, hash=self.hash)


def beginning(book: str) -> Head:
    """The head of a book's empty chain; it differs from book to book, so that no link fits into another chain."""
    return Head(seq=0, hash=hashlib.sha256(f"tandem audit of {book}".encode()).hexdigest())


def chained(head: Head, records: Iterable[AuditRecord]) -> tuple[Link, ...]:
    """The records as links that follow a head."""
    links: list[Link] = []
    for record in records:
        digest = _hash(head.seq + 1, head.hash, record)
        links.append(Link(seq=head.seq + 1, previous=head.hash, hash=digest, record=record))
        head = links[-1].head
    return tuple(links)


def breaks(head: Head, links: Iterable[Link]) -> Iterator[str]:
    """What is wrong with links that should follow a head, one sentence each; nothing when the chain is whole.

    After a link that is missing or does not fit, the chain is followed from the next one, so that one fault is told once.
    """
    for link in links:
        if link.seq != head.seq + 1:
            yield f"after link {head.seq} comes {link.seq}: {link.seq - head.seq - 1} are missing"
        elif link.previous != head.hash:
            yield f"link {link.seq} follows {link.previous[:12]}, but link {head.seq} has the hash {head.hash[:12]}"
        if (found := _hash(link.seq, link.previous, link.record)) != link.hash:
            yield f"link {link.seq} ({link.record.kind} {link.record.subject}) has the hash {link.hash[:12]}, its content {found[:12]}"
        head = link.head


def _hash(seq: int, previous: str, record: AuditRecord) -> str:
    link = {"seq": seq, "previous": previous, **_shallow(record)}
    return hashlib.sha256(orjson.dumps(link, option=orjson.OPT_SORT_KEYS)).hexdigest()


def canonical(value: object) -> str:
    """JSON with one form for each value. Raises TypeError for what has no form; a number that is not finite is null."""
    plain = orjson.loads(orjson.dumps(value, default=_plain))  # records keep the order of their fields, so that keys are sorted afterwards
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in the audit chain")


def _shallow(record: Any) -> dict[str, Any]:
    """The fields of a record; unlike dataclasses.asdict it copies nothing below them."""
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


def signal_ref(signal: SignalRecord | Intent) -> str:
    """What joins a signal with the intent that came of it."""
    return f"{signal.run}/{signal.pair}/{signal.bar_close_ns}/{signal.action.value}"


def records_of(changes: Changes) -> tuple[AuditRecord, ...]:
    """What one transaction adds to the chain, in the order of cause and effect."""
    return tuple(_records(changes))


def _records(changes: Changes) -> Iterator[AuditRecord]:
    for signal in changes.signals:
        yield _record("signal", signal_ref(signal), (), signal.bar_close_ns, signal)
    decisions = {decision.intent_id: decision for decision in changes.decisions}
    for intent in changes.intents:
        decision = decisions.get(intent.intent_id)
        body = {**_shallow(intent), "decision": decision}
        yield _record("intent", intent.intent_id, (signal_ref(intent), intent.trade_id), intent.bar_close_ns, body)
    for order in changes.new_orders:
        yield _record("order", order.client_order_id, (order.intent_id,), order.decided_ns, order)
    for key, state in changes.orders.items():
        body = {
            "client_order_id": key,
            "status": state.status,
            "filled": state.filled,
            "reported": state.reported,
            "broker_order_id": state.broker_order_id,
            "reason": state.reason,
        }
        yield _record("order_status", key, (state.broker_order_id,), state.order.decided_ns, body)
    for cross, sale in changes.crosses.values():
        body = {**_shallow(cross), "price_usd": sale.price_usd if sale is not None else None}
        yield _record("cross", cross.cross_id, (cross.buy_order, cross.sell_order), cross.decided_ns, body)
    for fill, pair in changes.fills:
        yield _record("fill", fill.execution_id, (fill.client_order_id,), fill.event_ns, {**_shallow(fill), "pair": pair})
    for entry in changes.entries:
        yield _record("entry", entry.entry_id, (entry.source_id, entry.source_id.partition("#")[0]), entry.event_ns, entry)
    for scope, trading in changes.trading_states.items():
        body = {"scope": scope, "mode": trading.mode if trading else "active", "reason": trading.reason if trading else "taken back"}
        yield _record("trading_state", scope, (), 0, body)
    for event in changes.risk_events.values():
        yield _record("risk_event", event.event_id, (event.scope,), event.event_ns, event)
    for found in changes.reconciliations:
        yield _record("reconciliation", f"{found.run}/{found.occasion}/{found.event_ns}", (), found.event_ns, found)


def _record(kind: str, subject: str, refs: tuple[str, ...], event_ns: int, body: Any) -> AuditRecord:
    document = canonical(body)
    found = tuple(dict.fromkeys(ref for ref in (subject, *refs) if ref))
    return AuditRecord(kind=kind, subject=subject, refs=found, event_ns=event_ns, document=document)
