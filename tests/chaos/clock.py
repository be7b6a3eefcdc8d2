"""A wrong wall clock for one service: its process reads from a file how many seconds it is off, at its start and whenever it is told to.

Every way of Python to ask for the time of day is off, those that were bound before included; monotonic clocks are not, as on a machine
whose clock somebody sets. What is compiled (librdkafka, libpq, the JVM) keeps the right time, as on other machines. Used by launch.py.
"""

import runpy
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import time_machine

LOOK = signal.SIGUSR1


class Clock:
    """The clock of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._travel: time_machine.travel | None = None

    def look(self) -> None:
        """Be as far off as the file says; right without one."""
        if self._travel is not None:
            self._travel.stop()
            self._travel = None
        seconds = float(self._path.read_text()) if self._path.exists() else 0.0
        if seconds:
            self._travel = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)
            self._travel.start()


def follow(path: Path) -> None:
    """From now on the file rules this process's clock; LOOK says that it has changed."""
    clock = Clock(path)

    def told(number: int, frame: FrameType | None) -> None:
        clock.look()

    signal.signal(LOOK, told)
    clock.look()


def main(arguments: list[str]) -> None:
    """`python -m chaos.clock FILE MODULE OPTIONS...`: be the module, under the file's clock."""
    path, module, *options = arguments
    follow(Path(path))
    sys.argv = [module, *options]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
