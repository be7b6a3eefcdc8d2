"""The series of each sector: where its rollout stands, what the gates have found, whether its alias names what is acted on.

Told at every look, so that an operator that has just started tells of a rollout that stands still, too; taken back with the SectorModel,
and when another process leads: nobody would change them any more. Called by sectors.py; process.py calls `forget`.
"""

import math

from tandem.adapters import telemetry
from tandem.operator.gather import COMPARED
from tandem.operator.view import View
from tandem.rollout.candidates import Hold, named
from tandem.rollout.observed import Evidence
from tandem.rollout.promotion import QLIKE_GATE
from tandem.rollout.state import RolloutState, Step, Verdict

_OF_SECTOR = (
    "operator_gate_p_value",
    "operator_gate_bars",
    "operator_gate_sessions",
    "operator_gate_effect",
    "operator_gate_statistic",
    "operator_rollout_step_since_seconds",
    "operator_shadow_divergence",
    "operator_alias_behind",
)


class SectorMeasures:
    """One for the operator."""

    def __init__(self) -> None:
        self._sectors: dict[str, str] = {}  # by name of the SectorModel

    def tell(self, view: View, state: RolloutState | None) -> None:
        """After a look. state: of the sector's newest rollout; None without one."""
        if view.conflict:  # the older SectorModel of the sector tells
            return
        self._sectors[view.name] = view.sector
        if (behind := is_behind(view)) is not None:
            telemetry.gauge("operator_alias_behind").labels(sector=view.sector).set(behind)
        if state is not None:
            _tell_step(state)
            _tell_gate(state)

    def forget(self, name: str = "") -> None:
        """No series of this SectorModel's sector any more; without a name of none."""
        for one in [name] if name else list(self._sectors):
            sector = self._sectors.pop(one, None)
            if sector is not None and sector not in list(self._sectors.values()):  # a copy: other looks tell meanwhile
                _remove(sector)


def tell_divergence(state: RolloutState, evidence: Evidence | None) -> None:
    """At a look at a rollout. What the newest comparison has found stays after the end, which it may have caused, until the next begins."""
    told = telemetry.gauge("operator_shadow_divergence").labels(sector=state.sector)
    if evidence is not None:
        told.set(_or_nan(evidence.diverged_share))
    elif state.step not in (*COMPARED, Step.DONE):
        told.set(math.nan)


def is_behind(view: View) -> bool | None:
    """Whether the alias, or the pinned version, names another version than the one that is acted on; None where that cannot be seen."""
    if view.versions is None or view.control_trouble:
        return None
    found = named(view.wanted, view.versions, view.acted_on)
    return view.acted_on is not None and not isinstance(found, Hold) and found.version != view.acted_on.version


def _tell_step(state: RolloutState) -> None:
    for step in Step:
        running = step is state.step and step is not Step.DONE
        telemetry.gauge("operator_rollout_step").labels(sector=state.sector, step=step.value).set(running)
    since_s = 0.0 if state.step is Step.DONE else state.step_entered_s
    telemetry.gauge("operator_rollout_step_since_seconds").labels(sector=state.sector).set(since_s)


def _tell_gate(state: RolloutState) -> None:
    gate = next((gate for gate in state.gates if gate.name == QLIKE_GATE), None)
    for name, value in (("effect", gate.effect if gate else None), ("statistic", gate.statistic if gate else None)):
        telemetry.gauge(f"operator_gate_{name}").labels(sector=state.sector).set(_or_nan(value))
    telemetry.gauge("operator_gate_p_value").labels(sector=state.sector).set(_or_nan(gate.p_value if gate else None))
    for name, count in (("bars", gate.bars if gate else 0), ("sessions", gate.sessions if gate else 0)):
        telemetry.gauge(f"operator_gate_{name}").labels(sector=state.sector).set(count)
    for verdict in Verdict:
        says = gate is not None and gate.verdict is verdict
        telemetry.gauge("operator_gate_verdict").labels(sector=state.sector, verdict=verdict.value).set(says)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _remove(sector: str) -> None:
    for name in _OF_SECTOR:
        telemetry.gauge(name).remove(sector)
    for step in Step:
        telemetry.gauge("operator_rollout_step").remove(sector, step.value)
    for verdict in Verdict:
        telemetry.gauge("operator_gate_verdict").remove(sector, verdict.value)
