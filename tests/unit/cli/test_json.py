"""`--json` everywhere: each command has it, or stands in a table with the reason; what is printed is one document and nothing else."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tandem.cli import main

ROOT = Path(__file__).parents[3]
# A command here prints nothing that a program could want.
WITHOUT = {
    "recycler": "serves until it is stopped; its state is at /tandem/v1/replay",
    "rollout run": "runs until it is stopped; `tandem rollout status --json` tells what it does",
}


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command below this one that is no group, with its full name."""
    if inner_commands := getattr(command, "commands", None):
        for name, inner in inner_commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield " ".join(path), command


def all_commands() -> dict[str, Any]:
    """Every command of the table of parts."""
    return dict(leaf for name in main.PARTS for leaf in leaves(main.command_of(name), (name,)))


def test_every_command_has_json_or_a_reason() -> None:
    """No command is forgotten, and none stands in the table that has the option."""
    without = {name for name, command in all_commands().items() if not any("--json" in parameter.opts for parameter in command.params)}
    assert without == set(WITHOUT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the repository's configuration, to be changed."""
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (("symbols", "status"), "preset", "all"),
        (("symbols", "pairs"), "preset", "pairs"),
        (("symbols", "testing"), "preset", "testing"),
        (("symbols", "preset", "all"), "preset", "all"),
        (("symbols", "add", "ZZZ", "--sector", "energy"), "added", "ZZZ"),
        (("sectors", "set-active", "energy"), "active", ["energy"]),
    ],
)
def test_what_is_printed_is_one_document(config: Path, arguments: tuple[str, ...], key: str, value: object) -> None:
    """Remarks go to stderr, so that stdout can be read by a program as it is."""
    done = CliRunner().invoke(main.app, [*arguments, "--json", "--config-dir", str(config)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[key] == value


def test_a_removed_symbol_is_told(config: Path) -> None:
    """Its sector and the presets that lose it."""
    CliRunner().invoke(main.app, ["symbols", "add", "ZZZ", "--sector", "energy", "--config-dir", str(config)])
    done = CliRunner().invoke(main.app, ["symbols", "remove", "ZZZ", "--json", "--config-dir", str(config)])
    assert json.loads(done.stdout) == {
        "removed": "ZZZ",
        "sector": "energy",
        "presets": [],
        "file": str(config / "sectors.yaml"),
    }


def test_nothing_to_stop_is_an_empty_list(tmp_path: Path) -> None:
    """`tandem down` where nothing runs."""
    done = CliRunner().invoke(main.app, ["down", "--json", "--home", str(tmp_path)])
    assert json.loads(done.stdout) == {"home": str(tmp_path), "stopped": []}


def test_up_prints_json_only_when_it_returns(tmp_path: Path) -> None:
    """A document at the end of an endless command would never come: a wrong use."""
    done = CliRunner().invoke(main.app, ["up", "--json", "--home", str(tmp_path)])
    assert done.exit_code == 2
    assert "--detach" in done.stderr
