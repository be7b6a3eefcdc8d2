"""How commands print: a table for people, JSON for programs, remarks on stderr so that they never mix with either."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import orjson
import typer

from tandem.domain.errors import BadSetting, InvariantBroken, TandemError, Transient

# What to do about an error that does not say it itself, the first kind that fits.
_NEXT_STEPS: tuple[tuple[type[TandemError], str], ...] = (
    (BadSetting, "`tandem doctor` checks all settings; docs/reference/settings.md tells what each may be"),
    (Transient, "`tandem doctor` tells which server is away and what to do; then try again"),
    (InvariantBroken, "stop trading (the kill switch, docs/operations.md), and look at `tandem verify` and `tandem audit --check`"),
)
_TELLS_A_STEP = "`"  # a message that names a command
# An option of the command line is told whole in its message, and no doctor knows it.
_SETTING = re.compile(r"^settings:|\b(TANDEM|MLFLOW|AWS)_[A-Z]")


def print_json(document: object) -> None:
    """One JSON document on standard output; Decimals become text."""
    typer.echo(orjson.dumps(document, default=_plain, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), title: str = "") -> None:
    """A table, as wide as its content where the output is not a terminal. `right`: columns of numbers."""
    # rich takes 0.1 s to import, and --json does without.
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  (see above)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column, name in zip(table.columns, columns, strict=True):
        column.justify = "right" if name in right else "left"
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in the data are no markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)
    console.print(table)


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values, aligned."""
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


def remark(text: str) -> None:
    """A sentence on stderr."""
    typer.echo(text, err=True)


def print_error(error: TandemError) -> None:
    """An error on stderr, in red where that is a terminal, and the next step where the message names none."""
    color = False if os.environ.get("NO_COLOR") else None  # https://no-color.org; otherwise as stderr is
    typer.echo(f"{typer.style('error:', fg=typer.colors.RED, bold=True)} {error}", err=True, color=color)
    if _TELLS_A_STEP in str(error) or (isinstance(error, BadSetting) and not _SETTING.search(str(error))):
        return
    for kind, step in _NEXT_STEPS:
        if isinstance(error, kind):
            typer.echo(f"{typer.style('next:', fg=typer.colors.CYAN)} {step}", err=True, color=color)
            return


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
