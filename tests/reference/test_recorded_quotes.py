"""The paper exchange over three real days of trades and quotes: every fill is the quote that stood, and a size bounds what it fills.

Data: AIG, BAC, IBM and SPY, 2013-10-07 to 09, from QuantConnect's Lean (Apache-2.0). Tolerance 0.
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest

from recorded_cases import shared_data
from tandem.adapters.calendar import session_grid
from tandem.adapters.tick_store import open_store
from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.domain.units import NS_PER_S
from tandem.flow.exchange_events import Accepted, Filled
from tandem.flow.exchange_records import Rules
from tandem.flow.tape import Tape
from tandem.recycler.exchange_setup import tape_of
from tandem.recycler.order_body import OrderBody
from tandem.recycler.paper import PaperExchange

MINUTE_NS = 60 * NS_PER_S
SYMBOLS = tuple(map(Symbol, ("AIG", "BAC", "IBM", "SPY")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day's fills, and the tape they were made on."""

    orders: int
    fills: list[Filled]
    tape: Tape


def played(participation: str) -> Day:
    """The first day, with an order of 300 shares in each symbol every five minutes, buying and selling by turns."""
    store = open_store([shared_data("ticks_trades_2013-10-07_09.parquet"), shared_data("quotes_1sec_2013-10-07_09.parquet")])
    first_ns = int(store.event_ns[0])
    grid = session_grid("1min", first_ns, first_ns + 7 * 86_400 * NS_PER_S)
    tape = tape_of(store, grid)
    paper = PaperExchange(Rules(participation=Decimal(participation)), grid, Decimal(10_000_000))
    paper.begin("replay", place=0, now_ns=first_ns - 1)
    opened = int(grid.open_ns[np.searchsorted(grid.open_ns, first_ns)])
    orders = 0
    for minute in range(5, 390, 5):
        moment_ns = opened + minute * MINUTE_NS
        paper.advance(tape, int(np.searchsorted(tape.event_ns, moment_ns)))
        paper.reach(moment_ns)
        for place, name in enumerate(SYMBOLS if minute < 380 else ()):
            side = Side.BUY if (minute // 5 + place) % 2 else Side.SELL
            orders += isinstance(paper.submit(OrderBody(symbol=name, side=side, qty=Decimal(300))), Accepted)
    found = [activity for _, activity in paper.book.activities(after_ns=0, until_ns=10**19)]
    return Day(orders=orders, fills=[one for one in found if isinstance(one, Filled)], tape=tape)


@pytest.mark.parametrize("participation", ["0", "1"])
def test_every_fill_is_at_the_quote_that_stood(participation: str) -> None:
    day = played(participation)
    assert day.orders == 300
    assert sum(fill.qty for fill in day.fills) == 300 * day.orders
    for fill in day.fills:
        bids = day.tape.quotes[fill.order.symbol]
        place = int(bids[np.searchsorted(day.tape.event_ns[bids], fill.event_ns, side="right") - 1])
        at = place + 1 if fill.order.side is Side.BUY else place
        assert float(fill.price_usd) == day.tape.price[at]
        assert fill.event_ns == day.tape.event_ns[at] > fill.order.accepted_ns
        assert participation == "0" or fill.qty <= day.tape.size(at)


def test_a_smaller_share_of_the_quotes_makes_more_fills() -> None:
    assert len(played("0.1").fills) > len(played("1").fills) > len(played("0").fills) == 300
