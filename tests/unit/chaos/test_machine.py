"""What a chaos run does to the machine under a process happens to that process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.clock import LOOK
from chaos.machine import limit_files

_WRITER = (
    "import sys\nwith open(sys.argv[1], 'wb', 0) as f:\n  for line in sys.stdin:\n    f.write(b'x' * 4096)\n    print('ok', flush=True)\n"
)
_TELLER = """
import sys, time
from time import time as bound
for line in sys.stdin:
    print(time.time(), bound(), time.monotonic(), flush=True)
"""
_TESTS = Path(__file__).parents[2]
_NEAR_S = 0.5  # what a busy machine may take from asking for the right time to setting a wrong one by it


def _started(*arguments: str) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": str(_TESTS)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, env=env)


def _asked(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture
def teller(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that tells its clocks when asked, under the clock of a file."""
    (tmp_path / "teller.py").write_text(_TELLER)
    path = tmp_path / "clock"
    path.write_text("-5")
    process = _started(
        "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from chaos.clock import main; main([{str(path)!r}, 'teller'])"
    )
    yield process, path
    process.kill()
    process.communicate()


def test_a_full_disk_lets_nothing_grow_until_there_is_room_again(tmp_path: Path) -> None:
    process = _started("-c", _WRITER, str(tmp_path / "file"))
    assert _asked(process) == "ok"
    limit_files(process.pid, 4096)
    assert _asked(process) == ""
    _, complaint = process.communicate()
    assert "File too large" in complaint

    process = _started("-c", _WRITER, str(tmp_path / "file"))
    assert _asked(process) == "ok"
    limit_files(process.pid, 4096)
    limit_files(process.pid, None)
    assert _asked(process) == "ok"
    process.kill()
    process.communicate()


def test_a_wrong_clock_is_off_from_the_start_and_is_set_by_one_step(teller) -> None:
    """Every way to ask for the time of day is off, the monotonic clock is that of the machine."""
    process, path = teller
    _expect_off(process, -5)
    path.write_text("3.5")
    process.send_signal(LOOK)
    _expect_off(process, 3.5)
    path.write_text("0")
    process.send_signal(LOOK)
    _expect_off(process, 0)


def _expect_off(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Its clocks (time of day, the same bound before, monotonic) lie between what ours say before and after it is asked, but for so much.

    What passes between the readings says nothing about the clocks.
    """
    before_s = (time.time(), time.monotonic())
    day_s, bound_s, monotonic_s = map(float, _asked(process).split())
    after_s = (time.time(), time.monotonic())
    for told_s in (day_s, bound_s):
        assert before_s[0] + seconds - _NEAR_S <= told_s <= after_s[0] + seconds + _NEAR_S
    assert before_s[1] <= monotonic_s <= after_s[1]
