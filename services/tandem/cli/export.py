"""`tandem export`: the tables of the ledger, the recorder and the trainer as files for other programs. Reads only."""

from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from tandem.adapters.attribution_rows import read_book
from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.postgres import head
from tandem.adapters.table_export import Column, Table, Written, export, write_table
from tandem.cli.output import print_json, print_table
from tandem.cli.running import Home, postgres_url, settings_of
from tandem.cli.symbols import Json
from tandem.flow.attribution import Parts, attribute

_MANIFEST = "export.json"
_ATTRIBUTION = "attribution"
_DIGIT = Decimal("1e-12")  # of a trade's parts in a file; over HTTP they have all digits


class Format(StrEnum):
    """The form of the files."""

    CSV = "csv"
    PARQUET = "parquet"


def export_tables(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables to write, or `attribution`; all when none is named.", show_default=False)
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files; made when it is not there.")] = Path("export"),
    form: Annotated[Format, typer.Option("--format", help="csv or parquet.")] = Format.PARQUET,
    book: Annotated[str, typer.Option(help="The book whose rows are written; `all` for every book; default: the newest.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Write tables as CSV or Parquet, all at the same moment, and export.json: columns, rows and digest of each file."""
    url = postgres_url(settings_of(home))
    chosen = "" if book == "all" else book or AuditTrail(url).newest_book()
    names = tuple(name for name in tables or () if name != _ATTRIBUTION)
    written = export(url, out, form=form.value, names=names, book=chosen) if names or not tables else []
    if chosen and (not tables or _ATTRIBUTION in tables):
        written.append(_attribution(url, chosen, out, form.value))
    document = {"revision": head(), "book": chosen or "all", "format": form.value, "tables": {w.table.name: _described(w) for w in written}}
    (out / _MANIFEST).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    if json:
        print_json(document)
        return
    print_table(["table", "rows", "file"], [[w.table.name, str(w.rows), w.file] for w in written], right=["rows"])


def _attribution(url: str, book: str, out: Path, form: str) -> Written:
    """What the profit of each closed trade is made of: computed, not stored, because a charge may still come."""
    parts = [part.name for part in fields(Parts)]
    columns = [
        Column(name=name, type="text", nullable=False) for name in ("book", "trade_id", "pair", "sector", "model_name", "model_version")
    ]
    columns += [Column(name=name, type="bigint", nullable=False) for name in ("opened_ns", "closed_ns")]
    columns += [Column(name=name, type="numeric", nullable=False) for name in (*parts, "total_usd")]
    rows = [
        (
            *(book, trade.trade_id, trade.pair, trade.sector, trade.model.name, trade.model.version, trade.opened_ns, trade.closed_ns),
            *rounded,
            sum(rounded, Decimal(0)),
        )
        for trade in read_book(url, book).trades
        if trade.closed_ns is not None
        for found in (attribute(trade, {}).parts,)
        for rounded in ([getattr(found, part).quantize(_DIGIT) for part in parts],)
    ]
    return write_table(Table(name=_ATTRIBUTION, columns=tuple(columns), key=("book", "trade_id")), [rows] if rows else [], out, form=form)


def _described(written: Written) -> dict[str, Any]:
    return {
        "file": written.file,
        "rows": written.rows,
        "sha256": written.sha256,
        "key": written.table.key,
        "columns": [{"name": c.name, "type": c.type, "nullable": c.nullable} for c in written.table.columns],
    }
