"""A small run in memory in which everything agrees, made by seed, and corruptions of it: each breaks one thing as a fault would."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from random import Random

import numpy as np

from tandem.adapters.codec import encode_forecasts
from tandem.checker.evidence import (
    AuditRow,
    BatchRecord,
    DecisionRow,
    EntryRow,
    Evidence,
    ExchangeLine,
    ExchangeLog,
    FillRow,
    Forecasts,
    IntentRow,
    Ledger,
    OrderRow,
    PairRow,
    Recording,
    SectorTicks,
    TradeRow,
)
from tandem.domain.conditions import Sale
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, client_order_id, intent_id
from tandem.domain.ledger import CAPITAL, CASH, FEES, SHARES, TRADING, USD
from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE, TICK_DTYPE, Heartbeat, Source, TickFrame

REPLAY, SECTOR = "00000000-0000-5000-8000-000000000001", SectorId("consumer")
A, B, PAIR = Symbol("KO"), Symbol("PEP"), PairId("KO-PEP")
BAR_NS, BARS, CAPITAL_USD = 60_000_000_000, 12, Decimal(100_000)
HALTED_BAR = 5  # before the second opening
SESSIONS = ((0, 9 * BAR_NS), (9 * BAR_NS, (BARS + 1) * BAR_NS))  # both round trips are in the first
MODEL = ModelRef(name="m", version="1", digest="d")
SPEC = PairSpec(pair=PAIR, sector=SECTOR, leg_a=A, leg_b=B)


@dataclass(slots=True)
class _Desk:
    """Trades the pair in and out, and writes both sides of everything."""

    random: Random
    intents: list[IntentRow]
    orders: list[OrderRow]
    fills: list[FillRow]
    entries: list[EntryRow]
    trades: list[TradeRow]
    lines: list[ExchangeLine]
    held: dict[str, Decimal]
    cash: Decimal

    def line(self, kind: str, event_ns: int, **fields: object) -> None:
        seq = len(self.lines)
        told = {name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
        whole = {"seq": seq, "replay_id": REPLAY, "event_ns": event_ns, "kind": kind, **told}
        self.lines.append(ExchangeLine(seq=seq, replay_id=REPLAY, event_ns=event_ns, kind=kind, fields=whole))

    def entry(self, kind: str, source: str, pair: str, event_ns: int, *lines: tuple[str, str, Decimal]) -> None:
        self.entries.append(
            EntryRow(entry_id=f"{kind}-{source}", kind=kind, source_id=source, pair=pair, event_ns=event_ns, postings=lines)
        )

    def trade(self, bar: int, action: str, quantities: tuple[int, int]) -> str:
        """Both legs at a bar's close, filled a while later."""
        bar_ns = bar * BAR_NS
        intent = intent_id(REPLAY, PAIR, bar_ns, MODEL.digest, action)
        trade_id = intent if action.startswith("open") else self.trades[-1].trade_id
        self.intents.append(
            IntentRow(
                intent_id=intent,
                run=REPLAY,
                pair=PAIR,
                action=action,
                bar_close_ns=bar_ns,
                model_digest="d",
                trade_id=trade_id,
                epoch=bar // 4,
            )
        )
        legs = tuple(zip("ab", (A, B), quantities, strict=True))
        for leg, symbol, signed in legs:
            name = client_order_id(intent, leg, 0)
            self.line(
                "order", bar_ns, order_id=f"o-{name}", client_order_id=name, symbol=symbol, side=_side(signed), qty=Decimal(abs(signed))
            )
        for leg, symbol, signed in legs:
            self._fill(intent, leg, symbol, signed, bar_ns)
        if action.startswith("open"):
            self.trades.append(
                TradeRow(trade_id=intent, pair=PAIR, opened_ns=bar_ns, closed_ns=None, unhedged_open_s=1.0, unhedged_close_s=0.0)
            )
        else:
            self.trades[-1] = replace(self.trades[-1], closed_ns=bar_ns + 2)
        return intent

    def _fill(self, intent: str, leg: str, symbol: Symbol, signed: int, bar_ns: int) -> None:
        name, qty = client_order_id(intent, leg, 0), Decimal(abs(signed))
        price, fill_ns = Decimal(self.random.randint(4000, 6000)) / 100, bar_ns + BAR_NS // 2
        execution = f"e-{name}"
        self.held[symbol] = self.held.get(symbol, Decimal(0)) + signed
        fee, money = Decimal("0.01"), signed * price
        self.line(
            "fill",
            fill_ns,
            execution_id=execution,
            order_id=f"o-{name}",
            client_order_id=name,
            symbol=symbol,
            side=_side(signed),
            qty=qty,
            price=price,
            position_qty=self.held[symbol],
        )
        self.line("fee", fill_ns, activity_id=f"f-{name}", symbol=symbol, amount=fee)
        self.cash -= money + fee
        self.orders.append(
            OrderRow(
                client_order_id=name,
                intent_id=intent,
                pair=PAIR,
                leg=leg,
                attempt=0,
                symbol=symbol,
                side=_side(signed),
                qty=qty,
                limit_usd=None,
                decided_ns=bar_ns,
                status="filled",
                filled_qty=qty,
                seq=len(self.orders),
            )
        )
        self.fills.append(
            FillRow(
                execution_id=execution,
                client_order_id=name,
                pair=PAIR,
                symbol=symbol,
                side=_side(signed),
                qty=qty,
                price_usd=price,
                event_ns=fill_ns,
            )
        )
        self.entry(
            *("fill", execution, PAIR, fill_ns, (CASH, USD, -money), (TRADING, USD, money)),
            *((SHARES, symbol, Decimal(signed)), (TRADING, symbol, -Decimal(signed))),
        )
        self.entry("fee", f"f-{name}", PAIR, fill_ns, (CASH, USD, -fee), (FEES, USD, fee))


def _side(signed: int) -> str:
    return "buy" if signed > 0 else "sell"


def clean_run(seed: int) -> Evidence:
    """A run without a fault: two round trips and a third position that is open at the end."""
    random = Random(seed)
    desk = _Desk(random, [], [], [], [], [], [], {}, CAPITAL_USD)
    desk.line("pass", 0, cash=CAPITAL_USD)
    desk.entry("deposit", "book", "", 0, (CASH, USD, CAPITAL_USD), (CAPITAL, USD, -CAPITAL_USD))
    turns = {2: ("open_long", 1), 4: ("close", -1), 6: ("open_short", -1), 8: ("close", 1), 10: ("open_long", 1)}
    shares = (random.randint(20, 60), random.randint(20, 60))
    for bar in range(1, BARS + 1):
        desk.line("watermark", bar * BAR_NS, cash=desk.cash)
        if bar == HALTED_BAR:
            desk.line("directive", bar * BAR_NS, name="halt", fields={"symbol": A})
            desk.line("directive", bar * BAR_NS + 1, name="resume", fields={"symbol": A})
        if bar in turns:
            action, direction = turns[bar]
            desk.trade(bar, action, (direction * shares[0], -direction * shares[1]))
    pair = PairRow(
        pair=PAIR,
        state="hedged",
        direction=1,
        symbol_a=A,
        symbol_b=B,
        target_a=Decimal(shares[0]),
        target_b=-Decimal(shares[1]),
        held_a=desk.held[A],
        held_b=desk.held[B],
    )
    ticks, batches = _ticks(random), _batches(random)
    return Evidence(
        replay_id=REPLAY,
        sessions=SESSIONS,
        close_cutoff_s=60.0,
        resume_wait_s=59.0,
        session_end="close",
        pairs=(SPEC,),
        sectors=(SectorTicks(sector=SECTOR, records=_topic(ticks)),),
        recording=Recording(symbols=(A, B), ticks=ticks),
        forecasts=Forecasts(records=batches),
        ledger=Ledger(
            book="book",
            capital_usd=CAPITAL_USD,
            intents=tuple(desk.intents),
            orders=tuple(desk.orders),
            fills=tuple(desk.fills),
            entries=tuple(desk.entries),
            pairs=(pair,),
            trades=tuple(desk.trades),
            audit=_audited(desk),
            decisions=_decisions(desk, batches),
            reconciled=(("start", True, "[]"), ("end_of_stream", True, "[]")),
            decided={REPLAY: (BARS * BAR_NS, True)},
        ),
        exchange=ExchangeLog(lines=tuple(desk.lines)),
    )


def _audited(desk: _Desk) -> tuple[AuditRow, ...]:
    """A chain that tells of everything that the desk wrote."""
    told = [("intent", row.intent_id) for row in desk.intents] + [("order", row.client_order_id) for row in desk.orders]
    told += [("fill", row.execution_id) for row in desk.fills] + [("entry", row.entry_id) for row in desk.entries]
    links, previous = [], "0" * 64
    for seq, (kind, subject) in enumerate(told, start=1):
        content = {"seq": seq, "previous": previous, "kind": kind, "subject": subject, "refs": [subject], "event_ns": seq, "document": "{}"}
        digest = sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        links.append(AuditRow(**content | {"refs": (subject,)}, hash=digest))
        previous = digest
    return tuple(links)


def _decisions(desk: _Desk, records: tuple[BatchRecord, ...]) -> tuple[DecisionRow, ...]:
    contents = {record.batch.bar_close_ns: record for record in records}
    return tuple(
        DecisionRow(
            intent_id=intent.intent_id,
            offset=contents[intent.bar_close_ns].offset,
            sha256=sha256(contents[intent.bar_close_ns].content).hexdigest(),
        )
        for intent in desk.intents
    )


def _ticks(random: Random) -> np.ndarray:
    ticks = np.zeros(BARS * 6, TICK_DTYPE)
    ticks["event_ns"] = np.arange(len(ticks)) * (BAR_NS // 6) + 1
    ticks["kind"], ticks["size"], ticks["symbol"] = KIND_TRADE, 100, np.arange(len(ticks)) % 2
    ticks["trade_id"] = np.arange(len(ticks)) // 2 + 1
    ticks["price"] = [random.randint(4000, 6000) / 100 for _ in ticks]
    return ticks


def _topic(ticks: np.ndarray) -> tuple[tuple[int, TickFrame | Heartbeat], ...]:
    records: list[tuple[int, TickFrame | Heartbeat]] = []
    same = {"sector": SECTOR, "source": Source.RECYCLED, "replay_id": REPLAY}
    for bar in range(BARS):
        inside = (ticks["event_ns"] >= bar * BAR_NS) & (ticks["event_ns"] < (bar + 1) * BAR_NS)
        records.append((2 * bar, TickFrame(**same, symbols=(A, B), ticks=ticks[inside])))
        records.append((2 * bar + 1, Heartbeat(**same, watermark_ns=(bar + 1) * BAR_NS, lockstep=True)))
    return tuple(records)


def _batches(random: Random) -> tuple[BatchRecord, ...]:
    return tuple(batch_record(bar, random.uniform(0.1, 0.9), offset=bar) for bar in range(1, BARS + 1))


def batch_record(bar: int, probability: float, *, offset: int) -> BatchRecord:
    """A batch with one forecast."""
    numbers = {"price_a": 50.0, "price_b": 60.0, "beta": 0.8, "mu": 0.1, "spread": 0.01, "expected_spread": 0.0, "z": 1.0}
    forecast = Forecast(
        pair=PAIR,
        leg_a=A,
        leg_b=B,
        **numbers,
        variance=1e-4,
        garch_variance=1e-4,
        reversion_probability=probability,
        half_life_bars=5.0,
        bar_index=bar,
    )
    batch = ForecastBatch(
        sector=SECTOR,
        model=MODEL,
        source=Source.RECYCLED,
        replay_id=REPLAY,
        bar_close_ns=bar * BAR_NS,
        lockstep=True,
        end_of_stream=False,
        forecasts=(forecast,),
    )
    return BatchRecord(offset=offset, batch=batch, content=encode_forecasts(batch))


Corruption = Callable[[Evidence, Random], Evidence]


def _ledger(evidence: Evidence, **columns: object) -> Evidence:
    assert evidence.ledger is not None
    return replace(evidence, ledger=replace(evidence.ledger, **columns))


def _renumbered(evidence: Evidence, lines: list[ExchangeLine]) -> Evidence:
    lines = [replace(line, seq=seq, fields={**line.fields, "seq": seq}) for seq, line in enumerate(lines)]
    return replace(evidence, exchange=ExchangeLog(lines=tuple(lines)))


def _without(items: tuple, random: Random) -> tuple:
    place = random.randrange(len(items))
    return items[:place] + items[place + 1 :]


def _changed(items: tuple, random: Random, **columns: object) -> tuple:
    place = random.randrange(len(items))
    return (*items[:place], replace(items[place], **columns), *items[place + 1 :])


def _crossed(evidence: Evidence, random: Random, *, price: Decimal) -> Evidence:
    """Two pairs met inside, one of them at another price."""
    fill = replace(evidence.ledger.fills[0], execution_id="x", internal=True, side="buy", price_usd=Decimal(50))
    other = replace(fill, execution_id="y", pair="A-B", side="sell", price_usd=price)
    return _ledger(evidence, fills=(*evidence.ledger.fills, fill, other))


def _line_changed(evidence: Evidence, random: Random, kind: str, **fields: object) -> Evidence:
    lines = list(evidence.exchange.lines)
    place = random.choice([n for n, line in enumerate(lines) if line.kind == kind])
    lines[place] = replace(lines[place], fields={**lines[place].fields, **fields})
    return replace(evidence, exchange=ExchangeLog(lines=tuple(lines)))


def _line_doubled(evidence: Evidence, random: Random, kind: str) -> Evidence:
    lines = list(evidence.exchange.lines)
    place = random.choice([n for n, line in enumerate(lines) if line.kind == kind])
    return _renumbered(evidence, [*lines[: place + 1], lines[place], *lines[place + 1 :]])


def _line_dropped(evidence: Evidence, random: Random, kind: str, *, renumber: bool) -> Evidence:
    lines = list(evidence.exchange.lines)
    place = random.choice([n for n, line in enumerate(lines) if line.kind == kind and 0 < n < len(lines) - 1])
    left = lines[:place] + lines[place + 1 :]
    return _renumbered(evidence, left) if renumber else replace(evidence, exchange=ExchangeLog(lines=tuple(left)))


def _foreign_trade(evidence: Evidence, random: Random) -> Evidence:
    """Somebody sold a share of ours by hand, and no pair is the wiser."""
    lines = list(evidence.exchange.lines)
    held = next(line for line in reversed(lines) if line.kind == "fill" and line.text("symbol") == A)
    common = {"symbol": A, "side": "sell", "qty": "1", "order_id": "manual", "client_order_id": None, "seq": 0}
    fields = {**common, "execution_id": "manual", "price": "50", "position_qty": str(held.number("position_qty") - 1)}
    new = [
        ExchangeLine(seq=0, replay_id=REPLAY, event_ns=lines[-1].event_ns, kind=k, fields=f)
        for k, f in (("order", common), ("fill", fields))
    ]
    return _renumbered(evidence, [*lines, *new])


def _fill_at_decision(evidence: Evidence, random: Random) -> Evidence:
    lines = list(evidence.exchange.lines)
    place = random.choice([n for n, line in enumerate(lines) if line.kind == "fill"])
    accepted = next(line.event_ns for line in lines if line.kind == "order" and line.text("order_id") == lines[place].text("order_id"))
    lines[place] = replace(lines[place], event_ns=accepted)
    return replace(evidence, exchange=ExchangeLog(lines=tuple(lines)))


def _halted(evidence: Evidence, random: Random) -> Evidence:
    lines = list(evidence.exchange.lines)
    halt = ExchangeLine(
        seq=0,
        replay_id=REPLAY,
        event_ns=BAR_NS,
        kind="directive",
        fields={"seq": 0, "name": "halt", "fields": {"symbol": random.choice((A, B))}},
    )
    return _renumbered(evidence, [*lines[:2], halt, *lines[2:]])


def _ticks_with(evidence: Evidence, random: Random, change: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    records = list(evidence.sectors[0].records)
    place = random.choice([n for n, (_, record) in enumerate(records) if isinstance(record, TickFrame)])
    offset, frame = records[place]
    records[place] = (offset, replace(frame, ticks=change(frame.ticks.copy())))
    return replace(evidence, sectors=(replace(evidence.sectors[0], records=tuple(records)),))


def _unpriced(ticks: np.ndarray) -> np.ndarray:
    ticks["flags"][0] = Sale.ODD_LOT
    return ticks


def with_unpriced(evidence: Evidence, random: Random, *, sets_prices: bool = False) -> Evidence:
    """A frame of the topic with a print that no recording holds and that sets no price, or that does."""

    def change(ticks: np.ndarray) -> np.ndarray:
        odd = _priced(ticks[:1].copy())
        odd["trade_id"] += 1_000_000
        return np.concatenate([ticks, odd if sets_prices else _unpriced(odd)])

    return _ticks_with(evidence, random, change)


def _priced(ticks: np.ndarray) -> np.ndarray:
    ticks["price"][0] += 0.01
    return ticks


def misprints(ticks: np.ndarray, *, mended: bool = True) -> np.ndarray:
    """The frame with a print that never was and one at a wrong price, and last, if mended, the cancel and the correction."""
    never, wrong = ticks[:1].copy(), ticks[1:2].copy()
    never["trade_id"] += 1_000_000
    cancel, correction = never.copy(), wrong.copy()
    wrong["price"] *= 1.03
    cancel["kind"], correction["kind"] = KIND_CANCEL, KIND_CORRECTION
    return np.concatenate([never, ticks[:1], wrong, ticks[2:], *((cancel, correction) if mended else ())])


def with_misprints(evidence: Evidence, random: Random, *, mended: bool = True) -> Evidence:
    """A frame of the topic with two bad prints."""
    return _ticks_with(evidence, random, lambda ticks: misprints(ticks, mended=mended))


def _resumed_later(evidence: Evidence, random: Random) -> Evidence:
    """The halt has lasted until some seconds before the next decision."""
    assert evidence.exchange is not None
    lines, ended_ns = list(evidence.exchange.lines), (HALTED_BAR + 1) * BAR_NS - random.randint(1, 50) * 10**9
    place = next(n for n, line in enumerate(lines) if line.text("name") == "resume")
    lines[place] = replace(lines[place], event_ns=ended_ns)
    return replace(evidence, exchange=ExchangeLog(lines=tuple(lines)))


def over_night(evidence: Evidence, *, told: bool) -> Evidence:
    """The first closing is filled just after the session in which it was ordered."""
    close_ns = 4 * BAR_NS + 1
    alarms = ((f"pair/{PAIR}", "held_over_night", close_ns),) if told else ()
    return replace(_ledger(evidence, alarms=alarms), sessions=((0, close_ns), (close_ns, SESSIONS[0][1]), SESSIONS[1]))


def _late_frame(evidence: Evidence, random: Random) -> Evidence:
    records = list(evidence.sectors[0].records)
    place = 2 * random.randrange(BARS - 1)
    records[place], records[place + 2] = records[place + 2], records[place]
    return replace(evidence, sectors=(replace(evidence.sectors[0], records=tuple(records)),))


def _source_changed(evidence: Evidence, random: Random) -> Evidence:
    records = list(evidence.sectors[0].records)
    place = random.randrange(len(records))
    records[place] = (records[place][0], replace(records[place][1], source=Source.LIVE))
    return replace(evidence, sectors=(replace(evidence.sectors[0], records=tuple(records)),))


def _other_batch(evidence: Evidence, random: Random) -> Evidence:
    again = batch_record(random.randint(1, BARS), 0.95, offset=99)
    return replace(evidence, forecasts=Forecasts(records=(*evidence.forecasts.records, again)))


def _batch_dropped(evidence: Evidence, random: Random, *, last: bool) -> Evidence:
    records = evidence.forecasts.records
    place = len(records) - 1 if last else random.randrange(1, len(records) - 1)
    return replace(evidence, forecasts=Forecasts(records=records[:place] + records[place + 1 :]))


def _batch_swapped_legs(evidence: Evidence, random: Random) -> Evidence:
    records = list(evidence.forecasts.records)
    place = random.randrange(len(records))
    (forecast,) = records[place].batch.forecasts
    batch = replace(records[place].batch, forecasts=(replace(forecast, leg_a=B, leg_b=A),))
    records[place] = BatchRecord(offset=place, batch=batch, content=encode_forecasts(batch))
    return replace(evidence, forecasts=Forecasts(records=tuple(records)))


def _fill_doubled(evidence: Evidence, random: Random) -> Evidence:
    """Booked twice under another id: what an execution id made anew at each start would do."""
    ledger = evidence.ledger
    fill = random.choice(ledger.fills)
    entry = next(entry for entry in ledger.entries if entry.source_id == fill.execution_id)
    again = (replace(fill, execution_id="again"), replace(entry, entry_id="again", source_id="again"))
    return _ledger(evidence, fills=(*ledger.fills, again[0]), entries=(*ledger.entries, again[1]))


def _fill_unbooked(evidence: Evidence, random: Random) -> Evidence:
    entries = evidence.ledger.entries
    place = random.choice([n for n, entry in enumerate(entries) if entry.kind == "fill"])
    return _ledger(evidence, entries=entries[:place] + entries[place + 1 :])


def _posting_off(evidence: Evidence, random: Random) -> Evidence:
    entries = list(evidence.ledger.entries)
    place = random.randrange(len(entries))
    account, commodity, amount = entries[place].postings[0]
    entries[place] = replace(entries[place], postings=((account, commodity, amount + Decimal("0.01")), *entries[place].postings[1:]))
    return _ledger(evidence, entries=tuple(entries))


def _fee_lost(evidence: Evidence, random: Random) -> Evidence:
    entries = evidence.ledger.entries
    place = random.choice([n for n, entry in enumerate(entries) if entry.kind == "fee"])
    return _ledger(evidence, entries=entries[:place] + entries[place + 1 :])


def _intent_later(evidence: Evidence, random: Random) -> Evidence:
    place = random.randrange(len(evidence.ledger.intents))
    intents = list(evidence.ledger.intents)
    intents[place] = replace(intents[place], bar_close_ns=intents[place].bar_close_ns + 1)
    return _ledger(evidence, intents=tuple(intents))


def _decided_twice(evidence: Evidence, random: Random) -> Evidence:
    intent = random.choice(evidence.ledger.intents)
    return _ledger(
        evidence,
        intents=(
            *evidence.ledger.intents,
            replace(intent, intent_id="other", action="open_short" if "long" in intent.action else "open_long"),
        ),
    )


def _old_writer(evidence: Evidence, random: Random) -> Evidence:
    orders = evidence.ledger.orders
    late = replace(orders[-1], client_order_id="tdm-late", leg="b", attempt=1, epoch=0, seq=99, status="denied", filled_qty=Decimal(0))
    return _ledger(evidence, orders=(*orders, late))


def _two_live(evidence: Evidence, random: Random) -> Evidence:
    order = random.choice(evidence.ledger.orders)
    new = [replace(order, client_order_id=f"tdm-{n}", attempt=n, status="accepted", filled_qty=Decimal(0), seq=90 + n) for n in (1, 2)]
    return _ledger(evidence, orders=(*evidence.ledger.orders, *new))


# What was done to the run, what did it, and the invariant that must name it.
CORRUPTIONS: tuple[tuple[str, Corruption, str], ...] = (
    ("a trade never reached Kafka", lambda e, r: _ticks_with(e, r, lambda t: t[1:]), "ticks_complete"),
    ("a trade reached Kafka twice", lambda e, r: _ticks_with(e, r, lambda t: np.concatenate([t[:1], t])), "ticks_once"),
    ("a trade has another price", lambda e, r: _ticks_with(e, r, _priced), "ticks_unaltered"),
    ("a trade that sets prices and may not", lambda e, r: _ticks_with(e, r, _unpriced), "ticks_unaltered"),
    ("a print that is not recorded and sets prices", lambda e, r: with_unpriced(e, r, sets_prices=True), "ticks_unaltered"),
    ("bad prints that nobody took back", lambda e, r: with_misprints(e, r, mended=False), "ticks_unaltered"),
    ("a cancel before its trade", lambda e, r: _ticks_with(e, r, lambda t: misprints(t)[::-1]), "amendments_follow_their_trade"),
    ("ticks after their watermark", _late_frame, "ticks_before_watermark"),
    ("recycled ticks labelled as live", _source_changed, "ticks_labelled"),
    ("a record that cannot be read", lambda e, r: replace(e, sectors=(replace(e.sectors[0], unreadable=("bad",)),)), "ticks_labelled"),
    ("a NaN among the forecasts", lambda e, r: replace(e, forecasts=replace(e.forecasts, unreadable=("nan",))), "forecasts_readable"),
    ("a bar without a batch", lambda e, r: _batch_dropped(e, r, last=False), "forecasts_complete"),
    ("the last bar without a batch", lambda e, r: _batch_dropped(e, r, last=True), "forecasts_reach_the_end"),
    ("a bar forecast again, differently", _other_batch, "forecasts_equal_when_repeated"),
    ("a forecast of swapped legs", _batch_swapped_legs, "forecasts_name_the_market"),
    ("an entry a cent off", _posting_off, "entries_balance"),
    ("an intent twice", lambda e, r: _ledger(e, intents=(*e.ledger.intents, r.choice(e.ledger.intents))), "ids_unique"),
    ("two decisions at one bar", _decided_twice, "one_decision_per_bar"),
    ("an order whose intent is gone", lambda e, r: _ledger(e, intents=_without(e.ledger.intents, r)), "orders_have_intents"),
    ("an intent later than its order", _intent_later, "no_order_without_intent"),
    ("an order of a replaced writer", _old_writer, "epochs_rise"),
    ("an execution that was not booked", _fill_unbooked, "fills_booked"),
    ("a meeting of pairs at two prices", lambda e, r: _crossed(e, r, price=Decimal(51)), "crosses_cancel_out"),
    (
        "an order filled beyond its executions",
        lambda e, r: _ledger(e, orders=_changed(e.ledger.orders, r, filled_qty=Decimal(1))),
        "orders_count_their_fills",
    ),
    ("two live orders of one leg", _two_live, "one_live_order_per_leg"),
    (
        "a round trip that nobody opened",
        lambda e, r: _ledger(e, trades=_changed(e.ledger.trades, r, trade_id="none")),
        "one_open_trade_per_pair",
    ),
    ("a state that holds other shares", lambda e, r: _ledger(e, pairs=_changed(e.ledger.pairs, r, held_a=Decimal(1))), "pair_states_hold"),
    ("a pair left half way", lambda e, r: _ledger(e, pairs=_changed(e.ledger.pairs, r, state="unwinding")), "pairs_settled"),
    ("a hedge of one leg", lambda e, r: _ledger(e, pairs=_changed(e.ledger.pairs, r, held_b=Decimal(0))), "pairs_hedged"),
    (
        "a leg alone for an hour",
        lambda e, r: _ledger(e, trades=_changed(e.ledger.trades, r, unhedged_open_s=3600.0)),
        "legs_alone_not_for_long",
    ),
    ("a half day that nobody knew of", lambda e, r: replace(e, sessions=((0, 5 * BAR_NS),)), "opened_in_time"),
    ("an opening within the cut-off", lambda e, r: replace(e, close_cutoff_s=200.0), "opened_in_time"),
    ("an opening just after a halt", _resumed_later, "nothing_opened_just_after_a_halt"),
    ("a pair kept over night", lambda e, r: replace(e, sessions=((0, 3 * BAR_NS), *SESSIONS[1:])), "nothing_held_over_night"),
    ("a night that nobody was told of", lambda e, r: over_night(e, told=False), "nothing_held_over_night"),
    ("a comparison that failed", lambda e, r: _ledger(e, reconciled=(("end_of_stream", False, "cash"),)), "last_comparison_equal"),
    ("a link taken out of the chain", lambda e, r: _ledger(e, audit=e.ledger.audit[:3] + e.ledger.audit[4:]), "audit_chain_whole"),
    ("a link rewritten", lambda e, r: _ledger(e, audit=_changed(e.ledger.audit, r, document="[]")), "audit_chain_whole"),
    ("a fill that the chain does not tell of", lambda e, r: _ledger(e, audit=e.ledger.audit[:-1]), "audit_tells_everything"),
    (
        "a decision on another bar's forecast",
        lambda e, r: _ledger(e, decisions=_changed(e.ledger.decisions, r, offset=1)),
        "decisions_name_their_forecast",
    ),
    ("a hole in the exchange's log", lambda e, r: _line_dropped(e, r, "watermark", renumber=False), "exchange_log_whole"),
    ("an order accepted twice", lambda e, r: _line_doubled(e, r, "order"), "one_order_per_client_id"),
    ("an execution sent twice counts twice at the exchange", lambda e, r: _line_doubled(e, r, "fill"), "executions_distinct"),
    ("an execution beyond its order", lambda e, r: _line_changed(e, r, "fill", qty="1000"), "no_order_overfilled"),
    ("a position that does not follow", lambda e, r: _line_changed(e, r, "fill", position_qty="7"), "positions_follow_executions"),
    ("a fee that the cash does not show", lambda e, r: _line_dropped(e, r, "fee", renumber=True), "cash_follows_events"),
    ("trading through a halt", _halted, "no_order_while_halted"),
    ("a fill at the time of its decision", _fill_at_decision, "fills_follow_orders"),
    ("an order without any trace in the ledger", lambda e, r: _ledger(e, orders=_without(e.ledger.orders, r)), "no_order_without_intent"),
    ("an order that never reached the exchange", lambda e, r: _line_dropped(e, r, "order", renumber=True), "orders_agree"),
    ("an order for other shares", lambda e, r: _line_changed(e, r, "order", qty="999"), "orders_agree"),
    ("a fill booked twice", _fill_doubled, "executions_agree"),
    ("a fill at another price", lambda e, r: _ledger(e, fills=_changed(e.ledger.fills, r, price_usd=Decimal("1.23"))), "executions_agree"),
    ("a fill that was missed", lambda e, r: _ledger(e, fills=_without(e.ledger.fills, r)), "executions_agree"),
    ("shares that the exchange does not hold", _fill_doubled, "positions_agree"),
    ("a fee that was not booked", _fee_lost, "cash_agrees"),
    ("a trade by hand that nobody noticed", _foreign_trade, "foreign_trades_noticed"),
    ("an order thought to work", lambda e, r: _ledger(e, orders=_changed(e.ledger.orders, r, status="accepted")), "final_orders_agree"),
)
