"""A recycler in lockstep with a test that plays the portfolio: to its first bar, and from one bar to the next."""

from typing import Any

from recorded_cases import MINUTE_NS, OPEN_NS
from recycler_server import Server

PORTFOLIO: dict[str, Any] = {"lockstep": True, "participants": ("portfolio",)}


def at_first_bar(server: Server) -> dict[str, Any]:
    """Play to the close of the first bar, where the replay waits for the portfolio."""
    server.button("start")
    return server.until(state="waiting", watermark_ns=OPEN_NS + MINUTE_NS)


def to_next_bar(server: Server, minute: int) -> dict[str, Any]:
    """Let the replay play the next bar; minute: the bar that is done."""
    server.button("ack", name="portfolio", watermark_ns=OPEN_NS + minute * MINUTE_NS)
    return server.until(state="waiting", watermark_ns=OPEN_NS + (minute + 1) * MINUTE_NS)
