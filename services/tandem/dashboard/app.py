"""The Streamlit script: navigation, one refresh button, and the page. Run by Streamlit for each interaction; started by main.py."""

import time
from functools import partial

import streamlit as st

from tandem import settings as settings_module
from tandem.dashboard.screens.companies import companies
from tandem.dashboard.screens.data import data
from tandem.dashboard.screens.models import models
from tandem.dashboard.screens.overview import overview
from tandem.dashboard.screens.pairs import pairs
from tandem.dashboard.screens.portfolio import portfolio
from tandem.dashboard.screens.research import research
from tandem.dashboard.snapshot import Snapshot, Sources, sources_of
from tandem.domain.errors import TandemError, Transient

_PAGES = (
    (overview, "Overview", ":material/monitoring:"),
    (pairs, "Pairs", ":material/compare_arrows:"),
    (portfolio, "Portfolio", ":material/account_balance:"),
    (models, "Models", ":material/model_training:"),
    (data, "Data", ":material/database:"),
    (research, "Research", ":material/science:"),
    (companies, "Companies", ":material/domain:"),
)
# Sent with the page: Streamlit's named icons would be asked for at a host of Google's, by each reader.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="#0072B2">'
    '<path d="M3 6h11V3l7 5-7 5v-3H3zM21 18H10v3l-7-5 7-5v3h11z"/></svg>'
)


@st.cache_resource
def _sources() -> Sources:
    return sources_of(settings_module.load())


def run() -> None:
    """Draw what the browser asks for."""
    st.set_page_config(page_title="Tandem", page_icon=_ICON, layout="wide")
    sources = _sources()
    snapshot: Snapshot = st.session_state.setdefault("snapshot", Snapshot(sources))
    chosen = st.navigation(
        [
            st.Page(partial(draw, snapshot), title=title, icon=icon, url_path=title.lower(), default=draw is overview)
            for draw, title, icon in _PAGES
        ]
    )
    with st.sidebar:
        _refresh(sources)
        st.caption(f"As of {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(st.session_state['snapshot'].taken_s))} UTC")
    chosen.run()


def _refresh(sources: Sources) -> None:
    """Forget every answer, here and in the portfolio's cache, and ask again."""
    if not st.button(
        "Refresh",
        icon=":material/refresh:",
        type="primary",
        width="stretch",
        help="Asks everything again; nothing here refreshes by itself.",
    ):
        if refusal := st.session_state.get("refusal"):
            st.warning(refusal)
        return
    st.session_state["refusal"] = _refusal(sources)
    st.session_state["snapshot"] = Snapshot(sources)
    st.rerun()


def _refusal(sources: Sources) -> str:
    """Drop the portfolio's cache; why it did not, or nothing."""
    try:
        sources.portfolio.post("/v1/cache/refresh", token=sources.settings.api_token.get_secret_value())
    except Transient:  # the pages say themselves that the portfolio is away
        return ""
    except TandemError as error:
        return f"The portfolio kept its cache: {error}."
    return ""


run()
