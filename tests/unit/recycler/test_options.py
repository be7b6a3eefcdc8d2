"""The recycler's options: what the command line means, and combinations that make no sense."""

from decimal import Decimal
from pathlib import Path

import pytest

from recorded_cases import CONFIG, OPEN_NS
from tandem.domain.errors import BadSetting
from tandem.flow.replay import Mode
from tandem.recycler import cli
from tandem.recycler.options import MAX_SPEED, RecyclerOptions


def options(**changes: object) -> RecyclerOptions:
    return RecyclerOptions(**{"data": (Path("f.parquet"),), "port": 0, "fees": CONFIG / "fees.yaml"} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bar": "2min"}, "bar '2min': allowed are 1min, 5min, 1d"),
        ({"speed": 0.0}, "speed 0.0: must be above 0"),
        ({"speed": float("nan")}, "speed nan: must be above 0"),
        ({"cash_usd": Decimal(0)}, "cash 0: must be above 0"),
        ({"ack_limit_s": 0.0}, "ack-limit-s 0.0: must be above 0"),
        ({"key": "k"}, "key and secret: give both or neither"),
        ({"hold": True, "start_on_subscribe": True}, "hold and start-on-subscribe: give one of them"),
        ({"mode": Mode.DATE_RANGE}, "mode date_range: give from, to or both"),
        ({"from_ns": 2, "to_ns": 2}, "from and to: the range is empty"),
        ({"data": ()}, "data: give at least one file"),
        ({"connections_max": 0}, "connections-max 0: must be at least 1"),
        ({"symbols_max": -1}, "symbols-max and send-limit-s: must be 0 (no limit) or more"),
        ({"send_limit_s": -0.1}, "symbols-max and send-limit-s: must be 0 (no limit) or more"),
        ({"participants": ("p",)}, "participants: nobody is waited for without lockstep"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(BadSetting) as caught:
        options(**changes)
    assert message in str(caught.value)


def test_a_date_is_midnight_in_new_york_and_the_last_day_is_included():
    nine_and_a_half_hours = 34_200 * 10**9
    assert cli._moment_ns("from", "2024-07-01", days=0) == OPEN_NS - nine_and_a_half_hours
    assert cli._moment_ns("to", "2024-07-01", days=1) == OPEN_NS - nine_and_a_half_hours + 86_400 * 10**9
    assert cli._moment_ns("from", "2024-07-01T13:30:00.000000001Z", days=0) == OPEN_NS + 1
    assert cli._moment_ns("from", "", days=0) is None


@pytest.mark.parametrize("text", ["soon", "2024-13-01", "2024-07-01T13:30:00"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(BadSetting, match=f"from '{text}': must be a date such as"):
        cli._moment_ns("from", text, days=0)


def test_speeds_and_amounts_are_read_strictly():
    assert (cli._speed("max"), cli._speed("2.5")) == (MAX_SPEED, 2.5)
    assert cli._decimal("cash", "0.10") == Decimal("0.10")
    with pytest.raises(BadSetting, match="speed 'fast'"):
        cli._speed("fast")
    with pytest.raises(BadSetting, match="cash 'NaN': must be finite"):
        cli._decimal("cash", "NaN")
    with pytest.raises(BadSetting, match="cash 'x': must be a number"):
        cli._decimal("cash", "x")
