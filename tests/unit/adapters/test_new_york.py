"""Days as New York counts them."""

import pytest

from tandem.adapters.new_york import midnight_ns
from tandem.domain.errors import BadSetting
from tandem.domain.units import rfc3339


def test_a_day_begins_at_midnight_in_new_york_in_winter_and_summer() -> None:
    assert rfc3339(midnight_ns("2025-01-15")).startswith("2025-01-15T05:00:00")
    assert rfc3339(midnight_ns("2025-07-15")).startswith("2025-07-15T04:00:00")


@pytest.mark.parametrize("text", ["", "2025-1-5x", "15.01.2025", "2025-02-30"])
def test_what_is_no_day_is_named(text: str) -> None:
    with pytest.raises(BadSetting, match="expected YYYY-MM-DD"):
        midnight_ns(text)
