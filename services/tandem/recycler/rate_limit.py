"""How often an account may ask: so many requests in each minute of wall time, counted by its key, told in Alpaca's headers."""

from collections.abc import Mapping

_MINUTE_S = 60
_KEYS_MAX = 10_000


class RateLimit:
    """Counts requests. 0 a minute: any number, and nothing is told."""

    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        self._minute = 0
        self._used: dict[str, int] = {}  # by key, in this minute

    def headers(self, key: str, now_s: float) -> Mapping[str, str] | None:
        """Count a request; what to tell with its answer, None if it is one too many."""
        if not self.per_min:
            return {}
        minute = int(now_s // _MINUTE_S)
        if minute != self._minute or len(self._used) > _KEYS_MAX:
            self._minute = minute
            self._used.clear()
        used = self._used.get(key, 0) + 1
        if used > self.per_min:
            return None
        self._used[key] = used
        return self._told(self.per_min - used, now_s)

    def refused_headers(self, now_s: float) -> Mapping[str, str]:
        """What to tell with a refusal."""
        told = self._told(0, now_s)
        return {**told, "Retry-After": str(max(int(told["X-RateLimit-Reset"]) - int(now_s), 1))}

    def _told(self, remaining: int, now_s: float) -> dict[str, str]:
        reset_s = (int(now_s // _MINUTE_S) + 1) * _MINUTE_S
        return {"X-RateLimit-Limit": str(self.per_min), "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(reset_s)}
