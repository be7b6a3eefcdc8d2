"""What an API server demands of a structural schema, and what we demand of ours: described, bounded, complete."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import Field

from tandem.rollout.crd import KINDS, Kind, definition
from tandem.rollout.resources import Rule, Strict
from tandem.rollout.schema import structural

# Of JSON Schema, what a definition may hold (the reference of CustomResourceDefinition, JSONSchemaProps).
ALLOWED = {
    "type", "description", "default", "format", "enum", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "items", "properties", "additionalProperties", "required",
    "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of a schema, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from nodes(schema[word], f"{path}[]")


def schema_of(kind: Kind) -> dict[str, Any]:
    """The schema in a kind's definition, without what the API server has of its own."""
    found: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return {**found, "properties": {name: found["properties"][name] for name in ("spec", "status")}}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_part_of_a_definition_is_typed_described_and_bounded(kind: Kind) -> None:
    """A bound on everything keeps the cost of rules finite, and a status from growing without end."""
    for path, node in nodes(schema_of(kind)):
        assert set(node) <= ALLOWED, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        if not path.endswith("[]"):
            assert node["description"], path
        match node.get("type"):
            case "string":
                assert "enum" in node or "maxLength" in node, path
            case "array":
                assert "maxItems" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_columns_show_fields_that_exist(kind: Kind) -> None:
    """A column of a mistyped path would stay empty for ever."""
    paths = {path for path, _ in nodes(schema_of(kind))} | {".metadata.creationTimestamp"}
    for column in kind.columns:
        start, _, end = column.path.partition("[?")
        assert (f"{start}[]{end.partition(']')[2]}" if end else start) in paths
    conditions = [column.path for column in kind.columns if "[?" in column.path]
    assert all(any(f'"{name}"' in path for name in kind.conditions) for path in conditions)


class Inner(Strict):
    """A part."""

    size: int = Field(default=1, gt=0, lt=5, description="How large.")


class Ruled(Strict):
    """A part with a rule."""

    RULES = (Rule(name="small", message="must be small", holds=lambda part: part.size < 3, cel="self.size < 3"),)

    size: int = Field(default=1, description="How large.")
    note: str | None = Field(default=None, max_length=5, description="Perhaps.")


class Outer(Strict):
    """The whole."""

    kind: Literal["One"] = Field(description="Always the same.")
    inner: Inner = Field(default=Inner(), description="In other words.")
    ruled: Ruled = Field(default=Ruled(), description="With a rule.")
    parts: list[Inner] = Field(default=[], max_length=2, description="Some.")
    labels: dict[str, str] = Field(default_factory=dict, max_length=3, description="Any.")


def test_a_model_becomes_a_structural_schema() -> None:
    """Parts written out, a constant as an enumeration, bounds in OpenAPI's words, nothing said of null."""
    size = {
        "type": "integer",
        "description": "How large.",
        "default": 1,
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 5,
        "exclusiveMaximum": True,
    }
    assert structural(Outer) == {
        "type": "object",
        "description": "The whole.",
        "required": ["kind"],
        "properties": {
            "kind": {"type": "string", "description": "Always the same.", "enum": ["One"]},
            "inner": {"type": "object", "description": "In other words.", "default": {}, "properties": {"size": size}},
            "ruled": {
                "type": "object",
                "description": "With a rule.",
                "default": {"size": 1},  # in full: the API server tries the rule on the default as it is written
                "properties": {
                    "size": {"type": "integer", "description": "How large.", "default": 1},
                    "note": {"type": "string", "description": "Perhaps.", "maxLength": 5},
                },
                "x-kubernetes-validations": [{"rule": "self.size < 3", "message": "small: must be small"}],
            },
            "parts": {
                "type": "array",
                "description": "Some.",
                "default": [],
                "maxItems": 2,
                "items": {"type": "object", "description": "A part.", "properties": {"size": size}},
            },
            "labels": {"type": "object", "description": "Any.", "maxProperties": 3, "additionalProperties": {"type": "string"}},
        },
    }
