"""Corrections, cancels, statuses and bands as ticks; a status message is an event, a tick the state from then on."""

import numpy as np
import pytest

from tandem.domain.conditions import Sale
from tandem.domain.errors import BadRecord
from tandem.domain.market import (
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TICK_DTYPE,
)
from tandem.domain.units import NS_PER_S
from tandem.ingestor.happenings import Happenings

NOW_NS = 1_764_000_000 * NS_PER_S
PLACES = {"KO": 2}
BOTH = STATUS_HALTED | STATUS_SHORT_RESTRICTED


def message(kind: str, **fields: object) -> dict[str, object]:
    return {"T": kind, "S": "KO", "t": NOW_NS} | fields


CORRECTION = message("c", x="V", oi=7, op=60.0, os=100, oc=["@"], ci=8, cp=59.0, cs=90, cc=["@"], z="A")
CANCEL = message("x", i=7, x="V", p=60.0, s=100, a="C", z="A")
BANDS = message("l", u=66.0, d=54.0, i="B", z="A")


@pytest.mark.parametrize(
    ("event", "rows"),
    [
        (CORRECTION, [(NOW_NS, 7, 59.0, 90, 2, KIND_CORRECTION, 0)]),
        (CANCEL, [(NOW_NS, 7, 60.0, 100, 2, KIND_CANCEL, 0)]),
        (BANDS, [(NOW_NS, 0, 54.0, 0, 2, KIND_BAND_LOW, 0), (NOW_NS, 0, 66.0, 0, 2, KIND_BAND_HIGH, 0)]),
        (message("s", sc="H", sm="Trading Halt", rc="T1"), [(NOW_NS, 0, 0.0, 0, 2, KIND_STATUS, STATUS_HALTED)]),
    ],
    ids=["correction", "cancel", "bands", "halt"],
)
def test_a_message_becomes_its_ticks(event, rows):
    assert Happenings().read(str(event["T"]), event, PLACES, NOW_NS) == rows


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"cc": ["@", "I"]}, Sale.ODD_LOT),
        ({"oc": ["I"]}, 0),  # an odd lot that was none
        ({"oc": ["B"], "cc": ["B"], "z": "C"}, 0),
    ],
)
def test_a_correction_says_what_the_trade_may_do_once_it_is_corrected(changes, flags):
    ((*_, found),) = Happenings().read("c", CORRECTION | changes, PLACES, NOW_NS)
    assert found == flags


def test_a_correction_without_new_conditions_has_those_of_the_trade():
    bare = {key: value for key, value in (CORRECTION | {"oc": ["I"]}).items() if key != "cc"}
    assert Happenings().read("c", bare, PLACES, NOW_NS)[0][-1] == Sale.ODD_LOT


@pytest.mark.parametrize(
    ("codes", "flags"),
    [
        (["2"], STATUS_HALTED),
        (["P"], STATUS_HALTED),
        (["2", "3"], 0),
        (["H", "Q"], STATUS_HALTED),  # quoting resumes before trading does
        (["H", "Q", "T"], 0),
        (["E"], STATUS_SHORT_RESTRICTED),
        (["E", "2"], BOTH),
        (["E", "2", "3"], STATUS_SHORT_RESTRICTED),
        (["2", "5", "6", "F"], STATUS_HALTED),
    ],
)
def test_statuses_add_up_to_the_symbols_state(codes, flags):
    happenings = Happenings()
    for code in codes:
        ((*_, state),) = happenings.read("s", message("s", sc=code), PLACES, NOW_NS)
    assert (state, happenings.flags) == (flags, {"KO": flags})


def test_a_short_sale_restriction_that_is_lifted_is_lifted():
    happenings = Happenings()
    happenings.read("s", message("s", sc="E", rc="A"), PLACES, NOW_NS)
    happenings.read("s", message("s", sc="E", rc="D"), PLACES, NOW_NS)
    assert happenings.flags == {"KO": 0}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (CORRECTION | {"cp": 0.0}, "price_invalid"),
        (CORRECTION | {"oi": "7"}, "trade_id_invalid"),
        (CANCEL | {"s": 0}, "size_invalid"),
        (CANCEL | {"S": "GM"}, "symbol_unknown"),
        (BANDS | {"u": 50.0}, "band_crossed"),
        (BANDS | {"d": float("nan")}, "price_invalid"),
        (message("s", sc="Z"), "status_unknown"),
        (message("s", sc=2), "status_unknown"),
        (message("s", sc=["H"]), "status_unknown"),
        (message("s"), "field_missing"),
        (message("s", sc="H", t="now"), "time_invalid"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_no_state(event, reason):
    happenings = Happenings()
    with pytest.raises(BadRecord) as caught:
        happenings.read(str(event["T"]), event, PLACES, NOW_NS)
    assert (caught.value.reason, happenings.flags) == (reason, {})


def traded(*at_s: float, flags: int = 0, place: int = 2):
    """Trades so many seconds after the message."""
    return np.array([(NOW_NS + int(s * NS_PER_S), i, 60.0, 1, place, KIND_TRADE, flags) for i, s in enumerate(at_s)], TICK_DTYPE)


@pytest.mark.parametrize(
    ("ticks", "resumed_s"),
    [
        (traded(), None),
        (traded(-1, 5, 59), None),  # of before the halt, and reported late
        (traded(61, 62), 61),
        (traded(600, flags=Sale.OUT_OF_SEQUENCE), None),  # a price of before it
        (traded(600, place=1), None),  # of another symbol
    ],
    ids=["none", "late reports", "it trades", "out of sequence", "another"],
)
def test_a_halted_symbol_that_trades_is_halted_no_more(ticks, resumed_s):
    happenings = Happenings()
    for code in ("E", "H"):
        happenings.read("s", message("s", sc=code), PLACES, NOW_NS)

    rows = happenings.outlived(ticks, PLACES)
    expected = [] if resumed_s is None else [(NOW_NS + resumed_s * NS_PER_S, 0, 0.0, 0, 2, KIND_STATUS, STATUS_SHORT_RESTRICTED)]
    assert (rows, happenings.flags["KO"]) == (expected, BOTH if resumed_s is None else STATUS_SHORT_RESTRICTED)
    assert happenings.outlived(ticks, PLACES) == []  # said once


def test_a_halt_of_an_earlier_life_is_outlived_by_a_minute_of_trades():
    """When it began is not known any more."""
    happenings = Happenings()
    happenings.restore({"KO": STATUS_HALTED})

    assert happenings.outlived(traded(600), PLACES) == []
    assert happenings.outlived(traded(650), PLACES) == []
    assert happenings.outlived(traded(661), PLACES) == [(NOW_NS + 661 * NS_PER_S, 0, 0.0, 0, 2, KIND_STATUS, 0)]
    assert happenings.flags == {"KO": 0}
