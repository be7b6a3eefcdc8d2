"""The TradingPair manifest: what `tandem apply -f` takes, and the source of the Kubernetes resource of the same name.

Decides what a valid manifest is. Does not read files (adapters/config_files.py) nor publish (cli/apply.py). Unknown fields are refused,
so that a mistyped threshold never falls back to its default in silence. Defaults are those of domain.control.PairSpec.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id, sector_id, symbol

GROUP = "tandem.trading"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
TRADING_PAIR = "TradingPair"
# Kubernetes' rule for the names of resources (RFC 1123 subdomain).
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(PairSpec)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a manifest: the rule that refused it, where, and what was found and allowed."""

    rule: str
    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule across fields of a TradingPair's spec."""

    name: str
    message: str
    holds: Callable[["PairManifestSpec"], bool]


RULES: tuple[Rule, ...] = (
    Rule(name="legs_differ", message="the two legs must differ", holds=lambda spec: spec.legs[0] != spec.legs[1]),
    Rule(name="exit_below_entry", message="signal.exitZ must be below signal.entryZ", holds=lambda s: s.signal.exit_z < s.signal.entry_z),
    Rule(name="entry_below_stop", message="signal.entryZ must be below signal.stopZ", holds=lambda s: s.signal.entry_z < s.signal.stop_z),
)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, alias_generator=to_camel)


def _money(value: object) -> Decimal:
    """A number or decimal text as Decimal; true and false are not numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise PydanticCustomError("money", 'must be a number or decimal text, e.g. "10000"')
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise PydanticCustomError("money", 'must be a number or decimal text, e.g. "10000"') from error


SymbolText = Annotated[str, AfterValidator(symbol)]
SectorText = Annotated[str, AfterValidator(sector_id)]
Money = Annotated[Decimal, BeforeValidator(_money)]


class Metadata(_Strict):
    """The part of Kubernetes' object metadata that a person writes, and what a cluster adds when it shows the object."""

    name: str = Field(
        pattern=_NAME, max_length=253, description="Any name of a Kubernetes resource, e.g. ko-pep; the pair's id is not made of it."
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


class SignalSpec(_Strict):
    """When to open and close; z is in training standard deviations of the spread."""

    entry_z: float = Field(default=_DEFAULTS["entry_z"], gt=0, description="Open at this distance from the mean.")
    exit_z: float = Field(default=_DEFAULTS["exit_z"], ge=0, description="Close when the spread has come back to this.")
    stop_z: float = Field(default=_DEFAULTS["stop_z"], gt=0, description="Close when the spread has run away to this.")
    min_reversion_probability: float = Field(
        default=_DEFAULTS["probability_min"], ge=0, lt=1, description="Open nothing below this forecast probability."
    )


class RiskSpec(_Strict):
    """How much and how long."""

    notional_usd: Money = Field(default=_DEFAULTS["notional_usd"], gt=0, description="Both legs together, before scaling by variance.")
    max_hold_half_lives: float = Field(
        default=_DEFAULTS["hold_half_lives_max"], gt=0, description="Time stop, in half-lives of the spread."
    )


class PairManifestSpec(_Strict):
    """What is wanted of a pair."""

    sector: SectorText = Field(description="The sector whose model forecasts the pair.")
    legs: list[SymbolText] = Field(min_length=2, max_length=2, description="[A, B]: the spread is log A - beta log B - mu.")
    signal: SignalSpec = SignalSpec()
    risk: RiskSpec = RiskSpec()
    suspend: bool = Field(default=_DEFAULTS["suspended"], description="True: close what is open, open nothing new.")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if broken := [rule for rule in RULES if not rule.holds(self)]:
            # One error carries one name; the first broken rule gives it, the message tells all.
            raise PydanticCustomError(broken[0].name, "{message}", {"message": "; ".join(rule.message for rule in broken)})
        return self


class TradingPair(_Strict):
    """A declared pair."""

    api_version: Literal["tandem.trading/v1alpha1"]
    kind: Literal["TradingPair"]
    metadata: Metadata
    spec: PairManifestSpec
    status: Any = Field(default=None, description="Written by the operator, ignored here.")

    def to_spec(self) -> PairSpec:
        """The record that the control topic carries. The pair's id comes from its legs, not from the manifest's name."""
        leg_a, leg_b = map(Symbol, self.spec.legs)
        return PairSpec(
            pair=pair_id(leg_a, leg_b),
            sector=SectorId(self.spec.sector),
            leg_a=leg_a,
            leg_b=leg_b,
            entry_z=self.spec.signal.entry_z,
            exit_z=self.spec.signal.exit_z,
            stop_z=self.spec.signal.stop_z,
            probability_min=self.spec.signal.min_reversion_probability,
            notional_usd=self.spec.risk.notional_usd,
            hold_half_lives_max=self.spec.risk.max_hold_half_lives,
            suspended=self.spec.suspend,
        )


def parse_trading_pair(document: Mapping[str, Any]) -> TradingPair | tuple[Fault, ...]:
    """The manifest, or every fault in it."""
    try:
        return TradingPair.model_validate(document)
    except ValidationError as error:
        return tuple(
            Fault(rule=item["type"], path=tuple(item["loc"]), message=_message(item["msg"], item["type"], item["loc"], item["input"]))
            for item in error.errors(include_url=False)
        )


_WORDS = {
    "model_type": "must be a mapping of fields",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of texts",
    "string_type": "must be text",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_pattern_mismatch": "must be small letters, digits, '-' and '.', with a letter or digit first and last",
    "too_short": "must be two symbols",
    "too_long": "must be two symbols",
}


def _message(text: str, kind: str, path: tuple[str | int, ...], found: object) -> str:
    """One sentence: what stands where, what was found, what is allowed."""
    where = ".".join(map(str, path)) or "manifest"
    if kind == "extra_forbidden":
        return f"{where}: unknown field, allowed are {', '.join(_fields_beside(path))}"
    if kind == "missing":
        return f"{where}: missing"
    if kind in {rule.name for rule in RULES}:
        return f"{where}: {text}"
    hint = "; quote it, YAML reads the plain word as true or false" if isinstance(found, bool) and kind == "string_type" else ""
    allowed = _WORDS.get(kind, text.removeprefix("Value error, ").replace("Input should", "must"))
    return f"{where}: found {_short(found)}, {allowed}{hint}"


def _fields_beside(path: tuple[str | int, ...]) -> list[str]:
    """The fields that are known where an unknown one was found."""
    model: type[BaseModel] = TradingPair
    for step in path[:-1]:
        annotation: Any = next(field.annotation for field in model.model_fields.values() if field.alias == step)
        assert issubclass(annotation, BaseModel)  # only a model refuses unknown fields
        model = annotation
    return [field.alias for field in model.model_fields.values() if field.alias is not None and field.annotation is not Any]


def _short(found: object) -> str:
    text = repr(found) if isinstance(found, str | int | float | bool | None) else str(found)
    return text if len(text) <= 80 else f"{text[:77]}..."
