"""What control messages of the stream hold, checked: kinds, the replay's name, single fields. Called by ingestor/intake.py."""

import reprlib
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.market import Source

_type_of = itemgetter("T")


def check_replay(message: dict[str, Any], source: Source) -> None:
    """Raises BadRecord for an announcement without a name, BadSetting where the settings say that the stream is no replay."""
    replay_id = message.get("replay_id")
    if not isinstance(replay_id, str) or not replay_id or message.get("source") != Source.RECYCLED:
        raise BadRecord(
            "replay_malformed",
            f"replay {reprlib.repr(replay_id)} of source {reprlib.repr(message.get('source'))}: a name and 'recycled' are needed",
        )
    if source is not Source.RECYCLED:
        raise BadSetting(f"TANDEM_SOURCE is {source.value}, but the stream is a replay: it would be recorded as real history")
    flag(message, "lockstep")


def kinds_of(messages: Sequence[Any]) -> set[Any]:
    """The kinds of a payload, found out at the speed of C; none where a message has none."""
    try:
        return set(map(_type_of, messages))
    except (KeyError, TypeError):  # no map, no T, or a T that cannot be in a set: kind_of says what it is
        return set()


def kind_of(message: Any) -> str | None:
    """A message's T; None where it has none."""
    kind = message.get("T") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else None


def integer(message: dict[str, Any], name: str) -> int:
    """A field that must be a whole number. Raises BadRecord."""
    value = message.get(name)
    if type(value) is not int:
        raise BadRecord("field_invalid", f"{message['T']}: {name} {reprlib.repr(value)}, expected an integer")
    return value


def flag(message: dict[str, Any], name: str) -> bool:
    """A field that is true or false, false where it is missing. Raises BadRecord."""
    value = message.get(name, False)
    if type(value) is not bool:
        raise BadRecord("field_invalid", f"{message['T']}: {name} {reprlib.repr(value)}, expected true or false")
    return value


def strings(value: Any) -> list[str]:
    """A subscription's list of symbols. Raises BadRecord."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRecord("field_invalid", f"subscription: trades {reprlib.repr(value)}, expected a list of symbols")
    return value
