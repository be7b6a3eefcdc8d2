"""What regulators take of a trade, by its date: the SEC's section 31 fee, FINRA's trading activity fee (TAF), and what the consolidated
audit trail costs (CAT).

Each is rounded up to a cent once a day, over all that the account traded (Alpaca's statements do so): `due_usd` is what one more fill adds
to the day's sum, so that a fee can be told to the fill that caused it and the day still sums up to the statement.
Pure: the table comes from config/fees.yaml through adapters/fees_file.py. Called by flow/exchange.py for every fill. Borrow is no fee of
a trade: see flow/exchange_actions.py.
"""

from bisect import bisect_right
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from tandem.domain.trading import Side
from tandem.domain.units import CENT

_MILLION = Decimal(1_000_000)
Rate = TypeVar("Rate", "Section31Rate", "TafRate", "CatRate")


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
class CatRate:
    """The audit trail's rate from a time on, for each share bought or sold."""

    from_ns: int
    usd_per_share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeTable:
    """Rates in ascending order of time; before the first one there is no fee."""

    section_31: tuple[Section31Rate, ...] = ()
    taf: tuple[TafRate, ...] = ()
    cat: tuple[CatRate, ...] = ()

    def __post_init__(self) -> None:
        for rates in (self.section_31, self.taf, self.cat):
            times = [rate.from_ns for rate in rates]
            if times != sorted(set(times)):
                raise ValueError(f"fee rates start at {times}, must be ascending and differ")
        if (
            any(rate.usd_per_million < 0 for rate in self.section_31)
            or any(min(rate.usd_per_share, rate.cap_usd) < 0 for rate in self.taf)
            or any(rate.usd_per_share < 0 for rate in self.cat)
        ):
            raise ValueError("a fee rate is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One fee of one fill, exact: above 0 and not rounded."""

    kind: str  # "SEC", "TAF" or "CAT"
    amount_usd: Decimal
    description: str


def charges(table: FeeTable, side: Side, *, qty: Decimal, price_usd: Decimal, event_ns: int) -> tuple[Charge, ...]:
    """The fees of one fill before rounding; those of nothing are left out. Only CAT is paid by buyers, too."""
    found = []
    if side is Side.SELL and (sec := _at(table.section_31, event_ns)):
        amount = qty * price_usd * sec.usd_per_million / _MILLION
        found.append(Charge(kind="SEC", amount_usd=amount, description=f"SEC section 31 fee at {sec.usd_per_million} USD per million sold"))
    if side is Side.SELL and (taf := _at(table.taf, event_ns)):
        amount = min(qty * taf.usd_per_share, taf.cap_usd)
        found.append(Charge(kind="TAF", amount_usd=amount, description=f"FINRA trading activity fee at {taf.usd_per_share} USD per share"))
    if cat := _at(table.cat, event_ns):
        text = f"consolidated audit trail fee at {cat.usd_per_share} USD per share"
        found.append(Charge(kind="CAT", amount_usd=qty * cat.usd_per_share, description=text))
    return tuple(charge for charge in found if charge.amount_usd > 0)


def due_usd(before_usd: Decimal, amount_usd: Decimal) -> Decimal:
    """What an amount adds to a day's fee that is rounded up to a cent; before_usd: the day's exact sum before it. May be 0."""
    return _up(before_usd + amount_usd) - _up(before_usd)


def _at(rates: tuple[Rate, ...], event_ns: int) -> Rate | None:
    place = bisect_right([rate.from_ns for rate in rates], event_ns)
    return rates[place - 1] if place else None


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_CEILING)
