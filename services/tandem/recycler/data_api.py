"""Alpaca's historical data REST under /v2/stocks, over what the replay has already sent: it never shows the future.

Its present is the feed's: a tick that a new subscriber was too late for is here, at once, so that a client that subscribes first and then
asks for what it missed has no hole. Trades, quotes, bars, the latest of each, and snapshots; pages in pages.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tandem.domain.ids import Symbol
from tandem.domain.units import rfc3339
from tandem.flow.adjustments import Adjustment, adjusted, dividend_adjustment, split_adjustment
from tandem.flow.directives import Dividend, Split
from tandem.flow.trade_bars import BarTable
from tandem.recycler.access import Keys
from tandem.recycler.encoding import bar_document, quote_document
from tandem.recycler.feed import Feed
from tandem.recycler.history import History
from tandem.recycler.market import Market
from tandem.recycler.pages import Row, Span, page
from tandem.recycler.parameters import bad, date_of, one_of, symbols_of, time_of
from tandem.recycler.past_trades import PastTrades

_ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")
_MINUTE, _DAY = "1Min", "1Day"


class DataApi:
    """The handlers over one market's recording."""

    def __init__(self, market: Market, feed: Feed, history: History) -> None:
        self._market, self._feed, self._history = market, feed, history
        self._store = history.store
        self._trades = PastTrades(history)

    def routes(self, keys: Keys) -> list[Route]:
        """All routes, guarded."""
        table = [
            ("/trades", self.trades),
            ("/trades/latest", self.latest_trades),
            ("/bars", self.bars),
            ("/bars/latest", self.latest_bars),
            ("/quotes", self.quotes),
            ("/quotes/latest", self.latest_quotes),
            ("/snapshots", self.snapshots),
        ]
        return [Route("/v2/stocks" + path, keys.guard(handler), methods=["GET"]) for path, handler in table]

    async def trades(self, request: Request) -> Response:
        """Trades from start to end, both inclusive, up to the replay's clock; u says what became of one."""
        place = self._feed.place

        def rows(name: Symbol, span: Span) -> list[Row]:
            found = self._taken(self._store.trades[name], span, place)
            return [(str(number), document) for number in found for document in self._trades.documents(number, place)]

        return page(request, "trades", self._symbols(request), self._span(request), rows)

    async def quotes(self, request: Request) -> Response:
        """Quotes from start to end, both inclusive, up to the replay's clock."""
        self._check_quotes()
        place = self._feed.place

        def rows(name: Symbol, span: Span) -> list[Row]:
            return [(str(number), self._quote(number)) for number in self._taken(self._store.quotes[name], span, place)]

        return page(request, "quotes", self._symbols(request), self._span(request), rows)

    async def bars(self, request: Request) -> Response:
        """Bars that start from start to end, both inclusive, and had ended by the replay's clock."""
        symbols, whole = self._symbols(request), self._span(request)
        adjustment = set(request.query_params.get("adjustment", "raw").split(","))
        if not adjustment <= set(_ADJUSTMENTS):
            raise bad(f"adjustment: found {','.join(sorted(adjustment))!r}, allowed are {', '.join(_ADJUSTMENTS)}")
        timeframe = request.query_params.get("timeframe", "")

        def rows(name: Symbol, span: Span) -> list[Row]:
            table = adjusted(self._table(name, timeframe, span), self._adjustments(name, adjustment))
            order = range(len(table) - 1, -1, -1) if span.is_descending else range(len(table))
            return [(str(int(table.start_ns[row])), _timed(bar_document(table, row))) for row in order][: span.limit]

        return page(request, "bars", symbols, whole, rows)

    def _adjustments(self, name: Symbol, wanted: set[str]) -> list[Adjustment]:
        """Splits and dividends of a symbol that have taken place in this replay."""
        found: list[Adjustment | None] = []
        for done in self._market.paper.agenda.done:
            match done.directive:
                case Split(symbol=symbol, new_shares=new, old_shares=old) if symbol == name and wanted & {"split", "all"}:
                    found.append(split_adjustment(done.event_ns, new_shares=new, old_shares=old))
                case Dividend(symbol=symbol, usd_per_share=usd) if symbol == name and wanted & {"dividend", "all"}:
                    before = self._trades.latest(name, self._history.place(done.event_ns))
                    if before is not None:
                        found.append(dividend_adjustment(done.event_ns, usd_per_share=float(usd), close_before=before["p"]))
        return [one for one in found if one is not None]

    async def latest_trades(self, request: Request) -> Response:
        """The last trade of each symbol that set a price; one that has none yet is left out."""
        return JSONResponse({"trades": self._each(request, self._latest_trade)})

    async def latest_quotes(self, request: Request) -> Response:
        """The last quote of each symbol; one that has none yet is left out."""
        self._check_quotes()
        return JSONResponse({"quotes": self._each(request, self._latest_quote)})

    async def latest_bars(self, request: Request) -> Response:
        """The last minute bar of each symbol that has ended; of a file of bars its own."""
        return JSONResponse({"bars": self._each(request, self._minute_bar)})

    async def snapshots(self, request: Request) -> Response:
        """The latest of everything, by symbol, without a key around it."""
        return JSONResponse(self._each(request, self._snapshot))

    def _snapshot(self, name: Symbol) -> dict[str, Any]:
        now_ns = self._now_ns
        running = self._history.today(name, now_ns, self._feed.place)
        session_ns = int(running.start_ns[-1]) if len(running) else now_ns
        before = self._last_bar(name, _DAY, before_ns=session_ns - 1)
        return {
            "latestTrade": self._latest_trade(name),
            "latestQuote": self._latest_quote(name),
            "minuteBar": self._minute_bar(name),
            "dailyBar": _timed(bar_document(running, len(running) - 1)) if len(running) else None,
            "prevDailyBar": before,
        }

    def _each(self, request: Request, latest: Callable[[Symbol], Any]) -> dict[Symbol, Any]:
        found = {name: latest(name) for name in self._symbols(request)}
        return {name: document for name, document in found.items() if document is not None}

    def _minute_bar(self, name: Symbol) -> dict[str, Any] | None:
        return self._last_bar(name, self._history.finest, before_ns=self._now_ns)

    def _last_bar(self, name: Symbol, timeframe: str, *, before_ns: int) -> dict[str, Any] | None:
        table = self._table(name, timeframe, Span(from_ns=0, to_ns=before_ns, is_descending=True, limit=1, after=None))
        return _timed(bar_document(table, len(table) - 1)) if len(table) else None

    def _table(self, name: Symbol, timeframe: str, span: Span) -> BarTable:
        """Bars in the span that have ended, from after the one that the last page ended with."""
        from_ns, to_ns = span.from_ns, span.to_ns
        if span.after is not None:
            from_ns, to_ns = (from_ns, span.after - 1) if span.is_descending else (span.after + 1, to_ns)
        try:
            return self._history.bars(
                name,
                timeframe,
                from_ns=from_ns,
                to_ns=to_ns,
                now_ns=self._market.now_ns,
                known=self._feed.place,
                limit=span.limit,
                is_descending=span.is_descending,
            )
        except ValueError as error:
            raise bad(str(error)) from error

    def _taken(self, places: NDArray[np.int64], span: Span, known: int) -> list[int]:
        """The next places within a span, in its order."""
        low, high = self._history.place(span.from_ns), min(self._history.place(span.to_ns + 1), known)
        if span.after is not None:
            low, high = (low, min(high, span.after)) if span.is_descending else (max(low, span.after + 1), high)
        first, last = np.searchsorted(places, (low, high), side="left").tolist()
        if span.is_descending:
            return [int(place) for place in places[max(last - span.limit, first) : last][::-1]]
        return [int(place) for place in places[first : min(first + span.limit, last)]]

    def _latest_trade(self, name: Symbol) -> dict[str, Any] | None:
        return self._trades.latest(name, self._feed.place)

    def _latest_quote(self, name: Symbol) -> dict[str, Any] | None:
        places = self._store.quotes[name]
        count = int(np.searchsorted(places, self._feed.place, side="left"))
        return self._quote(int(places[count - 1])) if count else None

    def _quote(self, place: int) -> dict[str, Any]:
        bid, ask = self._store.data.ticks[place : place + 2]
        return quote_document(None, bid, ask)

    def _check_quotes(self) -> None:
        if not self._feed.has("quotes"):
            raise bad("the recording holds no quotes")

    def _symbols(self, request: Request) -> tuple[Symbol, ...]:
        date_of(request, "asof")  # a symbol is what the recording calls it, on every day
        return symbols_of(request, self._store.data.symbols)

    def _span(self, request: Request) -> Span:
        """Start and end; all that is known by default. Raises Refusal if they are in the wrong order."""
        from_ns, to_ns = time_of(request, "start", 0), time_of(request, "end", self._now_ns, end_of_day=True)
        if from_ns > to_ns:
            raise bad("end should not be before start")
        is_descending = one_of(request, "sort", ("asc", "desc")) == "desc"
        return Span(from_ns=from_ns, to_ns=to_ns, is_descending=is_descending, limit=0, after=None)

    @property
    def _now_ns(self) -> int:
        """The clock, or the last tick on its way, which is ahead of it."""
        place = self._feed.place
        return max(self._market.now_ns, int(self._store.event_ns[place - 1]) if place else 0)


def _timed(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "t": rfc3339(document["t"])}
