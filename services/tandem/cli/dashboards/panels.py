"""What a dashboard is made of, before it is Grafana's: panels with their queries, in rows. Used by each dashboard's module and by build.py.

A query names its scope instead of label matchers, so that all panels of a dashboard follow its variables:
`{$scope}` is the chosen namespaces, `{$sector}` the chosen sectors in them, `{$account}` the chosen accounts. `$rate` is the window that
Grafana thinks right for a rate at the chosen zoom.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

COLUMNS = 24
_SCOPE = 'namespace=~"$namespace"'
# "All" is .*, which also fits a series without the label: a Prometheus outside Kubernetes sets neither namespace nor account.
_SCOPES = {"$scope": _SCOPE, "$sector": f'{_SCOPE},sector=~"$sector"', "$account": f'{_SCOPE},tandem_trading_account=~"$account"'}
Look = Literal["lines", "bars", "number", "states", "table"]
Variable = Literal["sector", "account"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the legend of its series, with labels in double braces."""

    text: str
    legend: str = ""

    @property
    def expression(self) -> str:
        """As Grafana takes it, with its variables."""
        found = self.text.replace("$rate", "$__rate_interval")
        for name, matchers in _SCOPES.items():
            found = found.replace(f"{{{name}", f"{{{matchers}")
        return found

    @property
    def of_everything(self) -> str:
        """As Prometheus takes it: every variable at All, rates over five minutes."""
        found = self.expression.replace("$__rate_interval", "5m")
        return found.replace("$namespace", ".*").replace("$sector", ".*").replace("$account", ".*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. help: what it shows and what to think of it. limit: a line that values should not cross; `good` says to which side."""

    title: str
    help: str
    unit: str
    queries: tuple[Query, ...]
    look: Look = "lines"
    limit: float | None = None
    good: Literal["below", "above"] = "below"
    signed: bool = False  # values below 0 mean something
    width: int = 8
    height: int = 8

    def __post_init__(self) -> None:
        assert self.queries, f"{self.title}: a panel without a query shows nothing"
        assert 0 < self.width <= COLUMNS, f"{self.title}: width is {self.width}, must be 1 to {COLUMNS}"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard. variables: what may be chosen at its top besides the namespace."""

    name: str
    title: str
    help: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    def queries(self) -> Iterator[tuple[str, Query]]:
        """(title of the panel, query) of everything that it asks."""
        for row in self.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield panel.title, query
