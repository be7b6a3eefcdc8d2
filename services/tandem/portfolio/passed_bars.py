"""What of all that is decided ends a bar or a session, and what counts against the patience of pairs on their way.

In lockstep everything that is decided is a bar, and once. On a live feed it is not so: each sector's batch is decided as it comes, and each
second brings those of a heartbeat. There only what closes a bar of the grid counts, once a pair whatever the number of sectors, and from
the one after its newest order on; and where a sector has not traded in a bar, the heartbeat after it is all that tells of its end. Called
by desk.py.
"""

from tandem.domain.ids import PairId, SectorId
from tandem.domain.market import SessionGrid
from tandem.flow.barrier import Decidable
from tandem.flow.execution_records import Execution
from tandem.flow.session_end import closes_bar, ended_bar_ns, ended_session_ns

_NEVER = -(2**63)


class PassedBars:
    """Of one account, in one life of it."""

    def __init__(self, grid: SessionGrid | None) -> None:
        """grid: None where no bars are known: then every moment is one's end."""
        self._grid = grid
        self._newest_ns: dict[PairId, int] = {}
        self._told_ns: dict[SectorId, int] = {}  # newest end of a bar that each sector has told of
        self._session_ns: int | None = None  # newest end of a session

    def is_one(self, bar: Decidable) -> bool:
        """Whether a bar of the grid ends where this was decided."""
        return bar.lockstep or self._grid is None or closes_bar(self._grid, bar.bar_close_ns)

    def count(self, bar: Decidable, execution: Execution) -> bool:
        """Whether this is another bar for the pair; remembered as counted if it is."""
        if bar.lockstep:
            return True
        at_ns = bar.bar_close_ns
        if at_ns <= max(self._newest_ns.get(execution.pair, _NEVER), execution.decided_ns):
            return False
        if not self.is_one(bar):
            return False
        self._newest_ns[execution.pair] = at_ns
        return True

    def is_end(self, bar: Decidable) -> bool:
        """Whether a bar of its sectors has ended, traded in or not, since what was decided of them before; remembered if it has."""
        if self._grid is None or bar.lockstep:
            return closes_bar(self._grid, bar.bar_close_ns)
        end_ns = ended_bar_ns(self._grid, bar.bar_close_ns)
        known = [self._told_ns.get(batch.sector) for batch in bar.batches]
        self._told_ns |= {batch.sector: end_ns for batch in bar.batches}
        return end_ns == bar.bar_close_ns or any(told is not None and told < end_ns for told in known)

    def is_session_end(self, bar: Decidable) -> bool:
        """Whether a session has ended since what was decided before; remembered if it has."""
        if self._grid is None:
            return False
        end_ns, known = ended_session_ns(self._grid, bar.bar_close_ns), self._session_ns
        self._session_ns = end_ns
        return end_ns > known if known is not None else end_ns == bar.bar_close_ns
