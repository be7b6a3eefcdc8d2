"""A session's answers: each question once, also when many ask at the same time."""

import threading
from typing import Any, cast

import pytest

from tandem.dashboard.snapshot import Snapshot, Sources
from tandem.domain.errors import Transient

_LIMIT_S = 60


@pytest.fixture
def snapshot() -> Snapshot:
    """Of a session whose questions here need no source."""
    return Snapshot(cast("Sources", None))


def test_a_question_is_asked_once(snapshot: Snapshot) -> None:
    """Whoever asks again gets the answer of before."""
    asked: list[int] = []

    def question(_: Sources) -> int:
        asked.append(1)
        return len(asked)

    assert [snapshot.ask("key", question) for _ in range(3)] == [1, 1, 1]


def test_a_failure_is_kept_like_an_answer(snapshot: Snapshot) -> None:
    """Every part of a page tells the same, and a server that is away is not asked by each of them."""
    asked = []

    def question(_: Sources) -> None:
        asked.append(1)
        raise Transient("away")

    for _ in range(3):
        with pytest.raises(Transient, match="away"):
            snapshot.ask("key", question)
    assert len(asked) == 1


def test_a_fault_of_ours_is_no_answer(snapshot: Snapshot) -> None:
    """It is raised where it happened; the next one asks again."""
    with pytest.raises(ZeroDivisionError):
        snapshot.ask("key", lambda _: 1 // 0)
    assert snapshot.ask("key", lambda _: 2) == 2


def test_questions_ahead_are_asked_at_the_same_time(snapshot: Snapshot) -> None:
    """Two that wait for each other both get their answer; asked one after the other, the first would wait for ever."""
    both = threading.Barrier(2)

    def waiting(name: str) -> Any:
        return lambda each: each.ask(name, lambda _: both.wait(_LIMIT_S) >= 0)

    snapshot.ahead(waiting("a"), waiting("b"))
    assert snapshot.ask("a", lambda _: both.wait(_LIMIT_S) >= 0)
    assert snapshot.ask("b", lambda _: both.wait(_LIMIT_S) >= 0)


def test_who_needs_an_answer_that_is_on_its_way_waits_for_it(snapshot: Snapshot) -> None:
    """The question is not asked a second time beside the first."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Sources) -> str:
        begun.set()
        assert go_on.wait(_LIMIT_S)
        return "ahead"

    snapshot.ahead(lambda each: each.ask("key", slow))
    assert begun.wait(_LIMIT_S)
    threading.Timer(0.05, go_on.set).start()
    assert snapshot.ask("key", lambda _: "again") == "ahead"


def test_more_questions_than_threads_come_to_an_end(snapshot: Snapshot) -> None:
    """Also when each of them needs the answer of another that stands behind it in the queue: who waits for nobody asks itself."""

    def chained(number: int) -> Any:
        return lambda each: each.ask(number, lambda _: 0 if number == 99 else chained(number + 1)(each) + 1)

    snapshot.ahead(*(chained(number) for number in range(100)))
    assert snapshot.ask(0, lambda _: chained(1)(snapshot) + 1) == 99


def test_a_failure_ahead_is_told_where_the_answer_is_needed(snapshot: Snapshot) -> None:
    """Not before."""

    def away(_: Sources) -> None:
        raise Transient("away")

    snapshot.ahead(lambda each: each.ask("key", away))
    with pytest.raises(Transient, match="away"):
        snapshot.ask("key", away)
