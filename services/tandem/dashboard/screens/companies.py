"""Companies: what the user has loaded about a symbol's company, beside the symbol's own bars. Nothing is shipped and nothing is fetched."""

from collections.abc import Mapping

import streamlit as st

from tandem.adapters.companies_file import COMPANIES_FILE, load_companies
from tandem.dashboard import figures
from tandem.dashboard.questions import symbols
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import nothing, section, table, when
from tandem.domain.ids import Symbol

_BARS_MAX = 250


def companies(snapshot: Snapshot) -> None:
    """Draw the page."""
    snapshot.ahead(symbols)
    st.title("Companies")
    recorded: list[Symbol] | None = None
    with section():  # apart: what is loaded is shown when nobody can be asked for bars
        recorded = [row["symbol"] for row in symbols(snapshot)]
    with section():
        folder = snapshot.sources.settings.config_dir
        known = snapshot.ask("companies", lambda _: load_companies(folder))
        if not known:
            nothing("No company is loaded.", f"Put `{folder / COMPANIES_FILE}` there: {_FORMAT}")
        names: list[Symbol] = sorted({*(recorded or ()), *known})
        if recorded == []:
            nothing("No bars are recorded.", "The recorder writes one a symbol when the market's first bar has closed.")
        if not names:
            return
        name = st.selectbox("Symbol", names, format_func=lambda each: ": ".join(filter(None, (each, known.get(each, {}).get("name")))))
        left, right = st.columns(2)
        with left:
            _facts(known.get(name, {}), name)
        with right, section():
            _prices(snapshot, name)


_FORMAT = "CSV in UTF-8, one row a symbol, the first line `symbol` and names of your own, e.g. `symbol,name,exchange,industry,website`."


def _facts(facts: Mapping[str, str], name: str) -> None:
    if facts:
        table(list(facts.items()), {"fact": lambda row: row[0], name: lambda row: row[1]})
    else:
        st.caption(f"No facts of {name} are loaded.")


def _prices(snapshot: Snapshot, name: str) -> None:
    rows = snapshot.ask(
        ("bars", name),
        lambda sources: sources.views.bars(name, stream=snapshot.stream, timeframe=snapshot.bar, limit=_BARS_MAX),
    )
    if not rows:
        nothing(f"No bars of {name} are recorded.", "Only symbols of declared pairs are followed.")
        return
    st.plotly_chart(figures.candles(name, rows), key="candles")
    closes = [row["close"] for row in rows]
    st.caption(
        f"The newest {len(rows)} bars of {snapshot.bar}, to {when(rows[-1]['close_ns'])} New York; "
        f"highest {max(row['high'] for row in rows):,.2f}, lowest {min(row['low'] for row in rows):,.2f}, "
        f"change {closes[-1] / closes[0] - 1:+.2%}"
    )
