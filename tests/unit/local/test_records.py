"""What a killed supervisor leaves is found and ended; nothing else is."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tandem.local.processes import Children, Command
from tandem.local.records import await_end, end_leftovers, forget, read_records, write_json, write_record

SLEEPER = ("/bin/sh", "-c", "sleep 600")


@pytest.fixture
def children(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Children of a home."""
    children = Children(tmp_path, grace_s=0.5)
    yield children
    children.stop_all()


def test_record_round_trip(children: Children) -> None:
    """What is read is what was written."""
    child = children.start(Command(name="one", argv=SLEEPER, ready_url="http://127.0.0.1:1/readyz"))
    assert read_records(children.run_dir) == (child.record,)
    assert child.record.process() is not None


def test_pid_that_was_used_again_is_not_ours(children: Children) -> None:
    """A record whose start time is another one names a foreign process: it is left alone, and the record removed."""
    child = children.start(Command(name="foreign", argv=SLEEPER))
    stale = replace(child.record, name="stale", started_s=child.record.started_s - 60)
    write_record(children.run_dir, stale)
    forget(children.run_dir, child.record)
    assert stale.process() is None
    assert end_leftovers(children.run_dir, grace_s=0.5) == ([], [])
    assert child.exit_code is None
    assert read_records(children.run_dir) == ()


def test_children_of_a_killed_supervisor_are_ended(tmp_path: Path) -> None:
    """kill -9 of the parent: the next command ends what is left, descendants included."""
    script = (
        "import sys, time; from pathlib import Path; from tandem.local.processes import Children, Command; "
        "c = Children(Path(sys.argv[1])).start(Command(name='left', argv=('/bin/sh', '-c', 'sleep 600 & sleep 600'))); "
        "print(c.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        left = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
    assert left.is_running()
    assert end_leftovers(tmp_path / "run", grace_s=30) == (["left"], [])
    assert not [p for p in psutil.process_iter() if p.pid == left.pid and p.status() != psutil.STATUS_ZOMBIE]
    assert end_leftovers(tmp_path / "run", grace_s=5) == ([], [])


@pytest.fixture
def orphan(children: Children) -> psutil.Process:
    """A descendant of the child `forker`, whose own parent has ended."""
    child = children.start(Command(name="forker", argv=("/bin/sh", "-c", "(sleep 600 & echo $!); exec sleep 600")))
    while not (told := child.log.read_text().strip()):
        assert child.exit_code is None
    return psutil.Process(int(told))


def test_who_has_the_pid_of_one_that_was_seen_before_is_ended_too(
    children: Children, orphan: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil.process_iter() remembers processes by pid: what it has seen there earlier is another one, and it refuses to end that."""
    before = psutil.Process(orphan.pid)
    before._ident = (orphan.pid, before.create_time() - 60)
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([before]))
    assert not before.is_running()
    children.stop("forker")
    assert await_end([orphan], timeout_s=60) == []


def test_what_a_leader_leaves_that_nobody_has_waited_for_is_ended_too(children: Children, orphan: psutil.Process) -> None:
    """Until we ask for its exit code its pid is still there, and is still its own."""
    leader = psutil.Process(children.get("forker").pid)
    leader.kill()
    assert await_end([leader], timeout_s=60) == []
    assert leader.status() == psutil.STATUS_ZOMBIE
    children.stop("forker")
    assert await_end([orphan], timeout_s=60) == []


def test_leftover_that_is_deaf_is_killed(tmp_path: Path) -> None:
    """The grace is bounded here, too."""
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    children = Children(tmp_path, grace_s=0.1)
    child = children.start(Command(name="deaf", argv=(sys.executable, "-c", script)))
    while "deaf" not in child.log.read_text():
        assert child.exit_code is None
    assert end_leftovers(children.run_dir, grace_s=0.2) == (["deaf"], [])
    child.popen.wait(timeout=60)
    children.stop_all()


def test_file_that_is_no_record_is_left_out(tmp_path: Path) -> None:
    """Cut short by a full disk, or of another version."""
    (tmp_path / "cut.child.json").write_text('{"name": "x", "pid":')
    (tmp_path / "other.child.json").write_text('{"name": "x"}')
    assert read_records(tmp_path) == ()


def test_files_are_readable_by_us_only(tmp_path: Path) -> None:
    """They may hold a password."""
    write_json(tmp_path / "x.json", {"a": 1})
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["x.json"]
