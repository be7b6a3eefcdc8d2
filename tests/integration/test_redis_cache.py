"""The cache on a real Redis, and its absence."""

import time

import pytest

from free_ports import free_port
from replay_world import until
from tandem.adapters.redis_cache import RedisCache
from tandem.domain.errors import BadSetting, Transient


def test_a_value_lives_for_its_time_under_its_prefix(redis_url: str) -> None:
    one, two = RedisCache(redis_url, "one"), RedisCache(redis_url, "two")
    one.put("account", b"[]", 1)

    assert (one.get("account"), two.get("account")) == (b"[]", None)
    until("the value is gone", lambda: one.get("account") is None, 5)
    one.close()
    two.close()


def test_dropped_values_are_gone(redis_url: str) -> None:
    cache = RedisCache(redis_url, "drop")
    cache.put("a", b"1", 30)
    cache.put("b", b"2", 30)
    cache.drop("a", "b", "never there")

    assert (cache.get("a"), cache.get("b")) == (None, None)
    cache.close()


def test_a_redis_that_is_away_is_a_quick_transient_failure() -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}/0", "x")
    began_s = time.monotonic()
    for ask in (lambda: cache.get("a"), lambda: cache.put("a", b"", 1), lambda: cache.drop("a")):
        with pytest.raises(Transient, match="Redis"):
            ask()

    assert time.monotonic() - began_s < 3
    cache.close()


def test_a_url_that_is_none_of_redis_is_refused() -> None:
    with pytest.raises(BadSetting, match="TANDEM_REDIS_URL"):
        RedisCache("http://127.0.0.1", "x")
