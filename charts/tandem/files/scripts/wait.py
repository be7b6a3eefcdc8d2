"""Wait until the servers that environment variables name accept connections: `python wait.py VARIABLE...`.

A variable holds a URL or host:port[,host:port]. Says at the start, then every ten seconds, who is waited for. Exit code 1 after ten
minutes.
"""

import os
import re
import socket
import sys
import time

LIMIT_S = 600.0
SAY_EVERY_S = 10.0
PAUSE_S = 1.0
DEFAULT_PORTS = {"postgresql": 5432, "redis": 6379, "rediss": 6379, "http": 80, "https": 443, "ws": 80, "wss": 443}


def addresses(text: str) -> list[tuple[str, int]]:
    """Host and port of each server that a value names. User and password are left out."""
    scheme, mark, rest = text.partition("://")
    authority = re.split(r"[/?#]", rest if mark else text, maxsplit=1)[0].rpartition("@")[2]
    found = []
    for part in filter(None, authority.split(",")):
        host, port = re.fullmatch(r"(\[[^]]+\]|[^:]+)(?::(\d+))?", part).groups()
        found.append((host.strip("[]"), int(port or DEFAULT_PORTS[scheme.partition("+")[0]])))
    return found


def accepts(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def main(names: list[str]) -> int:
    """0 when each variable has a server that accepts; 1 when the time is up."""
    started_s = time.monotonic()
    said_s = -SAY_EVERY_S
    missing = {name: addresses(os.environ[name]) for name in names}
    while missing:
        missing = {name: servers for name, servers in missing.items() if not any(accepts(*server) for server in servers)}
        waited_s = time.monotonic() - started_s
        if missing and waited_s > LIMIT_S:
            print(f"gave up after {waited_s:.0f} s", file=sys.stderr)
            return 1
        if missing and waited_s - said_s >= SAY_EVERY_S:
            said_s = waited_s
            where = ", ".join(f"{host}:{port}" for servers in missing.values() for host, port in servers)
            print(f"waiting for {where} since {waited_s:.0f} s", file=sys.stderr, flush=True)
        if missing:
            time.sleep(PAUSE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
