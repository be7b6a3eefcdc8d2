"""Numbers and states as people read them."""

import re
from itertools import pairwise
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tandem.dashboard.widgets import state_machine, usd, when


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [("1234.5", False, "$1,234.50"), ("-0.004", False, "$0.00"), ("12", True, "+$12.00"), ("-12", True, "-$12.00"), ("0", True, "$0.00")],
)
def test_money_has_its_sign_before_its_currency(value: Any, sign: bool, text: str) -> None:
    """And two decimals."""
    assert usd(value, sign=sign) == text


def test_what_there_is_not_is_a_dash() -> None:
    """Never a zero that nobody measured."""
    assert (usd(None), when(None), when(0)) == ("–", "–", "–")


def test_the_state_that_a_pair_is_in_stands_out() -> None:
    """It alone is marked, and every way between two states is drawn."""
    text = state_machine("hedged")
    assert re.findall(r":blue-badge\[\*\*(\w+)\*\*\]", text) == ["hedged"]
    ways = set()
    for line in text.splitlines():
        places = [re.findall(r"\w+(?=\*{0,2}\])", place) for place in line.split(" → ")]
        ways |= {(a, b) for left, right in pairwise(places) for a in left for b in right}
    back = {("hedged", "closing"), ("closing", "flat"), ("unwinding", "flat"), ("quarantined", "flat")}
    assert ways == back | {("flat", "opening"), ("opening", "hedged")} | {(name, "unwinding") for name in ("opening", "closing")} | {
        ("unwinding", "quarantined")
    }


def test_a_text_of_few_rows_is_shown_as_it_is() -> None:
    """Nothing in a cell is taken for Markdown: no column more, no formula, no emphasis."""

    def page() -> None:
        from tandem.dashboard.widgets import few

        few([("a|b", "$1 and $2"), ("partially_filled", "*")], {"first": lambda row: row[0], "second": lambda row: row[1]})

    (shown,) = AppTest.from_function(page).run().markdown
    assert shown.value.splitlines() == ["| first | second |", "| --- | --- |", r"| a\|b | \$1 and \$2 |", r"| partially\_filled | \* |"]
