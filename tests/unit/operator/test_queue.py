"""The work queue: one look at a time for each name, entries that fall together, failures that come back later each time."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from polling import LIMIT_S, until
from tandem.domain.errors import InvariantBroken, Permanent, Transient
from tandem.operator.queue import Backoff, WorkQueue

QUICK = Backoff(first_s=0.05, limit_s=0.2, jitter=0.0)


@pytest.fixture
def queues() -> Iterator[Callable[..., WorkQueue]]:
    """Makes running queues, and stops them."""
    made: list[WorkQueue] = []

    def make(reconcile: Callable[[str], float | None], *, workers: int = 1, **options: object) -> WorkQueue:
        queue = WorkQueue(backoff=QUICK, **options)  # type: ignore[arg-type]
        queue.register("Thing", reconcile, workers=workers)
        queue.start()
        queue.resume()
        made.append(queue)
        return queue

    yield make
    for queue in made:
        assert queue.stop(LIMIT_S)


def test_what_is_added_often_while_it_waits_is_looked_at_once(queues: Callable[..., WorkQueue]) -> None:
    """Level-triggered: an entry says that something may have changed, not what."""
    looks: Counter[str] = Counter()
    queue = queues(lambda name: looks.update([name]))
    queue.pause()
    for _ in range(100):
        queue.add("Thing", "a")
    queue.add("Thing", "b")
    assert queue.waiting("Thing") == 2
    queue.resume()
    until(lambda: looks == {"a": 1, "b": 1} and queue.waiting("Thing") == 0)  # the last look is counted before it has ended


def test_one_name_is_never_looked_at_twice_at_once_and_what_comes_meanwhile_is_not_lost(queues: Callable[..., WorkQueue]) -> None:
    """A name that is added while it is in hand is looked at again afterwards, also with workers to spare."""
    lock, begun, go_on, looks, overlaps = threading.Lock(), threading.Event(), threading.Event(), Counter[str](), []

    def reconcile(name: str) -> None:
        if not lock.acquire(blocking=False):
            overlaps.append(name)
            return
        begun.set()
        go_on.wait(LIMIT_S)
        looks.update([name])
        lock.release()

    queue = queues(reconcile, workers=4)
    queue.add("Thing", "a")
    assert begun.wait(LIMIT_S)
    for _ in range(10):
        queue.add("Thing", "a")
    go_on.set()
    until(lambda: looks["a"] == 2 and queue.waiting("Thing") == 0)
    assert not overlaps


def test_workers_look_at_different_names_side_by_side(queues: Callable[..., WorkQueue]) -> None:
    """As many at once as the lane has workers."""
    together = threading.Barrier(3, timeout=LIMIT_S)
    looks: Counter[str] = Counter()

    def reconcile(name: str) -> None:
        together.wait()
        looks.update([name])

    queue = queues(reconcile, workers=3)
    queue.add_all("Thing", ("a", "b", "c"))
    until(lambda: sum(looks.values()) == 3)


def test_a_look_that_hangs_holds_up_nobody_else() -> None:
    """A server that takes a call and never answers: names are still taken at once, from kopf's loop, and other kinds are looked at."""
    begun, go_on, still_hangs = threading.Event(), threading.Event(), []

    def hanging(_: str) -> None:
        begun.set()
        go_on.wait(LIMIT_S)

    queue = WorkQueue(backoff=QUICK)
    queue.register("Stuck", hanging, workers=1)
    queue.register("Thing", lambda _: still_hangs.append(not go_on.is_set()))
    queue.start()
    queue.resume()
    queue.add("Stuck", "a")
    assert begun.wait(LIMIT_S)
    queue.add_all("Stuck", (f"name-{number}" for number in range(1_000)))
    queue.add("Thing", "b")
    until(lambda: still_hangs == [True] and queue.waiting("Stuck") == 1_001)
    go_on.set()
    assert queue.stop(LIMIT_S)


@pytest.mark.parametrize("error", [Transient("away"), Permanent("refused"), ValueError("nobody foresaw this")])
def test_a_failure_comes_back_later_each_time_until_it_works(queues: Callable[..., WorkQueue], error: Exception) -> None:
    """Whatever was raised; a success ends the row."""
    at_s: list[float] = []

    def reconcile(name: str) -> None:
        at_s.append(time.monotonic())
        if len(at_s) <= 3:
            raise error

    queue = queues(reconcile)
    queue.add("Thing", "a")
    until(lambda: len(at_s) == 4)
    gaps = [after - before for before, after in itertools.pairwise(at_s)]
    assert [gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True)] == [True] * 3
    until(lambda: not queue._lanes["Thing"]._entries)  # nothing is remembered of the failures
    queue.add("Thing", "a")
    until(lambda: len(at_s) == 5)


def test_events_do_not_make_a_failing_name_busy(queues: Callable[..., WorkQueue]) -> None:
    """A look that fails, writes a condition and so causes an event must not go round in a circle."""
    looks: list[float] = []

    def reconcile(name: str) -> None:
        looks.append(time.monotonic())
        queue.add("Thing", name)
        raise Transient("away")

    queue = queues(reconcile)
    queue.add("Thing", "a")
    until(lambda: len(looks) >= 5)
    assert looks[4] - looks[0] >= 4 * QUICK.first_s * 0.9


def test_a_look_asks_for_the_next_one(queues: Callable[..., WorkQueue]) -> None:
    """In so many seconds; an event in between brings it forward and does not double it."""
    looks: list[float] = []

    def reconcile(name: str) -> float | None:
        looks.append(time.monotonic())
        return {1: 30.0, 2: 0.1}.get(len(looks))

    queue = queues(reconcile)
    queue.add("Thing", "a")
    until(lambda: len(looks) == 1)
    queue.add("Thing", "a")
    until(lambda: len(looks) == 3)
    assert looks[2] - looks[1] >= 0.1
    assert looks[2] - looks[0] < 30.0


def test_a_delay_is_kept_and_shortened_never_lengthened(queues: Callable[..., WorkQueue]) -> None:
    """The earliest wish counts."""
    looks: list[float] = []
    queue = queues(lambda name: looks.append(time.monotonic()))
    started_s = time.monotonic()
    queue.add("Thing", "a", after_s=30.0)
    queue.add("Thing", "a", after_s=0.1)
    queue.add("Thing", "a", after_s=20.0)
    until(lambda: len(looks) == 1)
    assert 0.1 <= looks[0] - started_s < 20.0


def test_nothing_begins_while_paused(queues: Callable[..., WorkQueue]) -> None:
    """Not even what is due; what was in hand ends."""
    looks: list[str] = []
    queue = queues(looks.append)
    queue.pause()
    queue.add("Thing", "a")
    waited = threading.Event()
    assert not waited.wait(0.2)
    assert not looks
    queue.resume()
    until(lambda: looks == ["a"])


def test_an_invariant_that_is_broken_stops_the_lane_and_is_told(queues: Callable[..., WorkQueue]) -> None:
    """The process is to end; until then nothing more is touched."""
    told: list[BaseException] = []
    looks: list[str] = []

    def reconcile(name: str) -> None:
        looks.append(name)
        raise InvariantBroken("two writers")

    queue = queues(reconcile, on_broken=told.append)
    queue.add("Thing", "a")
    until(lambda: len(told) == 1)
    queue.add("Thing", "b")
    assert queue.stop(LIMIT_S)
    assert looks == ["a"]


def test_unknown_kinds_are_nobodys_work_and_no_kind_has_two() -> None:
    """Wakes for kinds of a part that is not there are no error; two reconciles of one kind are a mistake in the code."""
    queue = WorkQueue()
    queue.add("Other", "a")
    queue.register("Thing", lambda _: None)
    with pytest.raises(InvariantBroken, match="Thing"):
        queue.register("Thing", lambda _: None)


def test_backoff_is_bounded_and_spread() -> None:
    """Doubled from the first up to the limit, less at most a fifth by chance."""
    backoff = Backoff(first_s=0.5, limit_s=60.0, jitter=0.2)
    for failures, full_s in ((1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (1_000, 60.0)):
        waits = [backoff.wait_s(failures) for _ in range(200)]
        assert full_s * 0.8 <= min(waits)
        assert max(waits) <= full_s
        assert len(set(waits)) > 100
