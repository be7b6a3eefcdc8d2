"""`tandem top`: what it makes of the services' answers. On a running platform: tests/integration/test_commands.py."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tandem.cli.main import app
from tandem.cli.top import screen
from tandem.cli.top_view import Alert, View, alerts
from tandem.local.status import ProcessStatus

SUMMARY = {
    "book": "paper",
    "decided_ns": 1_600_000_000_000_000_000,
    "waiting_for": ["energy"],
    "open_pairs": 1,
    "equity_usd": "1000012.5",
    "cash_usd": "990000",
    "pnl_usd": "12.5",
    "fees_usd": "1.25",
    "broker": {},
}
PAIR: dict[str, Any] = {
    "pair": "KO-PEP",
    "sector": "consumer",
    "state": "open",
    "direction": -1,
    "waiting": "[not] in the model",
    "pnl": {"total_usd": "12.5"},
    "forecast": {"z": -2.345, "reversion_probability": 0.61},
}
POSITION = {"symbol": "KO", "qty": "20", "avg_entry_price": "50.25", "current_price": "50.5", "market_value": "1010", "unrealized_pl": "5"}
RISK = {
    "breakers": [{"breaker": "day_loss", "mode": "reducing", "reason": "1.2 % lost", "ends": "next_session"}],
    "quarantined": ["GS-MS"],
}


def process(name: str, why_not_ready: str | None = None) -> ProcessStatus:
    return ProcessStatus(
        name=name, pid=7, port=28013, alive=True, why_not_ready=why_not_ready, memory_bytes=1 << 20, uptime_s=3661.0, log="logs/x.log"
    )


def shown(view: View) -> str:
    """The screen as text."""
    out = StringIO()
    Console(file=out, width=200).print(screen(view))
    return out.getvalue()


def view(**changes: Any) -> View:
    base: dict[str, Any] = {
        "home": Path("/h"),
        "phase": "ready",
        "processes": (process("forecaster-consumer-v1"),),
        "alerts": (),
        "lag": {"forecaster-consumer-v1": {"records": 1234.0, "seconds": 0.5}},
        "answers": {"summary": SUMMARY, "pairs": [PAIR], "positions": [POSITION]},
    }
    return View(**(base | changes))


def test_the_screen_shows_every_figure() -> None:
    """Account, process with its lag, pair with its reason as it is, brackets included, and position."""
    text = shown(view())
    wanted = ("1,000,012.50 USD", "waits for energy", "1,234", "0.5", "1:01:01", "KO-PEP", "short", "-2.35", "[not] in the model", "50.25")
    assert [figure for figure in wanted if figure not in text] == []
    assert "no alerts" in text


def test_a_portfolio_that_does_not_answer_leaves_the_rest() -> None:
    """Said in its place."""
    text = shown(view(answers={"summary": None, "pairs": None, "positions": None}))
    assert "does not answer" in text
    assert "forecaster-consumer-v1" in text


@pytest.mark.parametrize(
    ("processes", "answers", "first"),
    [
        ((process("kafka", "refused"),), {}, Alert(what="kafka is not ready", detail="refused; its log: logs/x.log")),
        (
            (process("kafka", "refused"),),
            {"trading-state": [{"scope": "global", "mode": "halted", "reason": "by hand"}]},
            Alert(what="global is halted", detail="by hand"),
        ),
        ((), {"risk": RISK}, Alert(what="breaker day_loss: reducing", detail="1.2 % lost; ends by next_session")),
        (
            (),
            {"risk/events": [{"scope": "pair/KO-PEP", "code": "stop", "detail": "z 4.1"}]},
            Alert(what="pair/KO-PEP: stop", detail="z 4.1"),
        ),
    ],
)
def test_what_a_person_has_to_look_at_comes_first(processes: tuple[ProcessStatus, ...], answers: dict[str, Any], first: Alert) -> None:
    """A kill switch before a breaker, a breaker before a process, a process before an event."""
    assert next(iter(alerts(processes, answers))) == first


def test_nothing_is_wrong_on_a_platform_that_is_well() -> None:
    """No alert for a mode that is active, or for a process that is ready."""
    answers = {"trading-state": [{"scope": "global", "mode": "active", "reason": "resumed"}], "risk": {"breakers": [], "quarantined": []}}
    assert list(alerts((process("kafka"),), answers)) == []


def test_without_a_platform_the_next_step_is_told(tmp_path: Path) -> None:
    """Exit code 1."""
    done = CliRunner().invoke(app, ["top", "--once", "--home", str(tmp_path)])
    assert (done.exit_code, "tandem up" in done.stderr) == (1, True)
