"""How many requests Alpaca's rate limit leaves, out of the headers of its answers. One object for all connections of an account."""

import threading
import time

import requests

_LEFT, _RESET = "X-RateLimit-Remaining", "X-RateLimit-Reset"


class RateBudget:
    """Remembers the newest answer's figures. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left, self._until_s = 0, 0.0

    def follow(self, session: requests.Session) -> None:
        """Look at every answer of a session."""
        session.hooks["response"].append(self._hear)

    @property
    def left(self) -> int | None:
        """Requests until the limit begins anew; None where no answer has said, or where what it said is over."""
        with self._lock:
            return self._left if time.time() < self._until_s else None

    def _hear(self, response: requests.Response, *_: object, **__: object) -> None:
        left, reset = response.headers.get(_LEFT, ""), response.headers.get(_RESET, "")
        if left.isdigit() and reset.isdigit():
            with self._lock:
                self._left, self._until_s = int(left), float(reset)
