"""Who holds the home of a platform on one machine, and what it said of itself last. Needs no package beyond the standard library: the
trainer's image has none of those that look at processes. Called by status.py and by commands.
"""

import fcntl
import json
from pathlib import Path
from typing import Any

STATE_FILE = "supervisor.json"  # what the supervisor says of itself, beside the records of its children
_STATE_FIELDS = {"state": "", "pid": 0, "port_base": 0, "bar": "", "endpoints": {}}


def supervisor_pid(home: Path) -> int | None:
    """The process that holds the home, None if nobody does."""
    try:
        file = (home / "run" / "lock").open("r+")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or 0)
    return None


def state(home: Path) -> dict[str, Any]:
    """What the supervisor wrote last: state (starting or ready), endpoints, bar. Empty values if it wrote nothing."""
    try:
        return _STATE_FIELDS | json.loads((home / "run" / STATE_FILE).read_text())
    except FileNotFoundError:
        return dict(_STATE_FIELDS)
