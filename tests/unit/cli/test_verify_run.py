"""`tandem verify`: where it looks. What it finds: tests/unit/checker; on a run: tests/integration/test_trading_commands.py."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.cli.main import app

_SERVERS = ("TANDEM_KAFKA_BOOTSTRAP_SERVERS", "TANDEM_POSTGRES_URL")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param((), "nothing to verify: name the folder of a running platform with --home", id="nowhere"),
        pytest.param(("--home", "HOME"), "no platform runs under HOME; start it with `tandem up`", id="a platform that does not run"),
        pytest.param(("--bar", "1h"), "allowed are 1min, 5min, 1d", id="a bar that nobody decides on"),
    ],
)
def test_where_there_is_nothing_to_look_at_it_says_what_to_do(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and the next step."""
    for name in _SERVERS:
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(app, ["verify", *(str(tmp_path) if word == "HOME" else word for word in arguments)])
    assert (done.exit_code, told.replace("HOME", str(tmp_path)) in done.stderr) == (1, True), done.stderr
