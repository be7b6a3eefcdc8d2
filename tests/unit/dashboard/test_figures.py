"""What the figures draw, from rows made here."""

from datetime import date
from typing import Any

import pytest

from tandem.dashboard import figures
from tandem.domain.units import NS_PER_S

_OPEN_NS = 1_483_453_800 * NS_PER_S  # 2017-01-03 09:30 in New York
_DAY_NS = 86_400 * NS_PER_S


def forecasts(count: int) -> list[dict[str, Any]]:
    """A pair's forecasts, the last one not scored yet."""
    rows = []
    for number in range(count):
        close_ns, last = _OPEN_NS + number * _DAY_NS, number == count - 1
        rows.append(
            {
                "bar_close_ns": close_ns,
                "next_close_ns": None if last else close_ns + _DAY_NS,
                "spread": 0.01 * number,
                "expected_spread": 0.009 * number,
                "z": float(number),
                "variance": 1e-4,
                "garch_variance": 1.2e-4,
                "realised": None if last else 1e-4,
            }
        )
    return rows


def trade(**changes: Any) -> dict[str, Any]:
    """A long trade from the second bar to the fourth."""
    row = {"direction": 1, "opened_ns": _OPEN_NS + _DAY_NS, "closed_ns": _OPEN_NS + 3 * _DAY_NS, "exit_reason": "exit_z"}
    return row | changes


def named(figure: Any, name: str) -> Any:
    """The one trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_times_are_those_of_the_exchange() -> None:
    """Nothing is left to the browser's time zone."""
    assert str(figures.moment(_OPEN_NS)) == "2017-01-03 09:30:00"


def test_the_band_stands_at_the_bar_that_it_forecasts() -> None:
    """One bar ahead of the forecast, as wide as 95 % of a normal distribution; nothing where the next bar is not known."""
    rows = forecasts(4)
    band = named(figures.spread(rows, {}, []), "95 % band, one bar ahead")
    assert list(band.x) == [figures.moment(row["next_close_ns"]) for row in rows[:3]]
    assert band.mode == "lines", "the first bars of a replay would be drawn as points"
    assert list(band.y) == pytest.approx([row["expected_spread"] - 1.959964 * 0.01 for row in rows[:3]], abs=1e-8)


def test_the_title_fits_a_phone() -> None:
    """What is longer is cut off at a width of 390 pixels; what the numbers are is told beside the figure."""
    assert len(figures.spread(forecasts(2), {}, []).layout.title.text) <= 50


def test_thresholds_stand_on_both_sides() -> None:
    """Entry and stop at plus and minus; one that is not told is not drawn."""
    figure = figures.spread(forecasts(3), {"entry_z": 2.0, "stop_z": 4.0, "exit_z": None}, [])
    assert sorted(line.y0 for line in figure.layout.shapes) == [-4.0, -2.0, 2.0, 4.0]


def test_trades_are_marked_at_their_bars() -> None:
    """With the z that they were decided at; a long one points up. One from before what is shown is not moved into it."""
    figure = figures.spread(forecasts(5), {}, [trade(), trade(direction=-1, opened_ns=_OPEN_NS - _DAY_NS, closed_ns=None)])
    opened = named(figure, "opened (up: long the spread)")
    assert (list(opened.x), list(opened.y), list(opened.marker.symbol)) == ([figures.moment(_OPEN_NS + _DAY_NS)], [1.0], ["triangle-up"])
    assert list(named(figure, "closed").text) == ["exit_z"]


def test_what_is_not_known_yet_is_left_out() -> None:
    """The newest bar has no realised volatility; it is a gap, not a zero."""
    assert list(named(figures.volatility(forecasts(3)), "realised, |innovation|").y) == [0.01, 0.01, None]


def test_positions_are_ordered_and_coloured_by_side() -> None:
    """Shorts below, in red."""
    figure = figures.allocation([{"symbol": "KO", "market_value": "500.5"}, {"symbol": "PEP", "market_value": "-400"}])
    (bars,) = figure.data
    assert (list(bars.y), list(bars.x), list(bars.marker.color)) == (["PEP", "KO"], [-400.0, 500.5], [figures.RED, figures.BLUE])


def test_each_version_has_its_line_beside_its_own_garch() -> None:
    """Two versions: four lines."""
    rows = [
        {"session_day": date(2017, 1, 3), "model_version": version, "qlike": 1.0, "garch_qlike": 1.1, "forecasts": 5}
        for version in ("1", "2")
    ]
    figure = figures.losses(rows)
    assert [trace.name for trace in figure.data] == ["v1", "v1, GARCH alone", "v2", "v2, GARCH alone"]
    assert figure.layout.yaxis.type == "log"
    assert [float(text) for text in figure.layout.yaxis.ticktext] == list(figure.layout.yaxis.tickvals)


def test_the_diagonal_reaches_as_far_as_the_forecasts() -> None:
    """So that a look tells over from under."""
    rows = [{"model_version": "1", "bin": 1, "forecast_sd": 0.01, "realised_sd": 0.03, "forecasts": 9}]
    assert list(named(figures.calibration(rows), "right on average").x) == [0, 0.03]


def test_equity_is_drawn_as_it_was_written() -> None:
    """Also the point that a closing leaves, at which exposure is zero: until the next one nothing is held, and the line is level."""
    rows = [
        {"bar_close_ns": _OPEN_NS + day * _DAY_NS, "equity_usd": str(100 + value), "gross_usd": gross}
        for day, value, gross in ((0, 0, "0"), (1, 1, "50"), (2, 3, "0"), (9, 3, "0"), (10, 4, "60"))
    ]
    figure = figures.equity(rows)
    assert list(named(figure, "equity").y) == [100, 101, 103, 103, 104]
    exposure = named(figure, "gross exposure")
    assert list(exposure.y) == [0, 50, 0, 0, 60]
    assert list(exposure.x) == [figures.moment(row["bar_close_ns"]) for row in rows]


def test_only_the_upper_threshold_has_its_name() -> None:
    """The lower one is the same number."""
    figure = figures.spread(forecasts(3), {"entry_z": 2.0, "stop_z": 4.0, "exit_z": 0.5}, [])
    assert sorted(note.text for note in figure.layout.annotations) == ["entry 2", "exit 0.5", "stop 4"]


@pytest.mark.parametrize(("high", "kind"), [(11.0, "candlestick"), (10.0, "scatter")])
def test_bars_without_a_height_are_drawn_as_a_line(high: float, kind: str) -> None:
    """Daily closes have one price a bar: candles of no height would be dots."""
    row = {"close_ns": _OPEN_NS, "open": 10.0, "high": high, "low": 10.0, "close": 10.0, "volume": 7}
    figure = figures.candles("KO", [row])
    assert named(figure, "KO").type == kind
    assert list(named(figure, "shares").y) == [7]


def test_trades_and_symbols_of_each_bar() -> None:
    """As counted, at the bar's close."""
    figure = figures.tick_rates([{"close_ns": _OPEN_NS, "trades": 12, "symbols": 3}], "1min")
    assert (list(named(figure, "trades").y), list(named(figure, "symbols that traded").y)) == ([12], [3])
    assert "1min" in figure.layout.title.text


def test_every_part_of_profit_is_drawn() -> None:
    """Also when there are more parts than colours: one that is left out would make the others look like the whole."""
    names = [f"part{number}_usd" for number in range(10)]
    figure = figures.parts([{"key": "KO-PEP"} | dict.fromkeys(names, "1")], names, "key")
    assert [trace.name for trace in figure.data] == [name.removesuffix("_usd") for name in names]


def test_parts_of_profit_are_stacked() -> None:
    """One bar a row, a cost below zero."""
    row = {"key": "KO-PEP", "spread_alpha_usd": "12.5", "fees_usd": "-0.5"}
    figure = figures.parts([row], ["spread_alpha_usd", "fees_usd"], "key")
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data] == [
        ("spread alpha", ["KO-PEP"], [12.5]),
        ("fees", ["KO-PEP"], [-0.5]),
    ]
