"""PortfolioManager: what people ask of the account, through a cache, so that ten open dashboards cost the broker one request.

Orders live 10 s, account, positions and summary 30 s: wall time, and no decision reads any of it. An empty answer is an answer and is
cached. Without Redis every question goes to the broker: counted, slower, never an error.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import orjson
import structlog

from tandem.adapters import telemetry
from tandem.domain.errors import Transient

log = structlog.get_logger()
ORDERS_MAX = 500  # the broker's largest page
_TTL_S = {"orders": 10, "account": 30, "positions": 30, "summary": 30}
_REST_S = 1.0  # after a failure the cache is left alone for so long, so that its timeout is not paid for each question


class BrokerViews(Protocol):
    """A broker's own words about the account."""

    def account_view(self) -> dict[str, Any]:
        """The account. Raises Transient, Permanent."""
        ...

    def positions_view(self) -> list[dict[str, Any]]:
        """The positions. Raises Transient, Permanent."""
        ...

    def orders_view(self, limit: int) -> list[dict[str, Any]]:
        """The newest orders. Raises Transient, Permanent."""
        ...


class Cache(Protocol):
    """Bytes with a lifetime; each method raises Transient when the cache is away."""

    def get(self, name: str) -> bytes | None:
        """The value, None if there is none."""
        ...

    def put(self, name: str, value: bytes, ttl_s: int) -> None:
        """Keep a value for a time."""
        ...

    def drop(self, *names: str) -> None:
        """Forget values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """Questions since the start: answered by the cache, by the broker, and how often the cache failed."""

    hits: int
    misses: int
    errors: int
    refreshes: int

    @property
    def hit_ratio(self) -> float:
        """Part of the questions that the cache answered; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class PortfolioManager:
    """The account's views. Any thread may ask; one question goes to the broker at a time, and whoever waited gets the cached answer."""

    def __init__(self, broker: BrokerViews, cache: Cache) -> None:
        self._broker, self._cache = broker, cache
        self._lock = threading.Lock()
        self._hits = self._misses = self._errors = self._refreshes = 0
        self._away_until_s = 0.0

    def account(self) -> dict[str, Any]:
        """The account, at most 30 s old."""
        with self._lock:
            return dict(self._read("account", self._broker.account_view))

    def positions(self) -> list[dict[str, Any]]:
        """The positions, at most 30 s old."""
        with self._lock:
            return list(self._read("positions", self._broker.positions_view))

    def orders(self) -> list[dict[str, Any]]:
        """The newest 500 orders, at most 10 s old."""
        with self._lock:
            return list(self._read("orders", lambda: self._broker.orders_view(ORDERS_MAX)))

    def summary(self) -> dict[str, Any]:
        """Figures over account and positions, at most 30 s old. Money as text."""
        with self._lock:
            return dict(self._read("summary", self._summary))

    def _summary(self) -> dict[str, Any]:
        account = self._read("account", self._broker.account_view)
        return summarise(account, self._read("positions", self._broker.positions_view))

    def refresh(self) -> None:
        """Forget everything, so that the next question goes to the broker."""
        with self._lock:
            self._refreshes += 1
            try:
                self._cache.drop(*_TTL_S)
            except Transient as error:
                self._failed(error)

    def statistics(self) -> CacheStatistics:
        """Counts since the start."""
        return CacheStatistics(hits=self._hits, misses=self._misses, errors=self._errors, refreshes=self._refreshes)

    def _read(self, name: str, ask: Callable[[], Any]) -> Any:
        cached = self._cached(name)
        if cached is not None:
            self._hits += 1
            telemetry.counter("portfolio_cache_requests_total").labels(result="hit").inc()
            return cached
        self._misses += 1
        telemetry.counter("portfolio_cache_requests_total").labels(result="miss").inc()
        value = ask()
        if time.monotonic() >= self._away_until_s:
            try:
                self._cache.put(name, orjson.dumps(value), _TTL_S[name])
            except Transient as error:
                self._failed(error)
        return value

    def _cached(self, name: str) -> Any:
        """The cached answer; None when there is none, or none that can be read."""
        if time.monotonic() < self._away_until_s:
            return None
        try:
            raw = self._cache.get(name)
            return None if raw is None else orjson.loads(raw)
        except Transient as error:
            self._failed(error)
        except orjson.JSONDecodeError as error:
            self._count_error(f"{name} in the cache is not JSON: {error}")
        return None

    def _failed(self, error: Transient) -> None:
        self._away_until_s = time.monotonic() + _REST_S
        self._count_error(str(error))

    def _count_error(self, reason: str) -> None:
        self._errors += 1
        telemetry.counter("portfolio_cache_requests_total").labels(result="error").inc()
        log.warning("cache_failed", reason=reason)


def summarise(account: dict[str, Any], positions: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of an account and its positions. A missing field of the broker stays None: nothing is invented."""
    values = [_number(position, "market_value") for position in positions]
    gains = [_number(position, "unrealized_pl") for position in positions]
    equity, last_equity = _number(account, "equity"), _number(account, "last_equity")
    change = None if equity is None or last_equity is None else equity - last_equity
    return {
        "equity_usd": _text(equity),
        "cash_usd": _text(_number(account, "cash")),
        "buying_power_usd": _text(_number(account, "buying_power")),
        "day_change_usd": _text(change),
        "day_change_ratio": None if change is None or not last_equity else float(change / last_equity),
        "positions": len(positions),
        "gross_usd": _sum([None if value is None else abs(value) for value in values]),
        "net_usd": _sum(values),
        "unrealized_usd": _sum(gains),
    }


def _number(raw: dict[str, Any], field: str) -> Decimal | None:
    return None if raw.get(field) is None else Decimal(str(raw[field]))


def _sum(values: list[Decimal | None]) -> str | None:
    """The sum as text; None if any part is missing."""
    present = [value for value in values if value is not None]
    return None if len(present) < len(values) else _text(sum(present, Decimal(0)))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
