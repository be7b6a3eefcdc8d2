"""Overview: what the book is worth, whether the market is open, where the data comes from, and whether trading is allowed."""

import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from tandem.dashboard import figures
from tandem.dashboard.killswitch import kill_switch
from tandem.dashboard.sessions import sessions_ahead
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row, nothing, section, table, usd, when
from tandem.domain.units import NS_PER_S

_POINTS_MAX = 2_000
_EVENTS_MAX = 20
_SOURCES = {
    "live": ("red", "LIVE", "real money at the broker"),
    "paper": ("orange", "PAPER", "live market data, paper money at the broker"),
    "recycled": ("blue", "RECYCLED", "recorded market data, paper exchange: nothing here is happening now"),
}


def overview(snapshot: Snapshot) -> None:
    """Draw the page."""
    snapshot.ahead("/v1/summary", "/v1/account", "/v1/trading-state", "/v1/pairs", _equity, _warnings)
    colour, name, meaning = _SOURCES[snapshot.source]
    st.markdown(f"## :{colour}[Data source: {name}]")
    st.caption(meaning)
    with section():
        _figures(snapshot)
    with section("Equity"):
        rows = _equity(snapshot)
        if rows:
            st.plotly_chart(figures.equity(rows), key="equity")
        else:
            nothing("No equity yet.", "A point is written at each bar at which something is held or booked; nothing was so far.")
    left, right = st.columns(2)
    with left, section("Market"):
        _market(snapshot)
    with right, section("Trading"):
        kill_switch(snapshot)
    with section("Warnings"):
        rows = _warnings(snapshot)
        if rows:
            columns = {
                "time (New York)": lambda row: when(row["event_ns"]),
                "scope": lambda row: row["scope"],
                "code": lambda row: row["code"],
                "detail": lambda row: row["detail"],
            }
            table(rows, columns)
        else:
            st.success("The portfolio has warned of nothing.")


def _equity(snapshot: Snapshot) -> Sequence[Row]:
    return snapshot.ask("equity", lambda sources: sources.views.equity(snapshot.book, points_max=_POINTS_MAX))


def _warnings(snapshot: Snapshot) -> Sequence[Row]:
    return snapshot.ask("risk events", lambda sources: sources.views.risk_events(snapshot.book, limit=_EVENTS_MAX))


def _figures(snapshot: Snapshot) -> None:
    summary = snapshot.portfolio("/v1/summary")
    account = snapshot.portfolio("/v1/account")
    columns = (*st.columns(2), *st.columns(2))  # four abreast would cut off an equity of a million
    columns[0].metric("Equity, ledger", usd(summary["equity_usd"]), usd(summary["pnl_usd"], sign=True) + " since the start")
    columns[1].metric("Profit of the day, broker", _day_profit(account))
    columns[2].metric("Open pairs", summary["open_pairs"])
    columns[3].metric("Fees paid", usd(summary["fees_usd"]))
    waiting = ", ".join(summary["waiting_for"])
    st.caption(f"Newest decided bar: {when(summary['decided_ns'])} New York" + (f"; the next one waits for {waiting}" if waiting else ""))


def _day_profit(account: dict[str, Any]) -> str:
    """Against the equity at the last close, by the broker's own figures; a dash where it does not tell them."""
    if account.get("last_equity") is None:
        return "–"
    return usd(float(account["equity"]) - float(account["last_equity"]), sign=True)


def _market(snapshot: Snapshot) -> None:
    """Sessions around now; for recycled data now is where the replay stands."""
    recycled = snapshot.source == "recycled"
    now_ns = int(snapshot.portfolio("/v1/summary")["decided_ns"]) if recycled else time.time_ns()
    if not now_ns:
        nothing("The replay has not reached its first bar.", "`tandem status` tells whether it waits for a model.")
        return
    sessions = sessions_ahead(now_ns)
    is_open = any(opened <= now_ns < closes for opened, closes in sessions)
    st.markdown(f"**{'Open' if is_open else 'Closed'}** at {when(now_ns)} New York" + (" (time of the replay)" if recycled else ""))
    columns = {
        "opens": lambda row: when(row[0]),
        "closes": lambda row: when(row[1]),
        "": lambda row: "half day" if row[1] - row[0] < 6 * 3_600 * NS_PER_S else "",
    }
    table([session for session in sessions if session[1] > now_ns][:5], columns)
