"""What is left of Plotly's code, over the installed file. That charts are drawn with it is shown in Chromium by tests/integration."""

import ast
import inspect
import re

from tandem.dashboard import figures
from tandem.dashboard.bundles import STATIC
from tandem.dashboard.plotly_code import TRACES, trimmed

_CODE = next(STATIC.glob("static/js/PlotlyChart.*.js")).read_bytes()
_MODULE = re.compile(rb'[(]\{"([^"]+)"[(]')


def test_two_thirds_of_the_code_are_left_out() -> None:
    """A new release of Streamlit fails here: look at the charts in a browser before its file's sum is written down."""
    assert len(trimmed(_CODE)) < len(_CODE) / 3


def test_modules_of_the_kept_traces_stay() -> None:
    """Maps, surfaces and WebGL go, and what surrounds Plotly is the same."""
    kept, known = set(_MODULE.findall(trimmed(_CODE))), set(_MODULE.findall(_CODE))
    assert kept < known
    assert {b"src/core.js", b"src/traces/scatter/plot.js", b"src/traces/bar/plot.js", b"src/traces/candlestick/calc.js"} <= kept
    assert not [name for name in kept if re.search(rb"regl|stackgl|maplibre_worker|lib/(pie|heatmap|scatter3d|scattergl)", name)]
    assert trimmed(_CODE)[:3_000] == _CODE[:3_000]
    assert trimmed(_CODE)[-10_000:] == _CODE[-10_000:]


def test_another_file_is_left_as_it_is() -> None:
    """Nobody has looked at what is left of it."""
    assert trimmed(_CODE + b" ") == _CODE + b" "


def test_figures_draw_with_the_kept_traces_only() -> None:
    """Another kind would not be drawn at all."""
    calls = (node.func for node in ast.walk(ast.parse(inspect.getsource(figures))) if isinstance(node, ast.Call))
    names = {call.attr.lower() for call in calls if isinstance(call, ast.Attribute)}
    drawn = {name.removeprefix("add_") for name in names if name.startswith("add_")} | names & {"bar", "scatter", "scattergl", "pie"}
    assert drawn <= {*TRACES}
