"""`helm lint --strict` finds nothing, and every value is documented, used and checked."""

import json
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from chart_renders import CHART, SCENARIOS, scenario
from tandem.cli.chart_values import documented, rows
from tandem.domain.errors import BadSetting

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SCENARIOS)
def test_lint_finds_nothing(name: str) -> None:
    """Neither an error nor a warning, with the values of any scenario."""
    report = helm_python.lint(CHART, scenario(name), strict=True, namespace="trading")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_the_charts_application_is_ours() -> None:
    """appVersion, the images' default tag, is the package's version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["appVersion"] == version[1]


def test_every_value_is_documented() -> None:
    """A comment above its key says what it means; documented() refuses the file otherwise."""
    assert len(documented(VALUES)) > 100
    assert all(meaning.endswith((".", ":")) for _, _, meaning in rows(VALUES)), "meanings are sentences"


def test_a_value_without_a_comment_is_found() -> None:
    """By its path."""
    with pytest.raises(BadSetting, match=r"kafka\.heap"):
        documented(VALUES.replace("  # -- Memory of the JVM.\n", ""))


def paths(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted paths of all keys of block-style values down to those that are documented."""
    return {value.path for value in documented(VALUES) if not value.group}


def test_every_value_is_used_by_a_template() -> None:
    """Its last key stands in a template after a dot, in quotes, or in a list of options."""
    templates = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    unused = [path for path in paths({}) if not re.search(rf'[."]{re.escape(path.rsplit(".", 1)[-1])}\b', templates)]
    assert unused == []


def subschema(path: str) -> dict[str, Any] | None:
    """The schema of a value; None if the schema does not know it."""
    node = SCHEMA
    for key in path.split("."):
        node = resolved(node).get("properties", {}).get(key)
        if node is None:
            return None
    return resolved(node)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """The node, or what its $ref names."""
    if "$ref" not in node:
        return node
    found = SCHEMA
    for key in node["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found


def test_the_schema_knows_every_value() -> None:
    """And says its type or its choices."""
    unknown = [value.path for value in documented(VALUES) if not {"type", "enum"} & set(subschema(value.path) or {})]
    assert unknown == []


def test_every_value_of_the_schema_has_a_default() -> None:
    """Otherwise nobody would find it. The keys of `pod` that each component takes, and a parent chart's switch, are the exceptions."""
    values = yaml.safe_load(VALUES)
    pod = set(values["pod"])
    missing = [
        f"{name}.{key}"
        for name, node in SCHEMA["properties"].items()
        for key in resolved(node).get("properties", {})
        if name != "images" and key not in values.get(name, {}) and key not in pod and not (name == "forecaster" and key == "labels")
    ]
    assert missing == []
    assert set(SCHEMA["properties"]) - set(values) == {"enabled"}


def open_objects(node: Any, path: str = "") -> list[str]:
    """Objects with known properties that would take unknown ones."""
    found = []
    if isinstance(node, dict):
        if "properties" in node and node.get("additionalProperties") is not False:
            found.append(path)
        for key, value in node.items():
            found += open_objects(value, f"{path}/{key}")
    return found


def test_only_global_is_open() -> None:
    """Parent charts put there what they like; everywhere else an unknown key is a slip of the pen."""
    assert open_objects(SCHEMA) == ["/properties/global"]
