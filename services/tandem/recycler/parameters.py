"""Values in requests, read strictly: what cannot be used is answered with 422 and the name of the parameter."""

import json
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request

from tandem.domain.ids import Symbol
from tandem.domain.units import NS_PER_S, ns_of_rfc3339
from tandem.recycler.access import CODE_PARAMETER, Refusal

_DATE_LENGTH = len("2024-05-22")
_ZONE = re.compile(r"(Z|[+-]\d\d:\d\d)$", re.IGNORECASE)
_DECIMAL_PLACES_MAX = 9
_DIGITS_MAX = 12  # before the point: beyond any order, and short enough to write out
_BODY_BYTES_MAX = 1_048_576  # 1,000 directives are a tenth of it
_DAY_NS = 86_400 * NS_PER_S


def bad(message: str) -> Refusal:
    """The answer to a parameter that cannot be used."""
    return Refusal(422, CODE_PARAMETER, message)


def time_ns(text: str) -> int:
    """A date, or RFC 3339, as ns UTC; without a zone it is UTC, which is how alpaca-py means it. Raises ValueError."""
    if len(text) == _DATE_LENGTH:
        text += "T00:00:00Z"
    return ns_of_rfc3339(text if _ZONE.search(text) else text + "Z")


def time_of(request: Request, name: str, default_ns: int, *, end_of_day: bool = False) -> int:
    """A query parameter that is a time; with end_of_day a plain date means its last nanosecond."""
    text = request.query_params.get(name)
    if not text:
        return default_ns
    try:
        found = time_ns(text)
    except ValueError as error:
        raise bad(f"{name}: {error}") from error
    return found + _DAY_NS - 1 if end_of_day and len(text) == _DATE_LENGTH else found


def date_of(request: Request, name: str) -> date | None:
    """A query parameter that is a date; "-" and none mean none."""
    text = request.query_params.get(name) or "-"
    try:
        return None if text == "-" else date.fromisoformat(text)
    except ValueError as error:
        raise bad(f"{name}: found {text!r}, must be a date such as 2024-05-22") from error


def whole(request: Request, name: str, *, default: int, high: int) -> int:
    """A query parameter that is a whole number from 1 to high."""
    text = request.query_params.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= high:
        raise bad(f"{name}: found {text!r}, must be a whole number from 1 to {high}")
    return int(text)


def one_of(request: Request, name: str, allowed: Sequence[str]) -> str:
    """A query parameter from a list; the first is the default."""
    text = request.query_params.get(name) or allowed[0]
    if text not in allowed:
        raise bad(f"{name}: found {text!r}, allowed are {', '.join(allowed)}")
    return text


def symbols_of(request: Request, known: Sequence[Symbol]) -> tuple[Symbol, ...]:
    """The query parameter `symbols`, in ascending order. A symbol that the recording does not hold is refused: nothing is invented."""
    names = sorted({name for name in request.query_params.get("symbols", "").split(",") if name})
    if not names:
        raise bad("symbols: none given")
    if missing := [name for name in names if name not in known]:
        raise bad(f"symbols: the recording does not hold {', '.join(missing)}")
    return tuple(map(Symbol, names))


async def document_of(request: Request) -> Any:
    """The JSON of a request, None for an empty body. Raises ValueError for what is no JSON, too long, or nested too deep to be read."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_BYTES_MAX:
            raise ValueError(f"more than {_BODY_BYTES_MAX} bytes")
    try:
        return json.loads(body) if body else None
    except RecursionError as error:
        raise ValueError("nested too deep") from error


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object."""
    try:
        document = await document_of(request)
    except ValueError as error:
        raise Refusal(400, CODE_PARAMETER, f"request body format is invalid: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Refusal(400, CODE_PARAMETER, "request body format is invalid: must be a JSON object")
    return document


def amount(document: dict[str, Any], name: str) -> Decimal | None:
    """A number of a body, which may be text or a JSON number; read through its text, so that 0.1 is one tenth."""
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation as error:
        raise bad(f"{name}: found {value!r}, must be a number") from error
    if not found.is_finite() or -int(found.as_tuple().exponent) > _DECIMAL_PLACES_MAX or found.adjusted() >= _DIGITS_MAX:
        raise bad(f"{name}: found {value!r}, must be finite with at most {_DIGITS_MAX} digits and {_DECIMAL_PLACES_MAX} decimals")
    return found
