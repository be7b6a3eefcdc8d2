"""Puts orders before the pre-trade checks, with what is known at the bar: books, market, assets, calendar. Decides nothing itself.

Called by desk.py with all orders of a ticket before any of them is written down or sent.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import structlog

from tandem.adapters import telemetry
from tandem.domain.assets import Asset
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.ids import Symbol
from tandem.domain.market import SessionGrid
from tandem.domain.trading import Order
from tandem.domain.units import NS_PER_S
from tandem.flow import accounting
from tandem.flow.pretrade import OrderCase, PretradeCase, PretradeLimits, Purpose, Refusal, check, cost_usd
from tandem.flow.sessions import session_at
from tandem.portfolio.board import Board
from tandem.portfolio.books import Books

log = structlog.get_logger()
_ZERO = Decimal(0)
_DAY_NS = 86_400 * NS_PER_S


class Gate:
    """The pre-trade checks of one account.

    grid: sessions and bars, for others to read, too; None for decisions that know no time of day. assets, ex_dates: of the morning, by
    portfolio/morning.py. requests_left: what the broker's rate limit leaves; None while not limited. Orders that were let through at a
    bar count as sent.
    """

    def __init__(
        self,
        books: Books,
        limits: PretradeLimits,
        *,
        grid: SessionGrid | None = None,
        requests_left: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.assets: Mapping[Symbol, Asset] = {}
        self.ex_dates: Mapping[Symbol, str] = {}
        self.grid = grid
        self._books, self._limits = books, limits
        self._requests_left, self._passed = requests_left, 0
        self.market = Board()
        self._betas: tuple[Mapping[Symbol, Asset], dict[Symbol, float]] = ({}, {})  # and the assets that they are of

    def see(self, batches: Iterable[ForecastBatch]) -> None:
        """A bar begins: take over what its batches say of the market."""
        self._passed = 0
        self.market.take(batches)

    @property
    def betas(self) -> dict[Symbol, float]:
        """Of the symbols whose beta to the market the morning has told."""
        if self._betas[0] is not self.assets:
            self._betas = (self.assets, {symbol: asset.market_beta for symbol, asset in self.assets.items()})
        return self._betas[1]

    def refusals(self, purpose: Purpose, orders: Iterable[Order], at_ns: int) -> tuple[Refusal, ...]:
        """Everything that speaks against sending these orders at a bar's close; counted by code."""
        case = self._case(purpose, tuple(orders), at_ns)
        found = check(case, self._limits)
        for refusal in found:
            telemetry.counter("portfolio_pretrade_refusals_total").labels(code=refusal.code.value, purpose=purpose.value).inc()
        if not found:
            self._passed += len(case.orders)
        else:
            log.info(
                "pretrade_refused", purpose=purpose.value, codes=[r.code.value for r in found], symbols=[o.symbol for o in case.orders]
            )
        return found

    def _case(self, purpose: Purpose, orders: tuple[Order, ...], at_ns: int) -> PretradeCase:
        grid, held = self.grid, self._held()
        closable = {order.client_order_id: self._closable(order) for order in orders}
        return PretradeCase(
            purpose=purpose,
            at_ns=at_ns,
            bar_ns=_DAY_NS if grid is None else grid.bar_ns,
            orders=tuple(
                OrderCase(
                    symbol=order.symbol,
                    side=order.side,
                    qty=Decimal(order.qty),
                    price_usd=self._books.price_usd(order.symbol),
                    limit_usd=order.limit_usd,
                    held_shares=held.get(order.symbol, _ZERO),
                    closable_shares=closable[order.client_order_id],
                )
                for order in orders
            ),
            intent_known=any(self._books.knows_order(order.client_order_id) for order in orders),
            session=None if grid is None else session_at(grid, at_ns),
            market=self.market,
            assets=self.assets,
            ex_dates=self.ex_dates,
            buying_power_usd=self.buying_power_usd(),
            requests_left=None if (left := self._requests_left()) is None else left - self._passed,
        )

    def _closable(self, order: Order) -> Decimal | None:
        """What of the account's shares an order of this side may still close; None when there are none on the other side.

        What meets other pairs inside only changes its owner.
        """
        shares = accounting.positions(self._books.book).get(order.symbol, _ZERO)
        if shares * order.side.sign >= 0:
            return None
        live = (s for s in self._books.live_orders().values() if (s.order.symbol, s.order.side) == (order.symbol, order.side))
        return max(abs(shares) - sum((s.order.outside_qty - (s.filled - s.inside) for s in live), _ZERO), _ZERO)

    def _held(self) -> dict[Symbol, Decimal]:
        """Shares of each symbol in the account, orders on their way included."""
        held = dict(accounting.positions(self._books.book))
        for state in self._books.live_orders().values():
            order = state.order
            held[order.symbol] = held.get(order.symbol, _ZERO) + order.side.sign * (order.qty - state.filled)
        return held

    def buying_power_usd(self) -> Decimal:
        """What the ledger says may still be opened: leverage x equity, less what is held and what orders on their way reserve.

        The broker's own figure is newer, and asked for by nobody at a bar: this one is the same in a replay, and never above what
        Regulation T allows.
        """
        books, marks = self._books, self._books.marks()
        if not all(price.is_finite() for price in marks.values()):
            return _ZERO
        shares = accounting.positions(books.book)
        free = self._limits.leverage * accounting.equity_usd(books.book, marks) - accounting.gross_usd(books.book, marks)
        for state in books.live_orders().values():
            order = state.order
            working = OrderCase(
                symbol=order.symbol,
                side=order.side,
                qty=order.qty - state.filled,
                price_usd=books.price_usd(order.symbol),
                limit_usd=order.limit_usd,
                held_shares=shares.get(order.symbol, _ZERO),
            )
            free -= cost_usd(working, self.market.get(order.symbol), self._limits)
        return max(free, _ZERO)
