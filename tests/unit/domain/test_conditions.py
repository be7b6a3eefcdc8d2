"""Sale conditions: which trades set prices, which only count, which do neither, on each tape."""

import pytest

from tandem.domain.conditions import PLAIN_CODES, REASONS, TABLES, TRADE_UNCOUNTED, Sale, reason_of, sale_flags

# Alpaca's table of update rules for minute bars (Market Data FAQ, "How are bars aggregated?"), written down by code:
# tapes, then whether it sets prices, then whether it counts. UTP's own 1 and S are not in it.
ALPACA = {
    " ": ("AB", True, True), "@": ("CO", True, True), "A": ("C", True, True), "D": ("C", True, True), "E": ("AB", True, True),
    "F": ("ABC", True, True), "K": ("ABC", True, True), "L": ("ABC", True, True), "O": ("ABC", True, True), "T": ("ABCO", True, True),
    "X": ("ABC", True, True), "Y": ("C", True, True), "5": ("ABC", True, True), "6": ("ABC", True, True), "C": ("ABCO", False, True),
    "G": ("C", False, True), "H": ("ABC", False, True), "I": ("ABCO", False, True), "N": ("ABCO", False, True),
    "P": ("ABCO", False, True), "R": ("ABCO", False, True), "U": ("ABCO", False, True), "V": ("ABC", False, True),
    "W": ("CO", False, True), "Z": ("ABC", False, True), "4": ("ABC", False, True), "7": ("ABC", False, True),
    "M": ("ABC", False, False), "Q": ("ABC", False, False), "9": ("ABC", False, False),
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(ALPACA))
def test_each_code_has_on_its_tapes_the_effect_that_alpaca_gives_it(code):
    tapes, prices, counts = ALPACA[code]
    for tape in tapes:
        flags = sale_flags(tape, [code])
        assert (flags == 0, flags < TRADE_UNCOUNTED) == (prices, counts), f"{code!r} on tape {tape}"


def test_a_b_is_an_average_price_on_tapes_a_and_b_and_a_regular_bunch_on_c():
    assert [reason_of(sale_flags(tape, ["B"])) for tape in "ABC"] == ["average_price", "average_price", "priced"]


@pytest.mark.parametrize("tape", [*TABLES, "", "N", None, 7, []])
@pytest.mark.parametrize("codes", [None, [], (), [""], [" "], ["@"], ["@", "T"]])
def test_no_code_and_a_regular_sale_set_prices_on_every_tape(tape, codes):
    assert sale_flags(tape, codes) == 0 or isinstance(tape, list)


@pytest.mark.parametrize(
    ("codes", "reason", "counts"),
    [
        (["@", "4", "I"], "derivatively_priced", True),
        (["@", "F", "I"], "odd_lot", True),
        (["I", "M"], "official_close", False),  # the strictest rule, wherever it stands
        (["M", "I"], "official_close", False),
        (["I", "?"], "unknown_code", True),  # what nobody knows is told
        (["?", "Q"], "official_open", False),
    ],
)
def test_of_several_codes_the_strictest_decides(codes, reason, counts):
    flags = sale_flags("C", codes)
    assert (reason_of(flags), flags < TRADE_UNCOUNTED) == (reason, counts)


@pytest.mark.parametrize("codes", [["?"], ["FI"], [None], [7], [["@"]], 7, {"x": 1}, ["\ud800"], [" ", "W"]])
def test_an_unknown_code_sets_no_price_and_its_shares_count(codes):
    """Another tape's code, what is no text, and what is no list."""
    assert sale_flags("A", codes) == Sale.UNKNOWN_CODE


@pytest.mark.parametrize("tape", ["", "N", None])
def test_on_a_tape_that_is_not_named_a_code_goes_by_the_strictest_of_all(tape):
    assert [reason_of(sale_flags(tape, [code])) for code in "BWFY?"] == [
        "average_price",
        "average_price",
        "priced",
        "priced",
        "unknown_code",
    ]


def test_plain_codes_are_those_that_need_no_tape():
    assert all(sale_flags(tape, [code]) == 0 for tape in (*TABLES, "") for code in PLAIN_CODES)


def test_every_reason_has_a_number_of_its_own_that_fits_beside_the_bit():
    """The numbers are on the wire: they never change."""
    assert [int(sale) for sale in Sale] == list(range(18))
    assert max(Sale) < TRADE_UNCOUNTED
    assert REASONS[0] == "unknown_code"
    assert reason_of(99) == "unknown_code"  # of a later version
    assert reason_of(TRADE_UNCOUNTED | Sale.OFFICIAL_CLOSE) == "official_close"
