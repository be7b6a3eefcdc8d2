"""A cache in Redis: bytes with a lifetime. Whoever uses it must get on without it: every failure is Transient and comes quickly."""

import redis

from tandem.domain.errors import BadSetting, Transient

_TIMEOUT_S = 0.25  # a cache that answers later than this saves nothing


class RedisCache:
    """Values under a prefix, so that several accounts share a server. Threads may share one object."""

    def __init__(self, url: str, prefix: str) -> None:
        """url: redis://host:port/0. Connects on first use. Raises BadSetting."""
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=None, health_check_interval=0
            )
        except ValueError as error:
            raise BadSetting(f"TANDEM_REDIS_URL: {error}") from error
        self._prefix = prefix

    def get(self, name: str) -> bytes | None:
        """The value, None if there is none or it is too old. Raises Transient."""
        try:
            value = self._redis.get(f"{self._prefix}:{name}")
        except redis.RedisError as error:
            raise Transient(f"Redis: {error}") from error
        assert value is None or isinstance(value, bytes), "the client does not decode"
        return value

    def put(self, name: str, value: bytes, ttl_s: int) -> None:
        """Keep a value for a time. Raises Transient."""
        try:
            self._redis.set(f"{self._prefix}:{name}", value, ex=ttl_s)
        except redis.RedisError as error:
            raise Transient(f"Redis: {error}") from error

    def drop(self, *names: str) -> None:
        """Forget values. Raises Transient."""
        try:
            self._redis.delete(*(f"{self._prefix}:{name}" for name in names))
        except redis.RedisError as error:
            raise Transient(f"Redis: {error}") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
