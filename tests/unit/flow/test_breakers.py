"""Breakers: what trips each, what it sets, what ends it, and that a restart goes on where it was."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.trading import TradingMode
from tandem.flow.breakers import (
    Answered,
    Breaker,
    BreakerLimits,
    BreakerState,
    Compared,
    Ends,
    Event,
    Reset,
    Seen,
    Valued,
    document,
    state_of,
    step,
)
from tandem.flow.drawdown import Ladder, Rung

S = 1_000_000_000
HOUR = 3_600 * S
LIMITS = BreakerLimits()


def valued(session: int, equity: float, at_s: int = 0) -> Valued:
    return Valued(at_ns=(session * 86_400 + at_s) * S, session=session, equity_usd=Decimal(str(equity)))


def after(*events: Event, limits: BreakerLimits = LIMITS) -> BreakerState:
    state = BreakerState()
    for event in events:
        state = step(state, event, limits)
    return state


def modes(state: BreakerState) -> dict[Breaker, TradingMode]:
    return {name: tripped.mode for name, tripped in state.tripped.items()}


def test_the_days_loss_stops_opening_until_the_next_session() -> None:
    start = (valued(1, 1000), valued(1, 981))
    assert modes(after(*start)) == {}

    lost = after(*start, valued(1, 980))
    assert modes(lost) == {Breaker.DAILY_LOSS: TradingMode.REDUCING}
    assert "2.00%" in lost.tripped[Breaker.DAILY_LOSS].reason
    assert modes(step(lost, valued(1, 999, at_s=60), LIMITS)) == modes(lost)  # made good within the day: a loss is a loss
    assert modes(step(lost, valued(2, 975), LIMITS)) == {}


def test_a_gap_over_night_is_the_new_days_loss() -> None:
    assert modes(after(valued(1, 1000), valued(2, 979))) == {Breaker.DAILY_LOSS: TradingMode.REDUCING}


def test_the_ladder_halves_then_reduces_then_halts() -> None:
    calm = replace(LIMITS, daily_loss_max=Decimal(1))
    state = after(valued(1, 1000), limits=calm)
    seen = []
    for session, equity in enumerate((960, 950, 930, 920, 881, 880), start=2):
        state = step(state, valued(session, equity), calm)
        seen.append((calm.ladder.size(state.rung), modes(state).get(Breaker.DRAWDOWN)))

    half, none = Decimal("0.5"), Decimal(0)
    assert seen == [
        (1, None),
        (half, None),
        (half, None),
        (half, TradingMode.REDUCING),
        (half, TradingMode.REDUCING),
        (none, TradingMode.HALTED),
    ]
    assert state.tripped[Breaker.DRAWDOWN].ends is Ends.RESET


def test_a_halted_drawdown_stays_until_a_person_resets_it_and_counts_anew_from_there() -> None:
    calm = replace(LIMITS, daily_loss_max=Decimal(1))
    halted = after(valued(1, 1000), valued(2, 870), valued(3, 1000), limits=calm)
    assert modes(halted) == {Breaker.DRAWDOWN: TradingMode.HALTED}

    low = after(valued(1, 1000), valued(2, 870), limits=calm)
    reset = step(low, Reset(at_ns=3 * HOUR, breaker=Breaker.DRAWDOWN), calm)
    assert (modes(reset), reset.drawdown, reset.rung) == ({}, 0, 0)
    assert modes(step(reset, valued(3, 830), calm)) == {}  # 4.6 % below where it was reset


@pytest.mark.parametrize(
    ("drawdown", "now", "then"),
    [
        ("0.049", 0, 0),
        ("0.05", 0, 1),
        ("0.026", 1, 1),
        ("0.024", 1, 0),
        ("0.041", 2, 2),
        ("0.03", 2, 1),
        ("0.2", 0, 3),
        ("0.061", 3, 3),
        ("0", 3, 0),
    ],
)
def test_a_rung_is_left_when_half_of_it_is_made_good(drawdown: str, now: int, then: int) -> None:
    assert Ladder().rung(Decimal(drawdown), now) == then


@given(st.decimals(min_value=0, max_value="0.99", places=3), st.decimals(min_value=0, max_value="0.99", places=3), st.integers(0, 3))
def test_a_deeper_drawdown_never_means_a_larger_size(one: Decimal, other: Decimal, now: int) -> None:
    ladder = Ladder()
    shallow, deep = sorted((one, other))

    assert ladder.size(ladder.rung(deep, now)) <= ladder.size(ladder.rung(shallow, now))


def test_refusals_of_the_broker_pause_opening() -> None:
    taken, refused = Answered(at_ns=HOUR, rejected=False), Answered(at_ns=HOUR, rejected=True)
    state = after(*[taken] * 11, *[refused] * 9)
    assert modes(state) == {}

    state = step(state, refused, LIMITS)
    assert modes(state) == {Breaker.REJECTS: TradingMode.REDUCING}
    assert modes(step(state, Answered(at_ns=2 * HOUR - S, rejected=False), LIMITS)) == {Breaker.REJECTS: TradingMode.REDUCING}
    assert modes(step(state, Answered(at_ns=2 * HOUR, rejected=False), LIMITS)) == {}


def test_old_refusals_are_forgotten() -> None:
    taken, refused = Answered(at_ns=HOUR, rejected=False), Answered(at_ns=HOUR, rejected=True)

    assert modes(after(*([refused] * 9 + [taken] * 20) * 3)) == {}


def test_stale_data_stops_opening_until_there_is_a_trade_again() -> None:
    state = after(Seen(at_ns=HOUR, newest_ns=HOUR - 901 * S))
    assert modes(state) == {Breaker.STALE_DATA: TradingMode.REDUCING}

    assert modes(step(state, Seen(at_ns=HOUR, newest_ns=HOUR - 900 * S), LIMITS)) == {}


def test_a_ledger_that_differs_stops_opening_until_it_is_equal_or_a_person_says_so() -> None:
    state = after(Compared(at_ns=HOUR, difference="KO: the ledger has 1, the broker 2"))
    assert modes(state) == {Breaker.RECONCILE: TradingMode.REDUCING}
    assert "KO" in state.tripped[Breaker.RECONCILE].reason

    assert modes(step(state, Compared(at_ns=HOUR, difference=""), LIMITS)) == {}
    assert modes(step(state, Reset(at_ns=HOUR, breaker=Breaker.RECONCILE), LIMITS)) == {}


EVENTS = st.one_of(
    st.builds(Valued, at_ns=st.integers(0, 100), session=st.integers(0, 3), equity_usd=st.decimals(min_value=1, max_value=2000, places=2)),
    st.builds(Answered, at_ns=st.integers(0, 100), rejected=st.booleans()),
    st.builds(Seen, at_ns=st.just(10**13), newest_ns=st.integers(0, 10**13)),
    st.builds(Compared, at_ns=st.integers(0, 100), difference=st.sampled_from(["", "cash"])),
    st.builds(Reset, at_ns=st.integers(0, 100), breaker=st.sampled_from(Breaker)),
)


@given(st.lists(EVENTS, max_size=30), EVENTS)
def test_a_state_read_back_goes_on_as_if_it_had_never_been_written(events: list[Event], more: Event) -> None:
    state = after(*events)
    again = state_of(json.loads(json.dumps(document(state))))

    assert again == state
    assert step(again, more, LIMITS) == step(state, more, LIMITS)


@pytest.mark.parametrize("changes", [{"daily_loss_max": Decimal(0)}, {"rejects_max": 21}, {"stale_s_max": 0.0}])
def test_limits_that_make_no_sense_cannot_exist(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        replace(LIMITS, **changes)


def test_a_ladder_goes_one_way() -> None:
    with pytest.raises(ValueError, match="larger drawdown"):
        Ladder(rungs=(Rung(drawdown=Decimal("0.1")), Rung(drawdown=Decimal("0.05"))))
    with pytest.raises(ValueError, match="in \\(0, 1\\)"):
        Rung(drawdown=Decimal(1))
