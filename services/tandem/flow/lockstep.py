"""Who must have acknowledged a watermark before a replay goes on. Pure; the recycler's loop asks, its HTTP API tells.

Nobody registered means nobody to wait for: an unmodified client gets the stream at the given speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tandem.domain.errors import BadSetting

PARTICIPANTS_MAX = 16  # names are labels of a metric
_NONE_NS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockstep:
    """The highest watermark that each participant has acknowledged, in order of registration."""

    acked_ns: Mapping[str, int]

    def waiting_for(self, watermark_ns: int) -> tuple[str, ...]:
        """Participants who have not acknowledged this watermark."""
        return tuple(name for name, acked in self.acked_ns.items() if acked < watermark_ns)


def lockstep(names: tuple[str, ...] = ()) -> Lockstep:
    """Participants who have acknowledged nothing yet."""
    state = Lockstep(acked_ns={})
    for name in names:
        state = register(state, name)
    return state


def register(state: Lockstep, name: str) -> Lockstep:
    """Add a participant; one that is there already keeps what it acknowledged. Raises BadSetting for a name that cannot be used."""
    if not name or len(name) > 40 or not name.replace("-", "").replace("_", "").isalnum():
        raise BadSetting(f"participant {name!r}: allowed are 1-40 letters, digits, '-' and '_'")
    if name not in state.acked_ns and len(state.acked_ns) >= PARTICIPANTS_MAX:
        raise BadSetting(f"{len(state.acked_ns)} participants are registered, at most {PARTICIPANTS_MAX} are allowed")
    return replace(state, acked_ns={**state.acked_ns, name: state.acked_ns.get(name, _NONE_NS)})


def acknowledge(state: Lockstep, name: str, watermark_ns: int) -> Lockstep:
    """Note an acknowledgement; an older one than before changes nothing. Raises BadSetting if the participant is not registered."""
    if name not in state.acked_ns:
        raise BadSetting(f"participant {name!r} is not registered; registered are {', '.join(state.acked_ns) or 'none'}")
    return replace(state, acked_ns={**state.acked_ns, name: max(state.acked_ns[name], watermark_ns)})


def remove(state: Lockstep, name: str) -> Lockstep:
    """Stop waiting for a participant. Raises BadSetting if it is not registered."""
    if name not in state.acked_ns:
        raise BadSetting(f"participant {name!r} is not registered; registered are {', '.join(state.acked_ns) or 'none'}")
    return replace(state, acked_ns={other: acked for other, acked in state.acked_ns.items() if other != name})


def restart(state: Lockstep) -> Lockstep:
    """Event time starts anew: what was acknowledged counts no more."""
    return replace(state, acked_ns=dict.fromkeys(state.acked_ns, _NONE_NS))
