"""Children with real, tiny programs: start, readiness, death, restart, stop."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from free_ports import free_port
from tandem.local.probes import PortTaken
from tandem.local.processes import ChildFailed, Children, Command, StopPhase, last_lines
from tandem.local.records import await_end, read_records

SLEEPER = ("/bin/sh", "-c", "sleep 600")
_LIMIT_S = 60.0  # a machine that is busy starts a Python in seconds


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Children that are given half a second to end."""
    children = Children(tmp_path, grace_s=0.5)
    yield children
    children.stop_all()


def until(holds: Callable[[], bool], limit_s: float = _LIMIT_S) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_child_gets_our_environment_and_its_own_and_logs_to_its_file(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command adds comes on top of what we have; both outputs go to the log."""
    monkeypatch.setenv("OURS", "a")
    children.run(Command(name="echo", argv=("/bin/sh", "-c", "echo $OURS $OWN; echo wrong >&2"), env={"OWN": "b"}), timeout_s=_LIMIT_S)
    assert (children.log_dir / "echo.log").read_text() == "a b\nwrong\n"


def test_no_proxy_comes_between_processes_of_this_machine(children: Children) -> None:
    """A proxy of the environment must not see what goes to 127.0.0.1."""
    children.run(Command(name="env", argv=("/bin/sh", "-c", "echo $NO_PROXY $no_proxy")), timeout_s=_LIMIT_S)
    for value in (children.log_dir / "env.log").read_text().split():
        assert {"127.0.0.1", "localhost"} <= set(value.split(","))


def test_stop_ends_the_child_and_all_that_descends_from_it(children: Children) -> None:
    """Not only the child itself: its children too, also those that do not listen to it."""
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    child = children.start(Command(name="parent", argv=(sys.executable, "-c", script)))
    until(lambda: bool(child.log.read_text().strip()))
    grandchild = psutil.Process(int(child.log.read_text()))
    children.stop("parent")
    assert not psutil.pid_exists(child.pid)
    assert await_end([grandchild], timeout_s=_LIMIT_S) == []
    assert read_records(children.run_dir) == ()


def test_a_descendant_whose_parent_has_ended_is_found_too(children: Children) -> None:
    """It belongs to init by then, but still to the group."""
    child = children.start(Command(name="forker", argv=("/bin/sh", "-c", "(sleep 600 & echo $!) ; sleep 600")))
    until(lambda: bool(child.log.read_text().strip()))
    orphan = psutil.Process(int(child.log.read_text()))
    children.stop("forker")
    assert await_end([orphan], timeout_s=_LIMIT_S) == []


def test_who_is_started_on_the_way_out_is_ended_too(children: Children) -> None:
    """After we have looked who there is."""
    script = "trap 'sleep 600 & echo $!; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    child = children.start(Command(name="heir", argv=("/bin/sh", "-c", script)))
    until(lambda: "up" in child.log.read_text())
    children.stop("heir")
    heir = int(child.log.read_text().split()[1])
    assert not psutil.pid_exists(heir) or await_end([psutil.Process(heir)], timeout_s=5) == []


def test_child_that_ignores_the_signal_is_killed_after_the_grace(children: Children) -> None:
    """A deaf child costs the grace, not more."""
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = children.start(Command(name="deaf", argv=(sys.executable, "-c", script)))
    until(lambda: "deaf" in child.log.read_text())
    children.stop("deaf")
    assert child.exit_code == -signal.SIGKILL


def test_children_end_in_the_order_of_their_phases(tmp_path: Path) -> None:
    """Who uses a server ends before the server does; nobody is killed before he could say so."""
    children, told = Children(tmp_path, grace_s=_LIMIT_S), tmp_path / "order"
    script = "import signal, sys, time; signal.signal(15, lambda *_: (open(sys.argv[1], 'a').write(sys.argv[2]), sys.exit(0)))"
    for name, phase in (("store", StopPhase.STORE), ("service", StopPhase.SERVICE), ("market", StopPhase.MARKET)):
        argv = (sys.executable, "-c", f"{script}; print('up', flush=True); time.sleep(600)", str(told), f"{name} ")
        child = children.start(Command(name=name, argv=argv, stop_phase=phase))
        until(lambda child=child: "up" in child.log.read_text())  # type: ignore[misc]
    children.stop_all()
    assert told.read_text() == "service market store "


def test_nothing_starts_once_everything_stops(children: Children) -> None:
    """A thread that still starts things must not leave any behind."""
    children.stop_all()
    with pytest.raises(ChildFailed, match="is stopping"):
        children.start(Command(name="late", argv=SLEEPER))


def test_wait_ready_tells_how_a_child_died(children: Children) -> None:
    """Exit code and the last lines of the log, not only "not ready"."""
    children.start(Command(name="broken", argv=("/bin/sh", "-c", "echo the setting X is wrong; exit 7"), probe=lambda: "not yet"))
    with pytest.raises(ChildFailed, match=r"broken ended with exit code 7; end of .*broken\.log:\n  the setting X is wrong"):
        children.wait_ready(["broken"], timeout_s=_LIMIT_S)


def test_wait_ready_tells_why_a_child_is_not_ready_in_time(children: Children) -> None:
    """The probe's own reason and the limit."""
    children.start(Command(name="slow", argv=SLEEPER, probe=lambda: "still reading"))
    with pytest.raises(ChildFailed, match="slow is not ready after 0 s: still reading"):
        children.wait_ready(["slow"], timeout_s=0.1)


def test_missing_program_is_named(children: Children) -> None:
    """One line that says what could not be started."""
    with pytest.raises(ChildFailed, match="nothing cannot be started: /no/such/program: No such file"):
        children.start(Command(name="nothing", argv=("/no/such/program",)))


def test_taken_port_names_the_port_the_owner_and_the_option(children: Children) -> None:
    """The port is checked before the start, where we still know what it is for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pattern = rf"port {port} for redis is taken by \S+ \(pid {os.getpid()}\) \(this process\).*--port-base"
        with pytest.raises(PortTaken, match=pattern):
            children.start(Command(name="redis", argv=SLEEPER, port=port))
    assert children.all() == []


def test_child_is_ready_when_its_port_accepts(children: Children) -> None:
    """Without a better question, an accepted connection is the answer."""
    port = free_port()
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    children.start(Command(name="web", argv=argv, port=port))
    children.wait_ready(["web"], timeout_s=_LIMIT_S)
    children.stop("web")


def test_http_child_is_ready_only_at_200(children: Children) -> None:
    """A 404 of a server that listens is not ready."""
    port = free_port()
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    url = f"http://127.0.0.1:{port}"
    command = Command(name="web", argv=argv, port=port, cwd=children.log_dir, ready_url=f"{url}/absent")
    children.start(command)
    until(lambda: "404" in str(command.why_not_ready()))
    found = Command(name="web", argv=argv, port=port, ready_url=f"{url}/web.log")
    until(lambda: found.why_not_ready() is None)


def test_dead_child_is_seen_and_restarted_under_its_name(children: Children) -> None:
    """The restart is counted; a child that we stopped is not dead. What the dead one left, on its port maybe, is ended."""
    child = children.start(Command(name="worker", argv=("/bin/sh", "-c", "sleep 600 & echo $!; wait")))
    until(lambda: bool(child.log.read_text().strip()))
    left = psutil.Process(int(child.log.read_text()))
    assert children.dead() == []
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: children.dead() == [child])
    assert "worker was ended by SIGKILL" in child.epitaph()
    again = children.restart(child)
    assert (again.restarts, again.pid != child.pid, children.dead()) == (1, True, [])
    assert await_end([left], timeout_s=5) == []
    children.stop("worker")
    assert children.dead() == []


def test_tool_that_fails_or_hangs_is_reported(children: Children) -> None:
    """initdb, Maven and the like: their output is the reason."""
    with pytest.raises(ChildFailed, match="tool ended with exit code 3"):
        children.run(Command(name="tool", argv=("/bin/sh", "-c", "exit 3")), timeout_s=_LIMIT_S)
    with pytest.raises(ChildFailed, match="hanger has not ended within 0 s"):
        children.run(Command(name="hanger", argv=SLEEPER), timeout_s=0.1)
    assert not [record for record in read_records(children.run_dir) if record.name == "hanger"]


def test_memory_counts_descendants(children: Children) -> None:
    """A shell that only waits for a Python that holds 30 MB has more than 30 MB."""
    script = "import time; held = b'x' * (30 << 20); print('up', flush=True); time.sleep(600)"
    child = children.start(Command(name="big", argv=("/bin/sh", "-c", f'{sys.executable} -c "{script}"; true')))
    until(lambda: "up" in child.log.read_text())
    assert child.memory_bytes() > 30 << 20


def test_only_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    """The last lines, indented; a silent child is said to be silent."""
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(10_000)))
    assert last_lines(log, 2) == "  line 9998\n  line 9999"
    log.write_text("")
    assert last_lines(log) == "  (nothing was logged)"
