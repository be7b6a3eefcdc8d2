"""Between two seeds every server runs, has room for its files, and answers, whatever the faults have left; or it is said why not."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chaos.machine import limit_files
from chaos.mend import mend
from tandem.domain.errors import Permanent
from tandem.local.processes import Children, Command

_LIMIT_S = 60.0
# Appends a line at each start, ends while it starts as often as it is told, or stays without a word, then stays and says so.
_SERVER = """
import os, sys, time
starts, ready, deaths, deaf = sys.argv[1:]
with open(starts, "a") as file:
    file.write("start\\n")
if len(open(starts).readlines()) <= int(deaths):
    time.sleep(600) if deaf == "deaf" else sys.exit("no room for the log")
open(ready, "w").write(str(os.getpid()))
time.sleep(600)
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Of this test; ended with it."""
    found = Children(tmp_path / "home")
    yield found
    found.stop_all()


def server(tmp_path: Path, name: str, *, deaths: int, deaf: bool = False) -> Command:
    """One that ends so often before it is ready, or that runs so often and does not answer."""
    ready = tmp_path / f"{name}.ready"

    def why_not_ready() -> str | None:
        return None if ready.exists() and psutil.pid_exists(int(ready.read_text() or 0)) else "does not answer"

    argv = (sys.executable, "-c", _SERVER, str(tmp_path / f"{name}.starts"), str(ready), str(deaths), "deaf" if deaf else "")
    return Command(name=name, argv=argv, probe=why_not_ready)


def test_a_server_that_ends_again_while_it_starts_is_started_until_it_stays(tmp_path: Path, children: Children) -> None:
    for name, deaths in (("kafka", 3), ("redis", 0)):
        children.start(server(tmp_path, name, deaths=deaths))
    mend(children, ("kafka", "redis"), limit_s=_LIMIT_S)
    assert children.get("kafka").exit_code is None
    assert len((tmp_path / "kafka.starts").read_text().splitlines()) == 4
    assert len((tmp_path / "redis.starts").read_text().splitlines()) == 1


def test_a_server_that_runs_and_does_not_answer_is_killed_and_started_again(tmp_path: Path, children: Children) -> None:
    """Whatever it waits for, it has waited long enough."""
    deaf = children.start(server(tmp_path, "postgres", deaths=1, deaf=True))
    mend(children, ("postgres",), limit_s=_LIMIT_S, deaf_s=3.0)
    assert deaf.exit_code == -signal.SIGKILL
    assert children.get("postgres").exit_code is None


def test_a_server_without_room_and_one_that_is_paused_are_as_they_were(tmp_path: Path, children: Children) -> None:
    """A seed that got stuck has not lifted its faults."""
    child = children.start(server(tmp_path, "kafka", deaths=0))
    mend(children, ("kafka",), limit_s=_LIMIT_S)
    limit_files(child.pid, 4096)
    os.kill(child.pid, signal.SIGSTOP)
    mend(children, ("kafka",), limit_s=_LIMIT_S)
    assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert psutil.Process(child.pid).status() != psutil.STATUS_STOPPED


def test_a_server_that_does_not_come_back_is_named_with_how_it_ended(tmp_path: Path, children: Children) -> None:
    child = children.start(server(tmp_path, "kafka", deaths=1_000))
    child.popen.wait()  # on a busy machine it may live for longer than is waited below
    with pytest.raises(Permanent, match=r"kafka: .*\n?.*started \d+ times, kafka ended with exit code 1; end of .*") as raised:
        mend(children, ("kafka",), limit_s=1.0)
    assert "no room for the log" in str(raised.value)
