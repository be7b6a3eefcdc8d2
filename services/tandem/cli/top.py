"""`tandem top`: the running platform on one screen, until Ctrl-C. Reads only."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tandem.cli.output import print_json
from tandem.cli.running import Home, settings_of
from tandem.cli.top_view import View, look, money
from tandem.domain.errors import Transient
from tandem.domain.units import utc

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_MIB = 1 << 20
_WIDTH = 140  # of a page that goes to a file or a pipe
_INTERRUPTED = 130


def top(
    *,
    home: Home = None,
    once: Annotated[bool, typer.Option("--once", help="Print the screen once and leave; so does a pipe.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    json: Annotated[bool, typer.Option("--json", help="Print everything once, as JSON.")] = False,
) -> None:
    """Watch processes, lag, pairs, positions, equity and alerts of the running platform."""
    folder = settings_of(home).home.expanduser().resolve()
    first = look(folder)
    if not first.processes:
        raise Transient(f"no platform runs under {folder}; start it with `tandem up`")
    if json:
        print_json(first.document())
        return
    from rich.console import Console  # noqa: PLC0415  (0.1 s, and --json does without)
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    if once or not console.is_terminal:
        (console if console.is_terminal else Console(width=_WIDTH)).print(screen(first))
        return
    try:
        with Live(screen(first), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(screen(look(folder)), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def screen(view: View) -> "Group":
    """Everything, one block below the other: what matters most first, since a small terminal cuts off the end."""
    from rich.console import Group  # noqa: PLC0415  (see top)
    from rich.text import Text  # noqa: PLC0415

    now = f"{datetime.now(UTC):%H:%M:%S} UTC"
    head = Text.assemble((f"{view.home}", "bold"), f"  {view.phase}  {now}")
    return Group(head, _account(view.answers), *_alerts(view), _processes(view), _pairs(view.answers), _positions(view.answers))


def _table(*columns: str, right: tuple[str, ...] = ()) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  (see top)
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def _account(answers: dict[str, Any]) -> Any:
    from rich.text import Text  # noqa: PLC0415  (see top)

    summary = answers.get("summary")
    if summary is None:
        return Text("the portfolio has no book yet, or does not answer", style="yellow")
    pnl = Decimal(str(summary["pnl_usd"]))
    decided = f"{utc(summary['decided_ns']):%Y-%m-%d %H:%M} UTC" if summary["decided_ns"] else "nothing yet"
    parts: list[Any] = [f"book {summary['book']}  decided {decided}  equity ", (f"{money(summary['equity_usd'])} USD", "bold")]
    parts += ["  P&L ", (f"{money(pnl)}", "green" if pnl >= 0 else "red"), f"  cash {money(summary['cash_usd'])}"]
    parts += [f"  fees {money(summary['fees_usd'])}  open pairs {summary['open_pairs']}"]
    if summary["waiting_for"]:
        parts.append((f"  waits for {', '.join(summary['waiting_for'])}", "yellow"))
    return Text.assemble(*parts)


def _alerts(view: View) -> list[Any]:
    from rich.text import Text  # noqa: PLC0415  (see top)

    return [Text.assemble(("! ", "bold red"), (alert.what, "bold"), f"  {alert.detail}") for alert in view.alerts] or [
        Text("no alerts", style="green")
    ]


def _processes(view: View) -> "Table":
    from rich.text import Text  # noqa: PLC0415  (see top)

    numbers = ("pid", "port", "memory MiB", "uptime", "lag records", "lag s")
    table = _table("process", "ready", *numbers, right=numbers)
    for process in view.processes:
        ready = Text("yes", style="green") if process.why_not_ready is None else Text("no", style="bold red")
        hours, rest = divmod(int(process.uptime_s), 3600)
        lag = view.lag.get(process.name, {})
        table.add_row(
            *(process.name, ready, str(process.pid), str(process.port), f"{process.memory_bytes / _MIB:.0f}"),
            *(f"{hours}:{rest // 60:02}:{rest % 60:02}", _number(lag.get("records"), "{:,.0f}"), _number(lag.get("seconds"), "{:.1f}")),
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _pairs(answers: dict[str, Any]) -> "Table":
    from rich.markup import escape  # noqa: PLC0415  (see top)

    table = _table(
        "pair", "sector", "state", "spread", "z", "probability", "P&L USD", "why it waits", right=("z", "probability", "P&L USD")
    )
    for row in answers.get("pairs") or ():
        forecast = row.get("forecast") or {}
        cells = (
            *(row["pair"], row["sector"], row["state"], {1: "long", -1: "short"}.get(row["direction"], "")),
            *(_number(forecast.get("z"), "{:+.2f}"), _number(forecast.get("reversion_probability"), "{:.3f}")),
            *(money(row["pnl"]["total_usd"]), row.get("waiting") or ""),
        )
        table.add_row(*map(escape, cells))
    return table


def _positions(answers: dict[str, Any]) -> "Table":
    from rich.markup import escape  # noqa: PLC0415  (see top)

    numbers = ("qty", "entry", "price", "value USD", "P&L USD")
    table = _table("position", *numbers, right=numbers)
    for row in answers.get("positions") or ():
        fields = ("qty", "avg_entry_price", "current_price", "market_value", "unrealized_pl")
        table.add_row(escape(row["symbol"]), *("" if row.get(name) is None else str(row[name]) for name in fields))
    return table
