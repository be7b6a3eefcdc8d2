"""Faults of a seed are over while the market still runs, however fast it is."""

from collections.abc import Callable

import pytest

from chaos.happened import Stuck
from chaos.play import Play
from chaos.schedule import Fault, rest_bar

BARS = 60
BAR_S = 0.02  # a bar of a fast replay
SETTLE_BARS = 5  # what an opening may wait for its second leg


class Replay:
    """A market that passes a bar in BAR_S as far as it may, and the clock by which it does."""

    def __init__(self) -> None:
        self.now_s, self.bar, self._allowed = 0.0, 0, 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float, /) -> None:
        self.now_s += seconds
        self.bar = min(self.bar + round(seconds / BAR_S), self._allowed)

    def run_to(self, bar: int, meanwhile: Callable[[], None]) -> None:
        self._allowed = max(self._allowed, bar)
        while self.bar < bar:
            self.sleep(BAR_S)
            meanwhile()

    def let_go(self, bar: int | None) -> None:
        self._allowed = max(self._allowed, BARS if bar is None else bar)

    def until(self, what: str, reached: Callable[[], bool], limit_s: float) -> float:
        began_s = self.now_s
        while not reached():
            if self.now_s - began_s > limit_s:
                raise Stuck(what)
            self.sleep(BAR_S)
        return self.now_s - began_s


def fault(bar: int, lasts_ms: int, *, delay_ms: int = 0) -> Fault:
    """A halt."""
    told = {"kind": "halt_leg", "number": 17, "target": "exchange", "amount": 930, "neutral": False}
    return Fault(bar=bar, delay_ms=delay_ms, lasts_ms=lasts_ms, **told)  # type: ignore[arg-type]  # each is of its field's type


def played(*faults: Fault) -> list[tuple[int, int]]:
    """The bar at which each began, and that at which it ended."""
    replay, spans = Replay(), dict[Fault, tuple[int, int]]()

    def begin(one: Fault) -> Callable[[], None]:
        spans[one] = (replay.bar, -1)
        return lambda: spans.update({one: (spans[one][0], replay.bar)})

    Play(replay, begin, clock=replay).through(faults, BARS)
    replay.sleep(BARS * BAR_S)
    assert replay.bar == BARS
    return [spans[one] for one in faults]


@pytest.mark.parametrize("lasts_ms", [0, 10, 642, 60_000])
@pytest.mark.parametrize("bar", [2, 50, BARS - 6])
def test_bars_enough_to_settle_in_come_after_the_last_fault(bar: int, lasts_ms: int) -> None:
    """A halt of 642 ms at bar 50 of 60 would outlast the market: it waits, and goes on when the halt is over."""
    ((began, ended),) = played(fault(bar, lasts_ms, delay_ms=7))
    assert began >= bar
    assert BARS - ended >= SETTLE_BARS


def test_bars_pass_under_a_fault_that_lasts() -> None:
    """Also under one at the last bar at which any begins: the market is not held at the fault's own bar."""
    ((began, ended),) = played(fault(BARS - 6, 642))
    assert (began, ended) == (BARS - 6, BARS - 5)


def test_a_fault_that_is_over_early_ends_on_the_way_to_the_next() -> None:
    first, second = played(fault(4, 100), fault(40, 100))
    assert first[1] < second[0]


def test_what_is_not_over_when_a_seed_gets_stuck_is_lifted() -> None:
    """Nothing is left behind, though one of them cannot be ended."""
    replay, ended = Replay(), list[str]()

    def end() -> None:
        raise Stuck("the recycler is away")

    ends = iter((end, lambda: ended.append("halt")))
    play = Play(replay, lambda _: next(ends), clock=replay)
    with pytest.raises(Stuck):
        play.through((fault(4, 200_000), fault(4, 300_000)), BARS)
    play.lift()
    assert ended == ["halt"]


def test_a_short_replay_is_held_within_its_bars() -> None:
    assert [rest_bar(bars) for bars in (2, 3, 8, BARS)] == [2, 3, 3, BARS - 5]
