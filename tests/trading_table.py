"""A desk with its books, a store and a broker in memory, moved day by day."""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import PairState
from tandem.flow.barrier import Decidable
from tandem.flow.execution_records import Patience
from tandem.flow.sizing import Limits
from tandem.portfolio.books import Books
from tandem.portfolio.desk import Desk
from tandem.portfolio.risk import Risk
from tandem.portfolio.sender import Sender
from trading_cases import KO, MODEL, PAIR, PEP, SPEC, batch, forecast
from trading_fakes import MemoryBroker, MemoryStore, stored

S = 1_000_000_000
DAY = 86_400 * S
PG = Symbol("PG")
OTHER = PairId("KO-PG")
RISK = Risk(
    limits=Limits(
        volatility_target_daily=0.01,
        scale_max=1.5,
        pairs_open_max=5,
        gross_exposure_max=Decimal("1.5"),
        symbol_exposure_max=Decimal("0.2"),
        hedge_error_max=Decimal("0.1"),
        short_equity_usd_min=Decimal(2000),
    ),
    patience=Patience(leg_wait_bars_max=2, leg_wait_s_max=600.0, unwind_attempts_max=3),
    signal_age_s_max=120.0,
)


class Table:
    """A desk with its books, store and broker."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.broker = MemoryBroker(self.store)
        self.books = Books(self.store, stored(), RISK.patience)
        self.desk = Desk(self.books, Sender(self.broker, lambda: False), RISK, bars_per_day=1.0, live_run="account")
        self.desk.specs = {PAIR: SPEC, OTHER: replace(SPEC, pair=OTHER, leg_b=PG)}

    def bar(self, day: int, *forecasts: object, replay_id: str = "r1", model: object = MODEL) -> None:
        found = tuple(replace(f, bar_index=day) for f in forecasts)
        self.desk.trade(
            Decidable(
                replay_id=replay_id,
                bar_close_ns=day * DAY,
                lockstep=True,
                end_of_stream=False,
                batches=(batch(day * DAY, *found, model=model),),
            ),
            0,
        )
        self.books.flush_if_due()

    def fill(self, day: int, *symbols: str) -> None:
        for symbol in symbols:
            self.books.book_fill(self.broker.fill(symbol, day * DAY - S))

    def state(self, pair: PairId = PAIR) -> PairState:
        return self.books.executions[pair].state

    def opened(self) -> "Table":
        """KO-PEP is hedged on day 2."""
        self.bar(1, forecast())
        self.fill(2, KO, PEP)
        self.bar(2, forecast(z=-1.5))
        assert self.state() is PairState.HEDGED
        return self
