"""Reference pages made from the code, so that they cannot tell anything else: `make generate` writes them, `make verify` compares.

Called as `python -m tandem.cli.generate` in the repository's root, and by cli/verify.py.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tandem.adapters.telemetry import METRICS
from tandem.adapters.yaml_documents import write_atomically
from tandem.rollout.crd import API_VERSION, TRADING_PAIR, TradingPair
from tandem.rollout.trading_pair import TradingPairSpec
from tandem.settings import Settings

REFERENCE = Path("docs/reference")
_MADE = "<!-- Made by `make generate`. Edit the code instead. -->\n"


def pages() -> dict[Path, str]:
    """Every generated page: its path under the repository's root, and its text."""
    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "metrics.md": metrics_page(),
        REFERENCE / "tradingpair.md": manifest_page(),
    }


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
    """All Prometheus series, from adapters/telemetry.py."""
    rows = [
        (f"`tandem_{name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "none", metric.help)
        for name, metric in sorted(METRICS.items())
    ]
    return _page(
        "Metrics",
        "Each service serves the series of its part at `/metrics`. "
        "Counters also have a `_created` series, histograms `_bucket`, `_sum` and `_count`.",
        _table(("Series", "Kind", "Labels", "Meaning"), rows),
    )


def manifest_page() -> str:
    """The fields and rules of the TradingPair manifest, from rollout/crd.py."""
    rows = [(f"`{path}`", default, text) for path, default, text in _fields(TradingPair, "") if path.startswith(("spec.", "metadata.name"))]
    rules = "\n".join(f"- `{rule.name}`: {rule.message}." for rule in TradingPairSpec.RULES)
    return _page(
        TRADING_PAIR,
        f"`apiVersion: {API_VERSION}`, `kind: {TRADING_PAIR}`. Unknown fields are refused. "
        "The pair's id is made of its legs, e.g. `KO-PEP`.",
        _table(("Field", "Default", "Meaning"), rows) + f"\nRules across fields:\n\n{rules}\n",
    )


def _fields(model: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str]]:
    """(path, default, description) of each field that is described or has fields of its own."""
    for field in model.model_fields.values():
        path, inner = f"{prefix}{field.alias}", field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{path}.")
        elif field.description:
            yield path, _default(field), field.description


def _variable(name: str, field: FieldInfo) -> str:
    alias: Any = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return str(alias or f"TANDEM_{name.upper()}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _page(title: str, introduction: str, body: str) -> str:
    return f"{_MADE}\n# {title}\n\n{introduction}\n\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def write_pages(root: Path) -> None:
    """Write every page under the repository's root."""
    for path, text in pages().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root / path, text)


if __name__ == "__main__":
    write_pages(Path.cwd())
