"""Corporate actions: windows around ex-dates, shares after splits, models that no longer fit."""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.calendar import session_grid
from tandem.adapters.new_york import midnight_ns
from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.ids import PairId, SectorId
from tandem.flow.corporate import breaks_model, rescaled, trained_since, windows
from tandem.flow.execution import flat
from tandem.flow.execution_records import Execution
from trading_cases import KO, PAIR, PEP

SPLIT = CorporateAction(action_id="s1", symbol=KO, kind=ActionKind.SPLIT, ex_day="2024-06-10", ratio=Decimal(4))
DIVIDEND = replace(SPLIT, action_id="d1", kind=ActionKind.DIVIDEND, ratio=Decimal(1), amount_usd=Decimal("0.485"))


def holding(shares: str, pair: str = PAIR, target: int | None = None) -> Execution:
    """A pair that holds so many of KO."""
    made = flat(PairId(pair), SectorId("consumer"), KO, PEP)
    held = Decimal(shares)
    return replace(made, a=replace(made.a, held=held, target=int(held) if target is None else target))


@pytest.mark.parametrize(("session", "inside"), [(97, False), (98, True), (99, True), (100, True), (101, True), (102, False)])
def test_a_window_counts_sessions_around_the_ex_date(session: int, inside: bool) -> None:
    found = windows([DIVIDEND], {"2024-06-10": 100}, session, before=2, after=1)

    assert found == ({KO: "dividend of 0.485 USD on 2024-06-10"} if inside else {})


@pytest.mark.parametrize(
    ("action", "price", "breaks"),
    [
        (SPLIT, "60", True),
        (replace(SPLIT, ratio=Decimal(1)), "60", False),
        (DIVIDEND, "60", False),
        (replace(DIVIDEND, amount_usd=Decimal("1.2")), "60", True),
        (replace(DIVIDEND, amount_usd=Decimal(9)), None, False),
        (replace(SPLIT, kind=ActionKind.RENAME, new_symbol="KOX", ratio=Decimal(1)), "60", True),
        (replace(SPLIT, kind=ActionKind.OTHER, ratio=Decimal(1)), "60", True),
    ],
)
def test_what_changes_the_spread_breaks_the_model(action: CorporateAction, price: str | None, breaks: bool) -> None:
    assert breaks_model(action, None if price is None else Decimal(price)) is breaks


def test_four_for_one_on_one_leg_only() -> None:
    (new,) = rescaled([holding("-200")], SPLIT)

    assert (new.shares, new.execution.a.held, new.execution.a.target) == (-600, -800, -800)
    assert new.execution.b == holding("-200").b


def test_what_is_on_its_way_wants_as_many_times_more() -> None:
    (new,) = rescaled([holding("50", target=201)], replace(SPLIT, ratio=Decimal("1.5")))

    assert (new.execution.a.held, new.execution.a.target) == (75, 301)


def test_three_shares_at_one_for_three_are_one() -> None:
    (new,) = rescaled([holding("3")], replace(SPLIT, ratio=Decimal(1) / Decimal(3)))

    assert new.execution.a.held == 1


def test_a_pair_without_the_symbol_is_left_alone() -> None:
    assert rescaled([holding("0")], SPLIT) == ()
    assert rescaled([holding("5")], replace(SPLIT, symbol="XOM")) == ()


@given(
    st.lists(st.integers(-500, 500).filter(bool), min_size=1, max_size=8),
    st.fractions(min_value="1/20", max_value=20, max_denominator=20),
)
def test_the_pairs_have_together_what_the_broker_keeps(shares: list[int], ratio: Fraction) -> None:
    """The account's shares times the ratio, rounded towards zero; each pair within one share of its part."""
    factor = Decimal(ratio.numerator) / Decimal(ratio.denominator)
    exact = sum(shares) * ratio
    pairs = [holding(str(qty), f"P{number}-Q") for number, qty in enumerate(shares)]
    found = rescaled(pairs, replace(SPLIT, ratio=factor))

    held = {new.execution.pair: new.execution.a.held for new in found}
    assert sum(held.values()) == math.trunc(exact)
    assert all(abs(int(held[pair.pair]) - int(pair.a.held) * ratio) <= 1 for pair in pairs)
    assert all(new.execution.a.target == new.execution.a.held == old.a.held + new.shares for new, old in zip(found, pairs, strict=True))


@pytest.mark.parametrize(("bar", "from_day", "to_day"), [("1d", "2024-06-24", "2024-07-10"), ("5min", "2024-07-02", "2024-07-08")])
def test_a_model_is_of_since_the_ex_day_if_it_was_trained_on_a_bar_of_it(bar: str, from_day: str, to_day: str) -> None:
    """For every bar of training, every bar of forecast and every day around a half day, a holiday and a weekend."""
    grid = session_grid(bar, midnight_ns(from_day), midnight_ns(to_day))
    sessions = list(zip(grid.open_ns.tolist(), grid.close_ns.tolist(), strict=True))
    closes = [min(at, c) for o, c in sessions for at in range(o + grid.bar_ns, c + grid.bar_ns, grid.bar_ns)]
    for ex_ns in [midnight_ns(f"2024-07-0{day}") for day in range(2, 8)] + [midnight_ns("2024-08-01")]:
        first = next((number for number, close_ns in enumerate(closes) if close_ns > ex_ns), len(closes))
        for trained_to in range(0, len(closes) - 1, 7 if bar == "5min" else 1):
            for now in (trained_to + 1, len(closes) - 1):
                found = trained_since(grid, ex_ns, at_ns=closes[now], bar_index=now - trained_to - 1)
                assert found == (trained_to >= first), (ex_ns, trained_to, now)
