"""The schedule of a replay: which ticks are sent before which watermark, where it starts and ends, and when each tick is due.

One step for each bar close before which a tick of that bar exists: the ticks before the close, then the watermark. Ticks outside the
sessions go with the next step. The last step carries what is left and ends the stream. Pure; the recycler's loop plays it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import BadSetting
from tandem.domain.ids import derived_uuid
from tandem.domain.market import SessionGrid
from tandem.domain.units import rfc3339
from tandem.flow.bars import bar_closes

_Longs = NDArray[np.int64]


class Mode(StrEnum):
    """How a replay goes through its range."""

    SINGLE_PASS = "single_pass"  # noqa: S105  (a mode, no password) once, then it has ended
    LOOP = "loop"  # again and again, each pass a replay of its own with an account of its own
    DATE_RANGE = "date_range"  # once, and the range must be given
    STEP = "step"  # once, and it waits for a word after each bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Ticks at places [start, stop), then the watermark: every tick before it has been sent."""

    number: int  # from 0
    start: int
    stop: int
    watermark_ns: int
    end_of_stream: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """All steps of one pass. stop and watermark_ns: (n,) ascending, n >= 1; the last step ends the stream."""

    start: int
    stop: _Longs
    watermark_ns: _Longs

    def __len__(self) -> int:
        return len(self.stop)

    @property
    def ticks(self) -> int:
        """Ticks in the pass."""
        return int(self.stop[-1]) - self.start

    def step(self, number: int) -> Step:
        """The step of this number."""
        return Step(
            number=number,
            start=int(self.stop[number - 1]) if number else self.start,
            stop=int(self.stop[number]),
            watermark_ns=int(self.watermark_ns[number]),
            end_of_stream=number == len(self) - 1,
        )

    def steps(self) -> Iterator[Step]:
        """All steps in order."""
        return (self.step(number) for number in range(len(self)))


def schedule(event_ns: _Longs, grid: SessionGrid, *, from_ns: int | None = None, to_ns: int | None = None) -> Schedule:
    """The steps over the ticks in [from_ns, to_ns), all by default. event_ns: (n,) ascending, within the grid.

    Raises BadSetting if no tick is in the range.
    """
    start = 0 if from_ns is None else int(np.searchsorted(event_ns, from_ns, side="left"))
    end = len(event_ns) if to_ns is None else int(np.searchsorted(event_ns, to_ns, side="left"))
    if start >= end:
        span = f"{rfc3339(int(event_ns[0]))} to {rfc3339(int(event_ns[-1]))}" if len(event_ns) else "nothing"
        raise BadSetting(f"no tick from {_text(from_ns)} up to {_text(to_ns)}: the data hold {span}")
    watermark_ns, stop = _closes(grid, event_ns, start, end)
    # One nanosecond after everything: higher than each bar's watermark, so that the end is a step of its own.
    last_ns = max(int(event_ns[end - 1]), int(watermark_ns[-1]) if len(watermark_ns) else 0) + 1
    return Schedule(start=start, stop=np.append(stop, end).astype(np.int64), watermark_ns=np.append(watermark_ns, last_ns))


def _closes(grid: SessionGrid, event_ns: _Longs, start: int, end: int) -> tuple[_Longs, _Longs]:
    """Closes of the bars that hold a tick at places [start, end), ascending, and the place of the first tick that is not before each.

    Asks for each bar of the grid, not for each tick: its memory is that of the bars, and of ticks it reads a few for each bar only.
    """
    ends = event_ns[[start, end - 1]]
    bar_closes(grid, ends)  # raises beyond the grid's ends
    sessions = slice(
        max(int(np.searchsorted(grid.open_ns, ends[0], side="right")) - 1, 0), int(np.searchsorted(grid.open_ns, ends[1], side="right"))
    )
    open_ns, close_ns = grid.open_ns[sessions], grid.close_ns[sessions]
    counts = -(-(close_ns - open_ns) // grid.bar_ns)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    bar_open_ns = np.repeat(open_ns, counts) + number * grid.bar_ns
    bar_close_ns = np.minimum(bar_open_ns + grid.bar_ns, np.repeat(close_ns, counts))
    ticks = event_ns[start:end]
    first, stop = (np.searchsorted(ticks, times, side="left") for times in (bar_open_ns, bar_close_ns))
    has_ticks = stop > first
    return bar_close_ns[has_ticks], start + stop[has_ticks]


def position(plan: Schedule, event_ns: int) -> int:
    """The number of the first step whose watermark is after a time: where a replay goes on that is sent there."""
    return min(int(np.searchsorted(plan.watermark_ns, event_ns, side="right")), len(plan) - 1)


def replay_id(*parts: object, pass_number: int) -> str:
    """The id of one pass, from what decides its outcome: the data, the range, the bars, the rules. Never its speed."""
    return derived_uuid("replay", *parts, pass_number)


def market_time_ns(grid: SessionGrid, event_ns: _Longs) -> _Longs:
    """Time that the market was open since the grid began, for each event time: the clock that a paced replay follows.

    Nights, weekends and what happens in them take no time. Result: (n,) ascending if event_ns is.
    """
    lengths = grid.close_ns - grid.open_ns
    before = np.concatenate(([0], np.cumsum(lengths)))
    session = np.searchsorted(grid.open_ns, event_ns, side="right") - 1
    inside = np.minimum(event_ns - grid.open_ns[np.maximum(session, 0)], lengths[np.maximum(session, 0)])
    return np.where(session < 0, 0, before[np.maximum(session, 0)] + inside)


def _text(time_ns: int | None) -> str:
    return "the start" if time_ns is None else rfc3339(time_ns)
