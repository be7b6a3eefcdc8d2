"""The reference page of the command line says what the commands say of themselves."""

from collections.abc import Iterator
from typing import Any

import pytest

from tandem.cli.command_page import page
from tandem.cli.main import PARTS, command_of


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its path, groups included."""
    rest = [(f"tandem {name}", command_of(name)) for name in PARTS]
    while rest:
        path, command = rest.pop()
        yield path, command
        rest += [(f"{path} {name}", below) for name, below in getattr(command, "commands", {}).items()]


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """The page cut at its headings: title and text of each command."""
    parts = page().replace("#### ", "### ").split("### ")[1:]
    return {title: text for title, _, text in (part.partition("\n") for part in parts)}


def test_every_command_has_its_own_section_with_all_its_options(sections: dict[str, str]) -> None:
    """Nothing is left out: no command, no option, no explanation of one."""
    found = dict(commands())
    assert set(sections) == set(found)
    assert len(found) > len(PARTS)
    for path, command in found.items():
        for parameter in command.params:
            if parameter.name not in {"help", "install_completion", "show_completion"} and not parameter.hidden:
                name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
                assert f"`{name}" in sections[path] or f", {name}" in sections[path], (path, name)


@pytest.mark.parametrize(
    ("path", "row"),
    [
        (
            "tandem up",
            "| `--port-base INTEGER` | `28000`, or `TANDEM_PORT_BASE` | The first port; each process has a fixed one after it. |",
        ),
        ("tandem up", "| `--detach, -d` | off | Return when everything is ready; `tandem down` stops it. |"),
        ("tandem apply", "| `--filename, -f TEXT`, repeatable | required | File, folder (its *.yaml and *.yml) or - for standard input. |"),
        ("tandem forecast", "| `PAIR` | required | The pair, e.g. KO-PEP. |"),
        ("tandem export", "| `--format csv/parquet` | `parquet` | csv or parquet. |"),
        ("tandem recycler", "| `--symbols A,B` | all | Replay these symbols only. |"),
        ("tandem forecast", "```\ntandem forecast KO-PEP\n```"),
    ],
)
def test_a_row_gives_name_kind_default_and_variable(sections: dict[str, str], path: str, row: str) -> None:
    """Flags are on or off, options have a kind, what stands in for one is named, and an example follows."""
    assert row in sections[path]
