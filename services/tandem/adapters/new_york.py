"""The exchange's clock: days as New York counts them. Light, so that a command may import it before it knows what it has to do."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tandem.domain.errors import BadSetting
from tandem.domain.units import NS_PER_S, ns_of

NEW_YORK = ZoneInfo("America/New_York")


def midnight_ns(day: str) -> int:
    """The begin of a day YYYY-MM-DD in New York, ns UTC. Raises BadSetting for another text."""
    try:
        return ns_of(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=NEW_YORK))
    except ValueError as error:
        raise BadSetting(f"day {day!r}: expected YYYY-MM-DD") from error


def day_of(ns: int) -> str:
    """The day YYYY-MM-DD in New York that holds a time."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).astimezone(NEW_YORK).strftime("%Y-%m-%d")
