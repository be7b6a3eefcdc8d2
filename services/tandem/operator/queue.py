"""The operator's work: which objects to look at, when, and one look at a time for each.

Level-triggered: an entry says "look at this object", never what has happened to it. So entries of one name fall together, an event may be
lost or doubled, and a restart begins with a look at everything. Decides order, retries and pauses; what a look does, a reconcile decides:

    def reconcile(name: str) -> float | None

It reads what is wanted and what is, takes the next step, and returns in how many seconds to look again (None: when something changes, and
at the next resync). It runs in a thread of its kind's lane and may block; it is never run twice at once for the same name. Raising
Transient or Permanent means: again, later each time. InvariantBroken stops the operator; its restart is the normal start.
"""

import heapq
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from tandem.adapters import telemetry
from tandem.domain.errors import InvariantBroken, Permanent, TandemError, Transient

Reconcile = Callable[[str], float | None]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after the n-th failure of a row: doubled each time up to the limit, less up to `jitter` of it by chance."""

    first_s: float = 0.5
    limit_s: float = 60.0  # a server that is back is noticed within a minute, without any event
    jitter: float = 0.2  # so that 500 objects that failed together do not come back together

    def wait_s(self, failures: int) -> float:
        """After this many failures in a row, at least 1."""
        full_s = min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return full_s * (1 - self.jitter * random.random())  # noqa: S311  (spreads load, keeps no secret)


class WorkQueue:
    """Lanes of keyed work, one lane for each kind of object."""

    def __init__(self, *, backoff: Backoff | None = None, on_broken: Callable[[BaseException], None] | None = None) -> None:
        """on_broken: told of an InvariantBroken; the queue takes no further work then."""
        self._backoff = backoff or Backoff()
        self._on_broken = on_broken or (lambda _: None)
        self._lanes: dict[str, _Lane] = {}

    def register(self, kind: str, reconcile: Reconcile, *, workers: int = 1) -> None:
        """Who looks at objects of this kind, and how many of them at once. Before start."""
        if kind in self._lanes:
            raise InvariantBroken(f"two reconciles for {kind}")
        self._lanes[kind] = _Lane(kind, reconcile, workers, self._backoff, self._on_broken)

    def add(self, kind: str, name: str, *, after_s: float = 0.0) -> None:
        """Look at this object, at the latest in so many seconds. From any thread, never blocks; unknown kinds are nobody's work."""
        if (lane := self._lanes.get(kind)) is not None:
            lane.add(name, after_s)

    def add_all(self, kind: str, names: Iterable[str], *, spread_s: float = 0.0) -> None:
        """Look at all of these, spread over a time by chance."""
        for name in names:
            self.add(kind, name, after_s=spread_s * random.random())  # noqa: S311  (spreads load, keeps no secret)

    def start(self) -> None:
        """Start the workers, paused."""
        for lane in self._lanes.values():
            lane.start()

    def resume(self) -> None:
        """This process may act from now on."""
        for lane in self._lanes.values():
            lane.set_paused(False)

    def pause(self) -> None:
        """Begin no further look. What runs is not interrupted: what it writes is guarded, see lease.py."""
        for lane in self._lanes.values():
            lane.set_paused(True)

    def stop(self, limit_s: float = 10.0) -> bool:
        """End the workers after the look in hand. False if one is still at it after the limit."""
        for lane in self._lanes.values():
            lane.ask_to_stop()
        deadline_s = time.monotonic() + limit_s
        return all(lane.join(deadline_s - time.monotonic()) for lane in self._lanes.values())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are looked at."""
        return tuple(self._lanes)

    def waiting(self, kind: str) -> int:
        """How many looks at this kind are due or in hand, those of a later time left out."""
        return self._lanes[kind].waiting()


@dataclass(slots=True)
class _Entry:
    """What is known of one name: when it is due, whether it is in hand, and how often it has failed in a row."""

    due_s: float | None = None
    running: bool = False
    failures: int = 0
    not_before_s: float = 0.0  # after a failure, events bring it forward to here only


@dataclass(slots=True, order=True)
class _Ticket:
    """An entry's place in the order of time; void when the entry is due at another time by now."""

    due_s: float
    number: int
    name: str = field(compare=False)


class _Lane:
    """The work of one kind. All state is under one condition."""

    def __init__(self, kind: str, reconcile: Reconcile, workers: int, backoff: Backoff, on_broken: Callable[[BaseException], None]) -> None:
        self._kind, self._reconcile, self._backoff, self._on_broken = kind, reconcile, backoff, on_broken
        self._entries: dict[str, _Entry] = {}
        self._heap: list[_Ticket] = []
        self._number = 0
        self._paused, self._stopping = True, False
        self._changed = threading.Condition()
        for result in ("ok", "transient", "permanent", "crashed", "broken"):
            telemetry.counter("operator_reconciles_total").labels(kind=kind, result=result)  # at 0, so that the first is a rise
        self._threads = [threading.Thread(target=self._work, name=f"reconcile-{kind}-{number}", daemon=True) for number in range(workers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, name: str, after_s: float) -> None:
        with self._changed:
            entry = self._entries.setdefault(name, _Entry())
            self._schedule(name, entry, max(time.monotonic() + after_s, entry.not_before_s))

    def set_paused(self, paused: bool) -> None:
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def ask_to_stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, limit_s: float) -> bool:
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, limit_s))
        return not any(thread.is_alive() for thread in self._threads)

    def waiting(self) -> int:
        with self._changed:
            now_s = time.monotonic()
            return sum(entry.running or (entry.due_s is not None and entry.due_s <= now_s) for entry in self._entries.values())

    def _schedule(self, name: str, entry: _Entry, due_s: float) -> None:
        """Due at this time, unless it is due earlier already."""
        if entry.due_s is not None and entry.due_s <= due_s:
            return
        entry.due_s = due_s
        self._number += 1
        heapq.heappush(self._heap, _Ticket(due_s, self._number, name))
        self._changed.notify()

    def _work(self) -> None:
        while (name := self._next()) is not None:
            started_s = time.monotonic()
            result, again_s = self._look(name)
            telemetry.counter("operator_reconciles_total").labels(kind=self._kind, result=result).inc()
            telemetry.histogram("operator_reconcile_seconds").labels(kind=self._kind).observe(time.monotonic() - started_s)
            self._done(name, again_s, failed=result != "ok")

    def _next(self) -> str | None:
        """Wait for a name that is due and take it in hand; None to end."""
        with self._changed:
            while not self._stopping:
                wait_s = None
                if not self._paused and (ticket := self._first()) is not None:
                    wait_s = ticket.due_s - time.monotonic()
                    if wait_s <= 0:
                        heapq.heappop(self._heap)
                        entry = self._entries[ticket.name]
                        entry.due_s, entry.running = None, True
                        return ticket.name
                self._changed.wait(wait_s)
            return None

    def _first(self) -> _Ticket | None:
        """The first ticket that counts; void ones and those of names in hand are dropped."""
        while self._heap:
            ticket = self._heap[0]
            entry = self._entries.get(ticket.name)
            if entry is not None and entry.due_s == ticket.due_s and not entry.running:
                return ticket
            heapq.heappop(self._heap)
        return None

    def _look(self, name: str) -> tuple[str, float | None]:
        """Run the reconcile; how it ended, and what it asked for."""
        try:
            return "ok", self._reconcile(name)
        except Transient as error:
            log.warning("reconcile_failed", kind=self._kind, name=name, reason=str(error))
            return "transient", None
        except Permanent as error:
            log.error("reconcile_failed", kind=self._kind, name=name, reason=str(error))
            return "permanent", None
        except (InvariantBroken, TandemError) as error:
            log.error("invariant_broken", kind=self._kind, name=name, reason=str(error))
            self.ask_to_stop()
            self._on_broken(error)
            return "broken", None
        except Exception:  # one object that nobody foresaw must not stop the work on all others
            log.exception("reconcile_crashed", kind=self._kind, name=name)
            return "crashed", None

    def _done(self, name: str, again_s: float | None, *, failed: bool) -> None:
        with self._changed:
            entry, now_s = self._entries[name], time.monotonic()
            entry.running = False
            if failed:
                entry.failures += 1
                again_s = self._backoff.wait_s(entry.failures)
                entry.not_before_s = now_s + min(again_s, self._backoff.first_s * 2)
            else:
                entry.failures, entry.not_before_s = 0, 0.0
            if entry.due_s is not None:  # asked for while it was in hand; its ticket was dropped
                due_s, entry.due_s = max(entry.due_s, entry.not_before_s), None
                self._schedule(name, entry, due_s)
            if again_s is not None:
                self._schedule(name, entry, now_s + again_s)
            if entry.due_s is None:
                del self._entries[name]
