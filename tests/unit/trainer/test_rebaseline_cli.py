"""The daemon's loop against a clock that the test turns, and what the command refuses before it asks any server."""

import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from tandem.cli.main import app
from tandem.domain.errors import Transient
from tandem.domain.ids import SectorId
from tandem.domain.units import ns_of, utc
from tandem.trainer.rebaseline import Run
from tandem.trainer.rebaseline_cli import serve

NEW_YORK = ZoneInfo("America/New_York")


class Clock(threading.Event):
    """Time that passes only while the loop waits; ends the loop after some time. Stands for the clock and the event that stops it."""

    def __init__(self, start: str, hours: float) -> None:
        super().__init__()
        self.now_ns = ns_of(datetime.fromisoformat(start).replace(tzinfo=NEW_YORK))
        self.end_ns = self.now_ns + int(hours * 3600) * 10**9
        self.waits = 0

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert 0 < timeout <= 60
        self.waits += 1
        self.now_ns += int(timeout * 1e9)
        if self.now_ns >= self.end_ns:
            self.set()
        return self.is_set()


def times(clock: Clock, outcomes: dict[str, str] | None = None, *, error_at: str = "") -> list[str]:
    """When the loop ran, in New York, each run with the outcome that stands for its minute, "skipped" by default."""
    ran: list[str] = []

    def run(now_ns: int) -> list[Run]:
        ran.append(f"{utc(now_ns).astimezone(NEW_YORK):%m-%d %H:%M}")
        if ran[-1] == error_at:
            raise Transient("away")
        return [Run(sector=SectorId("s"), outcome=(outcomes or {}).get(ran[-1], "skipped"), reason="")]

    serve(run, clock=clock, stop=clock, say=lambda _: None)
    return ran


def test_it_runs_at_six_each_day_over_the_clock_changes():
    """Also on Saturday and Sunday, to write down that there was nothing to do."""
    assert times(Clock("2025-03-07T05:00", 96)) == ["03-07 06:00", "03-08 06:00", "03-09 06:00", "03-10 06:00"]
    assert times(Clock("2025-10-31T05:00", 96)) == ["10-31 06:00", "11-01 06:00", "11-02 06:00", "11-03 06:00"]


def test_it_catches_up_on_the_day_it_starts_in():
    """Started at eleven: at once, then at six."""
    assert times(Clock("2025-07-01T11:00", 24)) == ["07-01 11:00", "07-02 06:00"]


def test_a_failure_is_tried_again_until_the_session_has_closed():
    """Each quarter of an hour; a half day ends at one."""
    away = {f"07-03 {h:02}:{m:02}": "failed" for h in range(24) for m in range(60)}
    ran = times(Clock("2025-07-03T12:10", 12), away)
    assert ran == ["07-03 12:10", "07-03 12:25", "07-03 12:40", "07-03 12:55"]
    assert times(Clock("2025-07-02T06:00", 3), {"07-02 06:00": "failed"}) == ["07-02 06:00", "07-02 06:15"]


def test_postgres_that_is_away_does_not_end_it():
    """It says so and tries again."""
    assert times(Clock("2025-07-02T06:00", 3), error_at="07-02 06:00") == ["07-02 06:00", "07-02 06:15"]


SERVERS = {"TANDEM_POSTGRES_URL": "postgresql://tandem:x@127.0.0.1:9/tandem", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--daemon", "--once"], SERVERS, "--daemon goes on"),
        (["--daemon", "--at", "2025-07-01T06:00:00-04:00"], SERVERS, "--daemon goes on"),
        ([], {"TANDEM_POSTGRES_URL": "", "MLFLOW_TRACKING_URI": ""}, "TANDEM_POSTGRES_URL and MLFLOW_TRACKING_URI not set"),
        (["--at", "2025-07-01T06:00:00"], SERVERS, "ISO 8601 with a zone"),
        (["--at", "yesterday"], SERVERS, "ISO 8601 with a zone"),
        (["--bar", "1h"], SERVERS, "'1h': allowed are 1d, 5min, 1min"),
        (["--sector", "nowhere"], SERVERS, "sector nowhere: known are technology"),
        (["--sector", "No Where"], SERVERS, "allowed are 1-40 of a-z"),
        ([], SERVERS, "127.0.0.1:9"),
    ],
)
def test_what_cannot_run_says_why(arguments, environment, message):
    """One line, exit code 1."""
    result = CliRunner().invoke(app, ["rebaseline", *arguments], env=environment)
    assert result.exit_code == 1
    assert message in result.stderr
