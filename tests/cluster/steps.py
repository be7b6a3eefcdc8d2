"""What a scenario is made of: steps that say what they do and how long it took, and waiting with a limit."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tandem.domain.errors import Permanent

_T = TypeVar("_T")
_POLL_S = 0.5
_started_s = float(os.environ.setdefault("TANDEM_CLUSTER_STARTED_S", str(time.monotonic())))  # of the outermost process


class Unmet(Permanent):
    """What a scenario expects has not come about."""


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what begins, and when it is done."""
    began_s = time.monotonic()
    say(f"{text} ...")
    yield
    say(f"  done in {time.monotonic() - began_s:.1f} s")


def say(text: str) -> None:
    """One line, after the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _started_s), 60)
    print(f"[{minutes:02d}:{seconds:02d}] {text}", flush=True)


def check(holds: object, text: str) -> None:
    """Raises Unmet with this text unless it holds."""
    if not holds:
        raise Unmet(text)


def eventually(ask: Callable[[], _T], what: str, timeout_s: float, told: Callable[[], str] = str) -> _T:
    """Poll until the answer is true, and return it. Raises Unmet with `told()`, what there was to see, when time is up."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := ask()):
        if time.monotonic() > deadline_s:
            raise Unmet(f"waited {timeout_s:.0f} s in vain for {what}\n{told()}")
        time.sleep(_POLL_S)
    return answer
