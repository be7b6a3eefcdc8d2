"""The rules' file: written to config/prometheus, and to the chart, whose PrometheusRule holds the same groups."""

import yaml

from tandem.cli.rules import causes, levels
from tandem.cli.rules.alert import Alert

_HEAD = "# Made by `make generate` from services/tandem/cli/rules. Edit the code instead.\n"
_WIDTH = 200


def alerts() -> tuple[Alert, ...]:
    """Every alert."""
    return (*levels.alerts(), *causes.ALERTS)


def document() -> str:
    """The file as Prometheus loads it."""
    groups = [
        {"name": "tandem.levels", "interval": "30s", "rules": levels.records()},
        {"name": "tandem.burns", "interval": "30s", "rules": [alert.document() for alert in levels.alerts()]},
        {"name": "tandem.causes", "rules": [alert.document() for alert in causes.ALERTS]},
    ]
    text: str = yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return _HEAD + text


class _Dumper(yaml.SafeDumper):
    """Lists stand deeper than their key: the chart adds groups of the user's own below ours."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  (the library's)
        super().increase_indent(flow, False)
