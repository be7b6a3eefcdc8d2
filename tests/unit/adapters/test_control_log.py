"""The control topic as a table."""

from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable
from tandem.domain.control import ControlRecord, PairSpec, RoutingPointer
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.ports import LogRecord

PAIR = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


def _pointer(version: str, epoch: int) -> RoutingPointer:
    return RoutingPointer(sector=SectorId("consumer"), version=version, digest="d", epoch=epoch)


def _record(record: ControlRecord, offset: int = 0) -> LogRecord:
    key, value = encode_control(record)
    return LogRecord(topic="tandem.control", partition=0, offset=offset, key=key, value=value)


def test_an_older_epoch_cannot_move_the_pointer_back() -> None:
    """A writer that was asleep does not undo a rollback."""
    table = ControlTable()
    assert table.apply(_record(_pointer("2", 5)))
    assert not table.apply(_record(_pointer("1", 4)))
    assert not table.apply(_record(_pointer("1", 5)))
    assert table.pointers["consumer"].version == "2"


def test_a_tombstone_removes_the_pair() -> None:
    """Deleting is writing nothing under the key."""
    table = ControlTable()
    table.apply(_record(PAIR))
    assert table.apply(LogRecord(topic="tandem.control", partition=0, offset=1, key=b"pair/KO-PEP", value=None))
    assert table.pairs == {}


def test_the_same_record_twice_changes_nothing() -> None:
    """A repeated record is not an event."""
    table = ControlTable()
    assert table.apply(_record(PAIR))
    assert not table.apply(_record(PAIR))


def test_an_unreadable_record_is_kept_for_parking_and_changes_nothing() -> None:
    """Nothing is skipped silently."""
    table = ControlTable()
    bad = LogRecord(topic="tandem.control", partition=0, offset=0, key=b"pair/X", value=b"{}")
    assert not table.apply(bad)
    assert [(record, error.reason) for record, error in table.rejected] == [(bad, "control_malformed")]
