"""TradingAccount (short name ta): an account at a broker, and the mode in which everything that trades in it trades.

Decides what a valid manifest is, and which trading state it declares. The account's name, metadata.name, is the portfolio's TANDEM_ACCOUNT.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tandem.domain.control import TradingState
from tandem.domain.trading import TradingMode
from tandem.rollout.conditions import Conditions
from tandem.rollout.faults import Fault, parse
from tandem.rollout.resources import LABEL, ChangeRule, Metadata, Money, Rule, Status, Strict
from tandem.rollout.trading_pair import DELETION_TIMEOUT_S, DELETION_TIMEOUT_S_MAX, DeletionPolicy

TRADING_ACCOUNT = "TradingAccount"
CREDENTIALS_FOUND = "CredentialsFound"  # condition: the secret is there
MODES: Mapping[str, TradingMode] = {
    "Active": TradingMode.ACTIVE,
    "Reducing": TradingMode.REDUCING,
    "Flattening": TradingMode.FLATTENING,
    "Halted": TradingMode.HALTED,
}
# What deletionPolicy makes of the mode when the object is deleted.
DELETION_MODES: Mapping[DeletionPolicy, TradingMode] = {
    "Flatten": TradingMode.FLATTENING,
    "Stop": TradingMode.REDUCING,
    "Hold": TradingMode.HALTED,
}


class SecretReference(Strict):
    """A Secret in the same namespace."""

    name: Annotated[str, LABEL] = Field(description="The Secret's name.")


class TradingAccountSpec(Strict):
    """What is wanted of an account."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="credentials_named",
            message="source live and paper need secretRef, the Secret of the broker's credentials",
            holds=lambda spec: spec.source == "recycled" or spec.secret_ref is not None,
            cel="self.source == 'recycled' || has(self.secretRef)",
        ),
    )
    CHANGE_RULES: ClassVar[tuple[ChangeRule, ...]] = (
        ChangeRule(
            name="source_immutable",
            message="the source cannot be changed; make another TradingAccount",
            holds=lambda old, new: old.source == new.source,
            cel="self.source == oldSelf.source",
        ),
    )

    source: Literal["live", "paper", "recycled"] = Field(
        description="live: the broker. paper: the broker's paper account. recycled: the recycler's exchange over recorded data."
    )
    mode: Literal["Active", "Reducing", "Flattening", "Halted"] = Field(
        default="Active",
        description="Reducing: what is open closes on its signals, nothing opens. Flattening: what is open closes at the next bar. "
        "Halted: no order is sent. The strictest of all modes that apply to a pair holds.",
    )
    reason: str = Field(default="", max_length=512, description="Why the mode is what it is, for people.")
    deletion_policy: DeletionPolicy = Field(
        default="Flatten",
        description="The mode that a deletion leaves behind. Flatten: Flattening, and the deletion waits until nothing is open. "
        "Stop: Reducing. Hold: Halted.",
    )
    deletion_timeout_seconds: int = Field(
        default=DELETION_TIMEOUT_S, ge=0, le=DELETION_TIMEOUT_S_MAX, description="The longest that a deletion waits for positions to close."
    )
    secret_ref: SecretReference | None = Field(default=None, description="The Secret with the broker's credentials.")
    capital_usd: Money | None = Field(default=None, description="Equity that the account's book opens with; must equal the broker's.")


class TradingAccount(Strict):
    """An account at a broker."""

    # At the root, where the API server lets a rule see metadata.name.
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="account_name_is_label",
            message="metadata.name must be at most 63 small letters, digits and '-', with a letter or digit first and last",
            holds=lambda account: len(account.metadata.name) <= 63 and "." not in account.metadata.name,
            cel="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
        ),
    )

    api_version: Literal["tandem.trading/v1alpha1"]
    kind: Literal["TradingAccount"]
    metadata: Metadata
    spec: TradingAccountSpec
    status: Any = Field(default=None, description="Written by the operator, ignored here.")

    def to_state(self) -> TradingState:
        """The trading state of the account that the control topic carries."""
        return TradingState(scope=f"account/{self.metadata.name}", mode=MODES[self.spec.mode], reason=self.spec.reason)


class TradingAccountStatus(Status):
    """What became of a declared account."""

    mode: str | None = Field(default=None, max_length=32, description="The mode that the services were last told.")
    open_pairs: int | None = Field(default=None, ge=0, description="Pairs that hold a position in the account.")
    conditions: Conditions = ()


def parse_trading_account(document: Mapping[str, Any]) -> TradingAccount | tuple[Fault, ...]:
    """The manifest, or every fault in it."""
    return parse(TradingAccount, document)
