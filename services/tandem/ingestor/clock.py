"""The wall clock as heartbeats may rely on it: a step that neither the machine's steady clock nor the market knows of moves nothing.

A watermark never goes back. One that a clock put hours ahead, while no trade was there to contradict it, would close every bar until then
and leave all that happens in them late. So a step ahead counts only when an event of the market is beyond what was expected, as after a
machine that slept; until then time goes on as steadily as before. A step back holds the heartbeats, as every clock behind the exchange
does. A clock that is wrong from the start, on a market without a trade, nobody here can know of. Pure; owned by ingestor/pump.py and
watch.py.
"""

from dataclasses import dataclass

from tandem.domain.units import NS_PER_S

STEP_NS_MAX = 5 * NS_PER_S  # between two looks, at most some minutes apart: time servers mend, and clocks drift, by milliseconds


@dataclass(slots=True)
class WallClock:
    """What was believed last, by both clocks. None before the first look."""

    _wall_ns: int | None = None
    _steady_ns: int = 0
    step_ns: int = 0  # by which the wall clock is off what was expected; 0 while it is believed

    def believed_ns(self, wall_ns: int, steady_ns: int, newest_event_ns: int) -> int:
        """The time that counts now. newest_event_ns: of the market, as its own stamps say."""
        expected_ns = wall_ns if self._wall_ns is None else self._wall_ns + steady_ns - self._steady_ns
        step_ns = wall_ns - expected_ns
        if abs(step_ns) <= STEP_NS_MAX or newest_event_ns > expected_ns + STEP_NS_MAX:
            self._wall_ns, self._steady_ns, self.step_ns = wall_ns, steady_ns, 0
            return wall_ns
        self.step_ns = step_ns
        return min(wall_ns, expected_ns)
