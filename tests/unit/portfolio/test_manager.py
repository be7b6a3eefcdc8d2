"""PortfolioManager: what comes from the cache, what from the broker, and that a missing cache is never an error."""

from collections.abc import Callable
from typing import Any

import pytest

from tandem.domain.errors import Transient
from tandem.portfolio.manager import PortfolioManager, summarise

ACCOUNT = {"id": "a", "cash": "1000.10", "equity": "1500.30", "last_equity": "1500.00", "buying_power": "2000"}
POSITIONS = [
    {"symbol": "KO", "qty": "10", "market_value": "700.20", "unrealized_pl": "5.20"},
    {"symbol": "PEP", "qty": "-2", "market_value": "-200.00", "unrealized_pl": "-1.10"},
]


class Broker:
    """Answers, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.positions: list[dict[str, Any]] = list(POSITIONS)

    def account_view(self) -> dict[str, Any]:
        self.asked.append("account")
        return ACCOUNT

    def positions_view(self) -> list[dict[str, Any]]:
        self.asked.append("positions")
        return self.positions

    def orders_view(self, limit: int) -> list[dict[str, Any]]:
        self.asked.append(f"orders {limit}")
        return []


class DictCache:
    """A cache that forgets when told, and is away when told."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, int]] = {}
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise Transient("the cache is away")

    def get(self, name: str) -> bytes | None:
        self._check()
        return self.values.get(name, (None, 0))[0]

    def put(self, name: str, value: bytes, ttl_s: int) -> None:
        self._check()
        self.values[name] = (value, ttl_s)

    def drop(self, *names: str) -> None:
        self._check()
        for name in names:
            self.values.pop(name, None)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def cache() -> DictCache:
    return DictCache()


@pytest.fixture
def manager(broker: Broker, cache: DictCache) -> PortfolioManager:
    return PortfolioManager(broker, cache)


def test_a_second_question_does_not_reach_the_broker(manager: PortfolioManager, broker: Broker) -> None:
    assert manager.account() == manager.account() == ACCOUNT
    assert broker.asked == ["account"]
    assert (manager.statistics().hits, manager.statistics().misses, manager.statistics().hit_ratio) == (1, 1, 0.5)


def test_an_empty_answer_is_an_answer_and_is_cached(manager: PortfolioManager, broker: Broker) -> None:
    broker.positions = []
    assert manager.positions() == manager.positions() == []
    assert manager.orders() == manager.orders() == []
    assert broker.asked == ["positions", "orders 500"]


def test_lifetimes_are_ten_seconds_for_orders_and_thirty_for_the_rest(manager: PortfolioManager, cache: DictCache) -> None:
    for ask in (manager.account, manager.positions, manager.orders, manager.summary):
        ask()

    assert {name: ttl_s for name, (_, ttl_s) in cache.values.items()} == {"account": 30, "positions": 30, "orders": 10, "summary": 30}


def test_the_summary_uses_what_is_cached(manager: PortfolioManager, broker: Broker) -> None:
    manager.account()
    manager.positions()
    manager.summary()
    manager.summary()

    assert broker.asked == ["account", "positions"]


def test_refresh_makes_the_next_question_a_new_one(manager: PortfolioManager, broker: Broker) -> None:
    manager.account()
    manager.refresh()
    manager.account()

    assert broker.asked == ["account", "account"]
    assert manager.statistics().refreshes == 1


def test_without_a_cache_every_question_is_answered_by_the_broker(manager: PortfolioManager, broker: Broker, cache: DictCache) -> None:
    cache.away = True
    for _ in range(3):
        assert manager.account() == ACCOUNT
    manager.refresh()

    assert broker.asked == ["account"] * 3
    assert manager.statistics().errors >= 1
    assert manager.statistics().hits == 0


def test_a_cache_that_fails_is_left_alone_for_a_while(manager: PortfolioManager, cache: DictCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timeout is paid once, not for every question; after the rest it is asked again."""
    clock = [100.0]
    monkeypatch.setattr("tandem.portfolio.manager.time.monotonic", lambda: clock[0])
    cache.away = True
    for _ in range(5):
        manager.account()
    assert manager.statistics().errors == 1

    cache.away = False
    manager.account()
    assert cache.values == {}
    clock[0] += 2.0
    manager.account()
    assert set(cache.values) == {"account"}


def test_rubbish_in_the_cache_counts_as_an_error_and_is_replaced(manager: PortfolioManager, broker: Broker, cache: DictCache) -> None:
    cache.values["account"] = (b"{not json", 30)

    assert manager.account() == manager.account() == ACCOUNT
    assert manager.statistics().errors == 1
    assert broker.asked == ["account"]


def test_the_brokers_failure_is_the_callers_and_is_not_cached(broker: Broker, cache: DictCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> dict[str, Any]:
        raise Transient("the broker is away")

    answer: Callable[[], dict[str, Any]] = broker.account_view
    monkeypatch.setattr(broker, "account_view", away)
    manager = PortfolioManager(broker, cache)
    with pytest.raises(Transient, match="broker is away"):
        manager.account()
    monkeypatch.setattr(broker, "account_view", answer)

    assert manager.account() == ACCOUNT


def test_figures_of_the_summary() -> None:
    figures = summarise(ACCOUNT, POSITIONS)

    assert figures["gross_usd"] == "900.20"
    assert figures["net_usd"] == "500.20"
    assert figures["unrealized_usd"] == "4.10"
    assert figures["day_change_usd"] == "0.30"
    assert figures["day_change_ratio"] == pytest.approx(0.0002)


def test_a_figure_that_the_broker_does_not_give_is_none_and_not_zero() -> None:
    figures = summarise({"id": "a", "equity": "1"}, [{"symbol": "KO", "market_value": None}])

    assert (figures["cash_usd"], figures["gross_usd"], figures["day_change_usd"], figures["day_change_ratio"]) == (None,) * 4
