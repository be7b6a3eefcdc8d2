"""The portfolio's reports over HTTP: attribution, equity, signals, risk and the audit chain. All of them only read."""

from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Query

from tandem.adapters.attribution_rows import read_book
from tandem.portfolio import reports
from tandem.portfolio import schemas_reports as schemas
from tandem.portfolio.api_parts import Limit, PairName, Parts, engine_of
from tandem.portfolio.reports import By

_ID = r"^[A-Za-z0-9:_./#-]{1,128}$"


def add_reports(app: FastAPI, parts: Parts) -> None:
    """All paths of this module."""
    _add_profit(app, parts)
    _add_risk(app, parts)

    @app.get("/v1/audit/{order_id}", tags=["audit"], responses={404: {"description": "The book knows no such id."}})
    def audit(
        order_id: Annotated[str, Path(pattern=_ID, description="A client order id, the broker's order id, an execution, entry or intent.")],
    ) -> list[schemas.AuditLink]:
        """What led to an order and what came of it: signal, intent with its ticks and forecast, order, executions, ledger entries."""
        rows = parts.database.audit(parts.condition.book, order_id)
        if not rows:
            raise HTTPException(404, f"no order, execution, entry or intent {order_id} in book {parts.condition.book!r}")
        return [schemas.AuditLink.model_validate(row) for row in rows]


def _add_profit(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/attribution", tags=["book"])
    def attribution(by: Annotated[By, Query(description="What the profit is summed over.")] = By.PAIR) -> schemas.Attribution:
        """The change of equity by cause, at the newest marks: spread, hedge, slippage, half spread, charges, unwinding."""
        engine = engine_of(parts)
        return reports.attribution(read_book(parts.database.url, parts.condition.book), by, engine.books.price_usd)

    @app.get("/v1/equity", tags=["book"])
    def equity(limit: Limit = 100) -> list[schemas.EquityPoint]:
        """The book's value at the bars at which it held something, newest first."""
        return [schemas.EquityPoint.model_validate(row) for row in parts.database.equity(parts.condition.book, limit=limit)]

    @app.get("/v1/signals", tags=["book"])
    def signals(limit: Limit = 100, pair: PairName = "") -> list[schemas.Signal]:
        """Signals that asked for an action, newest first, with the trade that came of them."""
        rows = parts.database.signals(parts.condition.book, limit=limit, pair=pair)
        return [schemas.Signal.model_validate(row) for row in rows]


def _add_risk(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/risk", tags=["risk"])
    def risk() -> schemas.Risk:
        """Exposure at the newest marks, drawdown, breakers and quarantined pairs."""
        return reports.risk(engine_of(parts))

    @app.get("/v1/risk/events", tags=["risk"])
    def events(limit: Limit = 100) -> list[schemas.RiskEvent]:
        """Alarms, newest first."""
        return [schemas.RiskEvent.model_validate(row) for row in parts.database.risk_events(parts.condition.book, limit=limit)]
