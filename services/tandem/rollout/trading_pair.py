"""TradingPair (short name tp): a declared pair. What `tandem apply -f` takes, and a Kubernetes resource of the same name.

Decides what a valid manifest is. Does not read files (adapters/config_files.py) nor publish (cli/apply.py, operator/pairs.py). Unknown
fields are refused, so that a mistyped threshold never falls back to its default in silence. Defaults are those of domain.control.PairSpec.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

from pydantic import Field

from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.rollout.conditions import Conditions
from tandem.rollout.faults import Fault, parse
from tandem.rollout.resources import ChangeRule, Metadata, Money, Rule, SectorText, Status, Strict, SymbolText

TRADING_PAIR = "TradingPair"
# Conditions: the object is the only one that declares the pair; the live model holds it; both.
ACCEPTED, IN_MODEL = "Accepted", "InModel"
DeletionPolicy = Literal["Flatten", "Stop", "Hold"]
DELETION_TIMEOUT_S = 300
DELETION_TIMEOUT_S_MAX = 86_400  # a day: longer, and a namespace that is deleted seems to hang for ever
_DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(PairSpec)}


class SignalSpec(Strict):
    """When to open and close; z is in training standard deviations of the spread."""

    entry_z: float = Field(default=_DEFAULTS["entry_z"], gt=0, description="Open at this distance from the mean.")
    exit_z: float = Field(default=_DEFAULTS["exit_z"], ge=0, description="Close when the spread has come back to this.")
    stop_z: float = Field(default=_DEFAULTS["stop_z"], gt=0, description="Close when the spread has run away to this.")
    min_reversion_probability: float = Field(
        default=_DEFAULTS["probability_min"], ge=0, lt=1, description="Open nothing below this forecast probability."
    )


class RiskSpec(Strict):
    """How much and how long."""

    notional_usd: Money = Field(default=_DEFAULTS["notional_usd"], description="Both legs together, before scaling by variance.")
    max_hold_half_lives: float = Field(
        default=_DEFAULTS["hold_half_lives_max"], gt=0, description="Time stop, in half-lives of the spread."
    )


class TradingPairSpec(Strict):
    """What is wanted of a pair."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="legs_differ",
            message="the two legs must differ",
            holds=lambda spec: spec.legs[0] != spec.legs[1],
            cel="self.legs[0] != self.legs[1]",
        ),
        Rule(
            name="exit_below_entry",
            message="signal.exitZ must be below signal.entryZ",
            holds=lambda spec: spec.signal.exit_z < spec.signal.entry_z,
            cel="self.signal.exitZ < self.signal.entryZ",
        ),
        Rule(
            name="entry_below_stop",
            message="signal.entryZ must be below signal.stopZ",
            holds=lambda spec: spec.signal.entry_z < spec.signal.stop_z,
            cel="self.signal.entryZ < self.signal.stopZ",
        ),
    )
    CHANGE_RULES: ClassVar[tuple[ChangeRule, ...]] = (
        ChangeRule(
            name="legs_immutable",
            message="the legs of a pair cannot be changed; delete it and declare the other pair",
            holds=lambda old, new: old.legs == new.legs,
            cel="self.legs == oldSelf.legs",
        ),
    )

    sector: SectorText = Field(description="The sector whose model forecasts the pair.")
    legs: list[SymbolText] = Field(min_length=2, max_length=2, description="[A, B]: the spread is log A - beta log B - mu.")
    signal: SignalSpec = Field(default=SignalSpec(), description="When to open and close.")
    risk: RiskSpec = Field(default=RiskSpec(), description="How much and how long.")
    suspend: bool = Field(default=_DEFAULTS["suspended"], description="True: close what is open, open nothing new.")
    deletion_policy: DeletionPolicy = Field(
        default="Flatten",
        description="What becomes of the position when the object is deleted. Flatten: it is closed. Stop: it closes on its own signals. "
        "The deletion waits for either. Hold: it stays as it is, without an order, for a person to deal with.",
    )
    deletion_timeout_seconds: int = Field(
        default=DELETION_TIMEOUT_S,
        ge=0,
        le=DELETION_TIMEOUT_S_MAX,
        description="The longest that a deletion waits for the position to close.",
    )


class TradingPair(Strict):
    """A declared pair."""

    api_version: Literal["tandem.trading/v1alpha1"]
    kind: Literal["TradingPair"]
    metadata: Metadata
    spec: TradingPairSpec
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


class TradingPairStatus(Status):
    """What became of a declared pair."""

    pair: str | None = Field(default=None, max_length=21, description="The pair's id, made of its legs, e.g. KO-PEP.")
    phase: str | None = Field(default=None, max_length=32, description="All of it in one word, for people.")
    declared_at: str | None = Field(
        default=None, max_length=40, json_schema_extra={"format": "date-time"}, description="When the services were first told of the pair."
    )
    conditions: Conditions = ()


def parse_trading_pair(document: Mapping[str, Any]) -> TradingPair | tuple[Fault, ...]:
    """The manifest, or every fault in it."""
    return parse(TradingPair, document)
