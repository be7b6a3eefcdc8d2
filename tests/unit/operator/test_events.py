"""Events: written once however often they are told, cut off when there are too many, never in the way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sector_world import Faults, MemoryCluster
from tandem.domain.errors import InvariantBroken
from tandem.operator.events import ALL, OBJECT, REASONS, Events
from tandem.ports import Manifest


@contextmanager
def telling(cluster: MemoryCluster, clock: Callable[[], float] = time.monotonic) -> Iterator[Events]:
    """Leaving writes what is waiting."""
    events = Events(cluster, "trading", reporter="operator-1", reasons=REASONS, clock=clock)
    events.start()
    yield events
    events.stop(limit_s=60.0)


def about(name: str) -> Manifest:
    """An object."""
    return {"apiVersion": "tandem.trading/v1alpha1", "kind": "TradingPair", "metadata": {"name": name, "uid": f"uid-{name}"}}


def test_an_event_says_what_the_api_server_wants_to_know() -> None:
    """The object with its uid, type, reason, message, count and times; in the object's namespace."""
    cluster = MemoryCluster(Faults())
    with telling(cluster) as events:
        events.tell(about("ko-pep"), "Warning", "Conflict", "x" * 5000)
    (event,) = cluster.list("Event")
    assert event["involvedObject"] == {
        "apiVersion": "tandem.trading/v1alpha1",
        "kind": "TradingPair",
        "name": "ko-pep",
        "namespace": "trading",
        "uid": "uid-ko-pep",
    }
    assert (event["type"], event["reason"], event["count"], len(event["message"])) == ("Warning", "Conflict", 1, 1024)
    assert event["reportingInstance"] == "operator-1"


def test_the_same_event_is_counted_and_at_most_once_a_minute() -> None:
    """Told by this process or by the one after it."""
    cluster, now = MemoryCluster(Faults()), [0.0]
    with telling(cluster, lambda: now[0]) as events:
        for _ in range(50):
            events.tell(about("a"), "Normal", "Declared", "told")
        now[0] += 61
        events.tell(about("a"), "Normal", "Declared", "told")
    with telling(cluster, lambda: now[0]) as successor:
        successor.tell(about("a"), "Normal", "Declared", "told")
    assert [event["count"] for event in cluster.list("Event")] == [3]


def test_one_object_cannot_drown_the_others_and_all_together_not_the_server() -> None:
    """A burst, then one in a while."""
    cluster, now = MemoryCluster(Faults()), [0.0]
    with telling(cluster, lambda: now[0]) as events:
        for number in range(OBJECT.burst + 50):
            events.tell(about("loud"), "Warning", "Invalid", f"fault {number}")
        events.tell(about("quiet"), "Normal", "Declared", "told")
        now[0] += OBJECT.every_s
        events.tell(about("loud"), "Warning", "Invalid", "one more")
        events.tell(about("loud"), "Warning", "Invalid", "and one too many")
    counts = [event["involvedObject"]["name"] for event in cluster.list("Event")]
    assert (counts.count("loud"), counts.count("quiet")) == (OBJECT.burst + 1, 1)
    crowd = MemoryCluster(Faults())
    with telling(crowd, lambda: 0.0) as events:
        for number in range(ALL.burst + 200):
            events.tell(about(f"pair-{number}"), "Normal", "Declared", "told")
    assert len(crowd.list("Event")) == ALL.burst


def test_a_reason_that_is_not_in_the_set_is_a_mistake() -> None:
    """Programs wait for reasons: a new one is written down first."""
    with pytest.raises(InvariantBroken, match="Mistyped"):
        Events(MemoryCluster(Faults()), "trading", reporter="r", reasons=REASONS).tell(about("a"), "Normal", "Mistyped", "")


def test_telling_neither_waits_nor_fails_while_the_api_server_is_away() -> None:
    """What cannot be written is dropped, and the next ones are written."""
    faults = Faults(away={"cluster"})
    cluster = MemoryCluster(faults)
    with telling(cluster) as events:
        events.tell(about("lost"), "Normal", "Declared", "told")
        deadline_s = time.monotonic() + 5
        while events._waiting and time.monotonic() < deadline_s:
            time.sleep(0.005)
        faults.away.clear()
        events.tell(about("kept"), "Normal", "Declared", "told")
    assert {event["involvedObject"]["name"] for event in cluster.list("Event")} >= {"kept"}


def test_reasons_are_camel_case_and_documented() -> None:
    """As the API's conventions want them; people and programs find them in docs/operator.md."""
    assert all(reason.isalpha() and reason[0].isupper() for reason in REASONS)
    page = (Path(__file__).parents[3] / "docs/operator.md").read_text()
    assert {reason for reason in REASONS if reason not in page} == set()
