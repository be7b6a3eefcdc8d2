"""Times as Alpaca writes them, to nanoseconds and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.units import ns_of_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2022-03-01T14:30:00.123456789Z", 1_646_145_000_123_456_789),
        ("2022-03-01T09:30:00.5-05:00", 1_646_145_000_500_000_000),
        ("2022-03-01 14:30:00z", 1_646_145_000_000_000_000),
        ("2022-03-01T14:30:00.1234567891Z", 1_646_145_000_123_456_789),
    ],
)
def test_known_times(text: str, ns: int) -> None:
    assert ns_of_rfc3339(text) == ns


@pytest.mark.parametrize("text", ["", "2022-03-01", "2022-03-01T14:30:00", "2022-02-30T00:00:00Z", "noon", "1646145000"])
def test_a_time_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ns_of_rfc3339(text)


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_what_is_written_is_read_back(ns: int) -> None:
    assert ns_of_rfc3339(rfc3339(ns)) == ns
