"""The ledger against the exchange: the same orders, the same executions, the same positions, the same cash to the cent."""

from collections import defaultdict
from decimal import Decimal

from tandem.checker.evidence import Evidence, ExchangeLine, Ledger, PairRow
from tandem.checker.exchange_checks import OUR_PREFIX, cash_change_usd, executions, signed
from tandem.checker.ledger_checks import FINAL
from tandem.checker.tally import Tally
from tandem.domain.ledger import CASH, SHARES, USD
from tandem.domain.units import cents

_ZERO = Decimal(0)


def no_order_without_intent(evidence: Evidence, tally: Tally) -> None:
    """Every order of ours that the exchange accepted is in the ledger, with an intent that was decided no later than it was accepted."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    known = {order.client_order_id: order for order in evidence.ledger.orders}
    decided = {intent.intent_id: intent.bar_close_ns for intent in evidence.ledger.intents}
    for line in _our_orders(evidence):
        order = known.get(line.text("client_order_id"))
        if order is None:
            tally.expect(False, f"line {line.seq}: order {line.text('client_order_id')} is not in the ledger")
            continue
        intent_ns = decided.get(order.intent_id)
        durable = intent_ns is not None and intent_ns <= line.event_ns
        tally.expect(durable, f"order {order.client_order_id} accepted at {line.event_ns}, its intent decided at {intent_ns}")


def orders_agree(evidence: Evidence, tally: Tally) -> None:
    """An order is at the exchange as the ledger has it: symbol, side, quantity; and none that the ledger holds to be there is missing."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    placed = {line.text("client_order_id"): line for line in _our_orders(evidence)}
    for order in evidence.ledger.orders:
        line = placed.get(order.client_order_id)
        if line is not None:
            ours, theirs = (order.symbol, order.side, order.sent_qty), (line.text("symbol"), line.text("side"), line.number("qty"))
            tally.expect(ours == theirs, f"order {order.client_order_id}: {ours} in the ledger, {theirs} at the exchange")
        elif order.sent_qty > 0 and order.status in ("filled", "partial", "canceled", "expired", "accepted", "pending_cancel"):
            tally.expect(False, f"order {order.client_order_id}: {order.status} in the ledger, the exchange has never accepted it")


def executions_agree(evidence: Evidence, tally: Tally) -> None:
    """The ledger has booked each execution of our orders once, whole, at its price, and none that the exchange does not know."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    booked: dict[str, list[tuple[str, str, Decimal, Decimal]]] = defaultdict(list)
    for fill in (fill for fill in evidence.ledger.fills if not fill.internal):
        booked[fill.execution_id].append((fill.symbol, fill.side, fill.price_usd, fill.qty))
    orders = {order.client_order_id for order in evidence.ledger.orders}
    for line in executions(evidence):
        rows = booked.pop(line.text("execution_id"), [])
        if not rows and not _is_ours(line, orders):
            continue
        told = (line.text("symbol"), line.text("side"), line.number("price"))
        same = all(row[:3] == told for row in rows) and sum((row[3] for row in rows), _ZERO) == line.number("qty")
        tally.expect(
            same, f"execution {line.text('execution_id')}: {told} x {line.number('qty')} at the exchange, booked {rows or 'never'}"
        )
    for name in booked:
        tally.expect(False, f"execution {name} is in the ledger, not at the exchange")


def positions_agree(evidence: Evidence, tally: Tally) -> None:
    """Shares of each symbol by the postings are what the exchange's account holds, but for executions that were never ours."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    ours, theirs = _ledger_positions(evidence.ledger), exchange_positions(evidence)
    strange: dict[str, Decimal] = defaultdict(Decimal)
    for line in foreign_executions(evidence):
        strange[line.text("symbol")] += signed(line)
    for symbol in sorted(ours.keys() | theirs.keys() | strange.keys()):
        mine, other = ours.get(symbol, _ZERO), theirs.get(symbol, _ZERO) - strange[symbol]
        tally.expect(mine == other, f"{symbol}: ledger {mine}, exchange {other}")


def cash_agrees(evidence: Evidence, tally: Tally) -> None:
    """Cash by the postings is, to the cent, the account's opening and what all executions of ours, fees and payments brought or took."""
    if evidence.ledger is None or evidence.exchange is None:
        return
    postings = (posting for entry in evidence.ledger.entries for posting in entry.postings)
    ours = sum((amount for account, commodity, amount in postings if (account, commodity) == (CASH, USD)), _ZERO)
    opened = [line.number("cash") for line in evidence.exchange.of("pass")]
    theirs = (opened[-1] if opened else evidence.ledger.capital_usd) + sum(map(cash_change_usd, evidence.exchange.lines), _ZERO)
    theirs -= _foreign_cash_usd(evidence)
    tally.expect(cents(ours) == cents(theirs), f"cash: ledger {cents(ours)}, exchange {cents(theirs)}")


def foreign_trades_noticed(evidence: Evidence, tally: Tally) -> None:
    """What the broker or a person traded in our account is booked apart, and a pair that was open in that symbol is in quarantine."""
    if evidence.ledger is None or not evidence.ended:
        return
    orders = {order.client_order_id for order in evidence.ledger.orders}
    apart = {entry.source_id for entry in evidence.ledger.entries if entry.kind != "fill"}
    adopted = {entry.pair for entry in evidence.ledger.entries if entry.kind == "adopted"}
    for line in executions(evidence):
        if _is_ours(line, orders):
            continue
        told = f"line {line.seq}: {line.text('symbol')} was traded by somebody else"
        tally.expect(line.text("execution_id") in apart, f"{told}, and the ledger does not know")
        for row in _open_in(evidence.ledger, line.text("symbol"), line.event_ns):
            tally.expect(row.state == "quarantined" or row.pair in adopted, f"{told}, its pair {row.pair} is {row.state}")


def _open_in(ledger: Ledger, symbol: str, event_ns: int) -> list[PairRow]:
    """The pairs that had a position of this symbol then, and have not closed it since by themselves."""
    open_then = {trade.pair for trade in ledger.trades if trade.opened_ns < event_ns and trade.closed_ns is None}
    return [row for row in ledger.pairs if row.pair in open_then and symbol in (row.symbol_a, row.symbol_b)]


def last_comparison_equal(evidence: Evidence, tally: Tally) -> None:
    """The portfolio's own last comparison with the broker found no difference, unless somebody else has traded in the account."""
    if evidence.ledger is None or not evidence.ledger.reconciled:
        return
    occasion, equal, differences = evidence.ledger.reconciled[-1]
    tally.expect(equal or bool(foreign_executions(evidence)), f"{occasion}: {differences}")


def foreign_executions(evidence: Evidence) -> list[ExchangeLine]:
    """Executions of orders that we did not place and that nobody has booked."""
    if evidence.ledger is None:
        return []
    orders = {order.client_order_id for order in evidence.ledger.orders}
    booked = {fill.execution_id for fill in evidence.ledger.fills} | {entry.source_id for entry in evidence.ledger.entries}
    return [line for line in executions(evidence) if not _is_ours(line, orders) and line.text("execution_id") not in booked]


def _foreign_cash_usd(evidence: Evidence) -> Decimal:
    """What they brought, with their fees where nobody has booked those either."""
    strange = {line.text("execution_id") for line in foreign_executions(evidence)}
    booked = {entry.source_id for entry in evidence.ledger.entries} if evidence.ledger else set()
    lines = evidence.exchange.lines if evidence.exchange else ()
    theirs = [
        line
        for line in lines
        if line.text("execution_id") in strange and (line.kind == "fill" or (line.kind == "fee" and line.text("activity_id") not in booked))
    ]
    return sum(map(cash_change_usd, theirs), _ZERO)


def final_orders_agree(evidence: Evidence, tally: Tally) -> None:
    """When all is over, an order that the exchange has done with is final in the ledger, and one that works there is not."""
    if evidence.ledger is None or evidence.exchange is None or not evidence.ended:
        return
    working = _working(evidence)
    for order in evidence.ledger.orders:
        is_final, works = order.status in FINAL, order.client_order_id in working
        tally.expect(
            is_final != works, f"order {order.client_order_id}: {order.status} in the ledger, {'works' if works else 'is done'} there"
        )


def fills_follow_orders(evidence: Evidence, tally: Tally) -> None:
    """No execution is of the time of its order's acceptance or before: nothing fills on what was known when it was decided."""
    if evidence.exchange is None:
        return
    accepted = {line.text("order_id"): line.event_ns for line in evidence.exchange.of("order")}
    for line in executions(evidence):
        at = accepted.get(line.text("order_id"))
        if at is not None and line.text("client_order_id").startswith(OUR_PREFIX):
            tally.expect(line.event_ns > at, f"execution {line.text('execution_id')} at {line.event_ns}, its order accepted at {at}")


def exchange_positions(evidence: Evidence) -> dict[str, Decimal]:
    """What the exchange's account holds, by the newest line that tells of a symbol."""
    held: dict[str, Decimal] = {}
    for line in evidence.exchange.lines if evidence.exchange else ():
        if line.kind == "fill":
            held[line.text("symbol")] = line.number("position_qty")
        elif line.kind == "split":
            held[line.text("symbol")] = line.number("new_qty")
    return {symbol: qty for symbol, qty in held.items() if qty != 0}


def _our_orders(evidence: Evidence) -> list[ExchangeLine]:
    lines = evidence.exchange.of("order") if evidence.exchange else ()
    return [line for line in lines if line.text("client_order_id").startswith(OUR_PREFIX)]


def _is_ours(line: ExchangeLine, orders: set[str]) -> bool:
    return line.text("client_order_id").startswith(OUR_PREFIX) or line.text("client_order_id") in orders


def _working(evidence: Evidence) -> set[str]:
    """client_order_ids that the exchange accepted and has neither filled whole nor closed."""
    left: dict[str, Decimal] = {}
    ids: dict[str, str] = {}
    for line in evidence.exchange.lines if evidence.exchange else ():
        name = line.text("client_order_id")
        if line.kind == "order":
            ids[line.text("order_id")] = name
            left[name] = line.number("qty")
        elif line.kind == "fill" and name in left:
            left[name] -= line.number("qty")
        elif line.kind in ("cancel", "expire", "reject"):
            left.pop(name, None)
        elif line.kind == "replace":
            left = {other: qty for other, qty in left.items() if other != ids.get(line.text("order_id"))}
    return {name for name, qty in left.items() if qty > 0}


def _ledger_positions(ledger: Ledger) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for entry in ledger.entries:
        for account, commodity, amount in entry.postings:
            if account == SHARES:
                sums[commodity] += amount
    return {symbol: shares for symbol, shares in sums.items() if shares != 0}
