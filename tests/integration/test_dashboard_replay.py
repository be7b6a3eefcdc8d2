"""The replay's controls over a real recycler, drawn without a browser: what each of them changes there."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from recorded_cases import closes
from recycler_server import Server, serving, wait_until
from tandem.dashboard.snapshot import Sources, sources_of
from tandem.settings import Settings

_DAYS = [date(2024, 7, 1) + timedelta(days=day) for day in (0, 1, 2, 7, 8)]  # Monday to Wednesday, and the Monday and Tuesday after


def _controls(sources: "Sources") -> None:
    """Run by AppTest as a script of its own: it sees nothing of this module."""
    from tandem.dashboard.replay import replay
    from tandem.dashboard.snapshot import Snapshot

    replay(Snapshot(sources))


@pytest.fixture
def recycler(tmp_path: Path) -> Iterator[Server]:
    """Five daily bars, held; nobody follows them yet."""
    file = closes(tmp_path / "days.parquet", _DAYS, KO=[60.0, 61.0, 62.0, 63.0, 64.0])
    with serving(file, bar="1d", lockstep=True) as server:
        yield server


@pytest.fixture
def controls(recycler: Server) -> AppTest:
    """What the page shows of it."""
    settings = Settings(
        alpaca_api_url=recycler.http,
        alpaca_key_id="any",
        alpaca_secret_key="any",
        portfolio_url="http://127.0.0.1:1",
        postgres_url="postgresql://nobody@127.0.0.1:1/nothing",
    )
    return AppTest.from_function(_controls, default_timeout=120, args=(sources_of(settings),)).run()


def _press(controls: AppTest, label: str) -> AppTest:
    (button,) = [button for button in controls.button if button.label == label]
    return button.click().run()


def test_a_replay_begins_again_at_the_day_that_is_given(recycler: Server, controls: AppTest) -> None:
    """With another id, at the first bar that closes after it; without a confirmation nothing happens."""
    before = recycler.status()
    day = controls.date_input[0]
    assert (day.value, day.min, day.max) == (_DAYS[0], _DAYS[0], _DAYS[-1])
    day.set_value(date(2024, 7, 4))
    controls = _press(controls, "Begin there")
    assert [text.value for text in controls.warning] == ["Give a day, and confirm."]
    assert recycler.status()["replay_id"] == before["replay_id"]

    recycler.button("pause")
    controls.checkbox[0].check()
    controls = _press(controls, "Begin there")
    assert [text.value for text in controls.success] == ["Replay from 2024-07-04: done. Press *Refresh* to see where the replay is."]
    found = recycler.until(state="paused", bars=0)
    assert found["replay_id"] != before["replay_id"]
    recycler.button("step", bars=1)
    found = recycler.until(bars=1)
    assert found["watermark_ns"] // 86_400_000_000_000 == (_DAYS[3] - date(1970, 1, 1)).days


def test_a_replay_that_has_ended_may_begin_again(recycler: Server, controls: AppTest) -> None:
    """Only the buttons that make sense are there: nothing to pause, to step or to speed up."""
    assert [button.label for button in controls.button] == ["Start", "One bar", "Set the speed", "Begin there"]
    _press(controls, "Start")
    before = recycler.until(state="ended")
    controls = controls.run()
    assert [button.label for button in controls.button] == ["Begin there"]
    assert [metric.value for metric in controls.metric][:2] == ["ended", "5"]
    controls.checkbox[0].check()
    _press(controls, "Begin there")
    wait_until(lambda: recycler.status()["replay_id"] != before["replay_id"], "another replay")
    recycler.until(state="ended", bars=5)


def test_a_replay_that_somebody_follows_begins_again_when_its_bar_is_decided(recycler: Server, controls: AppTest) -> None:
    """The page names who follows; an order of the old bar never meets the new account."""
    recycler.button("participants", name="portfolio")
    recycler.button("start")
    before = recycler.until(state="waiting", bars=1)
    controls = controls.run()
    assert any("in lockstep (portfolio)" in text.value for text in controls.caption)
    controls.checkbox[0].check()
    _press(controls, "Begin there")
    assert recycler.status()["replay_id"] == before["replay_id"]
    old = {"name": "portfolio", "watermark_ns": before["watermark_ns"], "replay_id": before["replay_id"]}
    recycler.button("ack", **old)
    found = wait_until(
        lambda: (s := recycler.status())["replay_id"] != before["replay_id"] and s["state"] == "waiting" and s, "the first bar"
    )
    assert (found["bars"], found["waiting_for"]) == (1, ["portfolio"])
    assert recycler.button("ack", **old)["waiting_for"] == ["portfolio"], (
        "an acknowledgement of the replay that was left counts for nothing"
    )
