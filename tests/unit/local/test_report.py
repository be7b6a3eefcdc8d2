"""What a person reads at the end of a demo."""

from pathlib import Path
from typing import Any

from tandem.cli.demo import again
from tandem.local.demo import DemoOptions
from tandem.local.report import Report, lines


def _report(**changed: Any) -> Report:
    given: dict[str, Any] = {
        "data": {"file": "trades.parquet", "replayed": {"from": "2013-10-08T13:30:00.004000000Z", "to": "2013-10-09T19:59:59.999000000Z"}},
        "bar": "1min",
        "speed": "max",
        "ticks_replayed": 1_000,
        "ticks_in_kafka": 1_000,
        "ticks_doubled": 0,
        "frames_in_kafka": 10,
        "bars": 780,
        "forecasts": 390,
        "forecasts_scored": 389,
        "signals": 2,
        "intents": 2,
        "orders": 4,
        "fills": 4,
        "round_trips": 1,
        "pnl_usd": "1.00",
        "costs_usd": "0.50",
        "fees_usd": "0.10",
        "spread_cost_usd": "0.40",
        "equity_usd": "1000001.00",
        "open_pairs": 1,
        "ledger_equals_broker": True,
        "differences": [],
        "unhedged_seconds_max": 0.0,
        "parked_records": 0,
        "tick_to_forecast_ms": {"p50": 5.0, "p99": 9.0},
        "ticks_per_second": 50.0,
        "replay_seconds": 20.0,
        "memory_peak_mib": 1_000.0,
        "models": {"financial": {"version": 1, "pairs": ["AIG-BAC"]}, "technology": {"version": 2, "pairs": ["IBM-SPY", "IBM-MSFT"]}},
        "skipped_sectors": {},
        "decisions_digest": "0" * 64,
    }
    return Report(**{**given, **changed})


def test_times_are_told_to_the_second_and_numbers_of_pairs_as_one_says_them() -> None:
    """The report as JSON keeps the nanoseconds."""
    told = dict(lines(_report()))
    assert told["data"] == "trades.parquet (1min bars), replayed 2013-10-08T13:30:00Z to 2013-10-09T19:59:59Z"
    assert told["models"] == "financial v1 (1 pair), technology v2 (2 pairs)"
    assert told["trading"].endswith("1 pair open")
    assert dict(lines(_report(open_pairs=0)))["trading"].endswith("0 pairs open")


def test_a_summary_without_ticks_can_be_told() -> None:
    """What was not replayed has no time."""
    data = {"file": "trades.parquet", "replayed": {"from": None, "to": None}}
    assert dict(lines(_report(data=data)))["data"].endswith(", nothing replayed")


def test_the_demo_ends_with_the_command_that_goes_on_with_it() -> None:
    """Over the days that it has replayed; of its own data nothing need be said."""
    home = Path("var/demo")
    assert again(DemoOptions(home=home), _report()) == ["tandem", "up", "--home", "var/demo", "--from", "2013-10-08", "--detach"]
    told = " ".join(again(DemoOptions(home=home, data=Path("trades.parquet")), _report()))
    assert told == "tandem up --home var/demo --data trades.parquet --bar 1min --from 2013-10-08 --detach"
