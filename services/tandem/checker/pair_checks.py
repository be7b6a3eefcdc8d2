"""Pairs when the faults are over: flat or hedged, legs in their ratio, no leg alone for longer than allowed."""

from collections.abc import Mapping
from decimal import Decimal

from tandem.checker.evidence import Evidence, ExchangeLog, PairRow
from tandem.checker.market_checks import heartbeats
from tandem.checker.tally import Tally
from tandem.domain.units import NS_PER_S

_AT_REST = ("flat", "hedged")
_QUARANTINED = "quarantined"


def pairs_settled(evidence: Evidence, tally: Tally) -> None:
    """When all is over every pair is flat or hedged; one in quarantine says why, and nothing is half way."""
    if evidence.ledger is None or not evidence.ended:
        return
    last_ns = _last_bar_ns(evidence)
    sent = {order.pair for order in evidence.ledger.orders if order.decided_ns >= last_ns}
    for row in evidence.ledger.pairs:
        explained = row.state == _QUARANTINED and bool(row.reason)
        # An order of the last bar finds no trade after it to be filled on: the recording is over.
        waits = row.state in ("opening", "closing", "unwinding") and row.pair in sent
        tally.expect(row.state in _AT_REST or explained or waits, f"{row.pair}: {row.state} {row.reason}")


def pairs_hedged(evidence: Evidence, tally: Tally) -> None:
    """A hedged pair's legs are in the ratio that was wanted, within one share times that ratio; a flat one holds nothing."""
    for row in evidence.ledger.pairs if evidence.ledger else ():
        if row.state == "flat":
            tally.expect(row.held_a == 0 and row.held_b == 0, f"{row.pair}: flat with {row.held_a} and {row.held_b}")
        elif row.state == "hedged":
            error, allowed = _hedge_error(row)
            told = f"{row.pair}: holds {row.held_a}/{row.held_b}, wanted {row.target_a}/{row.target_b}: off by {error}, allowed {allowed}"
            tally.expect(row.held_a != 0 and row.held_b != 0 and error <= allowed, told)


def legs_alone_not_for_long(evidence: Evidence, tally: Tally) -> None:
    """From the first fill of an opening or a closing to both legs passes no more than the limit of event time."""
    for trade in evidence.ledger.trades if evidence.ledger else ():
        longest = max(trade.unhedged_open_s, trade.unhedged_close_s)
        tally.expect(longest <= evidence.unhedged_s_max, f"{trade.pair} {trade.trade_id}: one leg alone for {longest} s")


def opened_in_time(evidence: Evidence, tally: Tally) -> None:
    """What was opened was decided within a session of the exchange and before its cut-off, on half days as on others."""
    if evidence.sessions is None or evidence.ledger is None:
        return
    accepted = {order.intent_id for order in evidence.ledger.orders if order.broker_order_id or order.filled_qty}
    cutoff_ns = int(evidence.close_cutoff_s * NS_PER_S)
    for intent in evidence.ledger.intents:
        if intent.action.startswith("open") and intent.intent_id in accepted:
            in_time = any(open_ns <= intent.bar_close_ns < close_ns - cutoff_ns for open_ns, close_ns in evidence.sessions)
            tally.expect(in_time, f"{intent.pair}: {intent.action} at {intent.bar_close_ns}")


def nothing_opened_just_after_a_halt(evidence: Evidence, tally: Tally) -> None:
    """From the next watermark after a halt's end on, nothing is opened in its symbol before the wait is over."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    symbols: dict[str, set[str]] = {}
    for order in evidence.ledger.orders:
        symbols.setdefault(order.intent_id, set()).add(order.symbol)
    resumed = _resumed_ns(evidence.exchange)
    for intent in evidence.ledger.intents:
        if not intent.action.startswith("open") or intent.intent_id not in symbols:
            continue
        legs = symbols[intent.intent_id] | {""}
        since_ns = [intent.bar_close_ns - ns for symbol, ns, known_ns in resumed if symbol in legs and known_ns <= intent.bar_close_ns]
        if since_ns:
            waited_s = min(since_ns) / NS_PER_S
            told = f"{intent.pair}: {intent.action} {waited_s:g} s after a halt, must be {evidence.resume_wait_s:g}"
            tally.expect(waited_s >= evidence.resume_wait_s, told)


def nothing_held_over_night(evidence: Evidence, tally: Tally) -> None:
    """Where sessions are to end flat, no pair is open at a session's end, unless it was to be closed before and is told of."""
    if evidence.sessions is None or evidence.ledger is None or evidence.session_end != "close":
        return
    decided_ns = max((ns for ns, _ in evidence.ledger.decided.values()), default=0)
    seen_ns = max(decided_ns, _last_bar_ns(evidence)) if evidence.ended else decided_ns
    told = {(scope, event_ns) for scope, code, event_ns in evidence.ledger.alarms if code == "held_over_night"}
    closings = [intent for intent in evidence.ledger.intents if intent.action in ("close", "unwind")]
    for trade in evidence.ledger.trades:
        close_ns = next((close for opened, close in evidence.sessions if opened <= trade.opened_ns <= close), None)
        if close_ns is None or close_ns > seen_ns:
            continue
        is_flat = trade.closed_ns is not None and trade.closed_ns <= close_ns
        was_asked = any(i.trade_id == trade.trade_id and i.bar_close_ns <= close_ns for i in closings)
        is_told = (f"pair/{trade.pair}", close_ns) in told
        case = f"{trade.pair} {trade.trade_id}: open over {close_ns}; closing {'sent' if was_asked else 'never sent'}, "
        tally.expect(is_flat or (was_asked and is_told), case + ("told of" if is_told else "not told of"))


def _resumed_ns(log: ExchangeLog) -> list[tuple[str, int, int]]:
    """Ends of halts: symbol, "" for all; when; and the watermark from which on whoever reads the market knows of it."""
    found: list[tuple[str, int, int]] = []
    new: list[tuple[str, int]] = []
    for line in log.lines:
        if line.kind == "directive" and line.text("name") == "resume":
            fields = line.fields.get("fields")
            new.append((str((fields.get("symbol") if isinstance(fields, Mapping) else None) or ""), line.event_ns))
        elif line.kind == "watermark":
            found += [(symbol, event_ns, line.event_ns) for symbol, event_ns in new]
            new.clear()
    return found


def _last_bar_ns(evidence: Evidence) -> int:
    """The newest bar at which something could be decided: the watermark before the one that ends the stream, where the topics tell."""
    watermarks = sorted({beat.watermark_ns for sector in evidence.sectors or () for beat in heartbeats(sector) if not beat.end_of_stream})
    if watermarks:
        return watermarks[-1]
    return max((ns for ns, _ in evidence.ledger.decided.values()), default=0) if evidence.ledger else 0


def _hedge_error(row: PairRow) -> tuple[Decimal, Decimal]:
    """Shares of leg b that are too many or too few for the shares of leg a that are held, and how many may be."""
    if row.target_a == 0:
        return abs(row.held_b), Decimal(0)
    ratio = abs(row.target_b / row.target_a)
    return abs(abs(row.held_b) - abs(row.held_a) * ratio), max(Decimal(1), ratio)
