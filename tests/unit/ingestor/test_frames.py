"""Frames: every tick goes to each sector of its symbol once, in order of event time, in frames of bounded size."""

import numpy as np
import pytest

from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Source, TickArray
from tandem.ingestor.frames import FRAME_TICKS, FrameBuffers

STAPLES, ETF = SectorId("staples"), SectorId("etf")
KO, PEP, XLP = Symbol("KO"), Symbol("PEP"), Symbol("XLP")


@pytest.fixture
def buffers() -> FrameBuffers:
    made = FrameBuffers()
    made.route({STAPLES: (KO, PEP), ETF: (KO, XLP)})
    return made


def ticks(buffers: FrameBuffers, *rows: tuple[str, int]) -> TickArray:
    """Ticks of (symbol, event_ns), numbered as they come."""
    return np.array([(ns, i, 1.0, 1, buffers.followed[name], KIND_TRADE, 0) for i, (name, ns) in enumerate(rows)], TICK_DTYPE)


def content(stamped) -> dict[str, list[tuple[str, int]]]:
    """(symbol, trade id) by sector."""
    held: dict[str, list[tuple[str, int]]] = {}
    for each in stamped:
        frame = each.frame
        held.setdefault(frame.sector, []).extend(
            (frame.symbols[symbol], trade_id)
            for symbol, trade_id in zip(frame.ticks["symbol"], frame.ticks["trade_id"].tolist(), strict=True)
        )
    return held


def test_a_symbol_of_two_sectors_goes_to_both(buffers):
    buffers.add(ticks(buffers, ("KO", 1), ("PEP", 2), ("XLP", 3)), 100)
    assert content(buffers.drain(Source.LIVE, "")) == {"staples": [("KO", 0), ("PEP", 1)], "etf": [("KO", 0), ("XLP", 2)]}


def test_a_drained_buffer_is_empty(buffers):
    buffers.add(ticks(buffers, ("KO", 1)), 100)
    buffers.drain(Source.LIVE, "")
    assert buffers.drain(Source.LIVE, "") == []


def test_a_frame_is_in_order_of_event_time_and_ties_stay_as_received(buffers):
    buffers.add(ticks(buffers, ("PEP", 5), ("PEP", 3), ("PEP", 5), ("PEP", 3)), 100)
    frame = buffers.drain(Source.LIVE, "")[0].frame
    assert frame.ticks["trade_id"].tolist() == [1, 3, 0, 2]


def test_a_frame_carries_the_receipt_of_its_first_tick_and_the_stream(buffers):
    buffers.add(ticks(buffers, ("PEP", 1)), 100)
    buffers.add(ticks(buffers, ("PEP", 2)), 200)
    (stamped,) = buffers.drain(Source.RECYCLED, "r7")
    assert (stamped.ingested_ns, stamped.frame.source, stamped.frame.replay_id) == (100, Source.RECYCLED, "r7")


def test_full_gives_whole_frames_only_and_keeps_the_rest(buffers):
    many = ticks(buffers, *(("PEP", ns) for ns in range(2 * FRAME_TICKS + 10)))
    buffers.add(many[: FRAME_TICKS - 1], 100)
    assert buffers.full(Source.LIVE, "") == []
    buffers.add(many[FRAME_TICKS - 1 :], 200)
    assert [len(s.frame.ticks) for s in buffers.full(Source.LIVE, "")] == [FRAME_TICKS, FRAME_TICKS]
    (rest,) = buffers.drain(Source.LIVE, "")
    assert (rest.frame.ticks["trade_id"].tolist(), rest.ingested_ns) == (many["trade_id"][-10:].tolist(), 200)


def test_new_routes_number_symbols_anew_within_sectors_but_not_for_ever(buffers):
    before = dict(buffers.followed)
    buffers.route({STAPLES: (PEP,), ETF: (XLP, KO)})
    assert buffers.followed == {name: before[name] for name in ("PEP", "XLP", "KO")}
    buffers.add(ticks(buffers, ("KO", 1)), 100)
    assert content(buffers.drain(Source.LIVE, "")) == {"etf": [("KO", 0)]}


def test_a_sector_may_follow_nothing(buffers):
    buffers.route({STAPLES: (), ETF: (XLP,)})
    assert buffers.sectors == (ETF, STAPLES)
    buffers.add(ticks(buffers, ("XLP", 1)), 100)
    assert content(buffers.drain(Source.LIVE, "")) == {"etf": [("XLP", 0)]}
