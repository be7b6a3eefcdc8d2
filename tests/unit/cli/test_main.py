"""The command's table of parts: it starts without them, and says what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.cli import main

ROOT = Path(__file__).parents[3]


def test_help_names_every_part() -> None:
    """A reader sees all commands, whether or not they can be imported here."""
    result = CliRunner().invoke(main.app, ["--help"])
    assert result.exit_code == 0
    assert [name for name in main.PARTS if name not in result.output] == []


@pytest.mark.parametrize("name", list(main.PARTS))
def test_every_part_can_be_called(name: str) -> None:
    """Each entry of the table leads to a command that explains itself."""
    result = CliRunner().invoke(main.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_starting_the_command_imports_no_part_of_the_platform() -> None:
    """What makes `tandem --help` quick: neither servers' clients nor numbers are loaded for it."""
    program = (
        "import sys; from typer.testing import CliRunner; from tandem.cli.main import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([m for m in ('numpy', 'pandas', 'kafka', 'torch', 'mlflow', 'bentoml', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "reason"),
    [("tandem.nowhere", "this installation has no tandem.nowhere"), ("nowhere", "the package 'nowhere' is not installed")],
)
def test_a_part_that_cannot_be_imported_is_named(module: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and one line, no traceback."""
    monkeypatch.setitem(main.PARTS, "train", main.Part(module, "train", "", ""))
    result = CliRunner().invoke(main.app, ["train"])
    assert result.exit_code == 1
    assert reason in result.stderr


def test_an_unknown_command_is_a_wrong_use() -> None:
    """Exit code 2, and the nearest command is named."""
    result = CliRunner().invoke(main.app, ["symbol"])
    assert result.exit_code == 2
    assert "symbols" in result.stderr


def test_without_a_platform_the_next_step_is_told(tmp_path: Path) -> None:
    """Commands that need the running platform exit with 1 and say how to start it."""
    for arguments in (["pairs"], ["orders"], ["positions"], ["forecast", "KO-PEP"], ["apply", "-f", str(ROOT / "config" / "pairs")]):
        settings = {"TANDEM_HOME": str(tmp_path), "TANDEM_KAFKA_BOOTSTRAP_SERVERS": "", "TANDEM_CONFIG_DIR": str(ROOT / "config")}
        result = CliRunner().invoke(main.app, arguments, env=settings)
        assert result.exit_code == 1, arguments
        assert "tandem up" in result.stderr, arguments


@pytest.mark.parametrize("command", ["up", "demo"])
def test_the_ports_can_be_moved_by_a_variable(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TANDEM_PORT_BASE moves the platform for every command of a session; a port that cannot be is refused."""
    monkeypatch.setenv("TANDEM_PORT_BASE", "no port")
    result = CliRunner().invoke(main.app, [command])
    assert result.exit_code == 2
    assert "PORT_BASE" in result.output
