"""Codes of a message as the text that a file keeps, and back as what they forbid."""

import pytest

from tandem.adapters.market_sales import codes_text, flags_of
from tandem.domain.conditions import Sale, sale_flags


@pytest.mark.parametrize(
    ("codes", "text"),
    [(["@"], "@"), ([" ", "F", "I"], " FI"), ([], ""), (None, ""), ([""], ""), (["FI"], "?"), ([7], "?"), (5, "?"), (["@", None], "@?")],
)
def test_codes_are_kept_as_their_characters_and_what_is_none_as_an_unknown_one(codes, text):
    assert codes_text(codes) == text
    assert flags_of([("A", text)]).tolist() == [sale_flags("A", codes)]


def test_what_cannot_be_a_code_sets_no_price():
    assert flags_of([("C", "?")]).tolist() == [Sale.UNKNOWN_CODE]
