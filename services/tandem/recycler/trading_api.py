"""Alpaca's trading REST under /v2: orders, positions, account, assets, clock, calendar and activities of the paper exchange.

Every handler is a coroutine without a wait between reading and changing the market, so each request sees one moment. What changes the
account passes the replay's gate first: in lockstep with participants an order is accepted at a watermark only.
"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import dropwhile, islice, takewhile
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tandem.adapters.calendar import session_grid
from tandem.adapters.new_york import midnight_ns
from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.domain.units import utc
from tandem.flow.exchange_events import Rejected, ReplaceRefused
from tandem.recycler import views
from tandem.recycler.access import CODE_NOT_FOUND, CODE_PARAMETER, Keys, Refusal
from tandem.recycler.book import OrderRecord
from tandem.recycler.order_body import OrderBody, change_body, order_body
from tandem.recycler.parameters import amount, bad, body_of, date_of, one_of, symbols_of, time_of, whole
from tandem.recycler.replayer import Replayer

_CODE_ORDER = 42210000
_ORDERS_MAX, _ORDERS_DEFAULT = 500, 50  # Alpaca's
_ACTIVITIES_MAX = 100  # a page, Alpaca's
_SHARE = Decimal("0.000000001")
_KINDS = tuple(views.KINDS)
_TIME_MAX_NS = 7_258_118_400 * 1_000_000_000  # 2200


class TradingApi:
    """The handlers over one replayer's market."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer
        self._market = replayer.market
        self._names: dict[str, Symbol] = {}  # by symbol and by asset id
        for name in self._market.data.symbols:
            self._names[name] = self._names[views.asset_id(name)] = name

    def routes(self, keys: Keys) -> list[Route]:
        """All routes, guarded."""
        table = [
            ("/orders", "POST", self.submit),
            ("/orders", "GET", self.orders),
            ("/orders", "DELETE", self.cancel_all),
            ("/orders:by_client_order_id", "GET", self.order_by_client_id),
            ("/orders/{order_id}", "GET", self.order),
            ("/orders/{order_id}", "PATCH", self.replace),
            ("/orders/{order_id}", "DELETE", self.cancel),
            ("/positions", "GET", self.positions),
            ("/positions", "DELETE", self.close_all),
            ("/positions/{symbol}", "GET", self.position),
            ("/positions/{symbol}", "DELETE", self.close),
            ("/account", "GET", self.account),
            ("/account/activities", "GET", self.activities),
            ("/account/activities/{kind}", "GET", self.activities),
            ("/assets", "GET", self.assets),
            ("/assets/{symbol}", "GET", self.asset),
            ("/clock", "GET", self.clock),
            ("/calendar", "GET", self.calendar),
        ]
        return [Route("/v2" + path, keys.guard(handler, is_limited=True), methods=[method]) for path, method, handler in table]

    async def submit(self, request: Request) -> Response:
        """Submit an order. A client_order_id that was used before is refused, which is what makes a repeated request safe."""
        body = order_body(await body_of(request))
        if body.symbol not in self._market.data.symbols:
            raise bad(f"asset {body.symbol!r} not found: the recording does not hold it")
        async with self._replayer.gate:
            return JSONResponse(self._submitted(body))

    def _submitted(self, body: OrderBody) -> dict[str, Any]:
        self._check_new(body.client_order_id)
        answer = self._market.submit(body)
        if isinstance(answer, Rejected):
            raise Refusal(answer.status, answer.code, answer.message, **answer.details)
        record = self._record(answer.order.order_id)
        return views.order(record, status="accepted", legs=self._market.book.legs(record))

    def _check_new(self, client_order_id: str | None) -> None:
        if client_order_id is not None and self._market.book.by_client_order_id(client_order_id) is not None:
            raise Refusal(422, CODE_PARAMETER, "client_order_id must be unique")

    async def orders(self, request: Request) -> Response:
        """Orders by status, time, side and symbol, or after or before an order; the newest first unless asked otherwise."""
        status = one_of(request, "status", ("open", "closed", "all"))
        side = one_of(request, "side", ("", "buy", "sell"))
        newest_first = one_of(request, "direction", ("desc", "asc")) == "desc"
        symbols = symbols_of(request, self._market.data.symbols) if request.query_params.get("symbols") else None
        after_ns, until_ns = time_of(request, "after", -1), time_of(request, "until", _TIME_MAX_NS)

        def wanted(record: OrderRecord) -> bool:
            order = record.order
            return (
                (status == "all" or record.status.is_open == (status == "open"))
                and (not side or order.side.value == side)
                and (symbols is None or order.symbol in symbols)
                and after_ns < order.accepted_ns <= until_ns
            )

        nested = request.query_params.get("nested", "").lower() == "true"
        book = self._market.book
        found = (
            record
            for record in filter(wanted, self._beside(request, newest_first=newest_first))
            if not nested or record.order.group in {"", record.order.order_id}  # a leg is told under its parent then
        )
        limit = whole(request, "limit", default=_ORDERS_DEFAULT, high=_ORDERS_MAX)
        return JSONResponse([views.order(record, legs=book.legs(record) if nested else None) for record in islice(found, limit)])

    def _beside(self, request: Request, *, newest_first: bool) -> Iterator[OrderRecord]:
        """The orders that were accepted after the one in after_order_id, or before that in before_order_id; all of them without."""
        ids = {name: request.query_params.get(name, "") for name in ("after_order_id", "before_order_id")}
        book = self._market.book
        for name, order_id in ids.items():
            if order_id and book.order(order_id) is None:
                raise bad(f"{name} {order_id!r}: no such order")
        if all(ids.values()):
            raise bad("after_order_id and before_order_id: found both, one of them is allowed")
        after, before = ids.values()
        first, last = (before, after) if newest_first else (after, before)
        records = book.orders(newest_first=newest_first)
        if first:
            records = islice(dropwhile(lambda record: record.order.order_id != first, records), 1, None)
        return takewhile(lambda record: record.order.order_id != last, records) if last else records

    async def order_by_client_id(self, request: Request) -> Response:
        """The order under the client's id."""
        record = self._market.book.by_client_order_id(request.query_params.get("client_order_id", ""))
        if record is None:
            raise Refusal(404, CODE_NOT_FOUND, f"order not found for {request.query_params.get('client_order_id')}")
        return JSONResponse(views.order(record))

    async def order(self, request: Request) -> Response:
        """The order under the exchange's id."""
        record = self._record(request.path_params["order_id"])
        nested = request.query_params.get("nested", "").lower() == "true"
        return JSONResponse(views.order(record, legs=self._market.book.legs(record) if nested else None))

    async def replace(self, request: Request) -> Response:
        """Put another order in the place of a working one. The answer is the new order; the old one if the request waits."""
        body = change_body(await body_of(request))
        async with self._replayer.gate:
            record = self._record(request.path_params["order_id"])
            self._check_new(body.client_order_id)
            if not record.status.is_open:
                raise Refusal(422, _CODE_ORDER, f'order is already in "{record.status.value}" state')
            answer = self._market.paper.replace(record.order.order_id, body)
            if isinstance(answer, ReplaceRefused):
                raise Refusal(answer.status, answer.code, answer.message, **answer.details)
            return JSONResponse(views.order(self._record(answer), status=None if answer == record.order.order_id else "accepted"))

    async def cancel(self, request: Request) -> Response:
        """Cancel a working order."""
        async with self._replayer.gate:
            record = self._record(request.path_params["order_id"])
            if not self._market.cancel(record.order.order_id):
                record = self._record(record.order.order_id)
                raise Refusal(422, _CODE_ORDER, f'order is already in "{record.status.value}" state')
        return Response(status_code=204)

    async def cancel_all(self, _: Request) -> Response:
        """Cancel every working order."""
        async with self._replayer.gate:
            answers = self._cancelled()
        return JSONResponse(answers, status_code=207)

    def _cancelled(self) -> list[dict[str, Any]]:
        answers = []
        for order_id in list(self._market.state.orders):
            was_open = order_id in self._market.state.orders  # an order before it may have taken it along
            done = self._market.cancel(order_id) if was_open else True
            answers.append({"id": order_id, "status": 200 if done else 422, "body": None})
        return answers

    async def positions(self, _: Request) -> Response:
        """All holdings, by symbol."""
        state = self._market.valued()
        return JSONResponse([views.position(state, symbol, holding) for symbol, holding in sorted(state.holdings.items())])

    async def position(self, request: Request) -> Response:
        """One holding; 404 when flat."""
        symbol = self._held(request)
        state = self._market.valued()
        return JSONResponse(views.position(state, symbol, state.holdings[symbol]))

    async def close(self, request: Request) -> Response:
        """Close a holding, or a part of it, with a market order."""
        qty, percentage = amount(dict(request.query_params), "qty"), amount(dict(request.query_params), "percentage")
        if percentage is not None and not 0 < percentage <= 100:
            raise bad("percentage must be above 0 and at most 100")
        async with self._replayer.gate:
            symbol = self._held(request)
            held = abs(self._market.state.holdings[symbol].qty)
            if percentage is not None:
                qty = (held * percentage / 100).quantize(_SHARE, rounding=ROUND_DOWN)
            return JSONResponse(self._closed(symbol, qty if qty is not None else held))

    async def close_all(self, request: Request) -> Response:
        """Close every holding with a market order, after canceling every working order if asked to."""
        async with self._replayer.gate:
            if request.query_params.get("cancel_orders", "").lower() == "true":
                self._cancelled()
            answers = []
            for symbol, holding in sorted(self._market.state.holdings.items()):
                try:
                    answers.append({"symbol": symbol, "status": 200, "body": self._closed(symbol, abs(holding.qty))})
                except Refusal as refusal:
                    answers.append({"symbol": symbol, "status": refusal.response.status_code, "body": refusal.document})
        return JSONResponse(answers, status_code=207)

    def _closed(self, symbol: Symbol, qty: Decimal) -> dict[str, Any]:
        side = Side.SELL if self._market.state.holdings[symbol].qty > 0 else Side.BUY
        answer = self._market.submit(OrderBody(symbol=symbol, side=side, qty=qty))
        if isinstance(answer, Rejected):
            raise Refusal(answer.status, answer.code, answer.message, **answer.details)
        return views.order(self._record(answer.order.order_id), status="accepted")

    async def account(self, _: Request) -> Response:
        """The account at the last prices."""
        created_ns = int(self._market.tape.event_ns[self._replayer.plan.start])
        return JSONResponse(views.account(self._market.rules, self._market.valued(), created_ns))

    async def activities(self, request: Request) -> Response:
        """Fills and fees, the newest first unless asked otherwise; pages go on after the id in page_token."""
        named = request.path_params.get("kind") or request.query_params.get("activity_types") or ",".join(_KINDS)
        kinds = named.upper().split(",")
        newest_first = one_of(request, "direction", ("desc", "asc")) == "desc"
        after_ns, until_ns = time_of(request, "after", -1), time_of(request, "until", _TIME_MAX_NS)
        if (day := date_of(request, "date")) is not None:
            if day.year >= utc(_TIME_MAX_NS).year:
                raise bad(f"date: found {day}, must be before {utc(_TIME_MAX_NS):%Y-%m-%d}")
            after_ns, until_ns = midnight_ns(day.isoformat()) - 1, midnight_ns((day + timedelta(days=1)).isoformat()) - 1
        size = whole(request, "page_size", default=_ACTIVITIES_MAX, high=_ACTIVITIES_MAX)
        found = [
            (place, activity)
            for place, activity in self._market.book.activities(after_ns=after_ns, until_ns=until_ns)
            if views.kind_of(activity) in kinds
        ]
        if newest_first:
            found.reverse()
        if token := request.query_params.get("page_token"):
            if (last := self._market.book.place(token)) is None:
                raise bad(f"page_token {token!r}: no such activity")
            found = [(place, activity) for place, activity in found if (place < last if newest_first else place > last)]
        return JSONResponse([views.activity(activity) for _, activity in found[:size]])

    async def assets(self, _: Request) -> Response:
        """Every symbol of the recording."""
        return JSONResponse([self._asset(symbol) for symbol in self._market.data.symbols])

    async def asset(self, request: Request) -> Response:
        """One symbol of the recording."""
        return JSONResponse(self._asset(self._symbol(request)))

    def _asset(self, symbol: Symbol) -> dict[str, Any]:
        return views.asset(symbol, self._market.state.conditions.of(symbol))

    async def clock(self, _: Request) -> Response:
        """The replay's clock."""
        return JSONResponse(views.clock(self._market.grid, self._market.now_ns))

    async def calendar(self, request: Request) -> Response:
        """Sessions from start to end, by default those around the recording."""
        grid = self._market.grid
        first, last = int(grid.open_ns[0]), int(grid.close_ns[-1])
        from_ns, to_ns = time_of(request, "start", first), time_of(request, "end", last, end_of_day=True)
        if from_ns > to_ns:
            raise bad("start must not be after end")
        if from_ns < first or to_ns > last:
            grid = session_grid("1d", from_ns, to_ns)
        return JSONResponse(views.calendar(grid, from_ns=from_ns, to_ns=to_ns))

    def _record(self, order_id: str) -> OrderRecord:
        record = self._market.book.order(order_id)
        if record is None:
            raise Refusal(404, CODE_NOT_FOUND, f"order not found for {order_id}")
        return record

    def _symbol(self, request: Request) -> Symbol:
        name = request.path_params["symbol"]
        if name not in self._names:
            raise Refusal(404, CODE_NOT_FOUND, f"asset not found for {name}: the recording does not hold it")
        return self._names[name]

    def _held(self, request: Request) -> Symbol:
        symbol = self._symbol(request)
        if symbol not in self._market.state.holdings:
            raise Refusal(404, CODE_NOT_FOUND, "position does not exist")
        return symbol
