"""A broker that answers at once: Alpaca's trading REST and trade_updates for one account, in a process of its own, for benchmarks.

It fills every order whole at 60 USD, tells the execution on the stream, and notes when each
POST reached it. What takes time at a real broker takes none here, so that what is measured is ours. Run by order_latency.py.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tandem.domain.units import rfc3339

PRICE_USD = Decimal(60)


@dataclass
class Desk:
    """The account."""

    capital_usd: Decimal
    symbols: tuple[str, ...]
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # by client_order_id
    posted_ns: dict[str, int] = field(default_factory=dict)  # wall time at which its POST was here
    fills: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[str, Decimal] = field(default_factory=dict)
    cash_usd: Decimal = Decimal(0)
    listeners: list[asyncio.Queue[bytes]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.cash_usd = self.capital_usd

    async def submit(self, request: Request) -> Response:
        """POST /v2/orders: noted, accepted, and filled right after the answer."""
        now_ns, body = time.time_ns(), orjson.loads(await request.body())
        name = str(body["client_order_id"])
        if name in self.orders:
            return _json({"code": 40010001, "message": "client_order_id must be unique"}, 422)
        self.posted_ns[name] = now_ns
        order = body | {"id": f"b-{next(self.numbers)}", "status": "accepted", "filled_qty": "0", "updated_at": rfc3339(now_ns)}
        self.orders[name] = order
        answer = _json(order)
        asyncio.get_running_loop().call_soon(self._fill, order)
        return answer

    def _fill(self, order: dict[str, Any]) -> None:
        """The whole order at the symbol's price."""
        symbol, qty, now = order["symbol"], Decimal(order["qty"]), rfc3339(time.time_ns())
        sign, price = (1 if order["side"] == "buy" else -1), PRICE_USD
        self.positions[symbol] = self.positions.get(symbol, Decimal(0)) + sign * qty
        self.cash_usd -= sign * qty * price
        order |= {"status": "filled", "filled_qty": str(qty), "filled_avg_price": str(price), "updated_at": now}
        execution = f"e-{next(self.numbers)}"
        self.fills.append(
            {
                "id": f"20260101000000000::{execution}",
                "execution_id": execution,
                "activity_type": "FILL",
                "transaction_time": now,
                "symbol": symbol,
                "side": order["side"],
                "qty": str(qty),
                "price": str(price),
                "order_id": order["id"],
                "client_order_id": order["client_order_id"],
            }
        )
        data = {"event": "fill", "execution_id": execution, "price": str(price), "qty": str(qty), "timestamp": now, "order": dict(order)}
        for queue in self.listeners:
            queue.put_nowait(orjson.dumps({"stream": "trade_updates", "data": data}))

    async def account(self, _: Request) -> Response:
        """GET /v2/account."""
        worth = self.cash_usd + PRICE_USD * sum(self.positions.values(), Decimal(0))
        return _json({"id": "bench", "cash": str(self.cash_usd), "equity": str(worth), "buying_power": str(2 * worth)})

    async def held(self, _: Request) -> Response:
        """GET /v2/positions."""
        return _json([{"symbol": s, "qty": str(q), "side": "long" if q > 0 else "short"} for s, q in self.positions.items() if q])

    async def listed(self, request: Request) -> Response:
        """GET /v2/orders: the newest ones."""
        count = int(request.query_params.get("limit", 50))
        return _json(list(self.orders.values())[-count:][::-1])

    async def by_name(self, request: Request) -> Response:
        """GET /v2/orders:by_client_order_id."""
        found = self.orders.get(request.query_params["client_order_id"])
        return _json({"message": "order not found"}, 404) if found is None else _json(found)

    async def activities(self, request: Request) -> Response:
        """GET /v2/account/activities: executions, page by page; there are no fees."""
        if request.path_params.get("kind") != "FILL":
            return _json([])
        after, token = request.query_params.get("after", ""), request.query_params.get("page_token", "")
        found = [row for row in self.fills if row["transaction_time"] > after]
        start = next((i + 1 for i, row in enumerate(found) if row["id"] == token), 0)
        return _json(found[start : start + int(request.query_params.get("page_size", 100))])

    async def assets(self, _: Request) -> Response:
        """GET /v2/assets: everything may be traded and borrowed."""
        row = {"status": "active", "tradable": True, "shortable": True, "easy_to_borrow": True}
        return _json([{"symbol": symbol, **row} for symbol in self.symbols])

    async def bars(self, _: Request) -> Response:
        """GET /v2/stocks/bars: no history."""
        return _json({"bars": {}, "next_page_token": None})

    async def actions(self, _: Request) -> Response:
        """GET /v1/corporate-actions: none."""
        return _json({"corporate_actions": {}, "next_page_token": None})

    async def posts(self, _: Request) -> Response:
        """GET /posts: when each order's POST was here, for the benchmark."""
        return _json(self.posted_ns)

    async def updates(self, socket: WebSocket) -> None:
        """The trade_updates websocket."""
        await socket.accept()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        try:
            await _received(socket)
            await socket.send_bytes(orjson.dumps({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}))
            await _received(socket)
            await socket.send_bytes(orjson.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}))
            self.listeners.append(queue)
            while True:
                await socket.send_bytes(await queue.get())
        except WebSocketDisconnect:
            pass
        finally:
            if queue in self.listeners:
                self.listeners.remove(queue)

    def app(self) -> Starlette:
        """All of it."""
        return Starlette(
            routes=[
                Route("/v2/orders", self.submit, methods=["POST"]),
                Route("/v2/orders", self.listed),
                Route("/v2/orders:by_client_order_id", self.by_name),
                Route("/v2/account", self.account),
                Route("/v2/positions", self.held),
                Route("/v2/account/activities", self.activities),
                Route("/v2/account/activities/{kind}", self.activities),
                Route("/v2/assets", self.assets),
                Route("/v2/stocks/bars", self.bars),
                Route("/v1/corporate-actions", self.actions),
                Route("/posts", self.posts),
                WebSocketRoute("/stream", self.updates),
            ]
        )


def serve(port: int, capital_usd: str, symbols: tuple[str, ...]) -> None:
    """Until ended."""
    uvicorn.run(Desk(Decimal(capital_usd), symbols).app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _received(socket: WebSocket) -> None:
    """One message, text or binary."""
    if (await socket.receive())["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
