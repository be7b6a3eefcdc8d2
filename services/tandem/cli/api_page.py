"""The portfolio's HTTP API as a reference page and as an OpenAPI document, both from the app itself. Called by generate.py."""

import json
from collections.abc import Iterator
from typing import Any, cast

from pydantic import SecretStr

from tandem.adapters.postgres_views import PortfolioViews
from tandem.portfolio.api import make_app
from tandem.portfolio.api_parts import Parts
from tandem.portfolio.manager import BrokerViews, Cache, PortfolioManager
from tandem.portfolio.session import Condition

Document = dict[str, Any]


def document() -> Document:
    """The OpenAPI document of an app that is asked for nothing else."""
    nobody = cast(BrokerViews, None), cast(Cache, None)
    parts = Parts(
        condition=Condition(),
        manager=PortfolioManager(*nobody),
        database=PortfolioViews(""),
        publish=lambda _: None,
        token=SecretStr(""),
    )
    return make_app(parts).openapi()


def openapi_json() -> str:
    """The document as a file."""
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def page() -> str:
    """Calls with their parameters and answers, then the fields of everything that goes in or comes out."""
    found = document()
    calls = "\n".join("\n".join(_call(path, method, call)) for path, verbs in found["paths"].items() for method, call in verbs.items())
    schemas = "\n".join("\n".join(_schema(name, schema)) for name, schema in sorted(found["components"]["schemas"].items()))
    return f"{found['info']['description']}\n\n## Calls\n\n{calls}\n## Fields\n\n{schemas}"


def _call(path: str, method: str, call: Document) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"{call.get('description', call['summary'])}{' **Needs the bearer token.**' if call.get('security') else ''}\n"
    for parameter in call.get("parameters", ()):
        schema = parameter["schema"]
        allowed = _limits(schema)
        told = f"- `{parameter['name']}` ({parameter['in']}, {_type(schema)}{', ' + allowed if allowed else ''})"
        yield f"{told}: {parameter.get('description', '')}"
    if call.get("parameters"):
        yield ""
    if body := call.get("requestBody"):
        yield f"Takes {_type(body['content']['application/json']['schema'])}.\n"
    for status, answer in call["responses"].items():
        if int(status) < 300:
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            others = [other for other in call["responses"] if int(other) >= 300]
            yield f"Answers {status} with {_type(schema)}{'; otherwise ' + ', '.join(others) if others else ''}.\n"


def _schema(name: str, schema: Document) -> Iterator[str]:
    yield f"### {name}\n"
    if text := schema.get("description"):
        yield f"{text}\n"
    if "enum" in schema:
        yield f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.\n"
        return
    yield "| Field | Type | Meaning |"
    yield "| --- | --- | --- |"
    for field, part in schema.get("properties", {}).items():
        told = " ".join(text for text in (part.get("description", ""), _limits(part)) if text)
        yield f"| `{field}` | {_type(part)} | {told.replace('|', chr(92) + '|')} |"
    yield ""


def _type(schema: Document) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _limits(schema: Document) -> str:
    """What a value must keep to."""
    told = {"minimum": "at least", "maximum": "at most", "minLength": "length at least", "maxLength": "length at most"}
    found = [f"{words} {schema[key]}" for key, words in told.items() if key in schema]
    if "enum" in schema:
        found.append(f"one of {', '.join(map(str, schema['enum']))}")
    if "default" in schema and schema["default"] not in ("", None):
        found.append(f"default {schema['default']}")
    return ", ".join(found)
