"""What is wrong with a manifest, fault by fault, each with its rule, its place and what is allowed there. For any of the kinds.

Called by the modules of the kinds; adapters/config_files.py adds file and line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a manifest: the rule that refused it, where, and what was found and allowed."""

    rule: str
    path: tuple[str | int, ...]
    message: str


def parse(model: type[Model], document: Mapping[str, Any]) -> Model | tuple[Fault, ...]:
    """The manifest as a model, or every fault in it."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        return tuple(
            Fault(rule=_rule(item), path=tuple(item["loc"]), message=_message(model, item)) for item in error.errors(include_url=False)
        )


_WORDS = {
    "model_type": "must be a mapping of fields",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of texts",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "too_short": "must be at least {min_length}",
    "too_long": "must be at most {max_length}",
    "string_pattern_mismatch": "must match {pattern}",
}
_NAME_ALLOWED = "must be small letters, digits, '-' and '.', with a letter or digit first and last"


def _rule(item: ErrorDetails) -> str:
    """The name of the rule that was broken: our own for rules across fields, pydantic's for the others."""
    return str(item.get("ctx", {}).get("rule", item["type"]))


def _message(model: type[BaseModel], item: ErrorDetails) -> str:
    """One sentence: what stands where, what was found, what is allowed."""
    kind, found, context = item["type"], item["input"], item.get("ctx", {})
    where = ".".join(map(str, item["loc"])) or "manifest"
    if kind == "extra_forbidden":
        return f"{where}: unknown field, allowed are {', '.join(_fields_beside(model, item['loc']))}"
    if kind == "missing":
        return f"{where}: missing"
    if "rule" in context:
        return f"{where}: {item['msg']}"
    hint = "; quote it, YAML reads the plain word as true or false" if isinstance(found, bool) and kind == "string_type" else ""
    allowed = _WORDS.get(kind, item["msg"].removeprefix("Value error, ").replace("Input should", "must")).format(**context)
    if item["loc"] == ("metadata", "name") and kind == "string_pattern_mismatch":
        allowed = _NAME_ALLOWED
    count = f"{len(found)} entries in " if kind in {"too_short", "too_long"} else ""
    return f"{where}: found {count}{_short(found)}, {allowed}{hint}"


def _fields_beside(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The fields that are known where an unknown one was found."""
    annotation: Any = model
    for step in path[:-1]:
        inner = _model_in(annotation)
        if inner is not None and isinstance(step, str):
            annotation = next(field.annotation for field in inner.model_fields.values() if field.alias == step)
    beside = _model_in(annotation)
    assert beside is not None  # only a model refuses unknown fields
    return [field.alias for field in beside.model_fields.values() if field.alias is not None and field.annotation is not Any]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `X`, `X | None` or `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner)) is not None), None)


def _short(found: object) -> str:
    text = repr(found) if isinstance(found, str | int | float | bool | None) else str(found)
    return text if len(text) <= 80 else f"{text[:77]}..."
