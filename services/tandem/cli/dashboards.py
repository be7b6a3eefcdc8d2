"""Grafana's dashboard of the platform, as the chart ships it: panels over series that our code exports. Called by cli/generate.py.

Data first: what is shown stands in ROWS. The rest turns it into the document that Grafana takes.
"""

import json
from dataclasses import dataclass
from typing import Any

_SCHEMA = 39  # of Grafana 10 and newer
_COLUMNS, _HEIGHT = 24, 8
_SCOPE = 'namespace=~"$namespace"'  # every expression is of the chosen namespaces


@dataclass(frozen=True, slots=True)
class Panel:
    """One time series panel. queries: (PromQL with `{}` where the scope's label matchers go, legend)."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Rollouts and operator",
        (
            Panel("Objects that are not ready", "short", (("sum by (kind) (tandem_operator_not_ready{{{}}})", "{{kind}}"),)),
            Panel("Events", "short", (("sum by (reason) (increase(tandem_operator_events_total{{{}}}[5m]))", "{{reason}}"),)),
            Panel(
                "Servers that the operator reaches",
                "bool_yes_no",
                (("min by (dependency) (tandem_operator_dependency_up{{{}}})", "{{dependency}}"),),
            ),
            Panel(
                "Version that is acted on", "short", (("max by (sector) (tandem_portfolio_routing_epoch{{{}}})", "epoch of {{sector}}"),)
            ),
            Panel(
                "Forecasts acted on",
                "cps",
                (("sum by (sector, version) (rate(tandem_portfolio_forecasts_acted_total{{{}}}[5m]))", "{{sector}} v{{version}}"),),
            ),
            Panel(
                "Looks at objects",
                "cps",
                (("sum by (kind, result) (rate(tandem_operator_reconciles_total{{{}}}[5m]))", "{{kind}} {{result}}"),),
            ),
        ),
    ),
    (
        "Forecasters",
        (
            Panel(
                "Versions that run",
                "short",
                (("count by (sector, version) (tandem_forecaster_model_info{{{}}})", "{{sector}} v{{version}}"),),
            ),
            Panel(
                "Records not yet read",
                "short",
                (("max by (sector, version) (tandem_forecaster_lag_records{{{}}})", "{{sector}} v{{version}}"),),
            ),
            Panel(
                "Tick to forecast, p99",
                "s",
                (("histogram_quantile(0.99, sum by (le, sector) (rate(tandem_tick_to_forecast_seconds_bucket{{{}}}[5m])))", "{{sector}}"),),
            ),
        ),
    ),
    (
        "Market data",
        (
            Panel("Ticks", "cps", (("sum by (sector) (rate(tandem_ingestor_ticks_total{{{}}}[1m]))", "{{sector}}"),)),
            Panel("Stream connected", "bool_yes_no", (("min(tandem_ingestor_connected{{{}}})", "connected"),)),
            Panel(
                "Records parked",
                "short",
                (
                    ("sum by (reason) (increase(tandem_ingestor_parked_total{{{}}}[5m]))", "ingestor: {{reason}}"),
                    ("sum by (reason) (increase(tandem_recorder_parked_total{{{}}}[5m]))", "recorder: {{reason}}"),
                ),
            ),
        ),
    ),
    (
        "Portfolio",
        (
            Panel(
                "Equity",
                "currencyUSD",
                (("sum by (tandem_trading_account) (tandem_portfolio_equity_usd{{{}}})", "{{tandem_trading_account}}"),),
            ),
            Panel(
                "Open pairs",
                "short",
                (("sum by (tandem_trading_account) (tandem_portfolio_open_pairs{{{}}})", "{{tandem_trading_account}}"),),
            ),
            Panel("Orders", "short", (("sum by (status) (increase(tandem_portfolio_orders_total{{{}}}[5m]))", "{{status}}"),)),
            Panel(
                "Differences from the broker",
                "short",
                (("sum(increase(tandem_portfolio_reconcile_mismatches_total{{{}}}[1h]))", "differences"),),
            ),
            Panel(
                "Forecast to order, p99",
                "s",
                (("histogram_quantile(0.99, sum by (le) (rate(tandem_forecast_to_order_seconds_bucket{{{}}}[5m])))", "all accounts"),),
            ),
            Panel(
                "Bars and scores written",
                "cps",
                (
                    ("sum(rate(tandem_recorder_bars_total{{{}}}[5m]))", "bars"),
                    ("sum(rate(tandem_recorder_scores_total{{{}}}[5m]))", "scores"),
                ),
            ),
        ),
    ),
)


def dashboard() -> str:
    """The document, as JSON text."""
    document = {
        "uid": "tandem-overview",
        "title": "Tandem",
        "tags": ["tandem"],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "America/New_York",
        "templating": {"list": [_source(), _namespaces()]},
        "panels": _panels(),
    }
    return json.dumps(document, indent=1) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _namespaces() -> dict[str, Any]:
    query = "label_values(tandem_ingestor_connected, namespace)"
    return {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": _data(),
        "query": {"query": query, "refId": "namespace"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _data() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1}})
        top += 1
        width = _COLUMNS // 3
        for number, panel in enumerate(row):
            place = {"x": number % 3 * width, "y": top + number // 3 * _HEIGHT, "w": width, "h": _HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
        top += -(-len(row) // 3) * _HEIGHT
    return panels


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "gridPos": place,
        "datasource": _data(),
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0 if panel.unit != "currencyUSD" else None}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _data(), "expr": query.format(_SCOPE), "legendFormat": legend}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }
