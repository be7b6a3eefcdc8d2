"""The cache on a real Redis, and its absence."""

import pytest

from replay_world import until
from stopwatch import Stopwatch
from tandem.adapters.redis_cache import RedisCache
from tandem.domain.errors import BadSetting, Transient


@pytest.fixture
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine may take to answer is no failure of a server that is there."""
    monkeypatch.setattr("tandem.adapters.redis_cache._TIMEOUT_S", 30.0)


@pytest.mark.usefixtures("_no_hurry")
def test_a_value_lives_for_its_time_under_its_prefix(redis_url: str) -> None:
    one, two = RedisCache(redis_url, "one"), RedisCache(redis_url, "two")
    one.put("account", b"[]", 60)
    assert (one.get("account"), two.get("account")) == (b"[]", None)

    one.put("account", b"[]", 1)
    watch = Stopwatch()
    until("the value is gone", lambda: one.get("account") is None)
    assert watch.seconds() < 5
    one.close()
    two.close()


@pytest.mark.usefixtures("_no_hurry")
def test_dropped_values_are_gone(redis_url: str) -> None:
    cache = RedisCache(redis_url, "drop")
    cache.put("a", b"1", 600)
    cache.put("b", b"2", 600)
    cache.drop("a", "b", "never there")

    assert (cache.get("a"), cache.get("b")) == (None, None)
    cache.close()


def test_a_redis_that_is_away_is_a_quick_transient_failure() -> None:
    cache = RedisCache("redis://127.0.0.1:1/0", "x")
    watch = Stopwatch()
    for ask in (lambda: cache.get("a"), lambda: cache.put("a", b"", 1), lambda: cache.drop("a")):
        with pytest.raises(Transient, match="Redis"):
            ask()

    assert watch.seconds() < 3
    cache.close()


def test_a_url_that_is_none_of_redis_is_refused() -> None:
    with pytest.raises(BadSetting, match="TANDEM_REDIS_URL"):
        RedisCache("http://127.0.0.1", "x")
