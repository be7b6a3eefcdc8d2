"""What is made from the code, so that it cannot tell anything else: reference pages, and the chart's definitions and dashboards.

`make generate` writes them, `make verify` compares. Called as `python -m tandem.cli.generate` in the repository's root, and by verify.py.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tandem.adapters.series import METRICS, served_by
from tandem.adapters.series_labels import LABELS
from tandem.adapters.yaml_documents import write_atomically
from tandem.cli import api_page, chart_values, command_page, flow_picture
from tandem.cli.dashboards import build
from tandem.cli.rules import build as rules
from tandem.cli.silent_series import EVENTUAL, SILENT
from tandem.rollout.crd import KINDS, Kind, definitions
from tandem.rollout.resources import API_VERSION, ChangeRule, Rule, Strict
from tandem.settings import Settings

REFERENCE = Path("docs/reference")
PICTURE = Path("docs/img/flow.svg")
DEFINITIONS = Path("charts/tandem/files/crds")
DASHBOARDS = Path("charts/tandem/files/dashboards")
RULES = (Path("config/prometheus/rules.yaml"), Path("charts/tandem/files/rules/tandem.yaml"))
_MADE = "<!-- Made by `make generate`. Edit the code instead. -->\n"
_YAML_WIDTH = 140


def generated(root: Path) -> dict[Path, str]:
    """Every generated file: its path under the repository's root, and its text."""
    kinds = {DEFINITIONS / name: _yaml(document) for name, document in definitions().items()}
    dashboards = {DASHBOARDS / name: text for name, text in build.documents().items()}
    prometheus = {path: rules.document() for path in RULES}
    return pages() | kinds | dashboards | prometheus | {REFERENCE / "chart.md": chart_page((root / chart_values.VALUES).read_text())}


def pages() -> dict[Path, str]:
    """Every generated page, and its picture, that is made of code alone."""
    kinds = {REFERENCE / f"{kind.name.lower()}.md": kind_page(kind) for kind in KINDS}
    api = {REFERENCE / "api.md": http_page(), REFERENCE / "openapi.json": api_page.openapi_json()}
    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "metrics.md": metrics_page(),
        REFERENCE / "cli.md": cli_page(),
        PICTURE: flow_picture.picture(),
        **api,
        **kinds,
    }


def cli_page() -> str:
    """The command `tandem`, from its sub-commands."""
    return _page(
        "The command tandem",
        "Every sub-command with its arguments and options; `--help` behind any of them tells the same. A wrong use ends with exit code 2, "
        "a failure with 1 and a line that says what was found and what is allowed.",
        command_page.page(),
    )


def http_page() -> str:
    """The portfolio's HTTP API, from its app."""
    return _page(
        "HTTP API of the portfolio",
        "[docs/api.md](../api.md) tells how to use it; [openapi.json](openapi.json) is the same for programs.",
        api_page.page(),
    )


def settings_page() -> str:
    """All settings, from settings.py."""
    rows = [(f"`{_variable(name, field)}`", _default(field), field.description or "") for name, field in Settings.model_fields.items()]
    return _page(
        "Settings",
        "Every process reads these environment variables once, at its start. A setting that is not needed by a process is not looked at. "
        "Secrets come from the environment only.",
        _table(("Variable", "Default", "Meaning"), rows),
    )


def metrics_page() -> str:
    """All Prometheus series, from adapters/series.py."""
    rows = [
        (
            f"`tandem_{name}`",
            metric.kind,
            metric.unit,
            ", ".join(f"`{label}`" for label in metric.labels) or "none",
            _served(name),
            metric.help,
        )
        for name, metric in sorted(METRICS.items())
    ]
    bounds = [(f"`{name}`", bound.values, str(bound.at_most)) for name, bound in sorted(LABELS.items())]
    reasons = {**SILENT, **EVENTUAL}
    silent = [
        (", ".join(f"`{name}`" for name in sorted(reasons) if reasons[name] == reason), reason)
        for reason in dict.fromkeys(reasons.values())
    ]
    return _page(
        "Metrics",
        "Each service serves the series of its part at `/metrics`. "
        "Counters also have a `_created` series, histograms `_bucket`, `_sum` and `_count`.",
        _table(("Series", "Kind", "Unit", "Labels", "Served by", "Meaning"), rows)
        + "\n## Labels\n\nHow many values a label may have in one series of one process; a test of processes that trade holds it.\n\n"
        + _table(("Label", "Values", "At most"), bounds)
        + "\n## Series that may be silent\n\n"
        + "Without Kubernetes, on a recycled market of daily bars where nothing goes wrong, these have no samples; panels and rules over "
        "them show nothing. All others have something to show there, which a test with a real Prometheus holds.\n\n"
        + _table(("Series", "Why"), silent),
    )


def _served(name: str) -> str:
    services = served_by(name)
    return "every service" if len(services) > 1 else services[0]


def chart_page(values: str) -> str:
    """All values of the chart, from the comments of its values.yaml."""
    return _page(
        "Values of the chart",
        "What `helm install tandem ./charts/tandem` takes. [docs/kubernetes.md](../kubernetes.md) tells how to install and upgrade it. "
        "Each component also takes the keys of `pod` for itself.",
        _table(("Value", "Default", "Meaning"), chart_values.rows(values)),
    )


_INTRODUCTIONS = {
    "TradingPair": "The pair's id is made of its legs, e.g. `KO-PEP`. `tandem apply -f` takes the same manifests without a cluster. "
    "[Samples](../../config/pairs).",
    "SectorModel": "One for a sector. The operator runs a forecaster for each version that is needed, and rolls a new one out by "
    "this policy; what came of it stands in a ModelRollout. [A sample](../../config/samples/sector-model.yaml).",
    "TradingAccount": "Its name is the account's: the portfolio's `TANDEM_ACCOUNT`. `tandem apply -f` takes the same manifests without "
    "a cluster. [A sample](../../config/samples/trading-account.yaml).",
    "ModelRollout": "Written by the operator only: the record of one candidate. Ask for something by an annotation, "
    "`kubectl annotate mro NAME tandem.trading/request=promote` (`rollback`, `abort`).",
}


def kind_page(kind: Kind) -> str:
    """Fields, rules, status and columns of a kind, from rollout/."""
    names = f"`kubectl get {kind.short_name}`; `kubectl get tandem` shows all kinds"
    rules = "".join(f"- `{rule.name}`: {rule.message}.\n" for rule in _rules(kind.model))
    status = [(f"`status.{path}`", text) for path, _, text in _fields(kind.status, "")]
    columns = [(column.name, f"`{column.path}`", "with `-o wide`" if column.wide else "") for column in kind.columns]
    return _page(
        kind.name,
        f"`apiVersion: {API_VERSION}`, `kind: {kind.name}`; {names}. Unknown fields are refused. {_INTRODUCTIONS[kind.name]}",
        _table(
            ("Field", "Default", "Meaning"),
            [
                ("`metadata.name`", "required", "The name of the resource."),
                *((f"`spec.{path}`", default, text) for path, default, text in _fields(kind.spec, "")),
            ],
        )
        + (f"\nRules across fields; a refusal names the rule:\n\n{rules}" if rules else "")
        + "\n## Status\n\n"
        + _table(("Field", "Meaning"), status)
        + "\n## Conditions\n\n"
        + _table(("Condition", "True when"), [(f"`{name}`", text) for name, text in kind.conditions.items()])
        + "\n## Columns\n\n"
        + _table(("Column", "From", ""), columns),
    )


def _rules(model: type[BaseModel]) -> list[Rule | ChangeRule]:
    """The rules of a manifest and of every part of it."""
    own: list[Rule | ChangeRule] = [*model.RULES, *model.CHANGE_RULES] if issubclass(model, Strict) else []
    parts = (_part(field.annotation) for field in model.model_fields.values())
    return own + [rule for part, _ in parts if part is not None for rule in _rules(part)]


def _fields(model: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str]]:
    """(path, default, description) of each field that has none of its own; a list's entries stand behind []."""
    for field in model.model_fields.values():
        path = f"{prefix}{field.alias}"
        part, many = _part(field.annotation)
        if part is None or many:
            yield path, _default(field), field.description or ""
        if part is not None:
            yield from _fields(part, f"{path}[]." if many else f"{path}.")


def _part(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model in `X`, `X | None`, `list[X]` or `tuple[X, ...]`, and whether there are many of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    found = next((part for inner in get_args(annotation) if (part := _part(inner))[0] is not None), (None, False))
    return found[0], found[1] or get_origin(annotation) in (list, tuple)


def _variable(name: str, field: FieldInfo) -> str:
    alias: Any = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return str(alias or f"TANDEM_{name.upper()}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    if value is None or value in ("", [], (), {}):
        return "none"
    if isinstance(value, list):
        value = json.dumps([item.model_dump(mode="json", by_alias=True) for item in value])
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _yaml(document: Any) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=_YAML_WIDTH, allow_unicode=True)
    return f"# Made by `make generate` from services/tandem/rollout. Edit the code instead.\n{text}"


def _page(title: str, introduction: str, body: str) -> str:
    return f"{_MADE}\n# {title}\n\n{introduction}\n\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def write(root: Path) -> None:
    """Write every generated file under the repository's root."""
    for path, text in generated(root).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root / path, text)


if __name__ == "__main__":
    write(Path.cwd())
