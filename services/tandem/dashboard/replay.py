"""The recycler's controls: where the replay is, and the buttons that make sense there. Shown for recycled data only."""

from collections.abc import Mapping
from contextlib import closing
from datetime import date
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tandem.dashboard.questions import replay_status
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import when
from tandem.domain.errors import TandemError
from tandem.domain.units import utc

_SPEEDS: Mapping[str, object] = {
    "real time": 1,
    "60 times": 60,
    "3,600 times": 3_600,
    "one daily bar a second": 86_400,
    "as fast as it goes": "max",
}
# What can be pressed in a state; held: nobody has started it yet.
_BUTTONS: Mapping[str, tuple[str, ...]] = {
    "held": ("Start", "One bar"),
    "running": ("Pause", "One bar"),
    "waiting": ("Pause", "One bar"),
    "paused": ("Resume", "One bar"),
    "ended": (),
}
_CALLS: Mapping[str, tuple[str, dict[str, Any] | None]] = {
    "Start": ("/start", None),
    "Pause": ("/pause", None),
    "Resume": ("/resume", None),
    "One bar": ("/step", {"bars": 1}),
}


def replay(snapshot: Snapshot) -> None:
    """Draw it. Raises Transient while the recycler is away."""
    status = replay_status(snapshot)
    first, second, third, fourth = st.columns(4)
    neutral: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off"}
    first.metric("State", status["state"])
    second.metric("Bars played", f"{status['bars']:,}", f"of {status['bars_total']:,}", **neutral)
    third.metric("Ticks played", f"{status['ticks_replayed']:,}", f"of {status['ticks_total']:,}", **neutral)
    fourth.metric("Speed", f"{status['speed']}" if status["speed"] == "max" else f"{status['speed']:g} times")
    st.progress(min(1.0, float(status["progress"])), text=f"{when(status['watermark_ns'])} New York, of {status['data']}")
    waits = f"; waits for {', '.join(status['waiting_for'])}" if status["waiting_for"] and status["state"] != "paused" else ""
    st.caption(f"Replay `{status['replay_id']}`, {'in lockstep' if status['lockstep'] else 'not in lockstep'}{waits}")
    if status["state"] == "ended":
        st.info("The replay has ended. Begin another at a day of its data, or let `tandem up` or `tandem demo` start one.")
    told = st.container()  # always there, so that a message moves nothing below it: a form that is moved closes
    _buttons(snapshot, _BUTTONS[status["state"]], told)
    if status["state"] != "ended":
        _speed(snapshot, told)
    _seek(snapshot, status, told)


def _buttons(snapshot: Snapshot, labels: tuple[str, ...], told: DeltaGenerator) -> None:
    for column, label in zip(st.columns(4), labels, strict=False):
        if column.button(label, width="stretch"):
            _press(snapshot, told, label, *_CALLS[label])


def _speed(snapshot: Snapshot, told: DeltaGenerator) -> None:
    with st.expander("Change the speed"), st.form("speed", border=False):
        chosen = st.selectbox("Speed", list(_SPEEDS))
        if st.form_submit_button("Set the speed"):
            _press(snapshot, told, chosen, "/speed", {"speed": _SPEEDS[chosen]})


def _seek(snapshot: Snapshot, status: Mapping[str, Any], told: DeltaGenerator) -> None:
    """Another replay, from a day of the recorded data on. Days begin at midnight UTC, when the exchange is closed."""
    first, last = (utc(status[name]).date() for name in ("from_ns", "end_ns"))
    with st.expander("Begin again at a day"), st.form("seek", border=False):
        st.caption("Begins another replay with a new account: positions of this one are left behind, its records stay in the database.")
        followers = ", ".join(one["name"] for one in status["participants"]) if status["lockstep"] else ""
        if followers:
            st.caption(
                f"It begins when what follows in lockstep ({followers}) is done with the newest bar; that goes over to it by itself."
            )
        day = st.date_input("Day", value=first, min_value=first, max_value=last)
        sure = st.checkbox("Yes, leave this replay")
        if not st.form_submit_button("Begin there"):
            return
        if not (sure and isinstance(day, date)):
            told.warning("Give a day, and confirm.")
            return
        _press(snapshot, told, f"Replay from {day}", "/seek", {"to": str(day)})


def _press(snapshot: Snapshot, told: DeltaGenerator, label: str, path: str, body: dict[str, Any] | None) -> None:
    try:
        with closing(snapshot.sources.replay_control()) as control:
            control.command(path, body)
    except TandemError as error:
        told.error(str(error))
    else:
        told.success(f"{label}: done. Press *Refresh* to see where the replay is.")
