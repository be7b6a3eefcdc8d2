"""Signals: each row of both tables, and the kill switch."""

from dataclasses import replace

import pytest

from tandem.domain.control import TradingState
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import Action, TradingMode
from tandem.flow.signals import FLAT_RULES, HELD_RULES, Case, Held, Outlook, Reason, decide, effective_mode, held_under
from trading_cases import SPEC, forecast

LONG = Held(direction=1, opened_bar_index=100, half_life_bars=10.0, digest="d")
SHORT = replace(LONG, direction=-1)


def case(held: Held | None = None, mode: TradingMode = TradingMode.ACTIVE, fresh: bool = True, **changes: object) -> Case:
    spec = replace(SPEC, suspended=bool(changes.pop("suspended", False)), frozen=bool(changes.pop("frozen", False)))
    changed = bool(changes.pop("model_changed", False))
    outlook = changes.pop("outlook", Outlook())
    return Case(forecast=forecast(**changes), spec=spec, held=held, mode=mode, fresh=fresh, model_changed=changed, outlook=outlook)


@pytest.mark.parametrize(
    ("given", "action", "reason"),
    [
        (case(), Action.OPEN_LONG, Reason.ENTRY_LONG),
        (case(z=2.5), Action.OPEN_SHORT, Reason.ENTRY_SHORT),
        (case(z=-2.0), Action.OPEN_LONG, Reason.ENTRY_LONG),
        (case(z=1.999), None, Reason.INSIDE_BAND),
        (case(z=-4.0), None, Reason.BEYOND_STOP),
        (case(z=3.999), Action.OPEN_SHORT, Reason.ENTRY_SHORT),
        (case(reversion_probability=0.599), None, Reason.PROBABILITY_LOW),
        (case(reversion_probability=0.6), Action.OPEN_LONG, Reason.ENTRY_LONG),
        (case(half_life_bars=0.0), None, Reason.HALF_LIFE_UNUSABLE),
        (case(suspended=True), None, Reason.SUSPENDED),
        (case(mode=TradingMode.REDUCING), None, Reason.MODE_REDUCING),
        (case(mode=TradingMode.HALTED), None, Reason.MODE_HALTED),
        (case(mode=TradingMode.FLATTENING), None, Reason.MODE_FLATTENING),
        (case(frozen=True), None, Reason.FROZEN),
        (case(fresh=False), None, Reason.STALE),
        (case(leg_b=Symbol("PG")), None, Reason.LEGS_DIFFER),
        (case(outlook=Outlook(drifting=True)), None, Reason.DRIFT),
        (case(outlook=Outlook(resting=True)), None, Reason.RESTING),
        (case(outlook=Outlook(comparable=False)), None, Reason.CORPORATE_ACTION),
        (case(outlook=Outlook(ending=True)), None, Reason.SESSION_END),
        (case(suspended=True, outlook=Outlook(ending=True)), None, Reason.SUSPENDED),
        (case(z=4.1, outlook=Outlook(widening=1.25)), None, Reason.BEYOND_STOP),
    ],
)
def test_a_flat_pair_opens_only_when_every_rule_lets_it(given: Case, action: Action | None, reason: Reason) -> None:
    signal = decide(given)

    assert (signal.action, signal.reason) == (action, reason)


@pytest.mark.parametrize(
    ("given", "action", "reason"),
    [
        (case(LONG), None, Reason.HOLDING),
        (case(SHORT, z=2.5), None, Reason.HOLDING),
        (case(LONG, z=-0.5), Action.CLOSE, Reason.EXIT_Z),
        (case(LONG, z=-0.501), None, Reason.HOLDING),
        (case(SHORT, z=0.5), Action.CLOSE, Reason.EXIT_Z),
        (case(LONG, z=1.0), Action.CLOSE, Reason.CROSSED_MEAN),
        (case(SHORT, z=-1.0), Action.CLOSE, Reason.CROSSED_MEAN),
        (case(LONG, z=-4.0), Action.CLOSE, Reason.STOP_Z),
        (case(SHORT, z=-4.5), Action.CLOSE, Reason.STOP_Z),
        (case(LONG, bar_index=130), Action.CLOSE, Reason.TIME_STOP),
        (case(LONG, bar_index=129), None, Reason.HOLDING),
        (case(LONG, suspended=True), Action.CLOSE, Reason.SUSPENDED),
        (case(LONG, mode=TradingMode.REDUCING, z=-0.4), Action.CLOSE, Reason.EXIT_Z),
        (case(LONG, mode=TradingMode.HALTED, z=-0.4), None, Reason.MODE_HALTED),
        (case(LONG, mode=TradingMode.FLATTENING), Action.CLOSE, Reason.MODE_FLATTENING),
        (case(LONG, frozen=True, suspended=True, z=0.0), None, Reason.FROZEN),
        (case(LONG, model_changed=True), Action.CLOSE, Reason.MODEL_CHANGED),
        (case(LONG, mode=TradingMode.HALTED, model_changed=True), None, Reason.MODE_HALTED),
        (case(LONG, fresh=False, z=-0.4), Action.CLOSE, Reason.EXIT_Z),
        (case(LONG, z=-4.5, fresh=False), None, Reason.STOP_WAITS),
        (case(LONG, z=-4.5, outlook=Outlook(priced=False)), None, Reason.STOP_WAITS),
        (case(LONG, z=-4.4, outlook=Outlook(widening=1.25)), None, Reason.HOLDING),
        (case(LONG, z=-4.5, outlook=Outlook(widening=1.25)), Action.CLOSE, Reason.STOP_Z),
        (case(LONG, outlook=Outlook(drifting=True)), Action.CLOSE, Reason.DRIFT),
        (case(LONG, outlook=Outlook(drifting=True, priced=False)), None, Reason.HOLDING),
        (case(LONG, z=-0.4, outlook=Outlook(drifting=True)), Action.CLOSE, Reason.EXIT_Z),
        (case(LONG, outlook=Outlook(resting=True)), None, Reason.HOLDING),
        (case(LONG, z=-9.0, outlook=Outlook(comparable=False)), None, Reason.CORPORATE_ACTION),
        (case(LONG, z=0.0, outlook=Outlook(comparable=False)), None, Reason.CORPORATE_ACTION),
        (case(LONG, z=-3.0, bar_index=130, outlook=Outlook(comparable=False)), Action.CLOSE, Reason.TIME_STOP),
        (case(LONG, suspended=True, outlook=Outlook(comparable=False)), Action.CLOSE, Reason.SUSPENDED),
        (case(LONG, outlook=Outlook(ending=True)), Action.CLOSE, Reason.SESSION_END),
        (case(LONG, z=-9.0, outlook=Outlook(ending=True, priced=False, comparable=False)), Action.CLOSE, Reason.SESSION_END),
        (case(LONG, frozen=True, outlook=Outlook(ending=True)), None, Reason.FROZEN),
        (case(LONG, mode=TradingMode.HALTED, outlook=Outlook(ending=True)), None, Reason.MODE_HALTED),
    ],
)
def test_a_held_pair_closes_for_each_of_its_reasons(given: Case, action: Action | None, reason: Reason) -> None:
    signal = decide(given)

    assert (signal.action, signal.reason) == (action, reason)


def test_every_row_of_both_tables_is_reached_by_the_cases_above() -> None:
    """A rule that no case names would be a rule that no test guards."""
    flat = test_a_flat_pair_opens_only_when_every_rule_lets_it.pytestmark[0].args[1]
    held = test_a_held_pair_closes_for_each_of_its_reasons.pytestmark[0].args[1]

    assert {row[2] for row in flat} == {rule.reason for rule in FLAT_RULES}
    assert {row[2] for row in held} == {rule.reason for rule in HELD_RULES}


def test_a_held_pair_keeps_its_age_when_the_model_changes() -> None:
    """Bars held under the old model count under the new one, whose bars are numbered from another origin."""
    moved = held_under(LONG, forecast(bar_index=112), forecast(bar_index=7), "new")

    assert 7 - moved.opened_bar_index == 112 + 1 - 100
    assert moved.digest == "new"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, TradingMode.ACTIVE),
        ({"global": TradingMode.HALTED}, TradingMode.HALTED),
        ({"sector/consumer": TradingMode.REDUCING}, TradingMode.REDUCING),
        ({"pair/KO-PEP": TradingMode.HALTED, "global": TradingMode.REDUCING}, TradingMode.HALTED),
        ({"sector/energy": TradingMode.HALTED, "pair/XOM-CVX": TradingMode.HALTED}, TradingMode.ACTIVE),
        ({"global": TradingMode.ACTIVE, "sector/consumer": TradingMode.HALTED}, TradingMode.HALTED),
        ({"account/paper": TradingMode.FLATTENING, "global": TradingMode.REDUCING}, TradingMode.FLATTENING),
        ({"account/paper": TradingMode.FLATTENING, "pair/KO-PEP": TradingMode.HALTED}, TradingMode.HALTED),
        ({"account/live": TradingMode.HALTED}, TradingMode.ACTIVE),
    ],
)
def test_the_strictest_mode_that_applies_holds(states: dict[str, TradingMode], expected: TradingMode) -> None:
    records = {scope: TradingState(scope=scope, mode=mode, reason="test") for scope, mode in states.items()}

    assert effective_mode(records, "paper", SectorId("consumer"), PairId("KO-PEP")) is expected
