"""The command `tandem` as a reference page, from the commands themselves: each with its arguments and options. Called by generate.py."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from tandem.cli.examples import EXAMPLES
from tandem.cli.main import PARTS, command_of

_HIDDEN = frozenset({"help", "install_completion", "show_completion"})  # what every command has
_KINDS = {Path: "PATH", int: "INTEGER", float: "NUMBER"}
_DEPTH = 3  # headings below the panels'


def page() -> str:
    """All sub-commands by the panels of `tandem --help`."""
    panels: dict[str, list[str]] = {}
    for name, part in PARTS.items():
        panels.setdefault(part.panel, []).append("\n".join(_command(f"tandem {name}", command_of(name), part.help)))
    return "\n".join(f"## {panel}\n\n" + "\n".join(texts) for panel, texts in panels.items())


def _command(path: str, command: Any, told: str = "") -> Iterator[str]:
    """A command's own part of the page, and those of the commands below it."""
    below: dict[str, Any] = getattr(command, "commands", {})
    yield f"{'#' * (_DEPTH - 1 + path.count(' '))} {path}\n"
    yield f"{_line(command.help) or told}\n"
    shown = [parameter for parameter in command.params if parameter.name not in _HIDDEN and not getattr(parameter, "hidden", False)]
    if shown:
        yield "| Argument or option | Default | Meaning |\n| --- | --- | --- |"
        yield from (f"| {_name(parameter)} | {_default(parameter)} | {_cell(getattr(parameter, 'help', None))} |" for parameter in shown)
        yield ""
    if path in EXAMPLES:
        yield "\n".join(("```", *EXAMPLES[path], "```\n"))
    for name, other in sorted(below.items()):
        yield from _command(f"{path} {name}", other)


def _name(parameter: Any) -> str:
    """`NAME`, `--name TYPE`, `--a/--no-a`; with a mark that it may be given several times."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}`"
    names = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    if parameter.secondary_opts:
        names += f" / {', '.join(parameter.secondary_opts)}"
    if not parameter.is_flag:
        kind = parameter.metavar or _type(parameter.type_descriptor.annotation)
        names += " " + kind.replace("|", "/")  # a bar would end the cell
    return f"`{names}`{', repeatable' if parameter.multiple else ''}"


def _type(kind: Any) -> str:
    """What stands for a value: its choices, or its kind; of a list, of one of its entries."""
    while get_origin(kind) in (list, tuple, Union, UnionType):
        kind = get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return _KINDS.get(kind, "TEXT")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if isinstance(said := getattr(parameter, "show_default", None), str):
        told = said
    elif callable(value) or value is None or value in ("", (), [], False) or repr(value).startswith("Sentinel"):
        told = "none" if not getattr(parameter, "is_flag", False) else "off"
    else:
        told = f"`{'on' if value is True else getattr(value, 'value', value)}`"
    return f"{told}, or `{parameter.envvar}`" if getattr(parameter, "envvar", None) else told


def _line(text: str | None) -> str:
    """A docstring as paragraphs of one line each; Markdown's own signs are left as they are."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n")).strip()


def _cell(text: str | None) -> str:
    return _line(text).replace("\n\n", " ").replace("|", "\\|").replace("<", "\\<")
