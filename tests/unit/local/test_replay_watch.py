"""What a run that waits for a replay's end makes of the answers that it gets: the recycler's, and the portfolio's while it has any."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tandem.domain.errors import Transient
from tandem.local.replay_watch import AWAY_S_MAX, ReplayWatch

_MARKET = {
    "state": "paused",
    "replay_id": "second",
    "progress": 0.25,
    "ticks_sent": 40,
    "watermark_ns": 7,
    "waiting_for": ["portfolio"],
}
_SUMMARY = {"open_pairs": 2, "equity_usd": "1000010.00"}
_BETWEEN = (503, {"detail": "not ready: stopped"})


class _World:
    """What stands at the two addresses, and the time."""

    def __init__(self) -> None:
        self.market: tuple[int, Any] = (200, _MARKET)
        self.summary: tuple[int, Any] = (200, _SUMMARY)
        self.now_s = 1_000.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Whatever is asked."""
        status, body = self.summary if request.url.path == "/v1/summary" else self.market
        if not status:
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(status, json=body)


@pytest.fixture
def world() -> _World:
    """Both are well."""
    return _World()


@pytest.fixture
def watch(world: _World) -> ReplayWatch:
    """Over it."""
    http = httpx.Client(transport=httpx.MockTransport(world.answer))
    return ReplayWatch(http, market="http://market", portfolio="http://portfolio/v1", now_s=lambda: world.now_s)


def test_both_are_told(watch: ReplayWatch) -> None:
    """The market's place and what the portfolio holds."""
    found = watch.look()
    assert (found.state, found.replay_id, found.share, found.ticks, found.event_ns) == ("paused", "second", 0.25, 40, 7)
    assert (found.waiting_for, found.open_pairs, found.equity_usd) == (("portfolio",), 2, "1000010.00")


@pytest.mark.parametrize("away", [_BETWEEN, (0, None), (502, {"detail": "the broker refuses"})])
def test_a_portfolio_between_two_sessions_ends_nothing(world: _World, watch: ReplayWatch, away: tuple[int, Any]) -> None:
    """When the replay begins again it loads its account anew and has no answer meanwhile: there is just no number of its own."""
    world.summary = away
    found = watch.look()
    assert (found.ticks, found.open_pairs, found.equity_usd) == (40, None, None)


def test_a_portfolio_that_does_not_come_back_ends_the_waiting(world: _World, watch: ReplayWatch) -> None:
    """After a limit, with its own reason."""
    world.summary = _BETWEEN
    watch.look()
    world.now_s += AWAY_S_MAX
    with pytest.raises(Transient, match="not ready: stopped") as found:
        watch.look()
    assert f"{AWAY_S_MAX:.0f} s" in str(found.value)


def test_each_absence_counts_by_itself(world: _World, watch: ReplayWatch) -> None:
    """One that came back in between has the whole limit again."""

    def between() -> None:
        world.summary = _BETWEEN
        watch.look()

    between()
    world.now_s += AWAY_S_MAX - 1
    world.summary = (200, _SUMMARY)
    watch.look()
    world.now_s += 2
    between()


@pytest.mark.parametrize(("answer", "said"), [((500, {"message": "broken"}), "500"), ((0, None), "connection refused")])
def test_without_the_recycler_nothing_is_known(world: _World, watch: ReplayWatch, answer: tuple[int, Any], said: str) -> None:
    """No replay, nothing to wait for."""
    world.market = answer
    calls: tuple[Callable[[], object], ...] = (watch.look, watch.start)
    for call in calls:
        with pytest.raises(Transient, match=said):
            call()
