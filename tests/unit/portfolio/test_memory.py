"""Memory of a process that trades in one session after the other."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from tandem.portfolio.memory import settle_memory, tidy_memory


class Ring:
    """Holds itself: only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_a_session_leaves_is_gone_when_the_next_one_begins() -> None:
    """While a session runs its parts are passed over by collections; that must not keep them for ever."""
    ring = Ring()
    settle_memory()
    seen = weakref.ref(ring)
    assert gc.get_freeze_count() > 0

    del ring
    gc.collect()
    assert seen() is not None

    settle_memory()
    assert seen() is None


def test_between_bars_young_garbage_goes_and_the_rest_is_not_looked_at_again() -> None:
    settle_memory()
    frozen = gc.get_freeze_count()
    tidy_memory()
    assert gc.get_freeze_count() == frozen  # nothing to do yet

    gc.disable()
    try:
        kept = [[] for _ in range(20_000)]
        ring = Ring()
        seen = weakref.ref(ring)
        del ring
        tidy_memory()
    finally:
        gc.enable()
    assert seen() is None
    assert gc.get_freeze_count() >= frozen + len(kept)
    assert gc.get_count()[0] < 10_000
