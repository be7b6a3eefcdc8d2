"""Money, prices and time."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain import units


@pytest.mark.parametrize(
    ("value", "expected"),
    [(100.005, "100.00"), (100.015, "100.02"), ("0.99999", "1.0000"), (0.12345, "0.1234"), (1, "1.00")],
)
def test_prices_lie_on_their_tick(value: float | str, expected: str) -> None:
    """Cents from one dollar up, four decimals below (Regulation NMS rule 612); half to even."""
    assert str(units.price_usd(value)) == expected


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_prices_that_cannot_be_are_refused(value: float) -> None:
    """Zero, negative and non-finite prices are errors, never rounded away."""
    with pytest.raises(ValueError, match="above 0"):
        units.price_usd(value)


def test_a_naive_time_is_refused() -> None:
    """A datetime without a zone is ambiguous by hours."""
    with pytest.raises(ValueError, match="time zone"):
        units.ns_of(datetime(2020, 1, 1))  # noqa: DTZ001 the point of the test


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), st.integers(-12, 14))  # noqa: DTZ001 zones are drawn
def test_time_survives_the_round_trip_from_any_zone(moment: datetime, hours: int) -> None:
    """Microseconds in, the same instant out."""
    aware = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert units.utc(units.ns_of(aware)) == aware.astimezone(UTC)


def test_rfc3339_keeps_nanoseconds() -> None:
    """Alpaca's JSON carries nine decimals."""
    assert units.rfc3339(1_381_152_600_123_456_789) == "2013-10-07T13:30:00.123456789Z"


def test_cents_round_half_to_even() -> None:
    """The one rounding rule of money."""
    assert [units.cents(Decimal(x)) for x in ("0.005", "0.015", "-0.005")] == [Decimal("0.00"), Decimal("0.02"), Decimal("0.00")]
