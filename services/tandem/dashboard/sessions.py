"""The exchange's sessions around a time, for people. A calendar takes a tenth of a second to make: one serves a year of them for all."""

from functools import lru_cache

import numpy as np

from tandem.adapters.calendar import session_grid
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S
_AHEAD_NS = 5 * _DAY_NS
_SPAN_NS = 366 * _DAY_NS  # of one calendar; as quick to make as one of a week
_SPANS_MAX = 4


def sessions_ahead(now_ns: int) -> list[tuple[int, int]]:
    """Opening and close of each session from the one that opened last to the first that closes five days later or after that."""
    grid = _grid(now_ns // _SPAN_NS)
    first = int(np.searchsorted(grid.open_ns, now_ns, side="right")) - 1
    last = int(np.searchsorted(grid.close_ns, now_ns + _AHEAD_NS, side="left"))
    return list(zip(grid.open_ns[first : last + 1].tolist(), grid.close_ns[first : last + 1].tolist(), strict=True))


@lru_cache(_SPANS_MAX)
def _grid(span: int) -> SessionGrid:
    return session_grid("1d", span * _SPAN_NS, (span + 1) * _SPAN_NS + _AHEAD_NS)
