"""`tandem audit`: how an order came about, from the ticks to the ledger, and whether the chain that tells it is whole. Reads only."""

import json
from typing import Annotated, Any

import typer

from tandem.adapters.audit_trail import AuditTrail
from tandem.cli.output import print_json
from tandem.cli.running import Home, postgres_url, settings_of
from tandem.cli.symbols import Json
from tandem.domain.errors import Permanent
from tandem.domain.units import rfc3339
from tandem.flow.audit import AuditRecord, Link

_HASH_SHOWN = 12


def audit(  # noqa: PLR0917  (Typer passes options by name)
    order_id: Annotated[
        str, typer.Argument(help="A client order id, the broker's order id, an execution, a ledger entry or an intent.", show_default=False)
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Follow the whole chain and say whether it is unbroken.")] = False,
    expect: Annotated[str, typer.Option(help="With --check: a head noted earlier, which must still be in the chain.")] = "",
    book: Annotated[str, typer.Option(help="The book to look at instead of the newest.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Print the chain of an order: ticks, forecast, model, signal, intent, order, executions, ledger. Or --check the whole book's chain."""
    if bool(order_id) == check:
        raise typer.BadParameter("give an order id, or --check")
    trail = AuditTrail(postgres_url(settings_of(home)))
    book = book or trail.newest_book()
    if check:
        _check(trail, book, expect, as_json=json)
    else:
        _print_chain(trail, book, order_id, as_json=json)


def _check(trail: AuditTrail, book: str, expect: str, *, as_json: bool) -> None:
    found = trail.check(book)
    faults = list(found.faults)
    if expect and not trail.holds(book, expect):
        faults.append(f"no link has the hash {expect}: the chain was cut or made anew")
    if as_json:
        print_json({"book": book, "links": found.links, "head": found.head, "faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        state = "whole" if not faults else f"broken in {len(faults)} places"
        typer.echo(f"book {book}: {found.links} links, {state}; head {found.head}")
    if faults:
        raise typer.Exit(1)


def _print_chain(trail: AuditTrail, book: str, wanted: str, *, as_json: bool) -> None:
    links = trail.of(book, wanted)
    if not links:
        raise Permanent(f"book {book} has no order, execution, entry or intent {wanted}")
    if as_json:
        print_json([_plain(link) for link in links])
        return
    for link in links:
        record = link.record
        for line in _lines(record, json.loads(record.document)):
            typer.echo(line)
        typer.echo(f"    link {link.seq}, hash {link.hash[:_HASH_SHOWN]}, after {link.previous[:_HASH_SHOWN]}")


def _plain(link: Link) -> dict[str, Any]:
    record = link.record
    rest = {"kind": record.kind, "subject": record.subject, "event_ns": record.event_ns, "document": json.loads(record.document)}
    return {"seq": link.seq, "previous": link.previous, "hash": link.hash, **rest}


def _lines(record: AuditRecord, doc: dict[str, Any]) -> list[str]:
    """What a person wants to know of a link."""
    match record.kind:
        case "signal":
            outcome = f"refused: {doc['refusal']} ({doc['detail']})" if doc["refusal"] else "taken"
            figures = f"z {doc['z']:.4f}, reversion probability {doc['reversion_probability']:.4f}, variance {doc['variance']:.6g}"
            return [f"signal  {doc['pair']} {doc['action']} for {doc['reason']}, {outcome}; {figures}"]
        case "intent":
            return _intent_lines(doc)
        case "order":
            price = f"limit {doc['limit_usd']}" if doc["limit_usd"] is not None else "market"
            return [f"order   {doc['client_order_id']}: {doc['side']} {doc['qty']} {doc['symbol']}, {price}"]
        case "order_status":
            broker = f", the broker's {doc['broker_order_id']}" if doc["broker_order_id"] else ""
            reason = f": {doc['reason']}" if doc["reason"] else ""
            return [
                f"status  {doc['client_order_id']} {doc['status']}, {doc['filled']} booked of {doc['reported']} reported{broker}{reason}"
            ]
        case "cross":
            price = f"at {doc['price_usd']}" if doc["price_usd"] is not None else "not yet priced"
            return [f"cross   {doc['cross_id']}: {doc['qty']} {doc['symbol']} from {doc['sell_order']} to {doc['buy_order']}, {price}"]
        case "fill":
            what = f"{doc['side']} {doc['qty']} {doc['symbol']} at {doc['price_usd']}"
            return [f"fill    {doc['execution_id']}: {what}, {rfc3339(record.event_ns)}"]
        case _:
            sums = ", ".join(f"{p['account']} {p['amount']} {p['commodity']}" for p in doc["postings"])
            return [f"ledger  {doc['kind']} {doc['entry_id']}: {sums}"]


def _intent_lines(doc: dict[str, Any]) -> list[str]:
    """The intent after what it was decided on: first the ticks, then the forecast, then the model."""
    lines = []
    decision = doc["decision"]
    place = decision["place"] if decision is not None else None
    if place is not None and place["tick_first"] is not None:
        lines.append(f"ticks   {place['tick_topic']} offsets {place['tick_first']} to {place['tick_last']}")
    if place is not None:
        lines.append(f"forecast {place['topic']} partition {place['partition']} offset {place['offset']}, sha256 {place['sha256']}")
    lines.append(f"model   {doc['model']['name']} version {doc['model']['version']}, digest {doc['model']['digest']}")
    lines.append(f"intent  {doc['intent_id']}: {doc['action']} {doc['pair']} for {doc['reason']}, bar of {rfc3339(doc['bar_close_ns'])}")
    if decision is not None:
        lines.append(f"        at {decision['price_a']} and {decision['price_b']}, hedge ratio {decision['beta']}, trade {doc['trade_id']}")
    return lines
