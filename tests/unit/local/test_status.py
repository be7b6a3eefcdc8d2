"""Who waits for the children of a home, and for how long."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from free_ports import free_port
from tandem.local.processes import Children, Command
from tandem.local.status import unready

# Listens when a file is there.
_LISTENS_LATE = """
import os, socket, sys, time
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Children of a home."""
    children = Children(tmp_path, grace_s=0.5)
    yield children
    children.stop_all()


def test_who_becomes_ready_is_waited_for(children: Children, tmp_path: Path) -> None:
    """And nobody waits for a job, which serves nothing."""
    port, told = free_port(), tmp_path / "listen"
    children.start(Command(name="late", argv=(sys.executable, "-c", _LISTENS_LATE, str(port), str(told)), port=port))
    children.start(Command(name="job", argv=("/bin/sh", "-c", "sleep 600"), ends=True))
    assert unready(tmp_path, within_s=0) == ["late"]
    told.touch()
    assert unready(tmp_path, within_s=120) == []


def test_who_never_becomes_ready_is_named(children: Children, tmp_path: Path) -> None:
    """A forecaster that hangs does not keep a shell for ever."""
    children.start(Command(name="hangs", argv=("/bin/sh", "-c", "sleep 600"), port=free_port()))
    assert unready(tmp_path, within_s=0.2) == ["hangs"]
