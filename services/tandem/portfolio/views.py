"""What the API says of pairs, profit and the book: frozen records of the decision thread, copied and shaped. Changes nothing."""

from decimal import Decimal

from tandem.domain.control import PairSpec
from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import PairState
from tandem.flow import accounting
from tandem.flow.accounting import NO_PAIR, Profit
from tandem.flow.execution_records import Execution, Leg
from tandem.flow.routing import matches, version_for
from tandem.portfolio import schemas
from tandem.portfolio.engine import Engine


def pairs(engine: Engine) -> list[schemas.Pair]:
    """Declared pairs and pairs that are not flat, in order of id."""
    books, specs = engine.books, dict(engine.desk.specs)
    executions = dict(books.executions)
    shown = sorted(specs.keys() | {pair for pair, e in executions.items() if e.state is not PairState.FLAT})
    return [_pair(engine, pair, specs.get(pair), executions.get(pair)) for pair in shown]


def _pair(engine: Engine, pair: PairId, spec: PairSpec | None, execution: Execution | None) -> schemas.Pair:
    trade = engine.books.trades.get(pair)
    held = execution.held if execution is not None else None
    sector = spec.sector if spec is not None else execution.sector if execution is not None else ""
    return schemas.Pair(
        pair=pair,
        sector=sector,
        declared=spec is not None,
        state=execution.state if execution is not None else PairState.FLAT,
        direction=held.direction if held is not None else 0,
        waiting=_waiting(engine, pair, sector, execution),
        legs=[_leg(leg) for leg in execution.legs] if execution is not None else _no_legs(spec),
        thresholds=_thresholds(spec),
        trade_id=trade.trade_id if trade is not None else None,
        entry_z=trade.entry_z if trade is not None else None,
        unhedged_s=max(trade.unhedged_open_s, trade.unhedged_close_s) if trade is not None else 0.0,
        forecast=_forecast(engine, pair),
        pnl=_pnl(_profit(engine, pair)),
    )


def _thresholds(spec: PairSpec | None) -> schemas.Thresholds | None:
    if spec is None:
        return None
    return schemas.Thresholds(entry_z=spec.entry_z, exit_z=spec.exit_z, stop_z=spec.stop_z, probability_min=spec.probability_min)


def _waiting(engine: Engine, pair: PairId, sector: str, execution: Execution | None) -> str | None:
    """Why the pair does not trade. A forecast of it by the version that decides it, be that a canary, proves that the model holds it."""
    if execution is not None and execution.state not in (PairState.FLAT, PairState.HEDGED):
        return execution.reason or None
    pointer = engine.control.pointers.get(sector)
    if pointer is None:
        return "SectorNotRouted"
    trade = engine.books.trades.get(pair) if execution is not None and execution.state is PairState.HEDGED else None
    version = version_for(pointer, pair, trade.model.version if trade is not None else None)
    latest = dict(engine.books.latest)
    heard = {known for known, (_, model, _) in latest.items() if model.version == version and matches(model, pointer)}
    if pair in heard:
        return engine.desk.reasons.get(pair)
    return "PairNotInModel" if heard else "NoForecastYet"


def _leg(leg: Leg) -> schemas.Leg:
    order = leg.order
    return schemas.Leg(
        symbol=leg.symbol,
        held=leg.held,
        target=leg.target,
        order_id=order.order.client_order_id if order is not None else None,
        order_status=order.status.value if order is not None else None,
    )


def _no_legs(spec: PairSpec | None) -> list[schemas.Leg]:
    symbols = (spec.leg_a, spec.leg_b) if spec is not None else ()
    return [schemas.Leg(symbol=s, held=Decimal(0), target=0, order_id=None, order_status=None) for s in symbols]


def _forecast(engine: Engine, pair: PairId) -> schemas.Forecast | None:
    found = engine.books.latest.get(pair)
    if found is None:
        return None
    forecast, model, bar_close_ns = found
    return schemas.Forecast(
        model=model.name,
        version=model.version,
        digest=model.digest,
        bar_close_ns=bar_close_ns,
        z=forecast.z,
        spread=forecast.spread,
        variance=forecast.variance,
        garch_variance=forecast.garch_variance,
        reversion_probability=forecast.reversion_probability,
        half_life_bars=forecast.half_life_bars,
        beta=forecast.beta,
    )


def _profit(engine: Engine, pair: str) -> Profit:
    books = engine.books
    return accounting.profit(books.book, books.marks(), pair, books.cash_at_open(PairId(pair)))


def _pnl(profit: Profit) -> schemas.Pnl:
    return schemas.Pnl(
        realized_usd=profit.realized_usd, unrealized_usd=profit.unrealized_usd, total_usd=profit.total_usd, fees_usd=profit.fees_usd
    )


def pnl(engine: Engine) -> schemas.PnlReport:
    """Profit in all and of each pair that ever traded."""
    books = engine.books
    book, marks = books.book, books.marks()
    traded = sorted({pair for pair in book.cash_usd if pair != NO_PAIR} | {pair for pair, _ in book.shares})
    equity_usd = accounting.equity_usd(book, marks)
    rows = []
    for pair in traded:
        profit = accounting.profit(book, marks, pair, books.cash_at_open(PairId(pair)))
        rows.append(schemas.PairPnl(pair=pair, **_pnl(profit).model_dump()))
    return schemas.PnlReport(
        equity_usd=equity_usd,
        capital_usd=book.capital_usd,
        total_usd=equity_usd - book.capital_usd,
        fees_usd=sum(book.fees_usd.values(), Decimal(0)),
        pairs=rows,
        unallocated_usd=accounting.profit(book, marks, NO_PAIR).total_usd,
    )


def shares_by_symbol(engine: Engine) -> dict[Symbol, list[schemas.PairShares]]:
    """How the ledger divides each symbol among the pairs."""
    found: dict[Symbol, list[schemas.PairShares]] = {}
    for (pair, symbol), qty in sorted(engine.books.book.shares.items()):
        found.setdefault(symbol, []).append(schemas.PairShares(pair=pair, qty=qty))
    return found
