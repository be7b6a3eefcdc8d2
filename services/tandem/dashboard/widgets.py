"""What pages share: numbers as people read them, tables, and what is said where there is nothing or something is away."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
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
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|$~:])")


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


def table(rows: Sequence[T], columns: Mapping[str, Callable[[T], Any]]) -> None:
    """Rows as a table, ten of them at a time; columns: title and what it shows of a row."""
    frame = pd.DataFrame([{title: of(row) for title, of in columns.items()} for row in rows], columns=list(columns))
    st.dataframe(frame, hide_index=True, width="stretch", height="auto", placeholder="–")


def few(rows: Sequence[T], columns: Mapping[str, Callable[[T], Any]]) -> None:
    """A handful of rows as text: it wraps on a phone, and what sorts and scrolls is 1.7 MB of code that a page may not need otherwise."""
    shown = [list(columns), ["---"] * len(columns)]
    shown += [[_MARKDOWN.sub(r"\\\1", str(of(row))) for of in columns.values()] for row in rows]
    st.markdown("\n".join(f"| {' | '.join(cells)} |" for cells in shown))


def state_machine(state: str) -> str:
    """The pair's states and the ways between them as Markdown, the one that it is in marked. Text wraps on a phone, a graph shrinks."""

    def badge(name: str) -> str:
        return f":blue-badge[**{name}**]" if name == state else f":gray-badge[{name}]"

    return "  \n".join(" → ".join(" or ".join(map(badge, place)) for place in path) for path in _PATHS)
