"""What a promise of seconds is measured with: waiting for a processor is nobody's delay, all else is."""

import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_SCRIPT = """
import os, subprocess, sys, time
from stopwatch import Stopwatch
if sys.argv[1] == "beside":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
watch, until_s = Stopwatch(), time.monotonic() + 1
while time.monotonic() < until_s:
    time.sleep(1 if sys.argv[1] == "asleep" else 0)
print(watch.seconds())
if sys.argv[1] == "beside":
    other.kill()
    other.wait()
"""


def _measured_s(how: str) -> float:
    """Of a second in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT, how], cwd=_TESTS, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def test_who_shares_a_processor_with_another_has_had_part_of_the_time() -> None:
    tells = Path("/proc/self/schedstat").exists()
    assert (_measured_s("beside") < 0.9) == tells


def test_who_sleeps_is_not_in_line() -> None:
    assert _measured_s("asleep") >= 1
