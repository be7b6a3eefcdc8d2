"""Numbers and states as people read them."""

import re
from itertools import pairwise
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard_tables import tables
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


def _page_of_a_table(count: int) -> None:
    """Run by AppTest as a script of its own."""
    from tandem.dashboard.widgets import table

    table([("a|b", f"$1 <b>{number}</b>") for number in range(count)], {"first": lambda row: row[0], "second & last": lambda row: row[1]})


def test_rows_are_shown_as_they_are() -> None:
    """Nothing in a cell is taken for Markdown or for HTML, and nothing sorts them."""
    page = AppTest.from_function(_page_of_a_table, args=(12,)).run()
    (found,) = tables(page)
    assert found == [{"first": "a|b", "second & last": f"$1 <b>{number}</b>"} for number in range(12)]
    assert not page.toggle
    assert not page.dataframe


def test_of_many_rows_the_first_are_shown_and_all_of_them_on_demand() -> None:
    """Then as what sorts and searches, and not twice."""
    page = AppTest.from_function(_page_of_a_table, args=(13,)).run()
    assert [len(found) for found in tables(page)] == [12]
    assert not page.dataframe
    assert page.toggle[0].label == "All 13 rows, to sort and to search"
    page.toggle[0].set_value(True).run()
    assert len(page.dataframe[0].value) == 13
    assert not tables(page)


def test_values_are_written_as_numbers_are_read() -> None:
    """None and NaN are dashes, small numbers keep their digits, numbers stand right and sentences wrap."""

    def page() -> None:
        from tandem.dashboard.widgets import table

        values = [None, float("nan"), 0.0, 0.25, 1234.56789, 0.00001234, 7, "-$1,234.50", True, "KO-PEP", "word " * 12]
        table([values], {str(number): lambda row, number=number: row[number] for number in range(len(values))})

    (shown,) = AppTest.from_function(page).run().get("html")
    cells = re.findall(r'<td style="([^"]*)">([^<]*)</td>', shown.proto.body)
    numbers = ["0", "0.25", "1234.5679", "1.234e-05", "7", "-$1,234.50"]
    assert [text for _, text in cells] == ["–", "–", *numbers, "True", "KO-PEP", "word " * 12]
    assert [text for style, text in cells if "right" in style] == numbers
    assert [text for style, text in cells if "nowrap" not in style and "right" not in style] == ["word " * 12]
