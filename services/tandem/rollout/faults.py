"""What is wrong with a manifest, fault by fault, each with its rule, its place and what is allowed there. For any of the kinds.

Called by the modules of the kinds; adapters/config_files.py adds file and line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tandem.rollout.resources import Strict

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


def changed(old: Strict, new: Strict, path: tuple[str | int, ...] = ()) -> tuple[Fault, ...]:
    """What may not become of a manifest that is declared already: every rule about changes that is broken, of every part of it."""
    own = [Fault(rule=rule.name, path=path, message=_at(path, rule.message)) for rule in new.CHANGE_RULES if not rule.holds(old, new)]
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Strict) and isinstance(after, Strict):
            own += changed(before, after, (*path, field.alias or name))
    return tuple(own)


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
    path = item["loc"]
    if kind == "extra_forbidden":
        return _at(path, f"unknown field, allowed are {', '.join(_fields_beside(model, path))}")
    if kind == "missing":
        return _at(path, "missing")
    if "rule" in context:
        return _at(path, item["msg"])
    hint = "; quote it, YAML reads the plain word as true or false" if isinstance(found, bool) and kind == "string_type" else ""
    word = _WORDS.get(kind)
    allowed = word.format(**context) if word else item["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if path == ("metadata", "name") and kind == "string_pattern_mismatch":
        allowed = _NAME_ALLOWED
    shown = f"{len(found)} in the list" if kind in {"too_short", "too_long"} else _short(found)
    return _at(path, f"found {shown}, {allowed}{hint}")


def _at(path: tuple[str | int, ...], sentence: str) -> str:
    return f"{'.'.join(map(str, path)) or 'manifest'}: {sentence}"


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
