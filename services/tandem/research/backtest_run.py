"""Walk-forward: screen and train on a window, trade the next bars through the live code, go on. No file, no clock.

Each window's policy gets the training bars as a panel of their own, so that it cannot see what it will trade. One account goes through
all windows; at the last bar but one of a window every pair is closed, so that no window lives on the next one's bars.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import MarketData
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow.exchange_records import Rules
from tandem.flow.replay import Schedule, replay_id, schedule
from tandem.portfolio.risk import Risk
from tandem.quant.panel import Panel
from tandem.quant.quality import QualityRule, SymbolRejection, check_panel
from tandem.recycler.market import Market
from tandem.research.backtest_market import QuotedMarket
from tandem.research.backtest_quotes import Quotes
from tandem.research.backtest_records import Played, WindowOutcome, WindowPlan
from tandem.research.backtest_replay import Replay
from tandem.research.backtest_windows import plan_windows
from tandem.research.policies import Policy, Prepared, WindowData
from tandem.trainer.data import training_panel

_DAY_NS = 86_400 * NS_PER_S
_AHEAD_NS = 7 * _DAY_NS  # of the data's end, so that an order of the last bar has a next session
_SESSION_NS = 6.5 * 3_600 * NS_PER_S  # regular trading hours of the New York Stock Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTask:
    """What to play besides the data and the policy. borrow_bps_year: on what is short overnight; quotes: instead of the rules' spread."""

    sector: SectorId
    bar: str
    train_bars: int
    trade_bars: int
    from_ns: int | None
    to_ns: int | None
    capital_usd: Decimal
    rules: Rules
    risk: Risk
    borrow_bps_year: Decimal
    quotes: Quotes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is: window of windows, and what it does."""

    window: int
    windows: int
    doing: str


def run(task: BacktestTask, data: MarketData, policy: Policy, *, notice: Callable[[Progress], None] = lambda _: None) -> Played:
    """Play the data. `data` holds the universe and nothing else. Raises BadSetting when there is nothing to trade."""
    if len(data.ticks) == 0:
        raise BadSetting(f"{data.path}: no tick of the symbols asked for")
    event_ns = data.ticks["event_ns"]
    panel, slots = training_panel(
        data, task.sector, data.symbols, bar=task.bar, from_ns=int(event_ns[0]), to_ns=int(event_ns[-1]) + _DAY_NS
    )
    plans = plan_windows(panel.close_ns, train_bars=task.train_bars, trade_bars=task.trade_bars, from_ns=task.from_ns, to_ns=task.to_ns)
    grid = session_grid(task.bar, int(event_ns[0]), int(event_ns[-1]) + _AHEAD_NS)
    steps = schedule(event_ns, grid, from_ns=plans[0].train_to_ns, to_ns=plans[-1].trade_to_ns)
    replay = _replay(task, data, grid, steps)
    outcomes = []
    for plan in plans:
        notice(Progress(window=plan.number, windows=len(plans), doing="training"))
        window = WindowData(
            number=plan.number,
            sector=task.sector,
            bar=task.bar,
            slots=slots,
            panel=panel.between(plan.train_start, plan.trade_start),
            grid=grid,
            data_digest=data.digest,
        )
        window, rejections = _sound(window, task)
        prepared = policy.prepare(window)
        notice(Progress(window=plan.number, windows=len(plans), doing="trading"))
        outcome = _play_window(replay, plan, prepared, steps=steps)
        notice(Progress(window=plan.number, windows=len(plans), doing="traded"))
        suspects = _suspects(panel.between(plan.train_start, plan.trade_stop), prepared, task)
        outcomes.append(replace(outcome, rejections=rejections, suspects=suspects))
    _end(replay, steps)
    return _played(replay, task, outcomes)


def _sound(window: WindowData, task: BacktestTask) -> tuple[WindowData, tuple[SymbolRejection, ...]]:
    """The window without the symbols whose training prices have a defect, such as a split that they are not adjusted for."""
    panel, rejections = check_panel(window.panel, _quality(task))
    return replace(window, panel=panel), rejections


def _suspects(panel: Panel, prepared: Prepared, task: BacktestTask) -> tuple[SymbolRejection, ...]:
    """Symbols of the window's pairs whose prices have a defect once the traded bars are known: nobody could see it then, readers must."""
    legs = {leg for spec in prepared.specs.values() for leg in (spec.leg_a, spec.leg_b)}
    return tuple(r for r in check_panel(panel, _quality(task))[1] if r.symbol in legs)


def _quality(task: BacktestTask) -> QualityRule:
    return QualityRule.for_bar(task.bar, bars_min=task.train_bars // 2)


def _replay(task: BacktestTask, data: MarketData, grid: SessionGrid, steps: Schedule) -> Replay:
    market = (
        Market(data, grid, task.rules, task.capital_usd)
        if task.quotes is None
        else QuotedMarket(data, grid, task.rules, task.capital_usd, task.quotes)
    )
    name = replay_id(
        data.digest, task.from_ns, task.to_ns, task.bar, task.capital_usd, task.rules, "backtest", data.symbols, 0, pass_number=0
    )
    market.begin(name, place=steps.start, now_ns=int(data.ticks["event_ns"][steps.start]) - 1)
    return Replay(
        market,
        task.sector,
        task.risk,
        capital_usd=task.capital_usd,
        bars_per_day=bars_per_day(grid.bar_ns),
        borrow_bps_year=task.borrow_bps_year,
    )


def bars_per_day(bar_ns: int) -> float:
    """Bars of this length in a session, as the portfolio counts them."""
    return max(_SESSION_NS / bar_ns, 1.0)


def _play_window(replay: Replay, plan: WindowPlan, prepared: Prepared, *, steps: Schedule) -> WindowOutcome:
    before = replay.equity_usd
    replay.begin_window(plan.number, prepared.specs, prepared.forecaster)
    first = int(np.searchsorted(steps.watermark_ns, plan.train_to_ns, side="right"))
    stop = int(np.searchsorted(steps.watermark_ns, plan.trade_to_ns, side="right"))
    for number in range(first, stop):
        if number >= stop - 2:
            replay.close_all()
        replay.play(steps.step(number), nights=_nights(steps, number))
    return WindowOutcome(
        plan=plan,
        pairs=tuple(sorted(prepared.specs)),
        digest=prepared.digest,
        tested=prepared.tested,
        note=prepared.note,
        equity_start_usd=before,
        equity_end_usd=replay.equity_usd,
    )


def _nights(steps: Schedule, number: int) -> int:
    """Calendar days between the close of a bar and that of the next; sessions close on the same day in UTC and in New York."""
    if number + 1 >= len(steps) - 1:  # the last step is the end of the stream, not a bar
        return 0
    return int(steps.watermark_ns[number + 1] // _DAY_NS - steps.watermark_ns[number] // _DAY_NS)


def _end(replay: Replay, steps: Schedule) -> None:
    replay.play(steps.step(len(steps) - 1), nights=0)
    replay.end()


def _played(replay: Replay, task: BacktestTask, outcomes: Sequence[WindowOutcome]) -> Played:
    store = replay.store
    return Played(
        capital_usd=task.capital_usd,
        executions=replay.executions(),
        trades=tuple(sorted(store.trades.values(), key=lambda trade: (trade.opened_ns, trade.pair))),
        trade_windows=dict(replay.trade_windows),
        signals=tuple(store.signals),
        points=tuple(replay.points),
        windows=tuple(outcomes),
        book=replay.books.book,
        marks_usd=replay.marks(),
        borrow_usd=dict(replay.borrow_usd),
        alarms=tuple(f"{event.scope}: {event.code}: {event.detail}" for event in store.alarms.values()),
    )


def universe(data: MarketData, symbols: Sequence[str]) -> MarketData:
    """The part of a market that holds these symbols; those that it does not hold are left out. Raises BadSetting when none is left."""
    kept = tuple(name for name in data.symbols if name in set(symbols))
    if not kept:
        raise BadSetting(f"{data.path.name} holds none of {', '.join(sorted(symbols)) or 'no symbol'}")
    number = np.full(len(data.symbols), -1, np.int64)
    number[[data.symbols.index(name) for name in kept]] = np.arange(len(kept))
    rows = np.flatnonzero(number[data.ticks["symbol"]] >= 0)
    ticks = data.ticks[rows]
    ticks["symbol"] = number[ticks["symbol"]]
    return replace(data, symbols=tuple(map(Symbol, kept)), ticks=ticks, bars=None if data.bars is None else data.bars[rows])
