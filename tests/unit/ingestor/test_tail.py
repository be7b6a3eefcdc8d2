"""What the end of a tick topic says of each symbol's state: of the last heartbeat, and of what was told after it."""

import numpy as np
import pytest

from tandem.adapters.codec import encode_frame, encode_heartbeat
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_STATUS, STATUS_HALTED, STATUS_SHORT_RESTRICTED, TICK_DTYPE, Heartbeat, Source, TickFrame
from tandem.ingestor import tail
from tandem.ports import LogRecord

SECTOR, SYMBOLS = SectorId("staples"), (Symbol("KO"), Symbol("PEP"))


def record(value: bytes, flags: dict[str, int] | None = None) -> LogRecord:
    headers = tail.flags_header(flags or {})
    return LogRecord(topic="t", partition=0, offset=0, key=None, value=value, headers=headers, timestamp_ms=0)


def beat(flags: dict[str, int]) -> LogRecord:
    made = Heartbeat(sector=SECTOR, source=Source.LIVE, replay_id="", watermark_ns=5, lockstep=False, end_of_stream=False)
    return record(encode_heartbeat(made), flags)


def statuses(*rows: tuple[int, int], replay_id: str = "") -> LogRecord:
    """(place of the symbol, flags) one after the other."""
    ticks = np.array([(6 + n, 0, 0.0, 0, place, KIND_STATUS, flags) for n, (place, flags) in enumerate(rows)], TICK_DTYPE)
    return record(encode_frame(TickFrame(sector=SECTOR, source=Source.LIVE, replay_id=replay_id, symbols=SYMBOLS, ticks=ticks)))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([beat({"KO": STATUS_HALTED})], {"KO": STATUS_HALTED}),
        ([statuses((0, STATUS_HALTED)), beat({})], {}),
        ([beat({}), statuses((1, STATUS_HALTED))], {"PEP": STATUS_HALTED}),  # killed before the next heartbeat
        ([beat({"KO": STATUS_HALTED}), statuses((1, STATUS_HALTED), replay_id="r2")], {"PEP": STATUS_HALTED}),  # another market
        ([beat({"KO": STATUS_HALTED}), statuses((0, 0), (1, STATUS_SHORT_RESTRICTED))], {"KO": 0, "PEP": STATUS_SHORT_RESTRICTED}),
    ],
)
def test_a_status_after_the_last_heartbeat_is_known_to_the_next_life(records: list[LogRecord], expected: dict[str, int]) -> None:
    assert tail._events(records)[1] == expected
