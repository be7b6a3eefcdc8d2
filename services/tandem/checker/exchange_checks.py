"""The exchange's log by itself: lines without a hole, one order for each id, each execution once, positions that follow from executions."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from tandem.checker.evidence import Evidence, ExchangeLine
from tandem.checker.tally import Tally

_ZERO = Decimal(0)
OUR_PREFIX = "tdm-"  # of the client_order_ids that domain/ids.py derives; all other orders are somebody else's


def exchange_log_whole(evidence: Evidence, tally: Tally) -> None:
    """Every line can be read, numbers rise by one, and event time never goes back."""
    if evidence.exchange is None:
        return
    for problem in evidence.exchange.unreadable:
        tally.expect(False, problem)
    for before, line in zip(evidence.exchange.lines, evidence.exchange.lines[1:], strict=False):
        tally.expect(line.seq == before.seq + 1, f"line {line.seq} after {before.seq}")
        tally.expect(line.event_ns >= before.event_ns, f"line {line.seq}: event time {line.event_ns} after {before.event_ns}")


def one_order_per_client_id(evidence: Evidence, tally: Tally) -> None:
    """The exchange has accepted each client_order_id once, however often it was sent."""
    seen: dict[str, int] = {}
    for line in evidence.exchange.of("order") if evidence.exchange else ():
        name = line.text("client_order_id") or line.text("order_id")
        tally.expect(name not in seen, f"{name} accepted at line {seen.get(name)} and at line {line.seq}")
        seen.setdefault(name, line.seq)


def executions_distinct(evidence: Evidence, tally: Tally) -> None:
    """An execution_id is in the exchange's log once, of an order that was accepted before it."""
    if evidence.exchange is None:
        return
    seen: set[str] = set()
    accepted: dict[str, int] = {}
    for line in evidence.exchange.lines:
        if line.kind == "order":
            accepted.setdefault(line.text("order_id"), line.event_ns)
        if line.kind == "fill":
            execution, order = line.text("execution_id"), line.text("order_id")
            tally.expect(execution not in seen, f"execution {execution} again at line {line.seq}")
            tally.expect(order in accepted, f"line {line.seq}: a fill of order {order}, which nobody placed before")
            seen.add(execution)


def no_order_overfilled(evidence: Evidence, tally: Tally) -> None:
    """The executions of an order sum to no more than its quantity."""
    if evidence.exchange is None:
        return
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for line in executions(evidence):
        filled[line.text("order_id")] += line.number("qty")
    for line in evidence.exchange.of("order"):
        order, qty = line.text("order_id"), line.number("qty")
        if qty > 0:
            tally.expect(filled[order] <= qty, f"order {order}: {filled[order]} of {qty} executed")


def positions_follow_executions(evidence: Evidence, tally: Tally) -> None:
    """After each execution and split the position is the one of before and what came or went."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    for line in evidence.exchange.lines if evidence.exchange else ():
        symbol = line.text("symbol")
        if line.kind == "fill":
            before, told = held[symbol], line.number("position_qty")
            tally.expect(told == before + signed(line), f"line {line.seq}: {symbol} at {told}, {before} before {signed(line)}")
            held[symbol] = told
        elif line.kind == "split":
            tally.expect(
                line.number("old_qty") == held[symbol], f"line {line.seq}: a split of {line.number('old_qty')}, held {held[symbol]}"
            )
            held[symbol] = line.number("new_qty")


def cash_follows_events(evidence: Evidence, tally: Tally) -> None:
    """The account's cash, wherever the log tells it, is what it opened with and what every line before it brought and took."""
    cash: Decimal | None = None
    for line in evidence.exchange.lines if evidence.exchange else ():
        if line.kind == "pass":
            cash = line.number("cash")
        elif cash is not None:
            cash += cash_change_usd(line)
            if line.kind == "watermark" and "cash" in line.fields:
                tally.expect(line.number("cash") == cash, f"line {line.seq}: cash {line.number('cash')}, the lines before sum to {cash}")


def no_order_while_halted(evidence: Evidence, tally: Tally) -> None:
    """Nothing of ours is executed in a halted symbol, and from the next watermark after a halt on nothing is ordered in it."""
    halted: dict[str, bool] = {}  # symbol, or "" for all: whether a watermark has passed since
    for line in evidence.exchange.lines if evidence.exchange else ():
        if line.kind == "watermark":
            halted = dict.fromkeys(halted, True)
        elif line.kind == "directive":
            _halt(line, halted)
        elif line.text("client_order_id").startswith(OUR_PREFIX) and line.kind in ("order", "fill"):
            known = [told for symbol, told in halted.items() if symbol in ("", line.text("symbol"))]
            forbidden = bool(known) if line.kind == "fill" else any(known)
            tally.expect(not forbidden, f"line {line.seq}: {line.kind} of {line.text('symbol')} while it is halted")


def _halt(line: ExchangeLine, halted: dict[str, bool]) -> None:
    fields = line.fields.get("fields")
    symbol = str((fields.get("symbol") if isinstance(fields, Mapping) else None) or "")
    if line.text("name") == "halt":
        halted[symbol] = False
    elif line.text("name") == "resume":
        halted.pop(symbol, None)


def cash_change_usd(line: ExchangeLine) -> Decimal:
    """What a line brought the exchange's account, negative when it took."""
    match line.kind:
        case "fill":
            return -signed(line) * line.number("price")
        case "fee" | "borrow" | "interest":
            return -line.number("amount")
        case "dividend":
            return line.number("amount")
        case "split":
            return line.number("cash_in_lieu")
        case _:
            return _ZERO


def executions(evidence: Evidence) -> list[ExchangeLine]:
    """The exchange's executions, each id once, in order."""
    found: dict[str, ExchangeLine] = {}
    for line in evidence.exchange.of("fill") if evidence.exchange else ():
        found.setdefault(line.text("execution_id"), line)
    return list(found.values())


def signed(line: ExchangeLine) -> Decimal:
    """Shares that an execution brought, negative when it took them."""
    qty = line.number("qty")
    return qty if line.text("side") == "buy" else -qty
