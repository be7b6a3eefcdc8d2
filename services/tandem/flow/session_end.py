"""What becomes of held pairs when the exchange closes: they are kept over night, or closed within a margin before it.

Event time and a calendar that was read before; half days end at their own close. Decides when, not what: the rules of signals.py do, in
the modes and for the pairs that they hold for. Called by the portfolio.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow.sessions import session_at

_DAY_NS = 86_400 * NS_PER_S
_MINUTE_NS = 60 * NS_PER_S
_NEVER = -(2**63)


class Policy(StrEnum):
    """Of what is held when a session ends."""

    KEEP = "keep"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """The part `session_end` of config/risk.yaml."""

    policy: Policy = Policy.KEEP
    margin_minutes: float = 30.0

    def __post_init__(self) -> None:
        if not self.margin_minutes > 0:
            raise ValueError(f"margin_minutes is {self.margin_minutes:g}, must be above 0")

    def check_bar(self, bar_ns: int) -> None:
        """Raises ValueError if decisions on bars of this length cannot close anything before a session ends."""
        if self.policy is Policy.KEEP:
            return
        if bar_ns >= _DAY_NS:
            raise ValueError("policy is close, must be keep with bars of a day: what is decided on them is done in the next session")
        if self.margin_minutes * _MINUTE_NS < bar_ns:
            raise ValueError(
                f"margin_minutes is {self.margin_minutes:g}, must be at least {bar_ns / _MINUTE_NS:g}, the length of a bar: "
                "else none closes between it and the end"
            )


def is_ending(grid: SessionGrid | None, at_ns: int, limits: SessionEnd) -> bool:
    """Whether held pairs are closed now: at the close itself, too, as what could not go before it goes at the next open.

    grid: None where no end is known.
    """
    if grid is None or limits.policy is Policy.KEEP:
        return False
    session = session_at(grid, at_ns)
    return session is not None and at_ns >= session.close_ns - int(limits.margin_minutes * _MINUTE_NS)


def closes_bar(grid: SessionGrid | None, at_ns: int) -> bool:
    """Whether a bar of the grid ends at the moment, traded in or not: between bars nothing is decided."""
    if grid is None or (session := session_at(grid, at_ns)) is None:
        return False
    return at_ns == session.close_ns or (at_ns > session.open_ns and (at_ns - session.open_ns) % grid.bar_ns == 0)


def ended_bar_ns(grid: SessionGrid, at_ns: int) -> int:
    """The newest end of a bar of the grid up to the moment; before the first one, a time before the grid."""
    session = int(np.searchsorted(grid.open_ns, at_ns, side="left")) - 1
    if session < 0:
        return _NEVER
    opens_ns, closes_ns = int(grid.open_ns[session]), int(grid.close_ns[session])
    if at_ns >= closes_ns:
        return closes_ns
    bars = (at_ns - opens_ns) // grid.bar_ns
    return opens_ns + bars * grid.bar_ns if bars else ended_session_ns(grid, at_ns)


def ended_session_ns(grid: SessionGrid, at_ns: int) -> int:
    """The newest close up to the moment; before the first one, a time before the grid."""
    place = int(np.searchsorted(grid.close_ns, at_ns, side="right"))
    return int(grid.close_ns[place - 1]) if place else _NEVER
