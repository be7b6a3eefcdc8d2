"""Money, shares, time and their one rounding rule. The only place where float64 and Decimal meet."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
CENT = Decimal("0.01")
SUB_PENNY = Decimal("0.0001")
_RFC3339 = re.compile(r"(?P<whole>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(\.(?P<decimals>\d{1,9})\d*)?(?P<zone>[Zz]|[+-]\d\d:\d\d)")
_SUB_PENNY_BELOW_USD = Decimal(1)  # Regulation NMS rule 612: quotes below one dollar may use four decimals


def price_usd(value: float | str | Decimal) -> Decimal:
    """A price on its tick: cents from one dollar up, hundredths of a cent below. Raises ValueError if not positive."""
    price = Decimal(str(value))
    if not price.is_finite() or price <= 0:
        raise ValueError(f"price {value}: must be finite and above 0")
    tick = CENT if price >= _SUB_PENNY_BELOW_USD else SUB_PENNY
    return price.quantize(tick, rounding=ROUND_HALF_EVEN)


def cents(value: Decimal) -> Decimal:
    """Money rounded to the cent, half to even."""
    return value.quantize(CENT, rounding=ROUND_HALF_EVEN)


def utc(ns: int) -> datetime:
    """Nanoseconds since the epoch as an aware datetime; truncated to microseconds, which is all a datetime holds."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).replace(microsecond=ns % NS_PER_S // 1000)


def ns_of(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: naive times are refused")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS_PER_S + moment.microsecond * 1000


def rfc3339(ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with nine decimals, the form of Alpaca's JSON."""
    return f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%S}.{ns % NS_PER_S:09d}Z"


def ns_of_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch of RFC 3339 text with up to nine decimals, e.g. "2022-03-01T14:30:00.123456789Z". Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"time {text!r}: expected RFC 3339 with a time zone, e.g. 2022-03-01T14:30:00.123456789Z")
    whole = datetime.fromisoformat(match["whole"] + match["zone"].replace("Z", "+00:00").replace("z", "+00:00"))
    return int(whole.timestamp()) * NS_PER_S + int((match["decimals"] or "").ljust(9, "0"))
