"""The recorded market and the paper exchange over it, at one point of event time. Shell around flow/exchange.py and flow/tape.py.

Synchronous: the replay loop moves it on, the REST handlers submit and ask, all in one thread. Everything it says leaves through
`on_update`, in the order in which it happened. Knows no socket.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np

from tandem.adapters.market_file import MarketData
from tandem.adapters.telemetry import counter
from tandem.domain.ids import Symbol, derived_uuid
from tandem.domain.market import SessionGrid
from tandem.domain.trading import Side
from tandem.flow import exchange
from tandem.flow.exchange_records import (
    Accepted,
    Cancel,
    CancelRefused,
    Closed,
    Event,
    ExchangeState,
    Filled,
    Mark,
    Output,
    Rejected,
    Rules,
    Submit,
    TimeInForce,
)
from tandem.flow.tape import Tape, last_prices, match, tape
from tandem.recycler.book import Book, Update


class Market:
    """One replay's market. `begin` starts it anew."""

    def __init__(self, data: MarketData, grid: SessionGrid, rules: Rules, cash_usd: Decimal) -> None:
        self.data, self.grid, self.rules = data, grid, rules
        self.tape: Tape = tape(data.symbols, data.ticks)
        self.on_update: Callable[[Sequence[Update]], None] = lambda _: None
        self._cash_usd = cash_usd
        self.begin("", place=0, now_ns=0)

    def begin(self, replay_id: str, *, place: int, now_ns: int) -> None:
        """A new account at a place of the tape: every tick before it is history."""
        self.place = place
        self.book = Book()
        self.state: ExchangeState = exchange.opening(replay_id, cash_usd=self._cash_usd, now_ns=now_ns)

    @property
    def now_ns(self) -> int:
        """The replay's clock."""
        return self.state.now_ns

    def advance(self, stop: int) -> None:
        """The ticks up to a place have been sent: match them against the working orders."""
        if stop <= self.place:
            return
        self.state, outputs = match(self.rules, self.state, self.tape, self.place, stop)
        self.place = stop
        self._say(outputs)
        self._step(Mark(event_ns=int(self.tape.event_ns[stop - 1])))

    def reach(self, watermark_ns: int) -> None:
        """Move the clock to a watermark; at the end of a session keep what the account was worth."""
        ended = bool(np.any(self.grid.close_ns == watermark_ns))
        prices = last_prices(self.tape, self.state.holdings, self.place) if ended else {}
        self._step(Mark(event_ns=watermark_ns, prices_usd=prices, session_end=ended))

    def valued(self, *more: Symbol) -> ExchangeState:
        """The account at the last prices, and those of further symbols that have traded."""
        symbols = dict.fromkeys((*self.state.holdings, *more))
        self._step(Mark(event_ns=self.now_ns, prices_usd=last_prices(self.tape, symbols, self.place)))
        return self.state

    def submit(
        self,
        *,
        symbol: Symbol,
        side: Side,
        qty: Decimal,
        limit_usd: Decimal | None = None,
        time_in_force: TimeInForce = TimeInForce.DAY,
        extended_hours: bool = False,
        client_order_id: str | None = None,
    ) -> Accepted | Rejected:
        """Submit an order now. The caller has checked that its symbol is known and its client_order_id is new."""
        self.valued(symbol)
        event = Submit(
            event_ns=self.now_ns,
            client_order_id=client_order_id or derived_uuid("client", self.state.replay_id, self.state.accepted + 1),
            symbol=symbol,
            side=side,
            qty=qty,
            limit_usd=limit_usd,
            time_in_force=time_in_force,
            extended_hours=extended_hours,
            expires_ns=self._session_end_ns() if time_in_force is TimeInForce.DAY else None,
        )
        for output in self._step(event):
            if isinstance(output, Accepted | Rejected):
                return output
        raise AssertionError("the exchange answers every order")

    def cancel(self, order_id: str) -> bool:
        """Cancel a working order; False if there is none."""
        outputs = self._step(Cancel(event_ns=self.now_ns, order_id=order_id))
        return not any(isinstance(output, CancelRefused) for output in outputs)

    def _session_end_ns(self) -> int | None:
        """The close of the session that is open or comes next; an order given at a close works in the next one."""
        later = int(np.searchsorted(self.grid.close_ns, self.now_ns, side="right"))
        return int(self.grid.close_ns[later]) if later < len(self.grid.close_ns) else None

    def _step(self, event: Event) -> tuple[Output, ...]:
        self.state, outputs = exchange.step(self.rules, self.state, event)
        self._say(outputs)
        return outputs

    def _say(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            if (status := _status(output)) is not None:
                counter("recycler_orders_total").labels(status=status).inc()
        if updates := self.book.apply(outputs):
            self.on_update(updates)


def _status(output: Output) -> str | None:
    match output:
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Filled():
            return "filled"
        case Closed(expired=expired):
            return "expired" if expired else "canceled"
        case _:
            return None
