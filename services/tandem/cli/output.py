"""How commands print: a table for people, JSON for programs, remarks on stderr so that they never mix with either."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import orjson
import typer


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


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
