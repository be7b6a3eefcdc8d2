"""The recorded market and the paper exchange over it, at one point of event time.

Synchronous: the replay loop moves it on, the REST handlers submit and ask, all in one thread. Everything it says leaves through
`on_update`, in the order in which it happened. Knows no socket. The account itself is paper.py.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tandem.adapters.market_file import MarketData
from tandem.domain.ids import Symbol
from tandem.domain.market import SessionGrid
from tandem.flow.exchange_events import Accepted, Rejected
from tandem.flow.exchange_records import ExchangeState, Rules
from tandem.flow.tape import Tape, tape
from tandem.recycler.book import Book, Update
from tandem.recycler.directives_body import Planned
from tandem.recycler.exchange_log import ExchangeLog
from tandem.recycler.order_body import OrderBody
from tandem.recycler.paper import PaperExchange


class Market:
    """One replay's market. `begin` starts it anew."""

    def __init__(
        self,
        data: MarketData,
        grid: SessionGrid,
        rules: Rules,
        cash_usd: Decimal,
        ticks: Tape | None = None,
        *,
        script: Sequence[Planned] = (),
        log: ExchangeLog | None = None,
    ) -> None:
        """ticks: the same as those of data, where they are on disk; None: made from them in memory."""
        self.data, self.grid = data, grid
        self.tape: Tape = ticks or tape(data.symbols, data.ticks, grid)
        self.paper = PaperExchange(rules, grid, cash_usd, script=script, log=log)

    def begin(self, replay_id: str, *, place: int, now_ns: int, header: Mapping[str, Any] | None = None) -> None:
        """A new account at a place of the tape: every tick before it is history. header: what the exchange's log notes of the pass."""
        self.paper.begin(replay_id, place=place, now_ns=now_ns, header=header)
        self.paper.look_at(self.tape)

    def recover(self) -> None:
        """After `begin` under the replay id of the exchange's log: the account as it was. Raises BadSetting where data and log differ."""
        self.paper.recover(self.tape)

    @property
    def place(self) -> int:
        """Ticks of the tape that have passed."""
        return self.paper.place

    @place.setter
    def place(self, stop: int) -> None:
        self.paper.place = stop

    @property
    def now_ns(self) -> int:
        """The replay's clock."""
        return self.paper.state.now_ns

    @property
    def state(self) -> ExchangeState:
        """The account."""
        return self.paper.state

    @state.setter
    def state(self, state: ExchangeState) -> None:
        self.paper.state = state

    @property
    def rules(self) -> Rules:
        """The exchange's rules."""
        return self.paper.rules

    @property
    def book(self) -> Book:
        """Every order and activity of this pass."""
        return self.paper.book

    @property
    def on_update(self) -> Callable[[Sequence[Update]], None]:
        """Who is told what happened to orders."""
        return self.paper.on_update

    @on_update.setter
    def on_update(self, listener: Callable[[Sequence[Update]], None]) -> None:
        self.paper.on_update = listener

    def advance(self, stop: int) -> None:
        """The ticks up to a place have been sent: match them against the working orders."""
        self.paper.advance(self.tape, stop)

    def reach(self, watermark_ns: int, *, end_of_stream: bool = False, participants: Sequence[str] = ()) -> None:
        """Move the clock to a watermark; at the end of a session keep what the account was worth. participants: who is waited for."""
        self.paper.reach(watermark_ns, end_of_stream=end_of_stream, participants=participants)

    def valued(self, *more: Symbol) -> ExchangeState:
        """The account at the last prices, and those of further symbols that have traded."""
        return self.paper.valued(*more)

    def submit(self, order: OrderBody) -> Accepted | Rejected:
        """Submit an order now. The caller has checked that its symbol is known and its client_order_id is new."""
        return self.paper.submit(order)

    def cancel(self, order_id: str) -> bool:
        """Cancel a working order; False if there is none."""
        return self.paper.cancel(order_id)
