"""What a chaos run replays of a file: its pairs, those that were asked for and those that are made up."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from chaos.market import replay_plan
from recorded_cases import closes

DAYS = [day for day in (date(2024, 1, 2) + timedelta(days=n) for n in range(60)) if day.weekday() < 5 and day.day not in (15, 19)]


@pytest.mark.parametrize(
    ("asked", "traded"),
    [
        ((), {"AAPL-MSFT", "MSFT-NVDA", "AAPL-NVDA"}),
        (("MSFT-NVDA",), {"AAPL-MSFT", "MSFT-NVDA"}),
    ],
)
def test_pairs_are_made_up_only_where_none_was_asked_for(tmp_path: Path, asked: tuple[str, ...], traded: set[str]) -> None:
    """A made-up pair takes any symbol of the sector in the file, one whose trades begin after the span as well."""
    data = closes(tmp_path / "days.parquet", DAYS, **{name: [100.0 + n for n in range(len(DAYS))] for name in ("AAPL", "MSFT", "NVDA")})

    plan = replay_plan(data, tmp_path / "part", bars=5, pairs=asked)

    assert {spec.pair for spec in plan.pairs} == traded
    assert len(plan.watermark_ns) == 5 + 1
