"""What regulators take when stock is sold, by the date of the trade: the SEC's section 31 fee and FINRA's trading activity fee (TAF).

Pure: the table comes from config/fees.yaml through adapters/fees_file.py. Called by flow/exchange.py for every fill.
Borrow and commissions are not here: the paper exchange charges neither yet.
"""

from bisect import bisect_right
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from tandem.domain.trading import Side
from tandem.domain.units import CENT

_MILLION = Decimal(1_000_000)
Rate = TypeVar("Rate", "Section31Rate", "TafRate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section31Rate:
    """The SEC's rate from a time on, on the value of what is sold."""

    from_ns: int
    usd_per_million: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TafRate:
    """FINRA's rate from a time on, for each share sold, and the most that one sale costs."""

    from_ns: int
    usd_per_share: Decimal
    cap_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeTable:
    """Rates in ascending order of time; before the first one there is no fee."""

    section_31: tuple[Section31Rate, ...] = ()
    taf: tuple[TafRate, ...] = ()

    def __post_init__(self) -> None:
        for rates in (self.section_31, self.taf):
            times = [rate.from_ns for rate in rates]
            if times != sorted(set(times)):
                raise ValueError(f"fee rates start at {times}, must be ascending and differ")
        if any(rate.usd_per_million < 0 for rate in self.section_31) or any(min(r.usd_per_share, r.cap_usd) < 0 for r in self.taf):
            raise ValueError("a fee rate is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One fee of one fill. amount_usd is positive, in whole cents."""

    kind: str  # "SEC" or "TAF"
    amount_usd: Decimal
    description: str


def charges(table: FeeTable, side: Side, *, qty: Decimal, price_usd: Decimal, event_ns: int) -> tuple[Charge, ...]:
    """The fees of one fill, each rounded up to a cent; those of nothing are left out. Only sellers pay."""
    if side is Side.BUY:
        return ()
    found = []
    if sec := _at(table.section_31, event_ns):
        amount = _up(qty * price_usd * sec.usd_per_million / _MILLION)
        found.append(Charge(kind="SEC", amount_usd=amount, description=f"SEC section 31 fee at {sec.usd_per_million} USD per million sold"))
    if taf := _at(table.taf, event_ns):
        amount = _up(min(qty * taf.usd_per_share, taf.cap_usd))
        found.append(Charge(kind="TAF", amount_usd=amount, description=f"FINRA trading activity fee at {taf.usd_per_share} USD per share"))
    return tuple(charge for charge in found if charge.amount_usd > 0)


def _at(rates: tuple[Rate, ...], event_ns: int) -> Rate | None:
    place = bisect_right([rate.from_ns for rate in rates], event_ns)
    return rates[place - 1] if place else None


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_CEILING)
