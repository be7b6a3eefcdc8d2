"""What the checks of a running service's /metrics find: tests/metrics_page.py itself."""

import pytest

from metrics_page import missing, unbounded
from tandem.adapters.series_labels import LABELS

_INFO = '# TYPE tandem_build_info gauge\ntandem_build_info{release="1",service="recorder"} 1\n'


def topics(count: int) -> str:
    """A gauge with so many topics."""
    lines = "".join(f'tandem_recorder_lag_records{{topic="t{number}"}} 0\n' for number in range(count))
    return f"# TYPE tandem_recorder_lag_records gauge\n{lines}"


def test_what_is_not_served_or_of_another_kind_is_missing() -> None:
    """Kinds count, counters under their exported name."""
    page = _INFO.replace("gauge", "counter") + "# TYPE tandem_recorder_bars_total counter\ntandem_recorder_bars_total 3\n"
    found = missing("recorder", page)
    assert "build_info" in found
    assert "recorder_last_save_seconds" in found
    assert "recorder_bars_total" not in found


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (_INFO, []),
        (topics(LABELS["topic"].at_most), []),
        (topics(LABELS["topic"].at_most + 1), ["recorder_lag_records: 66 values of topic, at most 65"]),
        (_INFO.replace("release=", "pair="), ["build_info has the label pair"]),
        ("# TYPE tandem_own gauge\ntandem_own 1\n", ["own is in no table"]),
        ("# TYPE process_cpu_seconds gauge\nprocess_cpu_seconds 1\n", []),
    ],
    ids=["as it should be", "at its bound", "above its bound", "a label of its own", "a series of its own", "the client's own"],
)
def test_labels_that_grow_are_found(page: str, told: list[str]) -> None:
    """By series and label."""
    assert unbounded(page) == told
