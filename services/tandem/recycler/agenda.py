"""Directives that wait for their moment, and those that have happened. Decides when; what they do is flow/exchange_actions.py."""

from collections.abc import Iterator, Sequence

import numpy as np

from tandem.domain.errors import BadSetting
from tandem.domain.units import rfc3339
from tandem.flow.exchange_events import Happened
from tandem.flow.tape import Tape
from tandem.recycler.directives_body import Planned, When

WAITING_MAX = 10_000  # of requests over HTTP; a script may be longer


class Agenda:
    """One pass's directives."""

    def __init__(self, script: Sequence[Planned] = ()) -> None:
        self.waiting: list[Planned] = list(script)  # in the order in which they came
        self.done: list[Happened] = []  # those of the recording, too

    def check(self, planned: Planned, *, now_ns: int, bars: int, accepted: int) -> None:
        """Whether one may wait. Raises BadSetting if its moment has passed, or if too many wait."""
        reached = {When.TIME: now_ns, When.BAR: bars, When.ORDER: accepted}[planned.when]
        if planned.at <= reached:
            what = rfc3339(planned.at) if planned.when is When.TIME else f"{planned.when.value} {planned.at}"
            now = rfc3339(reached) if planned.when is When.TIME else f"{planned.when.value} {reached}"
            raise BadSetting(f"at: {what} has passed, the replay is at {now}")
        if len(self.waiting) >= WAITING_MAX:
            raise BadSetting(f"{len(self.waiting)} directives wait, at most {WAITING_MAX} may")

    def times_before(self, tape: Tape, start: int, stop: int) -> Iterator[tuple[Planned, int]]:
        """Those whose time comes with the rows at places [start, stop), with the place that each lies before; in order of time."""
        for planned in self._due(When.TIME, int(tape.event_ns[stop - 1])):
            place = int(np.searchsorted(tape.event_ns[start:stop], planned.at, side="left"))
            yield planned, start + place

    def times_until(self, watermark_ns: int) -> Iterator[Planned]:
        """Those whose time comes up to a watermark, in order of time."""
        yield from self._due(When.TIME, watermark_ns)

    def counted(self, when: When, number: int) -> Iterator[Planned]:
        """Those that wait for a bar or an order that has come."""
        yield from self._due(when, number)

    def happened(self, output: Happened) -> None:
        """Keep what took effect."""
        self.done.append(output)

    def _due(self, when: When, reached: int) -> list[Planned]:
        due = [planned for planned in self.waiting if planned.when is when and planned.at <= reached]
        if due:
            gone = {planned.directive_id for planned in due}
            self.waiting = [planned for planned in self.waiting if planned.directive_id not in gone]
        return sorted(due, key=lambda planned: planned.at)
