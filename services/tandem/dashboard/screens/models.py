"""Models: the versions of a sector and its rollout, how they score, how calibrated they are, how they rank, and what was decided."""

from collections.abc import Iterable, Sequence
from functools import partial

import streamlit as st

from tandem.dashboard import figures
from tandem.dashboard.questions import control
from tandem.dashboard.rollout import registered, rollout, versions
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row, nothing, section, table, usd
from tandem.domain.errors import TandemError
from tandem.settings import Settings

_SESSIONS_MAX = 250
_BINS = 10
_ROWS_MAX = 50


def models(snapshot: Snapshot) -> None:
    """Draw the page."""
    snapshot.ahead(control, _recorded)
    st.title("Models")
    if address := mlflow_address(snapshot.sources.settings):
        st.markdown(f"Runs, versions and artifacts: [MLflow](<{address}>)")
    with section():
        sectors = _sectors(snapshot)
        if not sectors:
            nothing("No forecasts are recorded yet.", "Train a first model: `tandem train --sector NAME --data FILE`.")
            return
        sector = st.selectbox("Sector", sectors)
        snapshot.ahead(*(partial(question, sector=sector) for question in _QUESTIONS))
        for title, draw in _SECTIONS.items():
            with section(title):
                draw(snapshot, sector)


def mlflow_address(settings: Settings) -> str:
    """Where a reader's browser finds MLflow; empty without one. On a cluster the services' own address leads nowhere outside."""
    return settings.mlflow_public_url or settings.mlflow_tracking_uri


def _sectors(snapshot: Snapshot) -> list[str]:
    """Of which forecasts are recorded, and which have a version that is acted on. Raises when nobody who can be asked names one."""
    found: set[str] = set()
    troubles: list[TandemError] = []
    for ask in (_recorded, _pointed):
        try:
            found.update(ask(snapshot))
        except TandemError as error:  # told by the sections that need it
            troubles.append(error)
    if troubles and not found:
        raise troubles[0]
    return sorted(found)


def _pointed(snapshot: Snapshot) -> Iterable[str]:
    return control(snapshot).pointers


def _recorded(snapshot: Snapshot) -> Sequence[str]:
    return snapshot.ask("sectors", lambda sources: sources.views.sectors(snapshot.stream))


def _scores(snapshot: Snapshot, sector: str) -> None:
    rows = _losses(snapshot, sector)
    if not rows:
        nothing("Nothing is scored yet.", "A forecast is scored when the pair's next bar is known.")
        return
    st.plotly_chart(figures.losses(rows), key="losses")
    bins = _calibration(snapshot, sector)
    if bins:
        st.plotly_chart(figures.calibration(bins), key="calibration")


def _rankings(snapshot: Snapshot, sector: str) -> None:
    rows = _ranked(snapshot, sector)
    if not rows:
        nothing("No rankings.", "`tandem rebaseline` computes them from recorded scores, before each session.")
        return
    columns = {
        "rank": lambda row: row["rank_position"],
        "pair": lambda row: row["pair"],
        "version": lambda row: row["model_version"],
        "QLIKE / GARCH's": lambda row: round(row["qlike_ratio"], 4),
        "forecasts": lambda row: row["bars"],
        "Brier": lambda row: None if row["brier"] is None else round(row["brier"], 4),
        "trades": lambda row: row["trades"],
        "profit": lambda row: "" if row["pnl_usd"] is None else usd(row["pnl_usd"], sign=True),
    }
    table(rows, columns)
    trends = _trends(snapshot, sector)
    columns = {
        "pair": lambda row: row["pair"],
        "version": lambda row: row["model_version"],
        "7 sessions": lambda row: None if row["qlike_ratio_7"] is None else round(row["qlike_ratio_7"], 4),
        "30 sessions": lambda row: round(row["qlike_ratio_30"], 4),
        "direction": lambda row: row["direction"],
    }
    table(trends, columns)


def _trainings(snapshot: Snapshot, sector: str) -> None:
    rows = _history(snapshot, sector)
    if not rows:
        nothing("No training is recorded.", "`tandem train` records its own where the database is set.")
        return
    columns = {
        "recorded": lambda row: f"{row['recorded_at']:%Y-%m-%d %H:%M}",
        "version": lambda row: row["model_version"] or "not registered",
        "QLIKE": lambda row: row["qlike"],
        "GARCH's": lambda row: row["garch_qlike"],
        "DM p": lambda row: row["dm_p_value"],
        "Brier": lambda row: row["brier"],
        "base rate's": lambda row: row["brier_base_rate"],
        "MCC": lambda row: row["mcc"],
        "AUC": lambda row: row["auc"],
        "F1": lambda row: row["f1"],
        "always-1 F1": lambda row: row["f1_always_1"],
    }
    table(rows, columns)


def _decisions(snapshot: Snapshot, sector: str) -> None:
    rows = _decided(snapshot, sector)
    if not rows:
        nothing("No decisions.", "`tandem rebaseline` makes one for each sector and day.")
        return
    columns = {
        "day": lambda row: str(row["session_day"]),
        "outcome": lambda row: row["outcome"],
        "why": lambda row: row["reason"],
        "version": lambda row: row["model_version"],
        "gates": lambda row: ", ".join(f"{gate['name']} {'passed' if gate['passed'] else 'failed'}" for gate in row["gates"]),
    }
    table(rows, columns)


def _losses(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    stream = snapshot.stream
    return snapshot.ask(("losses", sector), lambda sources: sources.views.losses(sector, stream=stream, sessions=_SESSIONS_MAX))


def _calibration(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    stream = snapshot.stream
    return snapshot.ask(("calibration", sector), lambda sources: sources.views.calibration(sector, stream=stream, bins=_BINS))


def _ranked(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    return snapshot.ask(("rankings", sector), lambda sources: sources.history.rankings(sector=sector))


def _trends(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    return snapshot.ask(("trends", sector), lambda sources: sources.history.trends(sector=sector))


def _history(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    return snapshot.ask(("history", sector), lambda sources: sources.history.history(sector=sector, limit=_ROWS_MAX))


def _decided(snapshot: Snapshot, sector: str) -> Sequence[Row]:
    return snapshot.ask(("decisions", sector), lambda sources: sources.decisions.recent(sector=sector, limit=_ROWS_MAX))


_QUESTIONS = (registered, _losses, _calibration, _ranked, _trends, _history, _decided)
_SECTIONS = {
    "Versions": versions,
    "Rollout and its gates": rollout,
    "Out-of-sample scores": _scores,
    "Rankings and trends": _rankings,
    "Trainings": _trainings,
    "Pre-market decisions": _decisions,
}
