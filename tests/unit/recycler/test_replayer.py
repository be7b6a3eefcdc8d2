"""The replay's loop without its sockets: what becomes of those who follow it in lockstep when it begins again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from recorded_cases import CONFIG, closes
from tandem.domain.units import NS_PER_S
from tandem.recycler.app import Recycler
from tandem.recycler.options import MAX_SPEED, RecyclerOptions
from tandem.recycler.replayer import Replayer, State

_DAYS = [date(2024, 7, day) for day in (1, 2, 3)]
_LONG_S, _SHORT_S = 60.0, 0.05
_LOOKS_MAX = 20_000


@pytest.fixture
def options(tmp_path: Path) -> RecyclerOptions:
    """Three daily bars as fast as they are acknowledged, with the portfolio as the one who does."""
    return RecyclerOptions(
        data=(closes(tmp_path / "days.parquet", _DAYS, KO=[60.0, 61.0, 62.0]),),
        port=0,
        bar="1d",
        speed=MAX_SPEED,
        fees=CONFIG / "fees.yaml",
        lockstep=True,
        participants=("portfolio",),
        ack_limit_s=_LONG_S,
    )


def _played(options: RecyclerOptions, story: Callable[[Replayer], Awaitable[None]]) -> None:
    """Let a replay run beside what is done to it."""

    async def both() -> None:
        replayer = Recycler(options).replayer
        playing = asyncio.create_task(replayer.run())
        await story(replayer)
        playing.cancel()

    asyncio.run(both())


async def _until(holds: Callable[[], bool], pause_s: float = 0.0) -> None:
    for _ in range(_LOOKS_MAX):
        if holds():
            return
        await asyncio.sleep(pause_s)
    pytest.fail("never became true")


def test_a_seek_waits_for_who_is_deciding_a_bar(options: RecyclerOptions) -> None:
    """Orders of that bar are still of the account that they were decided for; then everybody is waited for anew."""

    async def story(replayer: Replayer) -> None:
        await _until(lambda: replayer.state is State.WAITING)
        first, reached_ns = replayer.replay_id, replayer.watermark_ns
        replayer.seek(reached_ns)
        for _ in range(100):
            await asyncio.sleep(0)
        assert (replayer.replay_id, replayer.waiting_for) == (first, ("portfolio",))
        replayer.acknowledge("portfolio", reached_ns)
        await _until(lambda: replayer.replay_id != first and replayer.state is State.WAITING)
        assert (replayer.bars, replayer.waiting_for) == (1, ("portfolio",))
        assert replayer.watermark_ns > reached_ns

    _played(options, story)


def test_a_seek_leaves_behind_who_does_not_answer(options: RecyclerOptions) -> None:
    """After the limit from which on a participant counts as late."""

    async def story(replayer: Replayer) -> None:
        await _until(lambda: replayer.state is State.WAITING)
        first = replayer.replay_id
        replayer.seek(0)
        await _until(lambda: replayer.replay_id != first, _SHORT_S / 10)
        await _until(lambda: replayer.state is State.WAITING)
        assert replayer.waiting_for == ("portfolio",)

    _played(replace(options, ack_limit_s=_SHORT_S), story)


def test_an_acknowledgement_of_a_replay_that_was_left_counts_for_no_other(options: RecyclerOptions) -> None:
    """It may name a later time than the new one has reached, and nobody would be waited for."""

    async def story(replayer: Replayer) -> None:
        await _until(lambda: replayer.state is State.WAITING)
        late_ns = replayer.watermark_ns + 10**9 * NS_PER_S
        replayer.acknowledge("portfolio", late_ns, replay_id="another")
        assert replayer.waiting_for == ("portfolio",)
        replayer.acknowledge("portfolio", replayer.watermark_ns, replay_id=replayer.replay_id)
        await _until(lambda: replayer.bars == 2)

    _played(options, story)


def test_after_its_end_a_replay_begins_again_for_all(options: RecyclerOptions) -> None:
    """Who followed the first one to its end follows the second from its first bar."""

    async def follow(replayer: Replayer) -> None:
        for _ in range(_LOOKS_MAX):
            replayer.acknowledge("portfolio", replayer.watermark_ns, replay_id=replayer.replay_id)
            if replayer.state is State.ENDED:
                return
            await asyncio.sleep(0)
        pytest.fail("never ended")

    async def story(replayer: Replayer) -> None:
        await follow(replayer)
        first = replayer.replay_id
        replayer.seek(0)
        await _until(lambda: replayer.replay_id != first and replayer.state is State.WAITING)
        assert (replayer.bars, replayer.waiting_for) == (1, ("portfolio",))
        await follow(replayer)
        assert replayer.bars == len(_DAYS)

    _played(options, story)
