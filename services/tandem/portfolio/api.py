"""The portfolio's HTTP API for the dashboard, the command line and the kill switch. Reads frozen records, the cache and Postgres.

The only call that changes anything writes a record to the control topic, from where the decision thread takes it like any other.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from tandem.adapters.postgres_views import PortfolioViews
from tandem.adapters.telemetry import health_app
from tandem.domain.control import TradingState
from tandem.domain.errors import TandemError, Transient
from tandem.portfolio import schemas, views
from tandem.portfolio.engine import Engine
from tandem.portfolio.manager import ORDERS_MAX, PortfolioManager
from tandem.portfolio.session import Condition

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
Limit = Annotated[int, Query(ge=1, le=ORDERS_MAX, description="At most so many, the newest.")]
PairName = Annotated[str, Query(description="Only this pair's, e.g. KO-PEP.", max_length=21)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the API answers from. publish: writes a trading state to the control topic durably."""

    condition: Condition
    manager: PortfolioManager
    database: PortfolioViews
    publish: Callable[[TradingState], None]
    token: SecretStr


def make_app(parts: Parts) -> FastAPI:
    """The ASGI app."""
    app = FastAPI(title="Tandem portfolio", version=version("tandem-trading"), description=_ABOUT, responses=_PROBLEMS)
    app.add_exception_handler(TandemError, _problem)
    _add_account(app, parts)
    _add_book(app, parts)
    _add_cache(app, parts)
    _add_trading_state(app, parts)
    app.mount("/", health_app(parts.condition.why_not_ready))
    return app


async def _problem(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503 if isinstance(error, Transient) else 502)


def _engine(parts: Parts) -> Engine:
    """The running engine. Raises Transient with the reason while there is none."""
    engine = parts.condition.engine
    if engine is None:
        raise Transient(f"not ready: {parts.condition.why_not_ready()}")
    return engine


def _add_account(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/account", tags=["account"])
    def account() -> schemas.Account:
        """The broker's account, at most 30 s old."""
        return schemas.Account.model_validate(parts.manager.account())

    @app.get("/v1/positions", tags=["account"])
    def positions() -> list[schemas.Position]:
        """The broker's positions, at most 30 s old, and the pairs that they belong to."""
        shares = views.shares_by_symbol(_engine(parts))
        return [schemas.Position.model_validate({**raw, "pairs": shares.get(raw["symbol"], [])}) for raw in parts.manager.positions()]

    @app.get("/v1/orders", tags=["account"])
    def orders(limit: Limit = _LIMIT_DEFAULT, pair: PairName = "") -> list[schemas.Order]:
        """The broker's newest orders (of the last 500), at most 10 s old, newest first."""
        _engine(parts)
        raw = parts.manager.orders()
        ours = parts.database.orders(parts.condition.book, [str(order.get("client_order_id")) for order in raw])
        nothing = dict.fromkeys(("pair", "leg", "intent_id", "decided_ns"))
        rows = [{**order, **nothing, **ours.get(str(order.get("client_order_id")), {})} for order in raw]
        return [schemas.Order.model_validate(row) for row in rows if pair in ("", row["pair"])][:limit]

    @app.get("/v1/summary", tags=["account"])
    def summary() -> schemas.Summary:
        """The book now, and the broker's figures, at most 30 s old."""
        engine = _engine(parts)
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
        return views.pairs(_engine(parts))

    @app.get("/v1/fills", tags=["book"])
    def fills(limit: Limit = _LIMIT_DEFAULT, pair: PairName = "") -> list[schemas.Fill]:
        """Executions in the ledger, newest first."""
        _engine(parts)
        return [schemas.Fill.model_validate(row) for row in parts.database.fills(parts.condition.book, limit=limit, pair=pair)]

    @app.get("/v1/pnl", tags=["book"])
    def pnl() -> schemas.PnlReport:
        """Profit after fees, in all and per pair; the parts add up to the change of equity."""
        return views.pnl(_engine(parts))

    @app.get("/v1/reconciliation", tags=["book"])
    def reconciliation() -> list[schemas.Reconciliation]:
        """Comparisons of the ledger with the broker, newest first. Answered even when a difference keeps the service from trading."""
        rows = parts.database.reconciliations(parts.condition.book, limit=_RECONCILIATIONS_MAX)
        return [schemas.Reconciliation.model_validate(row) for row in rows]


def _add_cache(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/cache", tags=["cache"])
    def cache() -> schemas.CacheReport:
        """How often the cache answered."""
        found = parts.manager.statistics()
        return schemas.CacheReport(
            hits=found.hits, misses=found.misses, errors=found.errors, refreshes=found.refreshes, hit_ratio=found.hit_ratio
        )

    @app.post("/v1/cache/refresh", tags=["cache"])
    def refresh() -> schemas.CacheReport:
        """Forget what is cached, so that the next questions go to the broker."""
        parts.manager.refresh()
        return cache()


def _add_trading_state(app: FastAPI, parts: Parts) -> None:
    bearer = HTTPBearer(auto_error=False, description="TANDEM_API_TOKEN. While it is not set, nothing can be changed here.")

    def authorised(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        expected = parts.token.get_secret_value()
        if not expected:
            raise HTTPException(403, "TANDEM_API_TOKEN is not set: nothing can be changed over HTTP")
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected.encode()):
            raise HTTPException(401, "a valid Bearer token is needed", headers={"WWW-Authenticate": "Bearer"})

    @app.get("/v1/trading-state", tags=["kill switch"])
    def trading_states() -> list[schemas.TradingState]:
        """The trading modes that have been set; where none is, trading is active."""
        rows = parts.database.trading_states(parts.condition.book)
        return [schemas.TradingState.model_validate(row) for row in rows]

    @app.post("/v1/trading-state", tags=["kill switch"], dependencies=[Depends(authorised)], status_code=202)
    def set_trading_state(order: schemas.TradingStateOrder) -> schemas.Accepted:
        """Set the trading mode of everything, a sector or a pair. Takes effect within a second and survives restarts."""
        parts.publish(TradingState(scope=order.scope, mode=order.mode, reason=order.reason))
        return schemas.Accepted(accepted=True, scope=order.scope, mode=order.mode)
