"""Life of one order as a table: which status may follow which, and how many of its shares are executed.

An execution is always booked, even after the end of the order. Called by execution.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from tandem.domain.trading import Fill, Order, OrderStatus
from tandem.flow.netting import is_internal

_S = OrderStatus
_ENDS = frozenset({_S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED, _S.FILLED})
_PENDING = frozenset({_S.PENDING_CANCEL, _S.PENDING_REPLACE})

# A broker reports in its own time and its stream may overtake its answer, so every status may jump ahead; none may go back,
# except that a cancel which came too late leaves the order as it was.
NEXT: Mapping[OrderStatus, frozenset[OrderStatus]] = MappingProxyType(
    {
        _S.INITIALIZED: frozenset({_S.DENIED, _S.SUBMITTED, _S.UNKNOWN, _S.ACCEPTED, _S.PARTIAL}) | _PENDING | _ENDS,
        _S.SUBMITTED: frozenset({_S.DENIED, _S.UNKNOWN, _S.ACCEPTED, _S.PARTIAL}) | _PENDING | _ENDS,
        _S.UNKNOWN: frozenset({_S.DENIED, _S.SUBMITTED, _S.ACCEPTED, _S.PARTIAL}) | _PENDING | _ENDS,
        _S.ACCEPTED: frozenset({_S.PARTIAL}) | _PENDING | _ENDS,
        _S.PARTIAL: _PENDING | _ENDS,
        _S.PENDING_CANCEL: frozenset({_S.ACCEPTED, _S.PARTIAL, _S.PENDING_REPLACE}) | _ENDS,
        _S.PENDING_REPLACE: frozenset({_S.ACCEPTED, _S.PARTIAL, _S.PENDING_CANCEL}) | _ENDS,
        _S.DENIED: frozenset(),
        _S.CANCELED: frozenset(),
        _S.EXPIRED: frozenset(),
        _S.REJECTED: frozenset(),
        _S.REPLACED: frozenset(),
        _S.FILLED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """One order and what became of it.

    filled: shares of the executions booked; inside: those of them that met other pairs' orders; reported: shares that the broker says are
    filled.
    """

    order: Order
    status: OrderStatus = OrderStatus.INITIALIZED
    filled: Decimal = Decimal(0)
    inside: Decimal = Decimal(0)
    reported: Decimal = Decimal(0)
    broker_order_id: str = ""
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing more is expected: it has ended, every execution that the broker counted is booked, what was to meet has met."""
        return self.is_over_outside and self.inside >= self.order.crossed_qty

    @property
    def is_over_outside(self) -> bool:
        """The broker will execute nothing more of it, and nothing of what it has is still to be booked."""
        return self.status.is_final and self.filled - self.inside >= self.reported


def reported(state: OrderState, status: OrderStatus, *, broker_order_id: str, filled: Decimal, reason: str) -> OrderState | None:
    """The order after the broker's report; None if the table does not allow it. A repeated status changes no more than the numbers."""
    if status is not state.status and status not in NEXT[state.status]:
        return None
    return replace(
        state,
        status=status,
        reported=max(state.reported, filled),
        broker_order_id=broker_order_id or state.broker_order_id,
        reason=reason or state.reason,
    )


def filled(state: OrderState, fill: Fill) -> OrderState:
    """The order after one more execution. Full means FILLED, whatever was known before."""
    total = state.filled + fill.qty
    if is_internal(fill.execution_id):
        state = replace(state, inside=state.inside + fill.qty)
    if total >= state.order.qty:
        return replace(state, filled=total, status=OrderStatus.FILLED)
    early = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.ACCEPTED)
    return replace(state, filled=total, status=OrderStatus.PARTIAL if state.status in early else state.status)
