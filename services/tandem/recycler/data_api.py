"""Alpaca's historical data REST under /v2/stocks, over what the replay has already sent: it never shows the future.

Thin: trades, bars, and the latest of both. Pages of at most 10 000 rows across symbols, by symbol, then time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tandem.domain.ids import Symbol
from tandem.domain.units import rfc3339
from tandem.flow.tape import last_place
from tandem.flow.trade_bars import rows_between
from tandem.recycler.access import Keys
from tandem.recycler.encoding import bar_document, trade_document
from tandem.recycler.history import History
from tandem.recycler.market import Market
from tandem.recycler.parameters import bad, one_of, symbols_of, time_of, whole

_PAGE_MAX, _PAGE_DEFAULT = 10_000, 1_000  # Alpaca's
_Rows = NDArray[np.int64]


class DataApi:
    """The handlers over one market's recording."""

    def __init__(self, market: Market, history: History) -> None:
        self._market, self._history = market, history

    def routes(self, keys: Keys) -> list[Route]:
        """All routes, guarded."""
        table = [
            ("/trades", self.trades),
            ("/trades/latest", self.latest_trades),
            ("/bars", self.bars),
            ("/bars/latest", self.latest_bars),
            ("/quotes", self.quotes),
            ("/quotes/latest", self.quotes),
        ]
        return [Route("/v2/stocks" + path, keys.guard(handler), methods=["GET"]) for path, handler in table]

    async def trades(self, request: Request) -> Response:
        """Trades from start to end, both inclusive, up to the replay's clock."""
        symbols = symbols_of(request, self._market.data.symbols)
        from_ns, to_ns = self._span(request)
        rows = {}
        for name in symbols:
            places = self._market.tape.places[name]
            places = places[: int(np.searchsorted(places, self._market.place))]
            times = self._market.tape.event_ns[places]
            rows[name] = places[np.searchsorted(times, from_ns, side="left") : np.searchsorted(times, to_ns, side="right")]
        return _page(request, "trades", rows, self._trade)

    async def latest_trades(self, request: Request) -> Response:
        """The last trade of each symbol; one that has not traded yet is left out."""
        names = symbols_of(request, self._market.data.symbols)
        places = {name: last_place(self._market.tape, name, self._market.place) for name in names}
        return JSONResponse({"trades": {name: self._trade(place) for name, place in places.items() if place is not None}})

    async def bars(self, request: Request) -> Response:
        """Bars that start from start to end, both inclusive, and had ended by the replay's clock."""
        symbols = symbols_of(request, self._market.data.symbols)
        from_ns, to_ns = self._span(request)
        try:
            table = self._history.bars(request.query_params.get("timeframe", ""))
        except ValueError as error:
            raise bad(str(error)) from error
        rows = {
            name: rows_between(table, [self._number(name)], from_ns=from_ns, to_ns=to_ns, known_ns=self._market.now_ns) for name in symbols
        }
        return _page(request, "bars", rows, lambda row: _timed(bar_document(table, row)))

    async def latest_bars(self, request: Request) -> Response:
        """The last bar of each symbol that has ended."""
        table = self._history.stream
        found = {}
        for name in symbols_of(request, self._market.data.symbols):
            rows = rows_between(table, [self._number(name)], from_ns=0, to_ns=self._market.now_ns, known_ns=self._market.now_ns)
            if len(rows):
                found[name] = _timed(bar_document(table, int(rows[-1])))
        return JSONResponse({"bars": found})

    async def quotes(self, _: Request) -> Response:
        """Not recorded."""
        raise bad("the recording holds no quotes")

    def _span(self, request: Request) -> tuple[int, int]:
        """Start and end; all that is known by default. Raises Refusal if they are in the wrong order."""
        from_ns, to_ns = time_of(request, "start", 0), time_of(request, "end", self._market.now_ns, end_of_day=True)
        if from_ns > to_ns:
            raise bad("end should not be before start")
        return from_ns, to_ns

    def _number(self, name: Symbol) -> int:
        return self._market.data.symbols.index(name)

    def _trade(self, place: int) -> dict[str, Any]:
        tick = self._market.data.ticks[place]
        return trade_document(None, int(tick["trade_id"]), float(tick["price"]), int(tick["size"]), int(tick["event_ns"]))


def _timed(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "t": rfc3339(document["t"])}


def _page(request: Request, key: str, rows: Mapping[Symbol, _Rows], document: Any) -> Response:
    """One page. The token names the last row of a page, so that a clock that moves between two pages neither doubles nor skips a row."""
    limit = whole(request, "limit", default=_PAGE_DEFAULT, high=_PAGE_MAX)
    is_descending = one_of(request, "sort", ("asc", "desc")) == "desc"
    ordered = list(_after(rows, request.query_params.get("page_token"), is_descending=is_descending))
    answer: dict[Symbol, list[dict[str, Any]]] = {}
    left, token = limit, None
    for place, (name, numbers) in enumerate(ordered):
        part: Sequence[int] = numbers[:left].tolist()
        if part:
            answer[name] = [document(number) for number in part]
        left -= len(part)
        is_more = len(numbers) > len(part) or any(len(rest) for _, rest in ordered[place + 1 :])
        if left == 0:
            token = f"{name}|{part[-1]}" if is_more else None
            break
    return JSONResponse({key: answer, "next_page_token": token})


def _after(rows: Mapping[Symbol, _Rows], token: str | None, *, is_descending: bool) -> Iterator[tuple[Symbol, _Rows]]:
    """Each symbol's rows in the order asked for, from after the token on."""
    last_name, _, last_row = (token or "").partition("|")
    if token and not last_row.isdigit():
        raise bad(f"page_token {token!r}: not one of ours")
    for name, numbers in sorted(rows.items()):
        if name < last_name:
            continue
        found = numbers[::-1] if is_descending else numbers
        if name == last_name:
            found = found[found < int(last_row)] if is_descending else found[found > int(last_row)]
        yield name, found
