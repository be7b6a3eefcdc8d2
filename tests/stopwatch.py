"""Seconds of a promise on a machine that others use, too: those in which somebody of the test stood in line for a processor do not count.

A promise of so many seconds is one of a machine that can run what is to run. Linux tells of each thread how long it was ready to run and
waited for its turn (/proc/PID/task/TID/schedstat, the second number); on a machine without other work that is next to nothing.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began_s, self._in_line_ns = time.monotonic(), _in_line_ns()

    def seconds(self) -> float:
        """So far, without what this process, its children and theirs have stood in line, the servers of the tests among them."""
        in_line_ns = sum(ns - self._in_line_ns.get(thread, 0) for thread, ns in _in_line_ns().items())
        return max(time.monotonic() - self._began_s - in_line_ns / 1e9, 0.0)


def _in_line_ns() -> dict[str, int]:
    """By thread; nothing where the system does not tell."""
    found = {}
    for pid in (os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))):
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended meanwhile
                found[str(thread)] = int(thread.read_text().split()[1])
    return found
