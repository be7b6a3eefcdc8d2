"""The reference page of the chart's values, from the comments of its values.yaml. Called by cli/generate.py.

A comment that begins with `# --` tells what the key below it means; more comment lines go on with it. What a documented key holds is its
default, keys within it need no comment of their own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tandem.domain.errors import BadSetting

VALUES = Path("charts/tandem/values.yaml")
_MARK = "# -- "


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartValue:
    """One documented key."""

    path: str
    default: Any
    meaning: str
    group: bool  # its keys are documented one by one


def documented(text: str) -> list[ChartValue]:
    """Every documented key in the order of the file. Raises BadSetting with all keys that nothing explains."""
    values: dict[str, Any] = yaml.safe_load(text)
    meanings = dict(_comments(text))
    silent = [".".join(path) for path in _undocumented(values, (), meanings)]
    if silent:
        raise BadSetting(f"{VALUES}: no comment tells what {', '.join(silent)} means")
    return [
        ChartValue(
            path=".".join(path),
            default=_at(values, path),
            meaning=meaning,
            group=any(other[: len(path)] == path and other != path for other in meanings),
        )
        for path, meaning in meanings.items()
    ]


def rows(text: str) -> list[tuple[str, str, str]]:
    """(value, default, meaning) of each documented key, for a table."""
    return [(f"`{value.path}`", "" if value.group else f"`{_shown(value.default)}`", value.meaning) for value in documented(text)]


def _comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path, meaning) of each key with a `# --` above it."""
    stack: list[tuple[int, str]] = []
    meaning: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith(_MARK):
            meaning = [bare.removeprefix(_MARK)]
        elif bare.startswith("#"):
            meaning += [bare.removeprefix("#").strip()] if meaning else []
        elif not bare:
            meaning = []
        elif not bare.startswith("- ") and ":" in bare:
            indent = len(line) - len(line.lstrip())
            stack = [*((depth, key) for depth, key in stack if depth < indent), (indent, bare.split(":", 1)[0])]
            if meaning:
                yield tuple(key for _, key in stack), " ".join(meaning)
            meaning = []


def _undocumented(values: Any, path: tuple[str, ...], meanings: dict[tuple[str, ...], str]) -> Iterator[tuple[str, ...]]:
    """Keys that have no comment, are not within a key that has one of its own, and do not merely group documented ones."""
    for key, value in values.items():
        here = (*path, key)
        groups = any(other[: len(here)] == here and other != here for other in meanings)
        if groups:
            yield from _undocumented(value, here, meanings)
        elif here not in meanings:
            yield here


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _shown(default: Any) -> str:
    return json.dumps(default)
