"""The examples of the commands: every command has one, it stands in its help, and its options exist."""

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from tandem.cli.examples import EXAMPLES, leaves
from tandem.cli.main import PARTS, app, command_of

COMMANDS = {path: command for name in PARTS for path, command in leaves(f"tandem {name}", command_of(name))}
LINES = [(path, line) for path, lines in EXAMPLES.items() for line in lines]


def test_every_command_has_an_example() -> None:
    """And no example is of a command that is gone."""
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize(("path", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_understood(path: str, line: str) -> None:
    """Its arguments and options are those of the command; nothing is run."""
    command: Any = COMMANDS[path]
    words = shlex.split(line)
    count = len(path.split())
    assert " ".join(words[:count]) == path
    context = command.make_context(path, words[count:])
    assert context.params


def test_help_ends_with_the_examples() -> None:
    """Also below a group, one a line."""
    text = CliRunner().invoke(app, ["rollout", "status", "--help"], terminal_width=200).output
    shown = [line.strip() for line in text.splitlines() if line.strip()]
    assert shown[-3:] == ["Examples:", *EXAMPLES["tandem rollout status"]]
