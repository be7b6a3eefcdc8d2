"""Pairs: all declared ones, and one of them in full: spread, z with its thresholds, forecast volatility, trades, state now."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tandem.dashboard import figures
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row, nothing, section, state_machine, table, usd, when

_BARS = {"100 bars": 100, "500 bars": 500, "2000 bars": 2_000}
_TRADES_MAX = 200


def pairs(snapshot: Snapshot) -> None:
    """Draw the page."""
    snapshot.ahead("/v1/pairs", lambda each: each.stream)
    st.title("Pairs")
    with section():
        rows = snapshot.portfolio("/v1/pairs")
        if not rows:
            nothing("No pair is declared.", "Declare one: `tandem apply -f pair.yaml`, or `kubectl apply -f pair.yaml` on a cluster.")
            return
        _all(rows)
        chosen = st.selectbox("Pair", [row["pair"] for row in rows], index=_first_of_interest(rows))
        row = next(row for row in rows if row["pair"] == chosen)
        _state(row)
        _history(snapshot, row)
        _trades(snapshot, chosen)


def _first_of_interest(rows: list[dict[str, Any]]) -> int:
    """A pair that holds something, else one with a forecast."""
    for wanted in (lambda row: row["state"] != "flat", lambda row: row["forecast"] is not None):
        for index, row in enumerate(rows):
            if wanted(row):
                return index
    return 0


def _all(rows: list[dict[str, Any]]) -> None:
    columns = {
        "pair": lambda row: row["pair"],
        "sector": lambda row: row["sector"],
        "state": lambda row: row["state"],
        "side": lambda row: {1: "long", -1: "short", 0: ""}[row["direction"]],
        "z": lambda row: None if row["forecast"] is None else round(row["forecast"]["z"], 2),
        "P(reverts)": lambda row: None if row["forecast"] is None else round(row["forecast"]["reversion_probability"], 3),
        "profit": lambda row: usd(row["pnl"]["total_usd"], sign=True),
        "why not": lambda row: row["waiting"] or "",
    }
    table(rows, columns)


def _state(row: dict[str, Any]) -> None:
    st.subheader(f"{row['pair']}: {row['state']}")
    st.markdown(state_machine(row["state"]))
    if row["waiting"]:
        st.caption(f"Why it does nothing now: {row['waiting']}")
    columns = {
        "leg": lambda leg: leg["symbol"],
        "held": lambda leg: str(leg["held"]),
        "wanted": lambda leg: leg["target"],
        "newest order": lambda leg: leg["order_status"] or "",
    }
    table(row["legs"], columns)


def _history(snapshot: Snapshot, row: dict[str, Any]) -> None:
    forecast = row["forecast"]
    if forecast is None:
        nothing(
            "No forecast of this pair yet.", "It appears with the first bar that its sector's model forecasts; `tandem forecast PAIR` asks."
        )
        return
    pair, digest = row["pair"], forecast["digest"]
    snapshot.ahead(lambda each: _done(each, pair))
    length = _BARS[st.segmented_control("Show", list(_BARS), default="500 bars") or "500 bars"]
    rows = snapshot.ask(
        ("spread", pair, digest, length),
        lambda sources: sources.views.spread(pair, stream=snapshot.stream, digest=digest, bars=length),
    )
    if not rows:
        nothing("The recorder has not stored forecasts of this pair yet.", "It writes them a few seconds after each bar.")
        return
    done = _done(snapshot, pair)
    st.caption(
        f"Model version {forecast['version']}, digest {digest[:12]}; beta {forecast['beta']:.4f}, "
        f"half-life {forecast['half_life_bars']:.1f} bars; newest bar {when(rows[-1]['bar_close_ns'])}"
    )
    st.caption("Above: z. Below: spread = log a - beta log b - mu, with its forecast.")  # as a title a phone would cut it off
    st.plotly_chart(figures.spread(rows, row.get("thresholds") or {}, done), key="spread")
    st.plotly_chart(figures.volatility(rows), key="volatility")


def _done(snapshot: Snapshot, pair: str) -> Sequence[Row]:
    return snapshot.ask(("trades", pair), lambda sources: sources.views.trades(snapshot.book, pair=pair, limit=_TRADES_MAX))


def _trades(snapshot: Snapshot, pair: str) -> None:
    rows = _done(snapshot, pair)
    st.subheader("Trades")
    if not rows:
        nothing("This pair has not traded yet.", "It opens when |z| reaches its entry threshold and the reversion is likely enough.")
        return
    columns = {
        "opened": lambda row: when(row["opened_ns"]),
        "closed": lambda row: when(row["closed_ns"]),
        "side": lambda row: "long" if row["direction"] > 0 else "short",
        "z in": lambda row: round(row["entry_z"], 2),
        "z out": lambda row: None if row["exit_z"] is None else round(row["exit_z"], 2),
        "why out": lambda row: row["exit_reason"],
        "profit": lambda row: "" if row["pnl_usd"] is None else usd(row["pnl_usd"], sign=True),
        "one leg bare, s": lambda row: round(row["unhedged_s"], 3),
        "version": lambda row: row["model_version"],
    }
    table(rows, columns)
