"""Research: the newest tear sheet of a backtest and the tables that benchmarks have written."""

from operator import itemgetter
from pathlib import Path

import orjson
import pandas as pd
import streamlit as st

from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import nothing, section, table
from tandem.domain.errors import Permanent

_SHEET = "tear_sheet.html"  # as `tandem backtest` names it
_BENCHMARKS = "bench"  # the folder that `make bench` writes to
_SHEET_HEIGHT_PX = 900
_CHARACTERS_MAX = 20_000


def research(snapshot: Snapshot) -> None:
    """Draw the page."""
    st.title("Research")
    folder = snapshot.sources.settings.research_dir
    with section("Newest tear sheet"):
        sheets = sorted(folder.glob(f"**/{_SHEET}"), key=lambda path: path.stat().st_mtime)
        if sheets:
            _sheet(sheets[-1])
        else:
            nothing(f"No tear sheet under `{folder}`.", f"Make one: `tandem backtest --data FILE --sector NAME --out {folder}/backtest`.")
    with section("Benchmarks"):
        tables = sorted((folder / _BENCHMARKS).glob("*.*"), key=lambda path: path.stem)
        for path in tables:
            _bench(path)
        if not tables:
            nothing(f"No benchmark tables under `{folder / _BENCHMARKS}`.", "`make bench` measures and writes them there.")


def _sheet(path: Path) -> None:
    st.caption(f"{path}, {_written(path)}")
    st.iframe(path, height=_SHEET_HEIGHT_PX)


def _bench(path: Path) -> None:
    """What a benchmark has printed, or its rows where it writes JSON."""
    st.caption(f"{path.stem.replace('_', ' ')}, {_written(path)}")
    if path.suffix != ".json":
        st.code(path.read_text(errors="replace")[-_CHARACTERS_MAX:], language=None)
        return
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Permanent(f"{path} holds no JSON: {error}") from error
    rows = document if isinstance(document, list) else [document]
    flat = pd.json_normalize(rows)
    table(flat.to_dict("records"), {str(name): itemgetter(name) for name in flat.columns}, key=path.stem)


def _written(path: Path) -> str:
    return f"{pd.Timestamp(path.stat().st_mtime, unit='s'):%Y-%m-%d %H:%M} UTC"
