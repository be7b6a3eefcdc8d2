"""A paper exchange over made-up trades in memory, with a log if wanted, as a recycler that may be killed and started again has it."""

import os
from decimal import Decimal
from pathlib import Path

import numpy as np

from tandem.domain.ids import Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, SessionGrid, TickArray
from tandem.domain.trading import Side
from tandem.domain.units import NS_PER_S
from tandem.flow.exchange_records import Rules
from tandem.flow.tape import Tape, tape
from tandem.recycler.directives_body import Planned
from tandem.recycler.exchange_log import ExchangeLog
from tandem.recycler.order_body import OrderBody
from tandem.recycler.paper import PaperExchange

KO, PEP = Symbol("KO"), Symbol("PEP")
SYMBOLS = (KO, PEP)
MINUTE_NS = 60 * NS_PER_S
OPEN_NS = 1_719_840_600 * NS_PER_S  # 2024-07-01 09:30 New York, a Monday
DAY_NS = 86_400 * NS_PER_S
SESSION_NS = 390 * MINUTE_NS
# Monday, Tuesday, the half day before the holiday, and Friday: nights of 1, 1 and 2 days.
OPENS_NS = np.array([OPEN_NS, OPEN_NS + DAY_NS, OPEN_NS + 2 * DAY_NS, OPEN_NS + 4 * DAY_NS])
GRID = SessionGrid(open_ns=OPENS_NS, close_ns=OPENS_NS + np.array([SESSION_NS, SESSION_NS, 210 * MINUTE_NS, SESSION_NS]), bar_ns=MINUTE_NS)
FREE = Rules(half_spread_bps=Decimal(0), half_spread_min_usd=Decimal(0))


def rows(*trades: tuple[int, Symbol, float] | tuple[int, Symbol, float, int]) -> TickArray:
    """Trades at seconds after the first open: (second, symbol, price[, size])."""
    found = np.zeros(len(trades), TICK_DTYPE)
    for row, (second, symbol, price, *size) in zip(found, trades, strict=True):
        row["event_ns"], row["symbol"], row["price"] = OPEN_NS + second * NS_PER_S, SYMBOLS.index(symbol), price
        row["size"], row["kind"] = size[0] if size else 100, KIND_TRADE
    return found


def steady(minutes: int = 10) -> Tape:
    """KO at 60 and PEP at 170 each ten seconds, rising by a cent with each trade."""
    trades = [(10 * n + k, name, base + n / 100) for n in range(6 * minutes) for k, (name, base) in enumerate(((KO, 60), (PEP, 170)))]
    return tape(SYMBOLS, rows(*trades), GRID)


class Bench:
    """A paper exchange and the tape it goes along."""

    def __init__(self, ticks: Tape, rules: Rules = FREE, *, script: tuple[Planned, ...] = (), folder: Path | None = None) -> None:
        self.tape = ticks
        self.log = ExchangeLog(folder) if folder else None
        self.paper = PaperExchange(rules, GRID, Decimal(100_000), script=script, log=self.log)
        self.updates: list[tuple[str, str]] = []
        self.paper.on_update = lambda found: self.updates.extend((u.event, u.record.order.client_order_id) for u in found)
        resumption = self.paper.resumption
        header = {"number": 0, "first": 0, "digest": "d"}
        self.paper.begin("replay", place=0, now_ns=int(ticks.event_ns[0]) - 1, header=header)
        self.paper.look_at(ticks)
        if resumption is not None:
            self.paper.recover(ticks)

    def kill(self) -> None:
        """As if the process had gone: nothing is flushed, the file's lock is free."""
        assert self.log is not None
        os.close(self.log._file)

    def play(self, minute: int, *, block: int = 7) -> None:
        """Go on to the end of a minute after the first open, in blocks of rows."""
        watermark_ns = OPEN_NS + minute * MINUTE_NS
        stop = int(np.searchsorted(self.tape.event_ns, watermark_ns))
        for place in range(self.paper.place + block, stop, block):
            self.paper.advance(self.tape, place)
        self.paper.advance(self.tape, stop)
        self.paper.reach(watermark_ns, participants=("portfolio",))

    def order(self, client_order_id: str, side: Side = Side.BUY, qty: str = "10", symbol: Symbol = KO, **more: object) -> object:
        return self.paper.submit(OrderBody(symbol=symbol, side=side, qty=Decimal(qty), client_order_id=client_order_id, **more))

    def record(self, client_order_id: str):
        return self.paper.book.by_client_order_id(client_order_id)
