"""A parked message read again: by today's rules, into the sectors that lack it, and never into a bar that has closed."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest

from tandem.domain.errors import BadRecord
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_STATUS, KIND_TRADE, STATUS_HALTED, STATUS_SHORT_RESTRICTED, TICK_DTYPE, Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor.past import Past
from tandem.ingestor.second_try import frames_of, read_again

NOW_NS = 1_764_000_000 * NS_PER_S
SYMBOLS = [Symbol("KO"), Symbol("PEP")]
STAPLES, ETF = SectorId("staples"), SectorId("etf")
ROUTES = {STAPLES: (Symbol("KO"), Symbol("PEP")), ETF: (Symbol("PEP"),)}


def message(**changes: object) -> bytes:
    return msgpack.packb({"T": "t", "S": "PEP", "i": 7, "p": 140.0, "s": 10, "t": NOW_NS} | changes)


def past(*rows: tuple[int, int], watermark_ns: int = NOW_NS - 5) -> Past:
    """(event_ns, trade id) of PEP in a topic that names PEP first."""
    ticks = np.array([(ns, i, 140.0, 10, 0, KIND_TRADE, 0) for ns, i in rows], TICK_DTYPE)
    return Past(source=Source.RECYCLED, replay_id="r", watermark_ns=watermark_ns, symbols=(Symbol("PEP"), Symbol("KO")), ticks=ticks)


def test_a_usable_message_becomes_a_frame_of_the_running_stream_for_each_sector_that_lacks_it():
    ticks = read_again(message(), SYMBOLS, NOW_NS)
    frames = frames_of(ticks, SYMBOLS, ROUTES, {STAPLES: past((NOW_NS, 7)), ETF: past((NOW_NS, 6))})
    assert [(f.sector, f.source, f.replay_id, f.symbols) for f in frames] == [(ETF, Source.RECYCLED, "r", ROUTES[ETF])]
    assert frames[0].ticks.tolist() == [(NOW_NS, 7, 140.0, 10, 0, KIND_TRADE, 0)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (message(p=-1.0), "price_invalid"),
        (message(S="GM"), "symbol_unknown"),
        (message(T="b"), "type_unknown"),
        (b"\xc1", "payload_malformed"),
        (msgpack.packb(17), "type_unknown"),
        (message(T="s", sc="?"), "status_unknown"),
    ],
)
def test_what_is_still_unusable_stays_with_its_reason(payload, reason):
    with pytest.raises(BadRecord) as caught:
        read_again(payload, SYMBOLS, NOW_NS)
    assert caught.value.reason == reason


def test_a_status_changes_what_the_symbol_is_in_the_topics():
    """A restriction of short sales ends no halt."""
    halted = replace(past(), flags={"PEP": STATUS_HALTED})
    assert read_again(message(T="s", sc="E"), SYMBOLS, NOW_NS, {STAPLES: halted, ETF: past()})["flags"].tolist() == [
        STATUS_HALTED | STATUS_SHORT_RESTRICTED
    ]


def test_the_end_of_a_halt_is_another_status_than_its_begin_at_the_same_time():
    told = np.array([(NOW_NS, 0, 0.0, 0, 0, KIND_STATUS, STATUS_HALTED)], TICK_DTYPE)
    halted = replace(past(), ticks=told, flags={"PEP": STATUS_HALTED})
    resumed = read_again(message(T="s", sc="T"), SYMBOLS, NOW_NS, {ETF: halted})
    (frame,) = frames_of(resumed, SYMBOLS, {ETF: ROUTES[ETF]}, {ETF: halted})
    assert frame.ticks["flags"].tolist() == [0]
    assert frames_of(read_again(message(T="s", sc="H"), SYMBOLS, NOW_NS), SYMBOLS, {ETF: ROUTES[ETF]}, {ETF: halted}) == []


def test_quotes_and_halts_have_a_second_try_too():
    quote = msgpack.packb({"T": "q", "S": "KO", "t": NOW_NS, "bp": 60.0, "bs": 1, "ap": 60.1, "as": 2})
    assert len(read_again(quote, SYMBOLS, NOW_NS)) == 2
    assert read_again(message(T="s", sc="H"), SYMBOLS, NOW_NS)["flags"].tolist() == [1]


@pytest.mark.parametrize(
    ("pasts", "reason"),
    [({STAPLES: past(watermark_ns=NOW_NS + 1), ETF: past()}, "tick_late"), ({STAPLES: past()}, "sector_empty")],
)
def test_a_closed_bar_and_a_sector_without_a_stream_take_nothing(pasts, reason):
    with pytest.raises(BadRecord) as caught:
        frames_of(read_again(message(), SYMBOLS, NOW_NS), SYMBOLS, ROUTES, pasts)
    assert caught.value.reason == reason
