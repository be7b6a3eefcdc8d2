"""From a pydantic model to a structural schema, which is what the API server takes: no $ref, no anyOf of types, no null.

Decides nothing about the kinds (crd.py). JSON Schema's words that OpenAPI v3 lacks are said in its own; the rules of resources.Strict are
in the models' schemas already.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
_DROPPED = ("title", "$defs", "additionalProperties")
# The order in which a definition is read: what it is, what is allowed, what it holds.
_ORDER = ("type", "description", "default", "format", "enum", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def structural(model: type[BaseModel]) -> Schema:
    """The schema of a model, every part written out where it stands."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _converted(schema, schema.get("$defs", {}))


def _converted(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    merged = _merged(schema, definitions)
    found = {key: value for key, value in merged.items() if key not in _DROPPED}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    for bound in ("Minimum", "Maximum"):  # a number in JSON Schema, a flag beside minimum and maximum here
        if f"exclusive{bound}" in found:
            found[bound.lower()] = found[f"exclusive{bound}"]
            found[f"exclusive{bound}"] = True
    if "items" in found:
        found["items"] = _converted(found["items"], definitions)
    if "properties" in found:
        found["properties"] = {name: _converted(field, definitions) for name, field in found["properties"].items()}
    elif isinstance(values := merged.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _converted(values, definitions)
    if "default" in found:
        found |= _default(found.pop("default"), found)
    return {key: found[key] for key in sorted(found, key=_place)}


def _place(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)


def _merged(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what it refers to, and without "or null": the API server drops a null before it looks at anything else."""
    outer = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    if "$ref" in schema:
        return {**_merged(definitions[schema["$ref"].rpartition("/")[2]], definitions), **outer}
    if "anyOf" in schema:
        (inner,) = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
        return {**_merged(inner, definitions), **outer}
    return outer


def _default(value: Any, schema: Mapping[str, Any]) -> Schema:
    """What the API server writes where nothing is given.

    {} for a mapping whose fields have defaults, so that each of them stands once; in full where rules hold across its fields, because the
    API server tries them on the default as it is written.
    """
    if value is None:
        return {}
    in_full = "properties" not in schema or "x-kubernetes-validations" in schema
    return {"default": _without_null(value) if in_full else {}}


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value
