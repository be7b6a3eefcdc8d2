"""No order is ever sent that a limit forbids, whatever the forecasts, fills, refusals and markets of a run."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tandem.domain.forecasts import MarketState
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Action, OrderStatus, TradingMode
from tandem.flow.barrier import Decidable
from tandem.flow.breakers import BreakerLimits
from tandem.flow.drawdown import Ladder, Rung
from tandem.flow.sizing import Limits
from tandem.portfolio.guard import Guard
from trading_cases import KO, SPEC, batch, forecast
from trading_fakes import rejected
from trading_table import DAY, RISK, S, Table

NAMES = [Symbol(name) for name in ("PEP", "PG", "MDLZ", "KMB")]
PAIRS = {
    PairId(f"KO-{name}"): replace(SPEC, pair=PairId(f"KO-{name}"), leg_b=name, probability_min=0.5, sector=SectorId(sector))
    for name, sector in zip(NAMES, ("drinks", "soap", "soap", "soap"), strict=True)
}
# Each cap by itself, so low that it is reached.
CAPS = {
    "pairs_open_max": 2,
    "gross_exposure_max": Decimal("0.03"),
    "symbol_exposure_max": Decimal("0.012"),
    "net_exposure_max": Decimal("0.0025"),
    "sector_exposure_max": Decimal("0.025"),
}
HALF = Decimal("0.5")
LADDER = Ladder(rungs=(Rung(drawdown=Decimal("0.001"), size=HALF), Rung(drawdown=Decimal("0.003"), size=HALF, mode=TradingMode.REDUCING)))
BREAKERS = BreakerLimits(daily_loss_max=Decimal("0.001"), ladder=LADDER)
# Mostly entries to one side, so that limits are reached; every now and then the mean, the stop and the other side.
_Z = st.sampled_from((-3.0, -2.5, -2.2, -2.1, -2.4, 2.5, 0.0, -4.5))
_SURE, _VARIANCE = st.sampled_from((0.45, 0.55, 0.7, 0.9)), st.sampled_from((1e-5, 1e-4, 1e-3))
_PAIR = st.tuples(_Z, _SURE, _VARIANCE, st.floats(20, 200), st.booleans(), st.sampled_from("fnr"))
_IDLE = (-3.0, 0.45, 1e-5, 20.0, False, "f")
_BARS = st.lists(st.tuples(st.floats(20, 120), st.tuples(*[_PAIR] * len(NAMES))), min_size=1, max_size=8)


@pytest.mark.parametrize("cap", CAPS)
@settings(max_examples=25, deadline=None)
@given(bars=_BARS)
# 600 shares of MDLZ for 12,000 USD on the tick, and 12,002.34 at the mark.
@example(bars=[(20.0, (_IDLE, _IDLE, (-3.0, 0.7, 1e-5, 20.00390625, False, "f"), (2.5, 0.55, 1e-5, 20.0, False, "f")))])
def test_no_order_is_sent_beyond_a_limit(cap: str, bars: list) -> None:
    """After each bar: exposures of what was opened within their caps; nothing in or just after a halt, by a breaker's mode, or unsure."""
    table = Table()
    limits = replace(RISK.limits, **{cap: CAPS[cap]})
    table.desk._risk = replace(RISK, limits=limits)
    table.desk.guard = Guard(table.books, BREAKERS)
    table.desk.specs = PAIRS
    for day, (price_a, found) in enumerate(bars, start=1):
        seen = dict(zip(NAMES, found, strict=True))
        known, answered, stopped = set(table.store.intents), set(table.store.orders), set(table.books.trading_states)
        halted = {name for name, row in seen.items() if row[4] and row[3] < 60}
        resumed = {name for name, row in seen.items() if row[4] and row[3] > 120}
        for name, row in seen.items():
            if row[5] == "r":
                table.broker.answers[name] = rejected
        said = [
            forecast(
                pair=PairId(f"KO-{name}"), leg_b=name, z=z, reversion_probability=p, variance=v, price_a=price_a, price_b=b, bar_index=day
            )
            for name, (z, p, v, b, _, _) in seen.items()
        ]
        ended_ns = {name: day * DAY - (100 if name in resumed else 301) * S for name in NAMES}  # too lately for 300 s, or not
        market = tuple(MarketState(symbol=name, halted=name in halted, last_ns=day * DAY - S, resumed_ns=ended_ns[name]) for name in NAMES)
        bar = batch(day * DAY, *said, market=market)
        table.desk.trade(Decidable(replay_id="r1", bar_close_ns=day * DAY, lockstep=True, end_of_stream=False, batches=(bar,)), 0)
        table.books.flush()
        opened = [i for key, i in table.store.intents.items() if key not in known and i.action in (Action.OPEN_LONG, Action.OPEN_SHORT)]
        if opened:
            # Refusals may trip their breaker after the orders of the bar; every other mode was there before them.
            assert set(table.books.trading_states) <= {"breaker/rejects"} - stopped
            assert not {intent.pair for intent in opened} & {PairId(f"KO-{name}") for name in halted | resumed}
            assert all(seen[PAIRS[intent.pair].leg_b][1] > 0.5 for intent in opened)
            refused = [key for key, order in table.store.orders.items() if key not in answered and order.status is OrderStatus.REJECTED]
            if not refused:  # a leg that the broker refused leaves the other one: that is the unwinding's matter, not the limits'
                _check_exposures(table, limits, opened)
        _fill(table, {KO: price_a, **{name: row[3] for name, row in seen.items()}}, day, {n for n, row in seen.items() if row[5] == "n"})


def _check_exposures(table: Table, limits: Limits, opened: list) -> None:
    exposure = table.books.exposure(PairId("none"))
    equity = exposure.equity_usd
    assert exposure.pairs_open <= limits.pairs_open_max
    assert exposure.gross_usd <= limits.gross_exposure_max * equity
    # A price may lift what is held beyond its cap; the law is about the symbols and sectors that something was opened in.
    legs, sectors = {KO, *(Symbol(PAIRS[intent.pair].leg_b) for intent in opened)}, {intent.sector for intent in opened}
    assert max(abs(exposure.symbol_usd[leg]) for leg in legs) <= limits.symbol_exposure_max * equity
    assert abs(sum(exposure.symbol_usd.values())) <= limits.net_exposure_max * equity
    assert max(exposure.sector_usd[sector] for sector in sectors) <= limits.sector_exposure_max * equity


def _fill(table: Table, prices: dict[Symbol, float], day: int, waiting: set[Symbol]) -> None:
    """Everything that works is filled at the bar's prices, except symbols that wait."""
    for order in list(table.broker.sent):
        works = not table.broker.reports[order.client_order_id].status.is_final
        if works and order.symbol not in waiting and table.broker.live(order.symbol) == order:
            table.books.book_fill(table.broker.fill(order.symbol, day * DAY + S, f"{prices[order.symbol]:.2f}"))
