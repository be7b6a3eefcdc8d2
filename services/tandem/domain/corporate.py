"""Splits, dividends and renamings: what changes the number, price or name of shares without anybody trading. Days are of New York."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tandem.domain.ids import Symbol


class ActionKind(StrEnum):
    """What happens to the shares. OTHER: mergers, spin-offs and the like, which only a person can take in."""

    SPLIT = "split"
    DIVIDEND = "dividend"
    RENAME = "rename"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """One corporate action. ratio: new shares for an old one; amount_usd: a share, paid by whoever is short; new_symbol: of a renaming."""

    action_id: str
    symbol: Symbol
    kind: ActionKind
    ex_day: str  # YYYY-MM-DD: the first day that trades without it
    ratio: Decimal = Decimal(1)
    amount_usd: Decimal = Decimal(0)
    new_symbol: str = ""

    def __post_init__(self) -> None:
        if not self.ratio > 0 or not self.ratio.is_finite() or self.amount_usd < 0:
            raise ValueError(f"{self.action_id}: ratio {self.ratio} must be above 0, amount_usd {self.amount_usd} not below")

    @property
    def told(self) -> str:
        """For people."""
        what = {ActionKind.SPLIT: f"split {self.ratio.normalize():f} for 1", ActionKind.DIVIDEND: f"dividend of {self.amount_usd} USD"}
        what[ActionKind.RENAME] = f"renamed {self.new_symbol}"
        return f"{what.get(self.kind, 'corporate action')} on {self.ex_day}"
