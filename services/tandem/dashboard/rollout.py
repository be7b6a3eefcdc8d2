"""A sector's versions and its rollout: who is acted on, who is champion and candidate, and what each gate says."""

from operator import itemgetter

import streamlit as st
from pydantic import ValidationError

from tandem.dashboard.questions import control
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row, nothing, table, when
from tandem.domain.control import RolloutRecord, RoutingPointer
from tandem.domain.errors import BadRecord
from tandem.domain.units import NS_PER_S
from tandem.rollout.observed import RegisteredVersion
from tandem.rollout.state import GateResult, Moment, Outcome, RolloutState, Verdict, from_document

_VERSIONS_MAX = 20
_MARKS = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.INCONCLUSIVE: "not decided"}


def versions(snapshot: Snapshot, sector: str) -> None:
    """The registry's versions, and which of them the portfolio acts on. Raises Transient, Permanent."""
    pointer = control(snapshot).pointers.get(sector)
    if pointer is None:
        nothing("No version of this sector is acted on.", f"`tandem train --sector {sector} --data FILE` makes a first one.")
    else:
        _pointer(pointer)
    found = registered(snapshot, sector)
    if not found:
        nothing("The registry holds no version.", f"`tandem train --sector {sector} --data FILE` registers one.")
        return
    rows = [_version(one, pointer) for one in found[:_VERSIONS_MAX]]
    table(rows, {name: itemgetter(name) for name in rows[0]})


def registered(snapshot: Snapshot, sector: str) -> tuple[RegisteredVersion, ...]:
    """The registry's versions of a sector, asked once. Raises Transient, Permanent, BadSetting."""
    return snapshot.ask(("versions", sector), lambda sources: sources.versions(sector))


def _pointer(pointer: RoutingPointer) -> None:
    first, second, third = st.columns(3)
    first.metric("Acted on", f"version {pointer.version}", f"epoch {pointer.epoch}", delta_color="off", delta_arrow="off")
    second.metric("Canary", f"version {pointer.canary.version}" if pointer.canary else "none")
    third.metric("The version before", f"version {pointer.previous.version}" if pointer.previous else "none")
    if pointer.canary:
        st.caption(f"The canary decides {', '.join(pointer.canary.pairs)}, up to {pointer.canary.notional_usd_max:,.0f} USD each.")
    if pointer.reason:
        st.caption(f"Why it moved last: {pointer.reason}")


def _version(one: RegisteredVersion, pointer: RoutingPointer | None) -> Row:
    return {
        "version": one.version,
        "aliases": ", ".join(one.aliases),
        "trained to": when(one.trained_to_ns),
        "registered": when(int(one.created_s * NS_PER_S)),
        "pairs": ", ".join(one.pairs),
        "digest": one.digest[:12],
        "acted on": "yes" if pointer is not None and one.version == pointer.version else "",
        "quarantined": one.quarantined,
    }


def rollout(snapshot: Snapshot, sector: str) -> None:
    """The newest rollout with its gates and history. Raises Transient, Permanent."""
    record = control(snapshot).records.get(f"rollout/{sector}")
    if not isinstance(record, RolloutRecord):
        nothing("No rollout yet.", f"`tandem rollout start {sector}` begins one with the version that alias candidate names.")
        return
    try:
        state = from_document(record.document)
    except ValidationError as error:
        raise BadRecord("rollout_malformed", f"the rollout of {sector}: {error}") from error
    _state(state, str(record.document.get("wait") or ""))
    _gates(state.gates)
    with st.expander("History"):
        columns = {
            "when": lambda row: when(int(row.at_s * NS_PER_S)),
            "step": lambda row: str(row.step),
            "why": lambda row: row.reason,
            "in words": lambda row: row.message,
        }
        moments: list[Moment] = list(reversed(state.history))
        table(moments, columns)


def _state(state: RolloutState, wait: str) -> None:
    """wait: what it waits for, as whoever carries it out has noted beside the state."""
    first, second, third = st.columns(3)
    first.metric("Candidate", f"version {state.candidate.version}")
    second.metric("Step", str(state.step))
    third.metric("Outcome", str(state.outcome))
    line = f"{state.reason}: {state.message}" if state.message else state.reason
    if state.outcome in (Outcome.REFUSED, Outcome.ROLLED_BACK):
        st.error(line)
    else:
        st.caption(line)
    if wait:
        st.info(f"Waits for: {wait}")


def _gates(gates: tuple[GateResult, ...]) -> None:
    if not gates:
        st.caption("No gate has looked yet.")
        return
    columns = {
        "gate": lambda row: row.name,
        "says": lambda row: _MARKS[row.verdict],
        "why": lambda row: row.reason,
        "out of": _seen,
    }
    table(gates, columns)


def _seen(row: GateResult) -> str:
    """What a gate has looked at and what it measured; nothing for what it does not count."""
    parts = [f"{count:,} {name}" for count, name in ((row.bars, "bars"), (row.sessions, "sessions")) if count]
    parts += [] if row.effect is None else [f"QLIKE {row.effect:+.4f}"]
    parts += [] if row.p_value is None else [f"p = {row.p_value:.4f} for the claim"]
    return ", ".join(parts)
