"""Ports that nobody listens on, for servers that start a moment later.

They lie outside the range from which the kernel takes a port for each outgoing connection: on a busy machine such a connection may get the
port between its draw and the server's start. None is given twice in a process, since who was given one may not listen on it yet.
"""

import random
import socket
from collections.abc import Iterable
from pathlib import Path

_FIRST = 20_000  # above what common servers listen on
_ENOUGH = 1_000
_TRIES = 10_000
PLATFORM = (*range(5), *range(10, 15), *range(20, 30))  # of tandem.local.endpoints.Ports: its servers, its services, ten forecasters

_given: set[int] = set()
_random = random.SystemRandom()  # a test may seed the common one; two runs beside each other must not draw the same


def free_port() -> int:
    """A port that nobody listens on."""
    return free_base((0,))


def free_base(offsets: Iterable[int] = PLATFORM) -> int:
    """A number that, with each of these added, is a port that nobody listens on; a platform's port base unless told otherwise."""
    offsets = tuple(offsets)
    within = outside(*kernel_range())
    for _ in range(_TRIES):
        base = _random.randrange(within.start, within.stop - max(offsets))
        ports = {base + offset for offset in offsets}
        if ports.isdisjoint(_given) and all(map(_is_free, ports)):
            _given.update(ports)
            return base
    raise RuntimeError(f"{_TRIES} draws of {len(offsets)} ports from {within.start} to {within.stop - 1}: each held a port that is in use")


def kernel_range() -> tuple[int, int]:
    """The first and the last port that the kernel takes for outgoing connections."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    return first, last


def outside(first: int, last: int) -> range:
    """The ports below the kernel's range, or above where there are more; all of them where a machine leaves hardly any."""
    widest = max(range(_FIRST, first), range(last + 1, 65_536), key=len)
    return widest if len(widest) >= _ENOUGH else range(_FIRST, 65_536)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
