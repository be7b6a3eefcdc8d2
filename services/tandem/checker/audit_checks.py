"""The audit chain: whole, telling of everything in the ledger, and every decision naming the record of the forecast that led to it."""

import hashlib
import json

from tandem.checker.evidence import AuditRow, Evidence
from tandem.checker.tally import Tally


def audit_chain_whole(evidence: Evidence, tally: Tally) -> None:
    """The chain's links are numbered without a gap, each carries the hash of the one before and the hash of its own content."""
    before: AuditRow | None = None
    for link in evidence.ledger.audit if evidence.ledger else ():
        follows = link.seq == 1 if before is None else (link.seq == before.seq + 1 and link.previous == before.hash)
        tally.expect(follows, f"link {link.seq} does not follow link {before.seq if before else 0}")
        tally.expect(link.hash == _hash(link), f"link {link.seq} ({link.kind} {link.subject}): its hash is not that of its content")
        before = link


def audit_tells_everything(evidence: Evidence, tally: Tally) -> None:
    """Every intent, order, execution and entry of the ledger has its link in the chain."""
    if (ledger := evidence.ledger) is None or not ledger.audit:
        return
    told: dict[str, set[str]] = {}
    for link in ledger.audit:
        told.setdefault(link.kind, set()).add(link.subject)
    wanted = {
        "intent": [intent.intent_id for intent in ledger.intents],
        "order": [order.client_order_id for order in ledger.orders],
        "fill": [fill.execution_id for fill in ledger.fills],
        "entry": [entry.entry_id for entry in ledger.entries if entry.kind != "deposit"],  # a book begins with it, its chain after it
    }
    for kind, names in wanted.items():
        missing = [name for name in names if name not in told.get(kind, set())]
        tally.expect_all(len(names), len(missing), f"no link tells of {kind} {missing[:3]} ({len(missing)} in all)")


def decisions_name_their_forecast(evidence: Evidence, tally: Tally) -> None:
    """A decision names offset and digest of the record that holds its pair's forecast of its bar, under the model that it names."""
    if evidence.ledger is None or evidence.forecasts is None:
        return
    records = {record.offset: record for record in evidence.forecasts.records}
    intents = {intent.intent_id: intent for intent in evidence.ledger.intents}
    for decision in evidence.ledger.decisions:
        intent, record = intents.get(decision.intent_id), records.get(decision.offset)
        if intent is None or record is None:
            tally.expect(
                False, f"intent {decision.intent_id}: offset {decision.offset} holds no batch of this replay, or there is no intent"
            )
            continue
        batch = record.batch
        content = decision.sha256 == hashlib.sha256(record.content).hexdigest()
        pair = any(forecast.pair == intent.pair for forecast in batch.forecasts)
        same = (batch.bar_close_ns, batch.model.digest) == (intent.bar_close_ns, intent.model_digest)
        tally.expect(
            content and pair and same, f"intent {intent.intent_id} of {intent.pair}: offset {decision.offset} is not its forecast's"
        )


def _hash(link: AuditRow) -> str:
    content = {
        "seq": link.seq,
        "previous": link.previous,
        "kind": link.kind,
        "subject": link.subject,
        "refs": list(link.refs),
        "event_ns": link.event_ns,
        "document": link.document,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
