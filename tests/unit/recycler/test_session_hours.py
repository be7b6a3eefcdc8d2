"""When orders end and how long nights are, around half days, weekends and the ends of the calendar."""

import pytest

from paper_cases import GRID, MINUTE_NS, OPENS_NS
from tandem.flow.exchange_records import Hours, TimeInForce
from tandem.recycler.session_hours import expiry_ns, hours_at, nights_after

MONDAY, TUESDAY, HALF_DAY, FRIDAY = (int(opened) for opened in OPENS_NS)
CLOSE = 390 * MINUTE_NS
HALF_CLOSE = 210 * MINUTE_NS
EVENING = 240 * MINUTE_NS


@pytest.mark.parametrize(
    ("now_ns", "force", "extended", "ends_ns"),
    [
        (MONDAY, TimeInForce.DAY, False, MONDAY + CLOSE),
        (MONDAY + CLOSE, TimeInForce.DAY, False, TUESDAY + CLOSE),  # given at the close, it works in the next session
        (MONDAY + CLOSE, TimeInForce.DAY, True, MONDAY + CLOSE + EVENING),  # unless it may work in the evening
        (MONDAY + CLOSE + EVENING, TimeInForce.DAY, True, TUESDAY + CLOSE + EVENING),
        (HALF_DAY, TimeInForce.DAY, False, HALF_DAY + HALF_CLOSE),
        (HALF_DAY + HALF_CLOSE, TimeInForce.CLS, False, FRIDAY + CLOSE),
        (MONDAY, TimeInForce.IOC, False, None),
        (MONDAY, TimeInForce.GTC, False, MONDAY + 90 * 24 * 60 * MINUTE_NS),
        (FRIDAY + CLOSE, TimeInForce.DAY, False, None),  # the calendar ends
    ],
)
def test_an_order_ends_with_its_session(now_ns, force, extended, ends_ns):
    assert expiry_ns(GRID, now_ns, force, extended=extended) == ends_ns


@pytest.mark.parametrize(
    ("close_ns", "nights"),
    [(MONDAY + CLOSE, 1), (TUESDAY + CLOSE, 1), (HALF_DAY + HALF_CLOSE, 2), (FRIDAY + CLOSE, 1)],
)
def test_a_night_lasts_until_the_next_session(close_ns, nights):
    assert nights_after(GRID, close_ns) == nights


def test_the_hours_around_a_moment():
    assert hours_at(GRID, MONDAY) == Hours(closed_ns=None, open_ns=MONDAY, close_ns=MONDAY + CLOSE)
    assert hours_at(GRID, MONDAY + CLOSE) == Hours(closed_ns=MONDAY + CLOSE, open_ns=TUESDAY, close_ns=TUESDAY + CLOSE)
    assert hours_at(GRID, FRIDAY + CLOSE) == Hours(closed_ns=FRIDAY + CLOSE, open_ns=None, close_ns=None)
