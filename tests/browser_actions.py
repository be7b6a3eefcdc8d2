"""What a test does on a page of the dashboard in a browser: clicks that are not lost, and waits for what becomes true elsewhere."""

import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page

from dashboard_browser import settled

_LIMIT_S = 300
_LOOK_MS = 100


def clicked(page: Page, what: Locator) -> None:
    """Click when nothing is being drawn: Streamlit loses a click while it draws, and what comes may move a button from under it."""
    settled(page)
    what.click()


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Poll, with a limit. The browser goes on meanwhile."""
    deadline_s = time.monotonic() + _LIMIT_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {_LIMIT_S} s"
        page.wait_for_timeout(_LOOK_MS)
