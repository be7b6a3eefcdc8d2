"""Portfolio: account, positions and how they are divided, orders, fills, limits that are near, and what profit is made of."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from tandem.dashboard import figures
from tandem.dashboard.cautions import cautions
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import nothing, section, table, usd, when

_ROWS_MAX = 100
_ACCOUNT = ("equity", "cash", "buying_power", "long_market_value", "short_market_value", "initial_margin", "maintenance_margin")

_BY = {"pair": "pair", "sector": "sector", "model version": "version", "trade": "trade"}
_PARTS = (
    *("spread_alpha_usd", "hedge_drift_usd", "slippage_usd", "half_spread_usd", "unwind_usd", "fees_usd", "borrow_usd"),
    *("dividends_usd", "interest_usd", "foreign_usd"),
)


def portfolio(snapshot: Snapshot) -> None:
    """Draw the page."""
    snapshot.ahead("/v1/account", "/v1/risk", "/v1/positions", "/v1/pnl", "/v1/reconciliation", _made_of, _newest_orders, _newest_fills)
    st.title("Portfolio")
    with section("Account"):
        account = snapshot.portfolio("/v1/account")
        known = [name for name in _ACCOUNT if account.get(name) is not None]
        for column, name in zip((*st.columns(3), *st.columns(2), *st.columns(2)), known, strict=False):  # four abreast cut off a million
            column.metric(name.replace("_", " "), usd(account[name]))
    with section("Risk"):
        _risk(snapshot)
    with section("Positions"):
        _positions(snapshot)
    with section("Profit"):
        _profit(snapshot)
    with section("Orders"):
        _orders(snapshot)
    with section("Fills"):
        _fills(snapshot)
    with section("Ledger against broker"):
        _reconciliations(snapshot)


def _risk(snapshot: Snapshot) -> None:
    risk = snapshot.portfolio("/v1/risk")
    found = cautions(snapshot.portfolio("/v1/account"), risk)
    for sentence in found:
        st.warning(sentence)
    if not found:
        st.success("No caution: no breaker, no quarantine, no concentration, nothing blocked by the broker.")
    columns = (*st.columns(2), *st.columns(2))
    columns[0].metric(
        "Gross exposure", usd(risk["gross_usd"]), f"{risk['gross_ratio']:.1%} of equity", delta_color="off", delta_arrow="off"
    )
    columns[1].metric("Net exposure", usd(risk["net_usd"], sign=True))
    columns[2].metric("Drawdown", f"{risk['drawdown']:.2%}")
    columns[3].metric("Size of a new position", f"{risk['size_factor']:.0%}")


def _positions(snapshot: Snapshot) -> None:
    rows = snapshot.portfolio("/v1/positions")
    if not rows:
        nothing("No positions.", "They appear with the first pair that opens.")
        return
    columns = {
        "symbol": lambda row: row["symbol"],
        "shares": lambda row: row["qty"],
        "value": lambda row: usd(row.get("market_value")),
        "entry": lambda row: usd(row.get("avg_entry_price")),
        "price": lambda row: usd(row.get("current_price")),
        "unrealised": lambda row: usd(row.get("unrealized_pl"), sign=True),
        "pairs": lambda row: ", ".join(f"{part['pair']} {part['qty']}" for part in row["pairs"]),
    }
    table(rows, columns)
    st.plotly_chart(figures.allocation(rows), key="allocation")


def _profit(snapshot: Snapshot) -> None:
    report = snapshot.portfolio("/v1/pnl")
    first, second, third = st.columns(3)
    first.metric("Since the start", usd(report["total_usd"], sign=True))
    second.metric("Fees", usd(report["fees_usd"]))
    third.metric("Belongs to no pair", usd(report["unallocated_usd"], sign=True))
    if not report["pairs"]:
        nothing("No pair has traded yet.", "Profit appears per pair with the first fill.")
        return
    columns = {
        "pair": lambda row: row["pair"],
        "realised": lambda row: usd(row["realized_usd"], sign=True),
        "unrealised": lambda row: usd(row["unrealized_usd"], sign=True),
        "fees": lambda row: usd(row["fees_usd"]),
        "total": lambda row: usd(row["total_usd"], sign=True),
    }
    table(sorted(report["pairs"], key=lambda row: float(row["total_usd"])), columns)
    _attribution(snapshot)


def _attribution(snapshot: Snapshot) -> None:
    by = st.segmented_control("What profit is made of, by", list(_BY), default="pair") or "pair"
    report = _made_of(snapshot, by)
    rows = [*report["rows"], {"key": "account", "trades": None, **report["account"]}]
    names = [name for name in _PARTS if any(float(row[name]) for row in rows)]
    rows = [row for row in rows if row["trades"] is not None or any(float(row[name]) for name in names)]
    st.plotly_chart(figures.parts(rows, names, "key"), key="attribution")
    shown = {name.removesuffix("_usd").replace("_", " "): partial(_part, name=name) for name in (*names, "total_usd")}
    table(rows, {by: lambda row: row["key"], "trades": lambda row: row["trades"], **shown})
    st.caption(
        f"Equity has changed by {usd(report['equity_change_usd'], sign=True)}; "
        f"{usd(report['unallocated_usd'], sign=True)} of it is in no row."
    )


def _made_of(snapshot: Snapshot, by: str = "pair") -> Any:
    return snapshot.portfolio("/v1/attribution", by=_BY[by])


def _newest_orders(snapshot: Snapshot) -> Any:
    return snapshot.portfolio("/v1/orders", limit=_ROWS_MAX)


def _newest_fills(snapshot: Snapshot) -> Any:
    return snapshot.portfolio("/v1/fills", limit=_ROWS_MAX)


def _part(row: Mapping[str, Any], *, name: str) -> str:
    return usd(row[name], sign=True)


def _orders(snapshot: Snapshot) -> None:
    rows = _newest_orders(snapshot)
    if not rows:
        nothing("No orders.", "They appear when a pair opens.")
        return
    columns = {
        "decided": lambda row: when(row["decided_ns"]),
        "pair": lambda row: row["pair"] or "not ours",
        "symbol": lambda row: row["symbol"],
        "side": lambda row: row["side"],
        "shares": lambda row: row.get("qty"),
        "filled": lambda row: row.get("filled_qty"),
        "price": lambda row: usd(row.get("filled_avg_price")),
        "status": lambda row: row["status"],
        "id": lambda row: row["client_order_id"],
    }
    table(rows, columns)


def _fills(snapshot: Snapshot) -> None:
    rows: list[dict[str, Any]] = _newest_fills(snapshot)
    if not rows:
        nothing("No fills.", "They appear with the first executed order.")
        return
    columns = {
        "time": lambda row: when(row["event_ns"]),
        "pair": lambda row: row["pair"],
        "symbol": lambda row: row["symbol"],
        "side": lambda row: row["side"],
        "shares": lambda row: row["qty"],
        "price": lambda row: usd(row["price_usd"]),
    }
    table(rows, columns)


def _reconciliations(snapshot: Snapshot) -> None:
    rows = snapshot.portfolio("/v1/reconciliation")
    if not rows:
        nothing("Not compared yet.", "The ledger is compared with the broker at each start, and on the way.")
        return
    newest = rows[0]
    if newest["equal"]:
        at = f", {when(newest['event_ns'])}" if newest["event_ns"] else ""
        st.success(f"Equal to the cent and share ({newest['occasion'].replace('_', ' ')}{at}).")
    else:
        st.error("; ".join(f"{d['what']}: ledger {d['ledger']}, broker {d['broker']}" for d in newest["differences"]))
