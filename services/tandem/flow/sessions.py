"""The exchange's session at a moment of event time, out of a calendar that was read before. Called by the portfolio's checks."""

import numpy as np

from tandem.domain.market import SessionGrid
from tandem.flow.pretrade import Session


def session_at(grid: SessionGrid, at_ns: int) -> Session | None:
    """The session that holds the moment, its close included: a bar that ends then is of it. None outside."""
    place = int(np.searchsorted(grid.close_ns, at_ns, side="left"))
    if place == len(grid.close_ns) or at_ns < grid.open_ns[place]:
        return None
    return Session(open_ns=int(grid.open_ns[place]), close_ns=int(grid.close_ns[place]))


def session_number(grid: SessionGrid, at_ns: int) -> int:
    """Sessions that have closed before the moment: equal for all moments of one session, its close included, and the night before it."""
    return int(np.searchsorted(grid.close_ns, at_ns, side="left"))
