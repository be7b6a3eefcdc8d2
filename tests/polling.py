"""Waiting for what another thread of the same process does: short looks, and a limit that only what never comes reaches."""

import time
from collections.abc import Callable

LIMIT_S = 60.0
_LOOK_S = 0.005


def until(condition: Callable[[], object]) -> None:
    """Poll until the condition holds. Raises AssertionError after LIMIT_S."""
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(_LOOK_S)
