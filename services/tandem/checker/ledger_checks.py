"""The ledger by itself: double entry, nothing twice, an intent for each order, entries for each execution, states that agree."""

from collections import Counter, defaultdict
from decimal import Decimal

from tandem.checker.evidence import Evidence, FillRow, Ledger
from tandem.checker.tally import Tally
from tandem.domain.ledger import CASH, SHARES, USD

_ZERO = Decimal(0)
FINAL = frozenset({"denied", "canceled", "expired", "rejected", "filled", "replaced"})
_OPENS = ("open_long", "open_short")


def entries_balance(evidence: Evidence, tally: Tally) -> None:
    """The postings of each entry sum to zero in each commodity."""
    for entry in evidence.ledger.entries if evidence.ledger else ():
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for _, commodity, amount in entry.postings:
            sums[commodity] += amount
        off = {commodity: str(amount) for commodity, amount in sums.items() if amount != 0}
        tally.expect(
            bool(entry.postings) and not off, f"entry {entry.entry_id} ({entry.kind} {entry.source_id}) sums to {off or 'nothing'}"
        )


def ids_unique(evidence: Evidence, tally: Tally) -> None:
    """No entry, source of an entry, intent, order or execution is in the ledger twice."""
    if (ledger := evidence.ledger) is None:
        return
    kinds: dict[str, list[object]] = {
        "entry": [entry.entry_id for entry in ledger.entries],
        "source of an entry": [(entry.kind, entry.source_id, entry.pair) for entry in ledger.entries],
        "intent": [intent.intent_id for intent in ledger.intents],
        "order": [order.client_order_id for order in ledger.orders],
        "execution": [(fill.execution_id, fill.pair) for fill in ledger.fills],
    }
    for kind, names in kinds.items():
        again = [name for name, count in Counter(names).items() if count > 1]
        tally.expect_all(len(names), len(again), f"{kind} {again[:3]} more than once")


def one_decision_per_bar(evidence: Evidence, tally: Tally) -> None:
    """A pair has at most one intent at a bar, but an opening, its completion and its undoing."""
    found: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for intent in evidence.ledger.intents if evidence.ledger else ():
        found[intent.run, intent.pair, intent.bar_close_ns].append(intent.action)
    for (_, pair, bar_ns), actions in found.items():
        decisions = [action for action in actions if action not in ("unwind", "complete")]
        tally.expect(len(decisions) <= 1, f"{pair} at {bar_ns}: {', '.join(actions)}")


def orders_have_intents(evidence: Evidence, tally: Tally) -> None:
    """Every order belongs to an intent of its pair that was decided no later."""
    if (ledger := evidence.ledger) is None:
        return
    intents = {intent.intent_id: intent for intent in ledger.intents}
    for order in ledger.orders:
        intent = intents.get(order.intent_id)
        if intent is None:
            tally.expect(False, f"order {order.client_order_id} has no intent {order.intent_id}")
            continue
        earlier = intent.bar_close_ns <= order.decided_ns
        tally.expect(earlier, f"order {order.client_order_id} at {order.decided_ns}, its intent at {intent.bar_close_ns}")
        tally.expect(intent.pair == order.pair, f"order {order.client_order_id} of {order.pair}, its intent of {intent.pair}")


def epochs_rise(evidence: Evidence, tally: Tally) -> None:
    """Writers' epochs never go back from one order to the next: no order was written by a writer that had been replaced."""
    if (ledger := evidence.ledger) is None:
        return
    intents = {intent.intent_id: intent.epoch for intent in ledger.intents}
    newest = 0
    for order in sorted(ledger.orders, key=lambda order: order.seq):
        epoch = order.epoch if order.epoch is not None else intents.get(order.intent_id)
        if epoch is not None:
            tally.expect(epoch >= newest, f"order {order.client_order_id} of epoch {epoch} after one of epoch {newest}")
            newest = max(newest, epoch)


def fills_booked(evidence: Evidence, tally: Tally) -> None:
    """Each execution has the entries that it must have: its shares and its money, on its pair."""
    if (ledger := evidence.ledger) is None:
        return
    booked: dict[tuple[str, str], dict[tuple[str, str], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for entry in ledger.entries:
        if entry.kind == "fill":
            for account, commodity, amount in entry.postings:
                booked[entry.source_id, entry.pair][account, commodity] += amount
    for fill in ledger.fills:
        sums = booked.pop((fill.execution_id, fill.pair), {})
        shares, cash = sums.get((SHARES, fill.symbol), _ZERO), sums.get((CASH, USD), _ZERO)
        told = (
            f"{fill.execution_id} of {fill.pair}: booked {shares} {fill.symbol} and {cash} USD, executed {fill.signed} at {fill.price_usd}"
        )
        tally.expect(shares == fill.signed and cash == -fill.signed * fill.price_usd, told)
    for source, pair in booked:
        tally.expect(False, f"entry of execution {source} on {pair}, which no fill tells of")


def crosses_cancel_out(evidence: Evidence, tally: Tally) -> None:
    """Where orders of two pairs met inside, what one pair gave is what the other got, at one price: shares and money sum to zero."""
    shares: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    money: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for fill in evidence.ledger.fills if evidence.ledger else ():
        if fill.internal:
            shares[fill.symbol, fill.event_ns] += fill.signed
            money[fill.symbol, fill.event_ns] += fill.signed * fill.price_usd
    for (symbol, event_ns), left in shares.items():
        told = f"{symbol} at {event_ns}: {left} shares and {money[symbol, event_ns]} USD are left of what met inside"
        tally.expect(left == 0 and money[symbol, event_ns] == 0, told)


def orders_count_their_fills(evidence: Evidence, tally: Tally) -> None:
    """An order's filled shares are the sum of its executions, at most its quantity; a filled one is filled whole."""
    if (ledger := evidence.ledger) is None:
        return
    sums = _filled(ledger.fills)
    for order in ledger.orders:
        filled, name = sums.get(order.client_order_id, _ZERO), order.client_order_id
        tally.expect(order.filled_qty == filled, f"order {name}: says {order.filled_qty}, its executions sum to {filled}")
        tally.expect(filled <= order.qty, f"order {name}: {filled} of {order.qty} filled")
        if order.status == "filled":
            tally.expect(filled == order.qty, f"order {name}: filled, with {filled} of {order.qty}")


def one_live_order_per_leg(evidence: Evidence, tally: Tally) -> None:
    """A leg of a pair has at most one order that is not done."""
    if (ledger := evidence.ledger) is None:
        return
    live = Counter((order.pair, order.leg) for order in ledger.orders if order.status not in FINAL)
    legs = {(order.pair, order.leg) for order in ledger.orders}
    for pair, leg in sorted(legs):
        tally.expect(live[pair, leg] <= 1, f"{pair} leg {leg}: {live[pair, leg]} live orders")


def one_open_trade_per_pair(evidence: Evidence, tally: Tally) -> None:
    """A pair has at most one round trip that is not over, and each has the opening intent that it names."""
    if (ledger := evidence.ledger) is None:
        return
    opens = {intent.intent_id for intent in ledger.intents if intent.action in _OPENS}
    for trade in ledger.trades:
        tally.expect(trade.trade_id in opens, f"round trip {trade.trade_id} of {trade.pair}: no intent opened it")
    for pair, count in Counter(trade.pair for trade in ledger.trades if trade.closed_ns is None).items():
        tally.expect(count <= 1, f"{pair}: {count} round trips are open")


def pair_states_hold(evidence: Evidence, tally: Tally) -> None:
    """What a pair's state says that it holds is what its postings sum to."""
    if (ledger := evidence.ledger) is None:
        return
    shares = shares_by_pair(ledger)
    for row in ledger.pairs:
        for symbol, held in ((row.symbol_a, row.held_a), (row.symbol_b, row.held_b)):
            booked = shares.get((row.pair, symbol), _ZERO)
            tally.expect(held == booked, f"{row.pair}: holds {held} {symbol}, the postings say {booked}")


def shares_by_pair(ledger: Ledger) -> dict[tuple[str, str], Decimal]:
    """Shares of each (pair, symbol) by the postings."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in ledger.entries:
        for account, commodity, amount in entry.postings:
            if account == SHARES:
                sums[entry.pair, commodity] += amount
    return dict(sums)


def _filled(fills: tuple[FillRow, ...]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        sums[fill.client_order_id] += fill.qty
    return sums
