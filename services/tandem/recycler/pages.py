"""Pages of the data REST: at most so many rows across symbols, by symbol, then time, and a token for the rest.

The token names the last row of a page, so that a clock that moves between two pages neither doubles nor skips a row. Called by data_api.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tandem.domain.ids import Symbol
from tandem.recycler.parameters import bad, whole

_PAGE_MAX, _PAGE_DEFAULT = 10_000, 1_000  # Alpaca's
Row = tuple[str, dict[str, Any]]  # what names the row, and the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What of a symbol's rows is wanted next."""

    from_ns: int
    to_ns: int  # inclusive
    is_descending: bool
    limit: int
    after: int | None  # the name of the row after which it goes on


def page(request: Request, key: str, symbols: Sequence[Symbol], span: Span, rows: Callable[[Symbol, Span], Sequence[Row]]) -> Response:
    """One page. rows: the next rows of a symbol, in order, by at most `limit` names; rows of one name stay together."""
    limit = whole(request, "limit", default=_PAGE_DEFAULT, high=_PAGE_MAX)
    last_name, after = _position(request.query_params.get("page_token"))
    answer: dict[Symbol, list[dict[str, Any]]] = {}
    left, last, token = limit, "", None
    for name in symbols:
        if name < last_name:
            continue
        found = rows(name, replace(span, limit=left + 1, after=after if name == last_name else None))
        names = list(dict.fromkeys(own for own, _ in found))
        taken = set(names[:left])
        if documents := [document for own, document in found if own in taken]:
            answer[name], last = documents, f"{name}|{names[len(taken) - 1]}"
        left -= len(taken)
        if len(names) > len(taken):
            token = last
            break
    return JSONResponse({key: answer, "next_page_token": token})


def _position(token: str | None) -> tuple[str, int | None]:
    name, _, row = (token or "").partition("|")
    if token and not row.isdigit():
        raise bad(f"page_token {token!r}: not one of ours")
    return name, int(row) if token else None
