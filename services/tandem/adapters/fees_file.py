"""config/fees.yaml as a FeeTable. A date counts from midnight in New York, where trades are dated."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tandem.adapters.yaml_documents import Document, read_documents, read_text
from tandem.domain.errors import BadSetting
from tandem.domain.units import ns_of
from tandem.flow.fees import CatRate, FeeTable, Section31Rate, TafRate

FEES_FILE = "fees.yaml"
_NEW_YORK = ZoneInfo("America/New_York")
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")
_KEYS = {
    "section_31": ("from", "usd_per_million"),
    "taf": ("from", "usd_per_share", "cap_usd"),
    "cat": ("from", "usd_per_share"),
}


def load_fees(path: Path) -> FeeTable:
    """The table in a file. Raises BadSetting with the line of what is wrong."""
    return parse_fees(str(path), read_text(path))


def parse_fees(file: str, text: str) -> FeeTable:
    """The same from a text; `file` names it in messages."""
    documents = read_documents(file, text)
    if len(documents) != 1:
        raise BadSetting(f"{file}: {len(documents)} YAML documents, must be 1")
    document = documents[0]
    if unknown := [key for key in document.root if key not in _KEYS]:
        raise BadSetting(f"{document.at(unknown[0])}: unknown key {unknown[0]!r}, allowed are {', '.join(_KEYS)}")
    try:
        return FeeTable(
            section_31=tuple(
                Section31Rate(
                    from_ns=_from_ns(document, "section_31", i, row),
                    usd_per_million=_money(document, "section_31", i, row, "usd_per_million"),
                )
                for i, row in _rows(document, "section_31")
            ),
            taf=tuple(
                TafRate(
                    from_ns=_from_ns(document, "taf", i, row),
                    usd_per_share=_money(document, "taf", i, row, "usd_per_share"),
                    cap_usd=_money(document, "taf", i, row, "cap_usd"),
                )
                for i, row in _rows(document, "taf")
            ),
            cat=tuple(
                CatRate(from_ns=_from_ns(document, "cat", i, row), usd_per_share=_money(document, "cat", i, row, "usd_per_share"))
                for i, row in _rows(document, "cat")
            ),
        )
    except ValueError as error:
        raise BadSetting(f"{file}: {error}") from error


def _rows(document: Document, table: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows = document.root.get(table, [])
    if not isinstance(rows, list):
        raise BadSetting(f"{document.at(table)}: {table} must be a list of rates")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping) or tuple(sorted(row)) != tuple(sorted(_KEYS[table])):
            raise BadSetting(f"{document.at(table, i)}: a rate of {table} must have exactly {', '.join(_KEYS[table])}")
    return list(enumerate(rows))


def _from_ns(document: Document, table: str, i: int, row: Mapping[str, Any]) -> int:
    day = row["from"]
    if not isinstance(day, date) or isinstance(day, datetime):
        raise BadSetting(f"{document.at(table, i, 'from')}: found {day!r}, must be a date such as 2024-05-22")
    return ns_of(datetime(day.year, day.month, day.day, tzinfo=_NEW_YORK))


def _money(document: Document, table: str, i: int, row: Mapping[str, Any], key: str) -> Decimal:
    # Text only: a YAML number would pass through a float, and money never does.
    text = row[key]
    if isinstance(text, str) and _AMOUNT.fullmatch(text):
        return Decimal(text)
    raise BadSetting(f"{document.at(table, i, key)}: found {text!r}, must be an amount in quotes such as '27.80'")
