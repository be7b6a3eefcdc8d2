"""The control topic's own records: read back however early, they wake nobody and hide nothing that others write after them.

On a real broker in tests/integration/test_operator_control.py.
"""

from dataclasses import replace

import pytest

from tandem.adapters import topics
from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable
from tandem.domain.control import PairSpec
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.operator import control
from tandem.operator.control import ControlTopic
from tandem.ports import LogRecord

KO_PEP = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


def read(topic: ControlTopic, key: str, value: bytes | None) -> None:
    """What the following thread does with a record."""
    topic._change(LogRecord(topic=topics.CONTROL, partition=0, offset=0, key=key.encode(), value=value, headers={}, timestamp_ms=0))


def test_a_record_that_is_read_back_before_the_writer_returns_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that writes may stand still for a while right after it has sent; what another writes then must be seen at once."""
    told: list[str | None] = []
    topic = ControlTopic("nowhere:1", check=lambda: None, on_change=told.append)
    topic._table, topic._trouble = ControlTable(), None

    class Faster:
        """The reader has the record before `publish` returns."""

        def __init__(self, *_: str) -> None: ...

        def publish(self, _: str, value: bytes | None, *, key: bytes) -> None:
            read(topic, key.decode(), value)

        def flush(self) -> None: ...

    monkeypatch.setattr(control, "KafkaWriter", Faster)
    topic.publish(KO_PEP)
    assert told == []
    theirs = replace(KO_PEP, entry_z=3.0)
    key, value = encode_control(theirs)
    read(topic, key.decode(), value)
    assert told == ["pair/KO-PEP"]
    assert topic.pair("KO-PEP") == theirs
