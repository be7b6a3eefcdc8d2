"""How signals end us: as an exception on the way through the context managers, and not a second time while those clean up."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handlers = dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None]


def interrupt_on_signals() -> Handlers:
    """From now on SIGTERM and a closed terminal end us as Ctrl-C does. Returns what to restore; nothing outside the main thread."""
    return _set(_interrupt)


def restore(handlers: Handlers) -> None:
    """Put back what was before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def deaf() -> Iterator[None]:
    """Ignore the ending signals for a while; only the main thread may decide on them."""
    before = _set(signal.SIG_IGN)
    try:
        yield
    finally:
        restore(before)


def _set(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Handlers:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in _ENDING}


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
