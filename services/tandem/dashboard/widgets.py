"""What pages share: numbers as people read them, tables, and what is said where there is nothing or something is away."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from html import escape
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from tandem.adapters.new_york import NEW_YORK
from tandem.domain.errors import BadSetting, TandemError, Transient
from tandem.domain.units import cents, utc

Row = Mapping[str, Any]
T = TypeVar("T")
# Followed from left to right; of several in one place each leads on.
_PATHS = (
    (("flat",), ("opening",), ("hedged",), ("closing",), ("flat",)),
    (("opening", "closing"), ("unwinding",), ("flat", "quarantined")),
    (("quarantined",), ("flat",)),
)
_TEXT_ROWS_MAX = 12  # every sector fits
_LINE_CHARACTERS_MAX = 40
_DECIMAL_MIN = 1e-3  # below it four decimals would hide a number
_NUMBER = re.compile(r"[+-]?\$?[\d,]+(\.\d+)?(e-\d+)?%?")
_TABLE = "border-collapse:collapse;width:100%;font-size:.875rem"
_CELL = "padding:.3rem .6rem;border:1px solid rgba(128,128,128,.3);vertical-align:top"  # on light and on dark
_HEAD = f"{_CELL};text-align:left;white-space:nowrap;opacity:.7"


def usd(value: Any, *, sign: bool = False) -> str:
    """Money with its currency; a dash where there is none."""
    if value is None:
        return "–"
    amount = cents(Decimal(str(value)))
    text = f"{abs(amount):,.2f}"
    mark = "-" if amount < 0 else "+" if sign and amount > 0 else ""
    return f"{mark}${text}"


def when(ns: int | None) -> str:
    """A time in New York; a dash for none."""
    return f"{utc(ns).astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}" if ns else "–"


@contextmanager
def section(title: str = "") -> Iterator[None]:
    """A part of a page. When what it needs is away or refuses, it says so, and the rest of the page is still drawn."""
    if title:
        st.subheader(title)
    try:
        yield
    except Transient as error:
        st.warning(f"Not available now: {error}. Press *Refresh* when it is back.")
    except BadSetting as error:
        st.warning(f"Not to be had: {error}.")
    except TandemError as error:
        st.error(f"{type(error).__name__}: {error}")


def nothing(what: str, how: str) -> None:
    """An empty state: what is missing, and how to get it."""
    st.info(f"{what} {how}")


def table(rows: Sequence[T], columns: Mapping[str, Callable[[T], Any]], *, key: str = "") -> None:
    """Rows as a table; columns: title and what it shows of a row; key: tells it from another table of the page with the same columns.

    The first dozen stand there as text, which needs no code of the browser. What sorts and searches all of them is 1.7 MB of it, which
    comes when a reader asks for it.
    """
    shown = [{title: of(row) for title, of in columns.items()} for row in rows]
    if len(rows) > _TEXT_ROWS_MAX and st.toggle(f"All {len(rows):,} rows, to sort and to search", key=f"table {key} {' '.join(columns)}"):
        grid(shown)
        return
    head = "".join(f'<th scope="col" style="{_HEAD}">{escape(title)}</th>' for title in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in shown[:_TEXT_ROWS_MAX])
    whole = f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    st.html(f'<div style="overflow-x:auto" tabindex="0">{whole}</div>')


def grid(rows: Sequence[Row]) -> None:
    """All rows as what sorts and searches."""
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="auto", placeholder="–")


def _cell(value: Any) -> str:
    """A number or an amount stands right, a sentence wraps, all else stays in one line: a narrow screen pushes the table aside."""
    text = _text(value)
    style = "text-align:right;font-variant-numeric:tabular-nums" if _NUMBER.fullmatch(text) else "white-space:nowrap"
    if len(text) > _LINE_CHARACTERS_MAX:
        style = "min-width:16rem;overflow-wrap:anywhere"
    return f'<td style="{_CELL};{style}">{escape(text)}</td>'


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if 0 < abs(value) < _DECIMAL_MIN else f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)


def state_machine(state: str) -> str:
    """The pair's states and the ways between them as Markdown, the one that it is in marked. Text wraps on a phone, a graph shrinks."""

    def badge(name: str) -> str:
        return f":blue-badge[**{name}**]" if name == state else f":gray-badge[{name}]"

    return "  \n".join(" → ".join(" or ".join(map(badge, place)) for place in path) for path in _PATHS)
