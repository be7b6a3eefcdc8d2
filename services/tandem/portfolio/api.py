"""The portfolio's HTTP API for the dashboard, the command line and the kill switch. Reads frozen records, the cache and Postgres.

What changes something is in api_control.py, reports are in api_reports.py.
"""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tandem.adapters.telemetry import health_app
from tandem.domain.errors import TandemError, Transient
from tandem.portfolio import schemas, views
from tandem.portfolio.api_control import add_control, cache_report
from tandem.portfolio.api_parts import BodyLimit, Limit, PairName, Parts, engine_of
from tandem.portfolio.api_reports import add_reports
from tandem.portfolio.forwarding import Forwarding

_LIMIT_DEFAULT = 100
_RECONCILIATIONS_MAX = 20
_ABOUT = """Pairs, orders, the ledger and the kill switch of one broker account.

Money and shares are decimal text, times nanoseconds UTC. Account, positions and the broker's part of the summary are at most 30 s old,
orders 10 s (`/v1/cache`); everything else is the state of the decision thread now. While the service starts or cannot reach what it needs,
answers are 503 with the reason, never an invented number."""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    503: {"model": schemas.Problem, "description": "Not ready, or the broker or database is away."},
    502: {"model": schemas.Problem, "description": "The broker or database refuses; trying again will not help."},
}


def make_app(parts: Parts) -> FastAPI:
    """The ASGI app."""
    app = FastAPI(title="Tandem portfolio", version=version("tandem-trading"), description=_ABOUT, responses=_PROBLEMS)
    app.add_exception_handler(TandemError, _problem)
    _add_account(app, parts)
    _add_book(app, parts)
    _add_cache(app, parts)
    add_reports(app, parts)
    add_control(app, parts)
    app.add_middleware(Forwarding, writer=lambda: parts.condition.writer)
    app.add_middleware(BodyLimit)
    app.add_route("/readyz/replica", lambda _: _replica_ready(parts), include_in_schema=False)
    app.mount("/", health_app("portfolio", parts.condition.why_not_ready))
    return app


def _replica_ready(parts: Parts) -> JSONResponse:
    """Whether this one of several processes is as it should be: it trades, or it stands by and knows the one that does."""
    writer, reason = parts.condition.writer, parts.condition.why_not_ready()
    ready = bool(writer) or reason is None
    return JSONResponse({"ready": ready, "reason": reason, "writer": writer}, status_code=200 if ready else 503)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503 if isinstance(error, Transient) else 502)


def _add_account(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/account", tags=["account"])
    def account() -> schemas.Account:
        """The broker's account, at most 30 s old."""
        return schemas.Account.model_validate(parts.manager.account())

    @app.get("/v1/positions", tags=["account"])
    def positions() -> list[schemas.Position]:
        """The broker's positions, at most 30 s old, and the pairs that they belong to."""
        shares = views.shares_by_symbol(engine_of(parts))
        return [schemas.Position.model_validate({**raw, "pairs": shares.get(raw["symbol"], [])}) for raw in parts.manager.positions()]

    @app.get("/v1/orders", tags=["account"])
    def orders(limit: Limit = _LIMIT_DEFAULT, pair: PairName = "") -> list[schemas.Order]:
        """The broker's newest orders (of the last 500), at most 10 s old, newest first."""
        engine_of(parts)
        raw = parts.manager.orders()
        ours = parts.database.orders(parts.condition.book, [str(order.get("client_order_id")) for order in raw])
        nothing = dict.fromkeys(("pair", "leg", "intent_id", "decided_ns"))
        rows = [{**order, **nothing, **ours.get(str(order.get("client_order_id")), {})} for order in raw]
        return [schemas.Order.model_validate(row) for row in rows if pair in ("", row["pair"])][:limit]

    @app.get("/v1/summary", tags=["account"])
    def summary() -> schemas.Summary:
        """The book now, and the broker's figures, at most 30 s old."""
        engine = engine_of(parts)
        report = views.pnl(engine)
        return schemas.Summary(
            book=parts.condition.book,
            decided_ns=engine.decided_ns,
            waiting_for=list(engine.lagging),
            open_pairs=len(engine.books.open_pairs()),
            equity_usd=report.equity_usd,
            cash_usd=engine.books.book.total_cash_usd,
            pnl_usd=report.total_usd,
            fees_usd=report.fees_usd,
            broker=parts.manager.summary(),
        )


def _add_book(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/pairs", tags=["book"])
    def pairs() -> list[schemas.Pair]:
        """Every declared pair: state, position, newest forecast, profit, and why it waits."""
        return views.pairs(engine_of(parts))

    @app.get("/v1/fills", tags=["book"])
    def fills(limit: Limit = _LIMIT_DEFAULT, pair: PairName = "") -> list[schemas.Fill]:
        """Executions in the ledger, newest first."""
        engine_of(parts)
        return [schemas.Fill.model_validate(row) for row in parts.database.fills(parts.condition.book, limit=limit, pair=pair)]

    @app.get("/v1/pnl", tags=["book"])
    def pnl() -> schemas.PnlReport:
        """Profit after fees, in all and per pair; the parts add up to the change of equity."""
        return views.pnl(engine_of(parts))

    @app.get("/v1/reconciliation", tags=["book"])
    def reconciliation() -> list[schemas.Reconciliation]:
        """Comparisons of the ledger with the broker, newest first. Answered even when a difference keeps the service from trading."""
        rows = parts.database.reconciliations(parts.condition.book, limit=_RECONCILIATIONS_MAX)
        return [schemas.Reconciliation.model_validate(row) for row in rows]


def _add_cache(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/cache", tags=["cache"])
    def cache() -> schemas.CacheReport:
        """How often the cache answered."""
        return cache_report(parts)
