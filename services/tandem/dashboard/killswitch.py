"""The kill switch as people use it: what is in force, and a form that changes it with a reason, a confirmation and the API's token.

The token is typed for each change and kept nowhere: who only looks at the dashboard can stop nothing and start nothing.
"""

from operator import itemgetter

import streamlit as st

from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import table
from tandem.domain.errors import TandemError
from tandem.domain.trading import TradingMode

_MEANING = {
    TradingMode.ACTIVE: "trade",
    TradingMode.REDUCING: "open nothing; close on signals",
    TradingMode.FLATTENING: "open nothing; close everything at the next bar",
    TradingMode.HALTED: "open nothing, close nothing on signals; unwinding goes on",
}


def kill_switch(snapshot: Snapshot) -> None:
    """Draw it. Raises Transient while the portfolio is away."""
    states = snapshot.portfolio("/v1/trading-state")
    strict = [state for state in states if state["mode"] != TradingMode.ACTIVE]
    if strict:
        st.error("Trading is limited.")
        table(strict, {name: itemgetter(name) for name in ("scope", "mode", "reason", "applied_at")})
    else:
        st.success("Active: no limit is set.")
    with st.expander("Change"), st.form("kill-switch", border=False):
        _form(snapshot)


def _form(snapshot: Snapshot) -> None:
    pairs = snapshot.portfolio("/v1/pairs")
    scopes = ["global", *sorted({f"sector/{row['sector']}" for row in pairs}), *(f"pair/{row['pair']}" for row in pairs)]
    scope = st.selectbox("Scope", scopes)
    mode = st.selectbox("Mode", list(TradingMode), index=3, format_func=lambda each: f"{each.value}: {_MEANING[each]}")
    reason = st.text_input("Reason", max_chars=500, placeholder="why, for those who read it later")
    token = st.text_input("Token (TANDEM_API_TOKEN)", type="password")
    sure = st.checkbox("Yes, change what is traded")
    if not st.form_submit_button("Set", type="primary"):
        return
    if not (sure and reason and token and scope and mode):
        st.warning("Give a reason and the token, and confirm.")
        return
    try:
        snapshot.sources.portfolio.post("/v1/trading-state", {"scope": scope, "mode": mode, "reason": reason}, token=token)
    except TandemError as error:
        st.error(str(error))
        return
    st.success(f"{scope} is set to {mode.value}. The portfolio applies it within a second; press *Refresh* to see it.")
