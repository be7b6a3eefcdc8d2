"""What the four kinds of resources share: how strict their models are, their metadata, their money and the rules across fields.

A rule is written twice, side by side: in Python for pydantic, and in CEL for the API server. One table of bad manifests is refused by both
(tests/manifest_table.py). A refusal starts with the name of its rule either way. Used by trading_pair.py, sector_model.py,
trading_account.py and model_rollout.py; schema.py makes the cluster's schema from them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

from tandem.domain.ids import SECTOR_PATTERN, SYMBOL_PATTERN, sector_id, symbol

GROUP = "tandem.trading"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
# Kubernetes' rules for the names of resources (RFC 1123 subdomain) and of those that become a part of another name (label).
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_MONEY = re.compile(r"^[0-9]{1,12}(\.[0-9]{1,6})?$")
_MONEY_MAX = 10**12 - 1  # so that text and number allow the same
_MONEY_ALLOWED = 'must be a whole number or decimal text, e.g. "2500.50"'
_QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule across the fields of one mapping. cel: the same, where `self` is the mapping; every field with a default is there."""

    name: str
    message: str
    holds: Callable[[Any], bool]
    cel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRule:
    """What may not change once it is written. holds(old, new); cel: the same with `oldSelf` and `self`."""

    name: str
    message: str
    holds: Callable[[Any, Any], bool]
    cel: str


class Strict(BaseModel):
    """What people write: unknown fields, texts for numbers and numbers for texts are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, alias_generator=to_camel)
    RULES: ClassVar[tuple[Rule, ...]] = ()
    CHANGE_RULES: ClassVar[tuple[ChangeRule, ...]] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if broken := [rule for rule in self.RULES if not rule.holds(self)]:
            # One error carries one name; the first broken rule gives it, the message tells all.
            raise PydanticCustomError("rule", "{message}", {"message": "; ".join(r.message for r in broken), "rule": broken[0].name})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON schema with the rules in it."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if rules := cls.validations():
            schema["x-kubernetes-validations"] = rules
        return schema

    @classmethod
    def validations(cls) -> list[dict[str, str]]:
        """The rules as the API server reads them: CEL, and a message that starts with the rule's name."""
        rules: list[Rule | ChangeRule] = [*cls.RULES, *cls.CHANGE_RULES]
        return [{"rule": rule.cel, "message": f"{rule.name}: {rule.message}"} for rule in rules]


class Written(Strict):
    """What the operator writes: made by the names of the code, read as it stands in the cluster; fields of another version are ignored."""

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True)


class Status(Written):
    """The status of a resource."""

    observed_generation: int | None = Field(default=None, ge=0, description="The generation of the spec that this status speaks of.")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The status in a resource as the cluster shows it; empty when it has none. Raises pydantic.ValidationError, a ValueError."""
        return cls.model_validate(document.get("status") or {})

    def to_document(self) -> dict[str, Any]:
        """As JSON values. A field without a value is null, which a merge patch takes for "remove" and an update leaves out."""
        return self.model_dump(mode="json", by_alias=True)


def _money(value: object) -> Decimal:
    """A whole number or decimal text as Decimal. A fraction as a float is not exact, and the API server has no type for it beside text."""
    if isinstance(value, Decimal):  # a default
        return value
    match value:
        case str() if _MONEY.fullmatch(value):
            amount = Decimal(value)
        case float() if value.is_integer():
            amount = Decimal(int(value))
        case int() if not isinstance(value, bool):
            amount = Decimal(value)
        case _:
            raise PydanticCustomError("money", _MONEY_ALLOWED)
    if amount <= 0:
        raise PydanticCustomError("greater_than", "must be above 0")
    if amount >= _MONEY_MAX + 1:
        raise PydanticCustomError("less_than_equal", f"must be at most {_MONEY_MAX}")
    return amount


def _quantity(value: object) -> object:
    """A number, as YAML reads `cpu: 1`, as the text that Kubernetes calls a quantity."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SymbolText = Annotated[str, AfterValidator(symbol), WithJsonSchema({"type": "string", "pattern": f"^{SYMBOL_PATTERN}$", "maxLength": 10})]
SectorText = Annotated[
    str, AfterValidator(sector_id), WithJsonSchema({"type": "string", "pattern": f"^{SECTOR_PATTERN}$", "maxLength": 40})
]
Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": _MONEY.pattern,
            "maximum": _MONEY_MAX,
            "maxLength": 19,
            "x-kubernetes-validations": [
                {"rule": "type(self) == string ? double(self) > 0.0 : self > 0", "message": "greater_than: must be above 0"}
            ],
        }
    ),
]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity),
    Field(pattern=_QUANTITY_PATTERN, max_length=32),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": _QUANTITY_PATTERN, "maxLength": 32}),
]
LABEL = Field(pattern=LABEL_PATTERN, max_length=63)
VersionText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$", max_length=10)]  # of the registry: it counts from 1


class Metadata(Strict):
    """The part of Kubernetes' object metadata that a person writes, and what a cluster adds when it shows the object."""

    name: str = Field(
        pattern=NAME_PATTERN, max_length=253, description="Any name of a Kubernetes resource, e.g. ko-pep; the pair's id is not made of it."
    )
    namespace: str = Field(default="", max_length=63)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    # Written by a cluster; taken so that what `kubectl get -o yaml` shows can be applied, and not used.
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    creation_timestamp: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    finalizers: Any = None
    owner_references: Any = None
    managed_fields: Any = None
