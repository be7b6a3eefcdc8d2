"""Where a replay is, for a run that waits for its end: the recycler's word, and what the portfolio holds while it has an answer.

The portfolio has none while it goes from one session to the next: when the replay begins again with another account, or when a server was
away. It comes back by itself, so its silence ends nothing, for a bounded time. Called by demo.py.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from tandem.domain.errors import Transient

AWAY_S_MAX = 120.0  # as long as services may take to be ready at the start


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a display shows while the replay runs. open_pairs, equity_usd: None while the portfolio has no answer."""

    replay_id: str
    share: float
    ticks: int
    event_ns: int | None
    state: str
    waiting_for: tuple[str, ...]
    open_pairs: int | None
    equity_usd: str | None


class ReplayWatch:
    """Looks at one replay after the other of a recycler."""

    def __init__(self, http: httpx.Client, *, market: str, portfolio: str, now_s: Callable[[], float] = time.monotonic) -> None:
        """market: address of the recycler's replay; portfolio: of the API's version, e.g. http://host:port/v1."""
        self._http, self._market, self._portfolio, self._now_s = http, market, portfolio, now_s
        self._away_since_s: float | None = None

    def start(self) -> None:
        """Let a held replay begin. Raises Transient."""
        self._asked("POST", f"{self._market}/start")

    def look(self) -> Progress:
        """Where it is now. Raises Transient without the recycler, or when the portfolio has been away for too long."""
        status, summary = self._asked("GET", self._market), self._summary()
        return Progress(
            replay_id=str(status["replay_id"]),
            share=float(status["progress"]),
            ticks=int(status["ticks_sent"]),
            event_ns=status["watermark_ns"],
            state=str(status["state"]),
            waiting_for=tuple(status["waiting_for"]),
            open_pairs=summary.get("open_pairs"),
            equity_usd=summary.get("equity_usd"),
        )

    def _summary(self) -> Mapping[str, Any]:
        """The portfolio's, empty while it has no answer."""
        try:
            found = self._asked("GET", f"{self._portfolio}/summary")
        except Transient as error:
            now_s = self._now_s()
            self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
            if now_s - self._away_since_s >= AWAY_S_MAX:
                raise Transient(f"the portfolio has had no answer for {AWAY_S_MAX:.0f} s: {error}") from error
            return {}
        self._away_since_s = None
        return found

    def _asked(self, method: str, url: str) -> dict[str, Any]:
        """The body of a good answer. Raises Transient with what came instead."""
        try:
            answer = self._http.request(method, url)
        except httpx.HTTPError as error:
            raise Transient(f"{method} {url}: {error or type(error).__name__}") from error
        if answer.is_error:
            raise Transient(f"{method} {url}: {answer.status_code} {answer.text[:300]}")
        return dict(orjson.loads(answer.content))
