"""Where the books are written: PostgreSQL when the platform runs, memory in a backtest."""

from typing import Protocol

from tandem.domain.ids import PairId
from tandem.flow.journal import Changes


class BookStore(Protocol):
    """What the books need of a store: adapters/postgres_ledger.py has it, and a backtest keeps it in memory."""

    def commit(self, changes: Changes) -> None:
        """Write all of it, or nothing. Raises Transient, InvariantBroken."""
        ...

    def order_of(self, client_order_id: str) -> PairId | None:
        """The pair of an order; None if it is not of this book."""
        ...

    def has_fill(self, execution_id: str) -> bool:
        """Whether an execution is booked."""
        ...
