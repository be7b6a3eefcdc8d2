"""`tandem backtest`: train on a window, trade the next bars, and so on, by the code that trades live. Reads texts, prints a summary."""

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tandem import settings as settings_module
from tandem.cli.output import print_facts, print_json, remark
from tandem.domain.errors import BadSetting

if TYPE_CHECKING:
    from tandem.research.backtest_run import Progress


def backtest(
    *,
    data: Annotated[Path, typer.Option(help="Parquet file of trades, bars or closes.")],
    out: Annotated[Path, typer.Option(help="Folder for report.json, trades, fills and equity (Parquet) and tear_sheet.html.")],
    policy: Annotated[str, typer.Option(help="What chooses pairs: declared, fdr, seed or distance.")],
    sector: Annotated[str, typer.Option(help="Of the file's column `sector`, else of config/sectors.yaml; all: every symbol.")] = "all",
    trade_from: Annotated[str, typer.Option("--from", help="First day that is traded, YYYY-MM-DD in New York.")] = "",
    trade_to: Annotated[str, typer.Option("--to", help="First day that is no longer traded.")] = "",
    train_bars: Annotated[int | None, typer.Option(min=2, help="Bars that each window has seen; default: config/backtest.yaml.")] = None,
    trade_bars: Annotated[int | None, typer.Option(min=2, help="Bars that each window trades.")] = None,
    step: Annotated[int, typer.Option(min=1, help="Policy distance: bars between the portfolios of its study.")] = 21,
    bar: Annotated[str, typer.Option(help="1min, 5min or 1d.")] = "1d",
    cost_bps: Annotated[
        str, typer.Option(help="Half spread in basis points a side, at exact prices; default: as the paper exchange.")
    ] = "",
    quotes: Annotated[Path | None, typer.Option(help="Parquet of quotes (symbol, ts, bid, ask): half spreads of their time.")] = None,
    borrow_bps: Annotated[str, typer.Option(help="Basis points a year on what is short overnight; default: config/backtest.yaml.")] = "",
    capital: Annotated[str, typer.Option(help="USD that the account opens with.")] = "",
    notional: Annotated[str, typer.Option(help="USD of both legs of a pair together, declared ones included.")] = "",
    pairs: Annotated[int, typer.Option(min=1, help="Policy distance: closest pairs to trade.")] = 20,
    exclude: Annotated[list[str] | None, typer.Option(help="A symbol to leave out; repeatable.")] = None,
    network: Annotated[bool, typer.Option(help="Train the network; without it plain GARCH, and no threshold on its probability.")] = True,
    trials: Annotated[int, typer.Option(min=1, help="Variants tried on the way here, this one included: deflates the Sharpe ratio.")] = 1,
    trials_file: Annotated[Path | None, typer.Option(help="Record of all variants tried (JSON lines); this run is added.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of training and bootstrap; default: config/training.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Trade recorded data as the platform would have: windows that train on the past only, orders at the next bar, all costs."""
    # Here, because torch and plotly take seconds to import and `tandem backtest --help` needs neither.
    from tandem.research.backtest_job import Request, execute  # noqa: PLC0415

    request = Request(
        data=data,
        out=out,
        sector=sector,
        policy=policy,
        from_day=trade_from,
        to_day=trade_to,
        train_bars=train_bars,
        trade_bars=trade_bars,
        step_bars=step,
        bar=bar,
        cost_bps=_amount("--cost-bps", cost_bps),
        quotes=quotes,
        borrow_bps=_amount("--borrow-bps", borrow_bps),
        capital_usd=_amount("--capital", capital),
        notional_usd=_amount("--notional", notional),
        pairs=pairs,
        exclude=tuple(exclude or ()),
        network=network,
        trials=trials,
        trials_file=trials_file,
        seed=seed,
    )
    with _quiet(), _progress_bar() as notice:
        document = execute(request, config_dir=settings_module.load().config_dir, commit=_commit(), notice=notice)
    if as_json:
        print_json(document)
    else:
        _show(document)
    remark(f"written to {out}: open {out / 'tear_sheet.html'}")


def _show(document: dict[str, Any]) -> None:
    stats, costs, trading = document["statistics"], document["costs"], document["trading"]
    facts = {
        "policy": document["policy"]["says"],
        "windows": f"{len(document['windows'])}, {sum(not row['pairs'] for row in document['windows'])} without a pair",
        "round trips": f"{trading['trades']}, hit rate {_percent(trading['hit_rate'])}",
        "net profit": f"{costs['net_pnl_usd']:,.2f} USD = {costs['market_pnl_usd']:,.2f} at market prices "
        f"- {costs['spread_usd']:,.2f} spread - {costs['fees_usd']:,.2f} fees - {costs['borrow_usd']:,.2f} borrow",
    }
    if stats["annual_return"] is not None:
        sharpe = "n/a" if stats["sharpe"] is None else f"{stats['sharpe']:.2f}"
        interval = stats["intervals"].get("sharpe")
        facts |= {
            "a year": f"return {stats['annual_return']:.2%}, volatility {stats['annual_volatility']:.2%}, Sharpe {sharpe}"
            + (f" (95 %: {interval[0]:.2f} to {interval[1]:.2f})" if interval else ""),
            "drawdown": f"{stats['drawdown']['depth']:.2%}",
            "Sharpe > 0": f"probabilistic {_percent(stats['probabilistic_sharpe'])}, deflated {_percent(stats['deflated_sharpe'])} "
            f"({stats['trials']} trials)",
        }
    for row in (document["distance_study"] or {}).get("rows", []):
        name = f"study: delay {row['delay_bars']}, {row['cost_bps']:g} bps"
        facts[name] = f"{row['monthly_percent']:.3f} % a month on committed capital, {row['trades_per_pair']:.2f} trades per pair"
    print_facts(facts)
    for warning in document["warnings"]:
        remark(f"note: {warning}")


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.1%}"


@contextmanager
def _progress_bar() -> "Iterator[Callable[[Progress], None]]":
    """A bar over the windows on stderr, where that is a terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        number = bars.add_task("reading", total=None)

        def notice(at: "Progress") -> None:
            done = at.window if at.doing == "traded" else at.window - 1
            bars.update(number, description=f"window {at.window}: {at.doing}", completed=done, total=at.windows)

        yield notice


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the portfolio's own log lines, one for each order, which are for services."""
    import structlog  # noqa: PLC0415

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


def _commit() -> str:
    """The commit that runs, with a mark where files differ from it; "unknown" outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def _amount(option: str, text: str) -> Decimal | None:
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise BadSetting(f"{option} {text!r}: expected a number") from error
    is_bps = option.endswith("-bps")
    if not value.is_finite() or value < 0 or (value == 0 and not is_bps) or (is_bps and value >= 10_000):
        raise BadSetting(f"{option} {text}: must be {'from 0, below 10000' if is_bps else 'above 0'}")
    return value
