"""The tear sheet of a backtest: one HTML file that opens without a network, made of report.json's values and the equity curve.

Every number in it carries the place in the report that it comes from (data-key) and its exact value (data-value), which a test compares.
Called by backtest_report.py.
"""

import json
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from tandem.research.tear_sheet_template import TEMPLATE

_INK, _BLUE, _RED, _GREY = "#1f2933", "#2f6f9f", "#b4432f", "#9aa5b1"
_CONFIG = {"responsive": True, "displayModeBar": False}
_PAIRS_SHOWN = 30  # bars in the figure; the table holds all


def tear_sheet(report: Mapping[str, Any], equity: pa.Table) -> str:
    """The HTML of a report. equity: backtest_report.equity_table."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["cell"] = _Cells(report).cell
    figures = {
        "equity": _html(_equity_figure(equity), "figure-equity"),
        "exposure": _html(_exposure_figure(equity), "figure-exposure"),
        "pairs": _html(_pairs_figure(report), "figure-pairs"),
        "costs": _html(_costs_figure(report), "figure-costs"),
    }
    return environment.from_string(TEMPLATE).render(
        report=report,
        figures=figures,
        plotly=Markup(get_plotlyjs()),  # noqa: S704  (the library's own script)
        years=_years(report["months"]),
        months=range(1, 13),
    )


class _Cells:
    """Writes a value of the report as a span that says where it comes from."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self._report = report

    def cell(self, key: str, kind: str = "number") -> Markup:
        """The value at a dotted key ("statistics.sharpe", "windows.0.return") in a form for people; "n/a" where it is null or absent."""
        value: Any = self._report
        for name in key.split("."):
            value = value[int(name)] if isinstance(value, list) else value.get(name) if isinstance(value, Mapping) else None
        sign = "neg" if isinstance(value, int | float) and value < 0 else "pos"
        return Markup('<span data-key="{}" data-value="{}" class="{}">{}</span>').format(key, json.dumps(value), sign, shown(value, kind))


def shown(value: Any, kind: str) -> str:
    """A value for people. kind: number, percent, usd, count or text."""
    if value is None:
        return "n/a"
    match kind:
        case "percent":
            return f"{value:.2%}"
        case "usd":
            return f"{value:,.2f}"
        case "count":
            return f"{value:,d}"
        case "number":
            return f"{value:.3f}"
        case _:
            return str(value)


def _years(months: Mapping[str, float]) -> list[str]:
    return sorted({month[:4] for month in months})


def _html(figure: go.Figure, name: str) -> Markup:
    figure.update_layout(
        template="plotly_white",
        autosize=True,
        margin={"l": 52, "r": 12, "t": 24, "b": 36},
        font={"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        legend={"orientation": "h", "y": 1.08, "x": 0},
        hovermode="x unified",
    )
    # Plotly's own markup; the only text of ours in it, pair names, is escaped where it enters.
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_CONFIG))  # noqa: S704


def _equity_figure(equity: pa.Table) -> go.Figure:
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05)
    days = _days(equity)
    figure.add_trace(go.Scatter(x=days, y=_column(equity, "equity_usd"), name="equity, USD", line={"color": _BLUE, "width": 1.6}), 1, 1)
    below = [-100 * value for value in _column(equity, "drawdown")]
    figure.add_trace(go.Scatter(x=days, y=below, name="drawdown, %", fill="tozeroy", line={"color": _RED, "width": 1}), 2, 1)
    figure.update_layout(height=420)
    return figure


def _exposure_figure(equity: pa.Table) -> go.Figure:
    whole = _column(equity, "equity_usd")
    figure = go.Figure()
    for name, label, colour in (("gross_usd", "gross", _BLUE), ("net_usd", "net", _GREY)):
        share = [100 * value / of for value, of in zip(_column(equity, name), whole, strict=True)]
        figure.add_trace(go.Scatter(x=_days(equity), y=share, name=f"{label}, % of equity", line={"color": colour, "width": 1.2}))
    figure.update_layout(height=240)
    return figure


def _pairs_figure(report: Mapping[str, Any]) -> go.Figure:
    rows = report["pairs"]
    ends = rows if len(rows) <= _PAIRS_SHOWN else [*rows[: _PAIRS_SHOWN // 2], *rows[-_PAIRS_SHOWN // 2 :]]
    values = [row["net_pnl_usd"] for row in ends]
    names = [str(escape(row["pair"])) for row in ends]  # plotly reads labels as markup
    figure = go.Figure(go.Bar(x=names, y=values, marker_color=[_BLUE if value >= 0 else _RED for value in values], name="USD after costs"))
    figure.update_layout(height=300)
    return figure


def _costs_figure(report: Mapping[str, Any]) -> go.Figure:
    costs = report["costs"]
    parts = [
        ("at market", "market_pnl_usd", 1),
        ("spread", "spread_usd", -1),
        ("fees", "fees_usd", -1),
        ("borrow", "borrow_usd", -1),
    ]
    figure = go.Figure(
        go.Waterfall(
            x=[label for label, _, _ in parts] + ["net"],
            y=[sign * costs[name] for _, name, sign in parts] + [0],
            measure=["absolute", "relative", "relative", "relative", "total"],
            increasing={"marker": {"color": _BLUE}},
            decreasing={"marker": {"color": _RED}},
            totals={"marker": {"color": _INK}},
            name="USD",
        )
    )
    figure.update_layout(height=300, showlegend=False)
    return figure


def _days(equity: pa.Table) -> list[str]:
    return [moment.strftime("%Y-%m-%d %H:%M") for moment in equity.column("close").cast(pa.timestamp("s", tz="UTC")).to_pylist()]


def _column(equity: pa.Table, name: str) -> list[float]:
    return [float(value) for value in equity.column(name).to_pylist()]
