"""Feeds the breakers, sets and takes back the trading modes that they ask for, and keeps them over a restart. Decides nothing: flow does.

One for each account, owned by the decision thread. A mode that a breaker sets is a trading state like a person's, under "breaker/<name>".
"""

import structlog

from tandem.adapters import telemetry
from tandem.domain.control import TradingState
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow import accounting, breakers
from tandem.flow.breakers import Breaker, BreakerLimits, BreakerState, Event, Seen, Valued, document, state_of
from tandem.flow.journal import GuardRecord
from tandem.flow.session_end import closes_bar
from tandem.flow.sessions import session_number
from tandem.flow.signals import BREAKER_SCOPE
from tandem.portfolio.books import Books
from tandem.portfolio.gate import Gate

log = structlog.get_logger()
_DAY_NS = 86_400 * NS_PER_S
_NAME = ("breakers", "")


class Guard:
    """The breakers of one account."""

    def __init__(self, books: Books, limits: BreakerLimits, *, grid: SessionGrid | None = None) -> None:
        """grid: whose sessions end the day's loss; None: days of UTC."""
        self._books, self._limits, self._grid = books, limits, grid
        known = books.guards.get(_NAME)
        self.state = BreakerState() if known is None else state_of(known)
        for breaker in Breaker:
            telemetry.gauge("portfolio_breaker_tripped").labels(breaker=breaker.value).set(breaker in self.state.tripped)

    @property
    def size_factor(self) -> float:
        """What the drawdown ladder leaves of a new position."""
        return float(self._limits.ladder.size(self.state.rung))

    def see(self, at_ns: int, gate: Gate) -> None:
        """Before the decisions of a bar: what the book is worth, and how old the newest trade is, where that is known."""
        books = self._books
        marks = books.marks()
        if all(price.is_finite() for price in marks.values()):
            session = at_ns // _DAY_NS if self._grid is None else session_number(self._grid, at_ns)
            self.feed(Valued(at_ns=at_ns, session=session, equity_usd=accounting.equity_usd(books.book, marks)))
            telemetry.gauge("portfolio_drawdown_share").set(float(self.state.drawdown))
        # Between bars, on live feeds, nobody tells of trades, and at night there are none: the age of the last one says nothing there.
        if (newest_ns := gate.market.newest_ns) and (self._grid is None or closes_bar(self._grid, at_ns)):
            self.feed(Seen(at_ns=at_ns, newest_ns=newest_ns))

    def feed(self, event: Event) -> None:
        """Step the breakers, and carry out what they ask for."""
        old, self.state = self.state, breakers.step(self.state, event, self._limits)
        if self.state == old:
            return
        self._books.put_guard(GuardRecord(name=_NAME[0], scope=_NAME[1], document=document(self.state), event_ns=event.at_ns))
        for breaker in Breaker:
            before, after = old.tripped.get(breaker), self.state.tripped.get(breaker)
            if before == after:
                continue
            scope = f"{BREAKER_SCOPE}{breaker.value}"
            if after is None:
                self._books.trading_state(scope, None)
                self._books.alarm(scope, "breaker_ended", "trading goes on as before", event.at_ns)
            else:
                self._books.trading_state(scope, TradingState(scope=scope, mode=after.mode, reason=after.reason))
                self._books.alarm(scope, "breaker_tripped", f"{after.mode.value}: {after.reason}", event.at_ns)
                telemetry.counter("portfolio_breaker_trips_total").labels(breaker=breaker.value).inc()
            telemetry.gauge("portfolio_breaker_tripped").labels(breaker=breaker.value).set(after is not None)
