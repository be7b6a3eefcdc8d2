"""What applying pairs changes."""

from dataclasses import replace

import pytest

from tandem.domain.control import PairSpec, TradingState
from tandem.domain.errors import Permanent
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.domain.trading import TradingMode
from tandem.rollout.declare import Verb, plan, plan_modes


def pair(name: str) -> PairSpec:
    """A pair with default thresholds."""
    leg_a, leg_b = pair_legs(name)
    return PairSpec(pair=PairId(name), sector=SectorId("consumer"), leg_a=leg_a, leg_b=leg_b)


KO_PEP, HD_WMT = pair("KO-PEP"), pair("HD-WMT")


def test_a_new_pair_is_created() -> None:
    """Nothing is declared yet."""
    assert [change.verb for change in plan({}, [KO_PEP])] == [Verb.CREATED]


def test_the_same_pair_again_is_unchanged() -> None:
    """Applying twice does nothing the second time."""
    assert [change.verb for change in plan({"KO-PEP": KO_PEP}, [KO_PEP])] == [Verb.UNCHANGED]


def test_a_changed_pair_is_configured_and_tells_what_changed() -> None:
    """The old and the new value stand in the answer."""
    (change,) = plan({"KO-PEP": KO_PEP}, [replace(KO_PEP, entry_z=1.5)])
    assert (change.verb, change.differences) == (Verb.CONFIGURED, ("entry_z 2.0 -> 1.5",))


def test_pairs_that_are_not_named_stay() -> None:
    """Applying one file deletes nothing."""
    assert [change.spec.pair for change in plan({"HD-WMT": HD_WMT}, [KO_PEP])] == ["KO-PEP"]


def test_a_pair_with_its_legs_turned_is_refused() -> None:
    """PEP-KO is the same bet as KO-PEP."""
    with pytest.raises(Permanent, match="KO-PEP is declared already"):
        plan({"KO-PEP": KO_PEP}, [replace(KO_PEP, pair=PairId("PEP-KO"), leg_a=Symbol("PEP"), leg_b=Symbol("KO"))])


def test_a_changed_mode_is_told() -> None:
    """Of an account, as of a pair: what it was, and what it is."""
    active = TradingState(scope="account/paper", mode=TradingMode.ACTIVE, reason="")
    halted = TradingState(scope="account/paper", mode=TradingMode.HALTED, reason="drill")
    other = replace(active, scope="account/other")
    changes = plan_modes({"account/paper": active, "global": replace(halted, scope="global")}, [halted, other])
    assert [(change.verb, change.differences) for change in changes] == [
        (Verb.CONFIGURED, ("mode active -> halted", 'reason "" -> drill')),
        (Verb.CREATED, ()),
    ]
