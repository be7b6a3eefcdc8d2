"""Plotly figures from rows of the database and the API; pure, so that a test can look at what is drawn. Times are shown in New York's.

Colours are from the Okabe-Ito palette, told apart by colour-blind readers; its blue is lighter here, to be seen on dark ground too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from tandem.adapters.new_york import NEW_YORK
from tandem.domain.units import utc

Row = Mapping[str, Any]
BLUE, ORANGE, GREEN, RED, GREY = "#2A8CCB", "#E69F00", "#009E73", "#D55E00", "#8A8F98"
_BAND = "rgba(42, 140, 203, 0.25)"
_MARGIN = {"l": 8, "r": 8, "t": 32, "b": 8}
_TWO_SIGMA = 1.959963984540054  # 95 % of a normal distribution
_DECADES = [float(f"{part}e{power}") for power in range(-6, 5) for part in (1, 2, 5)]


def moment(ns: int) -> datetime:
    """A time as the exchange's clock shows it, without its zone: Plotly would turn it into the browser's."""
    return utc(ns).astimezone(NEW_YORK).replace(tzinfo=None)


def _axis(times: Iterable[datetime]) -> NDArray[np.datetime64]:
    """Times as an array: Plotly looks at each entry of a list, several times."""
    return np.array(list(times), dtype="datetime64[us]")


def _finished(figure: go.Figure, height_px: int, title: str) -> go.Figure:
    figure.update_layout(
        height=height_px,
        margin=_MARGIN,
        title={"text": title, "font": {"size": 14}},
        legend={"orientation": "h", "y": -0.18},
        hovermode="x unified",
    )
    return figure


def equity(rows: Sequence[Row]) -> go.Figure:
    """Equity above, gross exposure below. A closing leaves a point, too: where there is none, nothing was held and nothing changed."""
    when = _axis(moment(row["bar_close_ns"]) for row in rows)
    equity_usd, gross_usd = ([float(row[name]) for row in rows] for name in ("equity_usd", "gross_usd"))
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    figure.add_scatter(x=when, y=equity_usd, name="equity", line={"color": BLUE, "width": 1.6}, row=1, col=1)
    line = {"color": ORANGE, "width": 1}
    figure.add_scatter(x=when, y=gross_usd, name="gross exposure", fill="tozeroy", line=line, row=2, col=1)
    figure.update_yaxes(tickprefix="$", tickformat=",.2~f")
    return _finished(figure, 420, "Equity and gross exposure, USD")


def spread(rows: Sequence[Row], bands: Row, trades: Sequence[Row]) -> go.Figure:
    """z with the thresholds and the trades above; the spread against the forecast of its next bar with the 95 % band below.

    bands: entry_z, exit_z, stop_z. rows in order of time, of one model version: their z and spread are on one scale.
    """
    times = [moment(row["bar_close_ns"]) for row in rows]
    when, z = _axis(times), [row["z"] for row in rows]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.55, 0.45], vertical_spacing=0.06)
    figure.add_scatter(x=when, y=z, name="z", line={"color": BLUE, "width": 1.4}, row=1, col=1)
    _draw_thresholds(figure, bands)
    _mark_trades(figure, trades, dict(zip(times, z, strict=True)))
    known = [row for row in rows if row["next_close_ns"] is not None]
    ahead = _axis(moment(row["next_close_ns"]) for row in known)
    expected = np.array([row["expected_spread"] for row in known])
    half = _TWO_SIGMA * np.sqrt(np.array([row["variance"] for row in known]))
    edge = {"x": ahead, "mode": "lines", "line": {"width": 0}}  # without the mode few points are drawn as markers
    figure.add_scatter(**edge, y=expected + half, showlegend=False, hoverinfo="skip", row=2, col=1)
    figure.add_scatter(**edge, y=expected - half, fill="tonexty", fillcolor=_BAND, name="95 % band, one bar ahead", row=2, col=1)
    figure.add_scatter(x=when, y=[row["spread"] for row in rows], name="spread", line={"color": BLUE, "width": 1.2}, row=2, col=1)
    return _finished(figure, 560, "z in training standard deviations; spread")


def _draw_thresholds(figure: go.Figure, bands: Row) -> None:
    """Lines at plus and minus, the upper one with its name. All at once: Plotly's add_hline takes longer than the rest."""
    lines, names = [], []
    across = {"xref": "x domain", "yref": "y"}
    for name, colour, dash in (("entry_z", ORANGE, "dash"), ("exit_z", GREEN, "dot"), ("stop_z", RED, "dash")):
        if (z := bands.get(name)) is not None:
            style = {"color": colour, "dash": dash, "width": 1}
            lines += [{"type": "line", **across, "x0": 0, "x1": 1, "y0": side * z, "y1": side * z, "line": style} for side in (1, -1)]
            text = f"{name.removesuffix('_z')} {z:g}"
            names.append({**across, "x": 0, "y": z, "text": text, "showarrow": False, "xanchor": "left", "yanchor": "bottom"})
    figure.update_layout(shapes=lines, annotations=names)


def _mark_trades(figure: go.Figure, trades: Sequence[Row], z_at: Mapping[datetime, float]) -> None:
    """Entries and exits that lie within what is shown, at the z of their bar."""
    for name, colour, symbols in (("opened_ns", GREEN, ("triangle-up", "triangle-down")), ("closed_ns", RED, ("x", "x"))):
        points = []
        for trade in trades:
            if trade[name] is None:
                continue
            at = moment(trade[name])
            near = at if at in z_at else max((when for when in z_at if when <= at), default=None)
            if near is not None and (near == at or name == "closed_ns"):
                points.append((near, z_at[near], symbols[0] if trade["direction"] > 0 else symbols[1], trade))
        if points:
            figure.add_scatter(
                x=[point[0] for point in points],
                y=[point[1] for point in points],
                mode="markers",
                marker={"size": 10, "color": colour, "symbol": [point[2] for point in points]},
                name="opened (up: long the spread)" if name == "opened_ns" else "closed",
                text=[point[3]["exit_reason"] or "" for point in points],
                row=1,
                col=1,
            )


def volatility(rows: Sequence[Row]) -> go.Figure:
    """The forecast standard deviation of the next bar, corrected and not, against what then happened."""
    when = _axis(moment(row["bar_close_ns"]) for row in rows)
    figure = go.Figure()
    happened = [None if row["realised"] is None else row["realised"] ** 0.5 for row in rows]
    figure.add_scatter(x=when, y=happened, mode="markers", marker={"size": 3, "color": GREY}, name="realised, |innovation|")
    figure.add_scatter(x=when, y=[row["garch_variance"] ** 0.5 for row in rows], name="GARCH", line={"color": ORANGE, "width": 1})
    figure.add_scatter(x=when, y=[row["variance"] ** 0.5 for row in rows], name="GARCH-GRU", line={"color": BLUE, "width": 1.4})
    return _finished(figure, 320, "Standard deviation of the spread's next bar")


def allocation(positions: Sequence[Row]) -> go.Figure:
    """Market value by symbol, longs and shorts apart."""
    ordered = sorted(positions, key=lambda row: float(row.get("market_value") or 0))
    values = [float(row.get("market_value") or 0) for row in ordered]
    figure = go.Figure(
        go.Bar(x=values, y=[row["symbol"] for row in ordered], orientation="h", marker_color=[BLUE if v >= 0 else RED for v in values])
    )
    figure.update_xaxes(tickprefix="$", tickformat=",.0f")
    return _finished(figure, 120 + 24 * len(ordered), "Market value by symbol, USD (blue long, red short)")


def parts(rows: Sequence[Row], names: Sequence[str], label: str) -> go.Figure:
    """Parts of profit as stacked bars, one bar a row."""
    figure = go.Figure()
    for name, colour in zip(names, cycle((BLUE, GREEN, ORANGE, RED, GREY, "#CC79A7", "#56B4E9", "#F0E442")), strict=False):
        figure.add_bar(
            x=[row[label] for row in rows],
            y=[float(row[name]) for row in rows],
            name=name.removesuffix("_usd").replace("_", " "),
            marker_color=colour,
        )
    figure.update_layout(barmode="relative")
    figure.update_yaxes(tickprefix="$", tickformat=",.0f")
    return _finished(figure, 360, "What profit is made of, USD")


def tick_rates(rows: Sequence[Row], bar: str) -> go.Figure:
    """Trades of all symbols in each bar above, symbols that traded below."""
    when = _axis(moment(row["close_ns"]) for row in rows)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.06)
    trades = [int(row["trades"]) for row in rows]
    figure.add_scatter(x=when, y=trades, name="trades", line={"color": BLUE, "width": 1.2, "shape": "hv"}, row=1, col=1)
    traded = [row["symbols"] for row in rows]
    figure.add_scatter(x=when, y=traded, name="symbols that traded", line={"color": ORANGE, "width": 1.2, "shape": "hv"}, row=2, col=1)
    figure.update_yaxes(rangemode="tozero")
    return _finished(figure, 320, f"Trades and symbols that traded in each bar of {bar}")


def candles(symbol: str, rows: Sequence[Row]) -> go.Figure:
    """Prices of a symbol's bars above, shares below. Bars stand side by side: nights and weekends take no room."""
    when = [f"{moment(row['close_ns']):%y-%m-%d %H:%M}" for row in rows]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.04)
    if all(row["low"] == row["high"] for row in rows):  # closes only: candles would have no height
        figure.add_scatter(x=when, y=[row["close"] for row in rows], name=symbol, line={"color": BLUE, "width": 1.4}, row=1, col=1)
    else:
        prices = {name: [row[name] for row in rows] for name in ("open", "high", "low", "close")}
        figure.add_candlestick(x=when, **prices, name=symbol, increasing_line_color=BLUE, decreasing_line_color=RED, row=1, col=1)
    figure.add_bar(x=when, y=[row["volume"] for row in rows], name="shares", marker_color=GREY, row=2, col=1)
    figure.update_xaxes(type="category", nticks=4, tickangle=0, rangeslider_visible=False)
    figure.update_yaxes(tickprefix="$", row=1, col=1)
    return _finished(figure, 420, f"{symbol}, USD")


def losses(rows: Sequence[Row]) -> go.Figure:
    """Mean QLIKE by session, each version beside its own GARCH."""
    figure = go.Figure()
    colours = (BLUE, ORANGE, GREEN, RED, GREY)
    for number, version in enumerate(sorted({row["model_version"] for row in rows})):
        mine = [row for row in rows if row["model_version"] == version]
        days, colour = [row["session_day"] for row in mine], colours[number % len(colours)]
        figure.add_scatter(x=days, y=[row["qlike"] for row in mine], name=f"v{version}", line={"color": colour, "width": 1.4})
        figure.add_scatter(
            x=days,
            y=[row["garch_qlike"] for row in mine],
            name=f"v{version}, GARCH alone",
            line={"color": colour, "width": 1, "dash": "dot"},
        )
    # One surprise outweighs a year otherwise. Plotly would write 5 for 0.5 between two decades.
    figure.update_yaxes(type="log", tickvals=_DECADES, ticktext=[f"{value:g}" for value in _DECADES])
    return _finished(figure, 340, "Mean QLIKE by session (lower is better)")


def calibration(rows: Sequence[Row]) -> go.Figure:
    """Forecast against realised standard deviation in bins of the forecast; on the diagonal the forecast is right on average."""
    figure = go.Figure()
    top = max(max(row["forecast_sd"], row["realised_sd"]) for row in rows)
    figure.add_scatter(x=[0, top], y=[0, top], mode="lines", line={"color": GREY, "dash": "dash"}, name="right on average")
    for number, version in enumerate(sorted({row["model_version"] for row in rows})):
        mine = [row for row in rows if row["model_version"] == version]
        figure.add_scatter(
            x=[row["forecast_sd"] for row in mine],
            y=[row["realised_sd"] for row in mine],
            mode="lines+markers",
            name=f"v{version}",
            line={"color": (BLUE, ORANGE, GREEN, RED)[number % 4]},
        )
    figure.update_xaxes(title="forecast standard deviation")
    figure.update_yaxes(title="realised")
    return _finished(figure, 360, "Calibration of the variance forecast")
