"""The calls that change something: kill switch, release of a quarantined pair, reset of a breaker, refresh of the cache.

Each needs the bearer token; while none is set, each is refused. A trading mode goes to the control topic, from where the decision thread
takes it like any other; the rest goes to that thread through its queue.
"""

import hmac
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tandem.domain.control import TradingState
from tandem.domain.ids import PairId
from tandem.flow.breakers import Breaker
from tandem.portfolio import schemas
from tandem.portfolio.api_parts import PairPath, Parts, engine_of

log = structlog.get_logger()
_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": schemas.Problem, "description": "The bearer token is missing or wrong."},
    403: {"model": schemas.Problem, "description": "TANDEM_API_TOKEN is not set: nothing can be changed over HTTP."},
    413: {"model": schemas.Problem, "description": "The body is too long."},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": schemas.Problem, "description": "There is nothing to release or reset."}}


def add_control(app: FastAPI, parts: Parts) -> None:
    """All paths of this module."""
    bearer = HTTPBearer(auto_error=False, description="TANDEM_API_TOKEN. While it is not set, nothing can be changed here.")

    def authorised(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        expected = parts.token.get_secret_value()
        if not expected:
            raise HTTPException(403, "TANDEM_API_TOKEN is not set: nothing can be changed over HTTP")
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected.encode()):
            raise HTTPException(401, "a valid Bearer token is needed", headers={"WWW-Authenticate": "Bearer"})

    only_with_token = [Depends(authorised)]

    @app.get("/v1/trading-state", tags=["kill switch"])
    def trading_states() -> list[schemas.TradingState]:
        """The trading modes that have been set; where none is, trading is active."""
        rows = parts.database.trading_states(parts.condition.book)
        return [schemas.TradingState.model_validate(row) for row in rows]

    @app.post("/v1/trading-state", tags=["kill switch"], dependencies=only_with_token, status_code=202, responses=_REFUSED)
    def set_trading_state(order: schemas.TradingStateOrder) -> schemas.Accepted:
        """Set the trading mode of everything, an account, a sector or a pair. Takes effect within a second and survives restarts."""
        parts.publish(TradingState(scope=order.scope, mode=order.mode, reason=order.reason))
        return schemas.Accepted(accepted=True, scope=order.scope, mode=order.mode)

    _add_releases(app, parts, only_with_token)

    @app.post("/v1/cache/refresh", tags=["cache"], dependencies=only_with_token, responses=_REFUSED)
    def refresh() -> schemas.CacheReport:
        """Forget what is cached, so that the next questions go to the broker."""
        parts.manager.refresh()
        return cache_report(parts)


def _add_releases(app: FastAPI, parts: Parts, only_with_token: list[Any]) -> None:
    responses = _REFUSED | _CONFLICT

    @app.post("/v1/pairs/{pair}/release", tags=["kill switch"], dependencies=only_with_token, responses=responses)
    def release(pair: PairPath, order: schemas.ReleaseOrder) -> schemas.Released:
        """Let a quarantined pair go on, if ledger and broker agree on its symbols now; 409 with what differs otherwise."""
        engine = engine_of(parts)
        if refused := engine.release(PairId(pair), adopt=order.adopt):
            raise HTTPException(409, refused)
        log.warning("pair_released", pair=pair, reason=order.reason, adopt=order.adopt)
        return schemas.Released(pair=pair, state=engine.books.executions[PairId(pair)].state)

    @app.post("/v1/breakers/{breaker}/reset", tags=["kill switch"], dependencies=only_with_token, status_code=202, responses=responses)
    def reset(breaker: Breaker) -> schemas.BreakerReset:
        """End what a breaker has set, as a person who has looked at it."""
        engine = engine_of(parts)
        if breaker not in engine.desk.guard.state.tripped:
            raise HTTPException(409, f"{breaker.value} has not tripped")
        engine.reset_breaker(breaker)
        return schemas.BreakerReset(accepted=True, breaker=breaker.value)


def cache_report(parts: Parts) -> schemas.CacheReport:
    """How often the cache answered."""
    found = parts.manager.statistics()
    return schemas.CacheReport(
        hits=found.hits, misses=found.misses, errors=found.errors, refreshes=found.refreshes, hit_ratio=found.hit_ratio
    )
