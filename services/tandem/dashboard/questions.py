"""Questions that more than one page asks: each under one key, so that a session asks it once."""

from collections.abc import Sequence
from typing import Any

from tandem.adapters.control_log import ControlTable
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row


def control(snapshot: Snapshot) -> ControlTable:
    """The control topic. Raises Transient, BadSetting."""
    return snapshot.ask("control", lambda sources: sources.control())


def symbols(snapshot: Snapshot) -> Sequence[Row]:
    """What is recorded of each symbol. Raises Transient."""
    return snapshot.ask("symbols", lambda sources: sources.views.symbols(snapshot.stream, timeframe=snapshot.bar))


def replay_status(snapshot: Snapshot) -> dict[str, Any]:
    """Where the recycler's replay is. Raises Transient, Permanent, BadSetting."""
    return snapshot.ask("replay", lambda sources: sources.replay())
