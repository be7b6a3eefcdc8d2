"""Directives as they come from a script or over HTTP, and back: {"at": ..., name: {fields}}. docs/exchange.md has the table.

pydantic reads the fields, as they are outside data; what comes out are the records of flow/directives.py.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tandem.domain.errors import BadSetting
from tandem.domain.ids import Symbol
from tandem.domain.units import ns_of, ns_of_rfc3339
from tandem.flow.directives import (
    AssetFlags,
    Band,
    Directive,
    Dividend,
    Halt,
    Liquidation,
    ManualTrade,
    PowerCut,
    Race,
    RejectNext,
    Resume,
    ShortRestriction,
    Split,
)

NAMES: Mapping[str, type[Directive]] = {
    "halt": Halt,
    "resume": Resume,
    "band": Band,
    "short_restriction": ShortRestriction,
    "asset": AssetFlags,
    "split": Split,
    "dividend": Dividend,
    "liquidation": Liquidation,
    "manual_trade": ManualTrade,
    "reject_next": RejectNext,
    "race": Race,
    "power_cut": PowerCut,
}
_KINDS = {kind: name for name, kind in NAMES.items()}
_COUNTED = re.compile(r"(bar|order) ([1-9]\d{0,8})")
_OPTIONAL = {"band": ("low_usd", "high_usd"), "power_cut": ("usd",)}  # null means something, and may be left out


class When(StrEnum):
    """What `at` counts."""

    NOW = "now"
    TIME = "time"
    BAR = "bar"
    ORDER = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A directive and when it takes effect."""

    directive_id: str
    directive: Directive
    when: When
    at: int  # event time in ns, or number of the bar or order; 0 for now

    def document(self) -> dict[str, Any]:
        """As it came."""
        at = {"directive_id": self.directive_id, "when": self.when.value, "at": self.at}
        return {**at, directive_name(self.directive): directive_fields(self.directive)}


def planned(document: object, directive_id: str, symbols: Sequence[Symbol]) -> Planned:
    """A directive from its form. Raises BadSetting with what is wrong."""
    if not isinstance(document, Mapping):
        raise BadSetting(f"a directive is {document!r}, must be an object such as {{halt: {{symbol: KO}}}}")
    names = [key for key in document if key != "at"]
    if len(names) != 1 or names[0] not in NAMES:
        raise BadSetting(f"found {', '.join(map(str, names)) or 'nothing'}, must be exactly one of {', '.join(NAMES)}, and at")
    name = names[0]
    when, at = _when(document.get("at"))
    return Planned(directive_id=directive_id, directive=_directive(name, document[name], symbols), when=when, at=at)


def planned_of(document: Mapping[str, Any], symbols: Sequence[Symbol]) -> Planned:
    """The directive whose `document` this is, read back from the log."""
    name = next(key for key in document if key in NAMES)
    directive = _directive(name, document[name], symbols)
    return Planned(directive_id=document["directive_id"], directive=directive, when=When(document["when"]), at=document["at"])


def _directive(name: str, fields: object, symbols: Sequence[Symbol]) -> Directive:
    kind = NAMES[name]
    if fields is None:
        fields = {}
    if not isinstance(fields, Mapping):
        raise BadSetting(f"{name}: {fields!r}, must be an object of fields")
    allowed = [field.name for field in dataclasses.fields(kind)]
    if unknown := [key for key in fields if key not in allowed]:
        raise BadSetting(f"{name}: unknown field {unknown[0]!r}, allowed are {', '.join(allowed)}")
    values = {**dict.fromkeys(_OPTIONAL.get(name, ())), **{key: _plain(value) for key, value in fields.items()}}
    if (symbol := values.get("symbol")) is not None and symbol not in symbols:
        raise BadSetting(f"{name}: the recording does not hold {symbol}; it holds {', '.join(symbols)}")
    try:
        found: Directive = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadSetting(f"{name}{'.' + place if place else ''}: {first['msg']}") from error
    for value in values.values():
        if isinstance(value, Decimal) and not value.is_finite():
            raise BadSetting(f"{name}: {value} is no amount")
    return found


def _plain(value: Any) -> Any:
    """A number through its text, so that 0.1 is one tenth."""
    return Decimal(str(value)) if isinstance(value, float) else value


def _when(at: object) -> tuple[When, int]:
    if at is None:
        return When.NOW, 0
    if isinstance(at, datetime):  # YAML reads times by itself
        return When.TIME, ns_of(at) if at.tzinfo else _bad_at(at)
    if isinstance(at, str) and (counted := _COUNTED.fullmatch(at)):
        return When(counted[1]), int(counted[2])
    try:
        return When.TIME, ns_of_rfc3339(str(at))
    except ValueError:
        return When.TIME, _bad_at(at)


def _bad_at(at: object) -> int:
    raise BadSetting(f"at: {at!r}, must be a time such as 2013-10-08T14:00:00Z, 'bar n' or 'order n'")


def directive_name(directive: Directive) -> str:
    """Its name in scripts and in the log."""
    return _KINDS[type(directive)]


def directive_fields(directive: Directive) -> dict[str, Any]:
    """Its fields as JSON takes them; decimals as text."""
    return {field.name: _json(getattr(directive, field.name)) for field in dataclasses.fields(directive)}


def _json(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.value if isinstance(value, Enum) else value
