"""The control topic as the operator uses it, on a real broker: own writes count at once, others' are noticed, an old epoch never wins."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from operator_world import Control
from service_process import wait_until
from tandem.domain.control import PairSpec, RoutingPointer, TradingState
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.trading import TradingMode
from tandem.operator.control import ControlTopic
from tandem.operator.lease import NotLeader

KO_PEP = PairSpec(pair=PairId("KO-PEP"), sector=SectorId("consumer"), leg_a=Symbol("KO"), leg_b=Symbol("PEP"))


class Changes:
    """What the topic told, and whether it may write."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.leads = True

    def check(self) -> None:
        if not self.leads:
            raise NotLeader("not now")


@contextmanager
def following(servers: str) -> Iterator[tuple[ControlTopic, Changes]]:
    """A topic that was read."""
    changes = Changes()
    topic = ControlTopic(servers, check=changes.check, on_change=changes.keys.append)
    topic.start()
    try:
        wait_until(lambda: topic.trouble is None, "the topic to be read")
        yield topic, changes
    finally:
        topic.stop()


@pytest.fixture
def others(kafka_servers: str) -> Iterator[Control]:
    """Whoever else writes."""
    control = Control(kafka_servers)
    for key in list(control.table().records):
        control.remove(key)
    yield control
    control.close()


def test_own_writes_count_at_once_and_wake_nobody(kafka_servers: str, others: Control) -> None:
    """Before they are read back, and after."""
    with following(kafka_servers) as (topic, changes):
        assert topic.pair("KO-PEP") is None
        topic.publish(KO_PEP)
        assert topic.pair("KO-PEP") == KO_PEP
        others.write(TradingState(scope="global", mode=TradingMode.HALTED, reason="marks the end"))
        wait_until(lambda: "trading/global" in changes.keys, "the other's record")
        assert changes.keys == [None, "trading/global"]
        topic.withdraw("pair/KO-PEP")
        assert topic.pair("KO-PEP") is None
        topic.publish(replace(KO_PEP, entry_z=1.5))
        assert topic.pair("KO-PEP") == replace(KO_PEP, entry_z=1.5)
        wait_until(lambda: others.table().pairs.get("KO-PEP") == replace(KO_PEP, entry_z=1.5), "the record")
        assert topic.pairs() == {"KO-PEP": replace(KO_PEP, entry_z=1.5)}


def test_what_others_write_over_ours_is_noticed(kafka_servers: str, others: Control) -> None:
    """Also right after our own write."""
    with following(kafka_servers) as (topic, changes):
        topic.publish(KO_PEP)
        others.write(replace(KO_PEP, entry_z=3.0))
        wait_until(lambda: changes.keys[1:] == ["pair/KO-PEP"], "the key")
        assert topic.pair("KO-PEP") == replace(KO_PEP, entry_z=3.0)
        others.remove("pair/KO-PEP")
        wait_until(lambda: topic.pair("KO-PEP") is None, "the removal")


def test_an_epoch_that_another_has_used_is_lost(kafka_servers: str, others: Control) -> None:
    """Two writers at one epoch: what was first in the log holds for everybody, the late one included."""
    first = RoutingPointer(sector=SectorId("consumer"), version="2", digest="d", epoch=5)
    with following(kafka_servers) as (topic, _):
        others.write(first)
        topic.publish(replace(first, version="3"))
        wait_until(lambda: topic.pointer("consumer") == first, "the first pointer to hold")
        topic.publish(replace(first, version="3", epoch=6))
        assert topic.pointer("consumer") == replace(first, version="3", epoch=6)
        wait_until(lambda: others.table().pointers["consumer"].version == "3", "the next epoch")


def test_nothing_is_written_without_the_lease(kafka_servers: str, others: Control) -> None:
    """Refused before the broker is asked."""
    with following(kafka_servers) as (topic, changes):
        changes.leads = False
        for write in (lambda: topic.publish(KO_PEP), lambda: topic.withdraw("pair/KO-PEP")):
            with pytest.raises(NotLeader):
                write()
        assert topic.pair("KO-PEP") is None
        assert not others.table().pairs


def test_without_a_broker_everything_is_refused_with_the_reason_and_at_once() -> None:
    """No look waits half a minute for a client's timeout."""
    told: list[str | None] = []
    before = set(threading.enumerate())
    topic = ControlTopic("127.0.0.1:1", check=lambda: None, on_change=told.append)
    topic.start()
    assert topic.settled.wait(60)
    for use in (lambda: topic.pair("KO-PEP"), topic.pairs, lambda: topic.publish(KO_PEP)):
        with pytest.raises(Transient, match=r"Kafka does not answer: 127\.0\.0\.1:1"):
            use()
    topic.stop()
    assert not told
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "control"]
