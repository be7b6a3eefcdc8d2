"""One backtest from its request to its files: data, settings and policy put together, played, reported. Reads files; prints nothing.

Called by the command and by tests.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from tandem.adapters.calendar import bar_ns
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.fees_file import FEES_FILE, load_fees
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.adapters.market_sectors import file_sectors
from tandem.adapters.new_york import midnight_ns
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, sector_id, short_hash
from tandem.flow.exchange_records import Rules
from tandem.portfolio.risk import load_risk
from tandem.quant.distance import DistanceRule, FormationUnusable, study
from tandem.quant.performance import ReturnsUnusable, moments
from tandem.research import backtest_trials, policies
from tandem.research.backtest_options import BACKTEST_FILE, load_backtest_options
from tandem.research.backtest_quotes import load_quotes
from tandem.research.backtest_records import Played
from tandem.research.backtest_report import Context, write_report
from tandem.research.backtest_run import BacktestTask, Progress, bars_per_day, run, universe
from tandem.research.backtest_statistics import Trials, daily
from tandem.research.policies import Policy
from tandem.research.policy_distance import DistancePolicy
from tandem.trainer.data import training_panel
from tandem.trainer.options import load_options

POLICIES = ("declared", "fdr", "seed", "distance")
ALL = "all"
_STUDY = ((0, 0.0), (1, 0.0), (1, 5.0), (1, 10.0))  # delay and cost of the rows that the reference has


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The command line, with its texts read."""

    data: Path
    out: Path
    sector: str
    policy: str
    from_day: str
    to_day: str
    train_bars: int | None
    trade_bars: int | None
    step_bars: int
    bar: str
    cost_bps: Decimal | None
    quotes: Path | None
    borrow_bps: Decimal | None
    capital_usd: Decimal | None
    notional_usd: Decimal | None
    pairs: int
    exclude: tuple[str, ...]
    network: bool
    trials: int
    trials_file: Path | None
    seed: int | None


def execute(request: Request, *, config_dir: Path, commit: str, notice: Callable[[Progress], None] = lambda _: None) -> dict[str, Any]:
    """Play and report; the document of report.json. Raises BadSetting, BadRecord and Permanent with what is wrong."""
    if request.policy not in POLICIES:
        raise BadSetting(f"--policy {request.policy}: allowed are {', '.join(POLICIES)}")
    if request.cost_bps is not None and request.quotes is not None:
        raise BadSetting("--cost-bps and --quotes: give one of them")
    began_s = time.monotonic()
    market, rejected = _market(request, config_dir)
    task = _task(request, config_dir)
    policy, seed = _policy(request, config_dir, task)
    played = run(task, market, policy, notice=notice)
    settings = _settings(request, task, seed) | {"config_digest": _config_digest(config_dir)}
    context = Context(
        policy=policy.name,
        says=policy.says,
        settings=settings,
        data={"file": market.path.name, "digest": market.digest, "symbols": list(market.symbols), "left_out": rejected},
        commit=commit,
        trials=_trials(request, settings, market.digest, played),
        seed=seed,
        study=_study(request, task, market) if request.policy == "distance" else None,
        warnings=_notes(request),
        wall_s=time.monotonic() - began_s,
    )
    return write_report(played, context, request.out)


def _market(request: Request, config_dir: Path) -> tuple[MarketData, list[dict[str, str]]]:
    """The universe's ticks, and the symbols that the file holds and that cannot be read."""
    market = load_market_data(request.data, drop_bad=True)
    named: set[str] = set(market.symbols)
    if request.sector != ALL:
        sector = _sector(request.sector)
        of_file = {name for name, of in file_sectors(request.data).items() if of == sector}
        named = of_file or set(load_sectors(config_dir).sectors.get(sector, ()))
        if not named:
            raise BadSetting(f"--sector {request.sector}: neither the file nor config/sectors.yaml knows it")
        if request.policy == "declared":  # a declared pair may name a symbol of another sector
            named |= {leg for spec in load_pairs(config_dir) if spec.sector == sector for leg in (spec.leg_a, spec.leg_b)}
    if unknown := sorted(set(request.exclude) - set(market.symbols) - {r.symbol for r in market.rejections}):
        raise BadSetting(f"--exclude {', '.join(unknown)}: not in {request.data.name}")
    rejected = [{"symbol": r.symbol, "reason": r.reason, "detail": r.detail} for r in market.rejections if r.symbol in named]
    return universe(market, tuple(named - set(request.exclude))), rejected


def _task(request: Request, config_dir: Path) -> BacktestTask:
    options, paper = load_backtest_options(config_dir), DistanceRule()
    is_distance = request.policy == "distance"
    rules = Rules(fees=load_fees(config_dir / FEES_FILE))
    if request.cost_bps is not None:
        rules = Rules(fees=rules.fees, half_spread_bps=request.cost_bps, half_spread_min_usd=Decimal(0), whole_ticks=False)
    return BacktestTask(
        sector=_sector(request.sector),
        bar=request.bar,
        train_bars=request.train_bars or (paper.formation_bars if is_distance else options.train_bars),
        trade_bars=request.trade_bars or (paper.trading_bars if is_distance else options.trade_bars),
        from_ns=midnight_ns(request.from_day) if request.from_day else None,
        to_ns=midnight_ns(request.to_day) if request.to_day else None,
        capital_usd=request.capital_usd or options.capital_usd,
        rules=rules,
        risk=load_risk(config_dir, bar_ns=bar_ns(request.bar)),
        borrow_bps_year=options.borrow_bps_year if request.borrow_bps is None else request.borrow_bps,
        quotes=None if request.quotes is None else load_quotes(request.quotes),
    )


def _policy(request: Request, config_dir: Path, task: BacktestTask) -> tuple[Policy, int]:
    """The policy, and the seed of training and bootstrap."""
    options = policies.scored_elsewhere(
        load_options(config_dir / "training.yaml"), epochs_max=None if request.network else 0, seed=request.seed
    )
    seed = options.network.seed
    probability_min = None if request.network else 0.0
    if request.policy == "declared":
        specs = tuple(spec for spec in load_pairs(config_dir) if request.sector == ALL or spec.sector == task.sector)
        terms = policies.Terms(notional_usd=request.notional_usd, probability_min=probability_min)
        return policies.declared_policy(specs, options, terms), seed
    notional_usd = request.notional_usd or load_backtest_options(config_dir).notional_usd
    terms = policies.Terms(notional_usd=notional_usd, probability_min=probability_min)
    if request.policy == "fdr":
        return policies.fdr_policy(options, terms), seed
    if request.policy == "seed":
        return policies.seed_policy(options, terms), seed
    rule = DistanceRule(pairs=request.pairs, formation_bars=task.train_bars, trading_bars=task.trade_bars, step_bars=request.step_bars)
    variance = task.risk.limits.volatility_target_daily**2 / bars_per_day(bar_ns(request.bar))  # at it, sizing gives the whole notional
    return DistancePolicy(rule=rule, terms=terms, variance=variance), seed


def _study(request: Request, task: BacktestTask, market: MarketData) -> dict[str, Any] | None:
    """The distance method's figures on the whole file, as the literature counts them; None where it holds no whole portfolio of days."""
    if request.bar != "1d":
        return None
    event_ns = market.ticks["event_ns"]
    panel, _ = training_panel(market, task.sector, market.symbols, bar="1d", from_ns=int(event_ns[0]), to_ns=int(event_ns[-1]) + 10**9)
    rule = DistanceRule(pairs=request.pairs, formation_bars=task.train_bars, trading_bars=task.trade_bars, step_bars=request.step_bars)
    try:
        found = [(d, c, study(panel.close, panel.symbols, rule, delay_bars=d, cost_bps=c)) for d, c in _STUDY]
    except FormationUnusable:
        return None
    rows = [
        {"delay_bars": d, "cost_bps": c, "monthly_percent": s.monthly_percent, "trades_per_pair": s.trades_per_pair} for d, c, s in found
    ]
    return {"portfolios": len(found[0][2].portfolio_returns), "pairs": rule.pairs, "rows": rows}


def _settings(request: Request, task: BacktestTask, seed: int) -> dict[str, Any]:
    """Everything that the result depends on besides data and code, as plain values."""
    costs = f"{request.cost_bps} bps a side, and fees" if request.cost_bps is not None else "as the paper exchange, and fees"
    return {
        "policy": request.policy,
        "sector": request.sector,
        "bar": request.bar,
        "from": request.from_day or None,
        "to": request.to_day or None,
        "train_bars": task.train_bars,
        "trade_bars": task.trade_bars,
        "costs": f"quotes of {request.quotes.name}, and fees" if request.quotes is not None else costs,
        "cost_bps": None if request.cost_bps is None else float(request.cost_bps),
        "borrow_bps_year": float(task.borrow_bps_year),
        "capital_usd": float(task.capital_usd),
        "notional_usd": None if request.notional_usd is None else float(request.notional_usd),  # null: as declared, or as configured
        "pairs": request.pairs if request.policy == "distance" else None,
        "exclude": sorted(request.exclude),
        "network": request.network and request.policy != "distance",
        "seed": seed,
    }


def _config_digest(config_dir: Path) -> str:
    """Of every file that a run may depend on."""
    pairs = sorted((config_dir / "pairs").glob("*.y*ml"))
    files = [config_dir / name for name in (BACKTEST_FILE, FEES_FILE, "risk.yaml", "sectors.yaml", "training.yaml")]
    return short_hash("config", *(file.read_bytes().hex() for file in [*files, *pairs] if file.is_file()))


def _trials(request: Request, settings: dict[str, Any], digest: str, played: Played) -> Trials:
    if request.trials_file is None:
        return backtest_trials.declared(request.trials)
    try:
        sharpe = moments(daily(played).returns).sharpe
    except ReturnsUnusable:
        sharpe = None
    key = short_hash("trial", digest, orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode())
    return backtest_trials.recorded(request.trials_file, key, sharpe, at_least=request.trials)


def _notes(request: Request) -> tuple[str, ...]:
    found = []
    if request.policy == "declared":
        found.append("The pairs were declared by people who knew how these years went. No statistic here can take that out.")
    if request.policy == "distance":
        found.append("Overlapping portfolios of the study share days: their returns are not independent, and it has no account.")
    return tuple(found)


def _sector(text: str) -> SectorId:
    try:
        return sector_id("-".join(text.lower().split()))
    except ValueError as error:
        raise BadSetting(f"--sector: {error}") from error
