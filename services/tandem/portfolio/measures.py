"""What the portfolio's series are set to: slippage, hedge error, time unhedged, lag, and the state of the book.

Called by books.py, engine.py, feeds.py and session.py. Decides nothing: event time and prices come from the records, wall time only says
when something was looked at.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from tandem.adapters import telemetry
from tandem.domain.control import TradingState
from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Fill, PairState, TradingMode
from tandem.flow.execution_records import Execution
from tandem.flow.journal import EquityPoint
from tandem.flow.netting import Cross
from tandem.flow.orders import OrderState
from tandem.flow.signals import effective_mode

_BPS = Decimal(10_000)
_NOBODY, _NO_PAIR = SectorId(""), PairId("")  # that no scope names: what is left is the account's own mode


def slippage_bps(fill: Fill, execution: Execution, forecast: Forecast, bar_close_ns: int) -> float | None:
    """How much worse than the decision's price an execution was, in basis points; None where the decision was made at another bar."""
    for leg, price in zip(execution.legs, (forecast.price_a, forecast.price_b), strict=True):
        state = leg.order
        if state is not None and state.order.client_order_id == fill.client_order_id and state.order.decided_ns == bar_close_ns:
            decided_usd = Decimal(str(price))
            return float(state.order.side.sign * (fill.price_usd - decided_usd) / decided_usd * _BPS)
    return None


def hedge_error_usd(executions: Iterable[Execution], price_usd: Callable[[Symbol], Decimal]) -> float:
    """What the fuller legs hold beyond what the other leg answers: of each leg the share of its target, the difference at the marks."""
    error = Decimal(0)
    for execution in executions:
        if execution.state is PairState.FLAT or not all(leg.target for leg in execution.legs):
            continue
        shares = [leg.held / leg.target for leg in execution.legs]
        fuller = execution.legs[0 if shares[0] >= shares[1] else 1]
        if (price := price_usd(fuller.symbol)).is_finite():
            error += abs(shares[0] - shares[1]) * abs(fuller.target) * price
    return float(error)


def filled(fill: Fill, execution: Execution | None, latest: tuple[Forecast, ModelRef, int] | None) -> None:
    """An execution is booked, and its pair not told yet. latest: the pair's newest forecast with its bar's close."""
    telemetry.counter("portfolio_fills_total").inc()
    if execution is None or latest is None:
        return
    forecast, _, bar_close_ns = latest
    if (worse := slippage_bps(fill, execution, forecast, bar_close_ns)) is not None:
        telemetry.histogram("portfolio_slippage_bps").labels(sector=execution.sector).observe(worse)


def changed(new: Execution) -> None:
    """A pair has come to a new state."""
    if new.state in (PairState.HEDGED, PairState.FLAT) and new.first_fill_ns is not None:
        telemetry.histogram("portfolio_unhedged_seconds").labels(sector=new.sector).observe(new.unhedged_s)


def refused() -> None:
    """An event that a table of states does not allow."""
    telemetry.counter("portfolio_transitions_refused_total").inc()


def ended(order: OrderState) -> None:
    """An order has come to its final status."""
    telemetry.counter("portfolio_orders_total").labels(status=order.status.value).inc()


def crossed(cross: Cross) -> None:
    """Two pairs' orders have met inside."""
    telemetry.counter("portfolio_crossed_shares_total").inc(cross.qty)


def valued(point: EquityPoint) -> None:
    """The book's value at a bar."""
    telemetry.gauge("portfolio_equity_usd").set(float(point.equity_usd))
    telemetry.gauge("portfolio_gross_usd").set(float(point.gross_usd))


def compared() -> None:
    """Ledger and broker were compared just now."""
    telemetry.gauge("portfolio_last_comparison_seconds").set_to_current_time()


def show_mode(states: Mapping[str, TradingState], account: str) -> None:
    """The account's own trading mode."""
    mode = effective_mode(states, account, _NOBODY, _NO_PAIR)
    for each in TradingMode:
        telemetry.gauge("portfolio_trading_mode").labels(mode=each.value).set(each is mode)


def show(executions: Iterable[Execution], price_usd: Callable[[Symbol], Decimal]) -> None:
    """The pairs as they are, at their marks."""
    executions = tuple(executions)
    telemetry.gauge("portfolio_open_pairs").set(sum(e.state is not PairState.FLAT for e in executions))
    telemetry.gauge("portfolio_quarantined_pairs").set(sum(e.state is PairState.QUARANTINED for e in executions))
    telemetry.gauge("portfolio_hedge_error_usd").set(hedge_error_usd(executions, price_usd))


def forecasts_taken() -> None:
    """Forecasts of the market that is traded have come to the decisions."""
    telemetry.gauge("portfolio_last_forecast_seconds").set_to_current_time()


def forecasts_seen(lag_records: int, newest_ms: int) -> None:
    """Where the reading of the forecast topic stands. newest_ms: Kafka's time of the newest record that was read, 0 before any."""
    telemetry.gauge("portfolio_lag_records").set(lag_records)
    telemetry.gauge("portfolio_lag_seconds").set(telemetry.lag_s(lag_records, newest_ms))
