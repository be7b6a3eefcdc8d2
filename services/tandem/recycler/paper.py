"""The paper exchange at one point of event time: state, book and log, and the directives that wait for their moment.

Shell around flow/exchange.py and flow/tape_match.py. Synchronous: the replay loop moves it on, the handlers submit and ask, all in one
thread. Everything it says leaves through `on_update`, in the order in which it happened, after the log is on disk. Knows no socket.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tandem.adapters.telemetry import counter
from tandem.domain.errors import BadSetting
from tandem.domain.ids import Symbol, short_hash
from tandem.domain.market import SessionGrid
from tandem.flow import exchange
from tandem.flow.directives import Directive, Split
from tandem.flow.exchange_events import (
    Accepted,
    Cancel,
    CancelRefused,
    Closed,
    Direct,
    Event,
    Filled,
    Happened,
    Mark,
    Output,
    Rejected,
    Replace,
    Replaced,
    ReplaceRefused,
    Voided,
)
from tandem.flow.exchange_records import ExchangeState, Rules
from tandem.flow.tape import Tape, last_place, last_prices
from tandem.flow.tape_match import RECORDED, match
from tandem.recycler.agenda import Agenda
from tandem.recycler.book import Book, Update
from tandem.recycler.directives_body import Planned, When, planned_of
from tandem.recycler.exchange_log import ExchangeLog, Resumption
from tandem.recycler.log_lines import line_of
from tandem.recycler.order_body import ChangeBody, OrderBody, change_body, change_document, order_body, order_document
from tandem.recycler.order_terms import change_of, submit_of
from tandem.recycler.session_hours import nights_after


class PaperExchange:
    """One account after another over one recording. `begin` opens an account."""

    def __init__(
        self, rules: Rules, grid: SessionGrid, cash_usd: Decimal, *, script: Sequence[Planned] = (), log: ExchangeLog | None = None
    ) -> None:
        self.rules, self.grid, self.log = rules, grid, log
        self.on_update: Callable[[Sequence[Update]], None] = lambda _: None
        self.on_directive: Callable[[Directive, int], None] = lambda *_: None  # with its event time: for the market data's side
        self._cash_usd, self._script = cash_usd, tuple(script)
        self._untold: tuple[Update, ...] = ()
        self._tape: Tape | None = None
        self.begin("", place=0, now_ns=0)

    def begin(self, replay_id: str, *, place: int, now_ns: int, header: Mapping[str, Any] | None = None) -> None:
        """A new account at a place of the tape: every row before it is history. header: what the log notes of the pass."""
        self.place, self.bars = place, 0
        self.taken = 0  # directives that came as requests
        self.book, self.agenda = Book(), Agenda(self._script)
        self.state: ExchangeState = exchange.opening(replay_id, cash_usd=self._cash_usd, now_ns=now_ns)
        self._splits: dict[Symbol, list[tuple[int, Decimal]]] = {}  # places at which shares were split, and what a price becomes
        if self.log is not None and header is not None:
            if self.log.expected:  # what a stop left unfinished of the pass before
                self.log.strike_out()
            self.log.begin(replay_id)
            self._note("pass", now_ns, {**header, "cash": f"{self._cash_usd:f}", "rules": str(self.rules)})

    @property
    def id_parts(self) -> tuple[str, ...]:
        """What the replay's id is made of besides data and rules: the script, which decides the outcome, too."""
        return (f"script {short_hash(*self._script)}",) if self._script else ()

    # Time

    def look_at(self, tape: Tape) -> None:
        """Where prices are looked up from now on; `advance` does it by itself."""
        self._tape = tape

    def advance(self, tape: Tape, stop: int) -> None:
        """The rows up to a place have been sent: match them against the working orders, with the directives between them."""
        if stop <= self.place:
            return
        self._tape = tape
        for planned, place in self.agenda.times_before(tape, self.place, stop):
            self._match(tape, place)
            self._direct(planned)
        self._match(tape, stop)
        self._step(Mark(event_ns=max(int(tape.event_ns[stop - 1]), self.state.now_ns)))
        self._flush()

    def reach(self, watermark_ns: int, *, end_of_stream: bool = False, participants: Sequence[str] = ()) -> None:
        """Move the clock to a watermark; at the end of a session keep what the account was worth, and charge what is borrowed.

        participants: who is waited for, which a recycler that starts again must know.
        """
        for planned in self.agenda.times_until(watermark_ns):
            self._direct(planned)
        ended = bool(np.any(self.grid.close_ns == watermark_ns))
        prices = self.prices(self.state.holdings) if ended else {}
        nights = nights_after(self.grid, watermark_ns) if ended else 0
        self._step(Mark(event_ns=watermark_ns, prices_usd=prices, session_end=ended, nights=nights))
        self.bars += 0 if end_of_stream else 1
        where = {"bars": self.bars, "end_of_stream": end_of_stream, "participants": list(participants)}
        self._note("watermark", watermark_ns, {**where, "cash": f"{self.state.cash_usd:f}"})
        for planned in self.agenda.counted(When.BAR, self.bars):
            self._direct(planned)
        self._flush()

    def take(self, event: Event, rules: Rules | None = None) -> None:
        """One event, under other rules if need be; for callers that match by themselves."""
        self._step(event, rules)
        self._flush()

    def prices(self, symbols: Iterable[Symbol]) -> dict[Symbol, Decimal]:
        """Last prices, in shares of now: a price from before a split is turned into one after it."""
        if self._tape is None:
            return {}
        found = last_prices(self._tape, symbols, self.place)
        for name in found.keys() & self._splits.keys():
            traded = last_place(self._tape, name, self.place)
            for place, factor in self._splits[name]:
                if traded is not None and traded < place:
                    found[name] = (found[name] * factor).quantize(Decimal("0.000001"))
        return found

    def valued(self, *more: Symbol) -> ExchangeState:
        """The account at the last prices, and those of further symbols that have traded."""
        self._step(Mark(event_ns=self.state.now_ns, prices_usd=self.prices(dict.fromkeys((*self.state.holdings, *more)))))
        return self.state

    # Requests

    def submit(self, body: OrderBody) -> Accepted | Rejected:
        """Submit an order now. The caller has checked that its symbol is known and its client_order_id is new."""
        self.valued(body.symbol)
        self._asked("submit", order_document(body))
        outputs = self._step(submit_of(body, self.state, self.grid))
        for planned in self.agenda.counted(When.ORDER, self.state.accepted):
            self._direct(planned)
        self._flush()
        for output in outputs:
            if isinstance(output, Accepted | Rejected):
                return output
        raise AssertionError("the exchange answers every order")

    def cancel(self, order_id: str) -> bool:
        """Cancel a working order; False if there is none."""
        self._asked("cancel", {"order_id": order_id})
        outputs = self._step(Cancel(event_ns=self.state.now_ns, order_id=order_id))
        self._flush()
        return not any(isinstance(output, CancelRefused) for output in outputs)

    def replace(self, order_id: str, body: ChangeBody) -> str | ReplaceRefused:
        """Put another order in the place of a working one; the id of the order to look at: the new one, or the old if it waits."""
        if order_id in self.state.orders:
            self.valued(self.state.orders[order_id].symbol)
        self._asked("replace", {"order_id": order_id, **change_document(body)})
        outputs = self._step(
            Replace(event_ns=self.state.now_ns, order_id=order_id, change=change_of(body, order_id, self.state, self.grid))
        )
        self._flush()
        for output in outputs:
            if isinstance(output, ReplaceRefused):
                return output
            if isinstance(output, Replaced):
                return output.new_order_id
        return order_id

    def check(self, planned: Planned) -> None:
        """Raises BadSetting if a directive comes too late, or too many wait."""
        if planned.when is not When.NOW:
            self.agenda.check(planned, now_ns=self.state.now_ns, bars=self.bars, accepted=self.state.accepted)

    def direct(self, planned: Planned) -> int | None:
        """Take a directive; the event time at which it took effect, None if it waits. Raises BadSetting if its time has passed."""
        self.check(planned)
        waits = planned.when is not When.NOW
        if waits:
            self.agenda.waiting.append(planned)
        self._asked("direct", planned.document())
        self.taken += 1
        if not waits:
            self._direct(planned)
        self._flush()
        return None if waits else self.state.now_ns

    # Starting again

    @property
    def resumption(self) -> Resumption | None:
        """Where the log of a recycler that ran before ends; None without one, and once `begin` has taken it up."""
        return None if self.log is None else self.log.resumption

    def recover(self, tape: Tape) -> None:
        """After `begin` under the log's replay id: make the account anew from the log's newest pass. Raises BadSetting where they differ.

        Lines at the end that a stop cut off from what follows stay expected: the replay makes them again, or a request strikes them out.
        """
        log, self._tape = self.log, tape
        assert log is not None
        self.on_update, quiet = (lambda _: None), self.on_update  # who listens was told before
        while log.expected and self._repeat(tape, log):
            pass
        self.on_update = quiet

    def _repeat(self, tape: Tape, log: ExchangeLog) -> bool:
        """Do again what gave the next line: its rows, its request, or else the watermark that follows it; False if there is none yet."""
        line, left = log.expected[0], len(log.expected)
        if line["place"] > len(tape.event_ns):
            raise BadSetting(f"{log.path}: the log knows {line['place']} ticks, the data and options give {len(tape.event_ns)}")
        self.advance(tape, line["place"])
        if len(log.expected) < left:
            return True
        if line["kind"] == "request":
            self._request(line["name"], line["fields"], tape.symbols)
            return True
        mark = next((found for found in log.expected if found["kind"] == "watermark" or found["place"] != line["place"]), line)
        if mark["kind"] != "watermark":
            return False
        self.reach(mark["event_ns"], end_of_stream=mark["end_of_stream"], participants=mark["participants"])
        return True

    def _request(self, name: str, fields: Mapping[str, Any], symbols: Sequence[Symbol]) -> None:
        match name:
            case "submit":
                self.submit(order_body(dict(fields)))
            case "cancel":
                self.cancel(fields["order_id"])
            case "replace":
                self.replace(fields["order_id"], change_body(dict(fields)))
            case "direct":
                self.direct(planned_of(fields, symbols))

    # Inside

    def _match(self, tape: Tape, stop: int) -> None:
        start, self.place = self.place, stop
        self.state, outputs = match(self.rules, self.state, tape, start, stop)
        self._say(outputs)

    def _direct(self, planned: Planned) -> None:
        """A directive takes effect now, or at its time if that is later."""
        directive, event_ns = planned.directive, self.state.now_ns
        if planned.when is When.TIME:
            event_ns = max(planned.at, event_ns)
        symbol = getattr(directive, "symbol", None)
        names = dict.fromkeys((*self.state.holdings, *(() if symbol is None else (symbol,))))
        prices = self.prices(names)
        self._step(Direct(event_ns=event_ns, directive_id=planned.directive_id, directive=directive, prices_usd=prices))

    def _step(self, event: Event, rules: Rules | None = None) -> tuple[Output, ...]:
        self.state, outputs = exchange.step(rules or self.rules, self.state, event)
        self._say(outputs)
        return outputs

    def _say(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if (status := _status(output)) is not None:
                counter("recycler_orders_total").labels(status=status).inc()
            if self.log is not None:
                kind, event_ns, fields = line_of(output)
                self._note(kind, self.state.now_ns if event_ns is None else event_ns, fields)
            if isinstance(output, Happened):
                self._happened(output)
        self._untold += self.book.apply(outputs)

    def _happened(self, output: Happened) -> None:
        directive = output.directive
        if isinstance(directive, Split):
            factor = Decimal(directive.old_shares) / Decimal(directive.new_shares)
            self._splits.setdefault(directive.symbol, []).append((self.place, factor))
        self.agenda.happened(output)
        if not output.directive_id.startswith(RECORDED):  # those are in the market data already
            self.on_directive(directive, output.event_ns)

    def _asked(self, name: str, fields: Mapping[str, Any]) -> None:
        """Note a request. What a stop left unfinished was told to nobody: it is struck out if it is not what happens now."""
        if self.log is not None and self.log.expected and self.log.expected[0]["kind"] != "request":
            self.log.strike_out()
        self._note("request", self.state.now_ns, {"name": name, "fields": fields})

    def _note(self, kind: str, event_ns: int, fields: Mapping[str, Any]) -> None:
        if self.log is not None:
            head = {"replay_id": self.state.replay_id, "event_ns": event_ns, "place": self.place, "kind": kind}
            self.log.append({**head, **fields})

    def _flush(self) -> None:
        """What was said is on disk, then told."""
        if self.log is not None:
            self.log.sync()
        if self._untold:
            updates, self._untold = self._untold, ()
            self.on_update(updates)


def _status(output: Output) -> str | None:
    match output:
        case Accepted():
            return "accepted"
        case Rejected() | Voided():
            return "rejected"
        case Filled():
            return "filled"
        case Closed(expired=expired):
            return "expired" if expired else "canceled"
        case _:
            return None
