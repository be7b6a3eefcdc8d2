"""Child processes: started with a log file and an environment, waited for, restarted, stopped. Called by platform.py and the tests.

Each child leads a process group of its own, so that Ctrl-C in the terminal reaches only us and we decide the order of the end.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

import psutil

from tandem.domain.errors import InvariantBroken, Permanent
from tandem.local.probes import http_ready, require_free_port, tcp_ready
from tandem.local.records import Record, family, forget, kill_families, memory_bytes, write_record

STOP_GRACE_S = 10.0  # what the services promise
_POLL_S_MIN, _POLL_S_MAX = 0.02, 0.25
_LOG_LINES = 12
_LOG_TAIL_BYTES = 16_384
_LOG_BYTES_MAX = 20 << 20  # an older log is moved aside once, so that a home that lives long does not fill the disk


class StopPhase(IntEnum):
    """The order of the end: who uses a server ends before it."""

    SERVICE = 0
    MARKET = 1
    STORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The unprivileged user that a child runs as when we are root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start and how to tell that it is ready."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # on top of ours
    cwd: Path | None = None
    port: int = 0
    ready_url: str = ""  # answers 200 when ready; empty: ready when the port accepts, or, without a port, at once
    probe: Callable[[], str | None] | None = None  # a better question than the two above: None when ready, else why not
    stop_signal: signal.Signals = signal.SIGTERM
    stop_phase: StopPhase = StopPhase.SERVICE
    user: User | None = None
    ends: bool = False  # by itself, when its work is done

    def why_not_ready(self) -> str | None:
        """None when ready, else the reason."""
        if self.probe is not None:
            return self.probe()
        if self.ready_url:
            return http_ready(self.ready_url)
        return tcp_ready(self.port) if self.port else None


class ChildFailed(Permanent):
    """A child could not be started, did not become ready, or died. The message holds the last lines of its log."""


class Child:
    """A started child."""

    def __init__(self, command: Command, popen: "subprocess.Popen[bytes]", log: Path, restarts: int) -> None:
        self.command, self.popen, self.log, self.restarts = command, popen, log, restarts
        self.was_ready = False
        self.record = Record(
            name=command.name,
            pid=popen.pid,
            started_s=psutil.Process(popen.pid).create_time(),
            port=command.port,
            ready_url=command.ready_url,
            stop_signal=int(command.stop_signal),
            stop_phase=int(command.stop_phase),
            log=str(log),
        )

    @property
    def name(self) -> str:
        """The name of its command."""
        return self.command.name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the number of a signal that ended it."""
        return self.popen.poll()

    def memory_bytes(self) -> int:
        """Memory of it and its descendants, what they share counted once."""
        return sum(memory_bytes(process) for process in family([self.record]))

    def epitaph(self) -> str:
        """How it ended and the last lines of its log."""
        code = self.exit_code
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}; end of {self.log}:\n{last_lines(self.log)}"


class Children:
    """All children of one home. Every method may be called from any thread."""

    def __init__(self, home: Path, *, grace_s: float = STOP_GRACE_S) -> None:
        self._grace_s = grace_s
        self.run_dir, self.log_dir = home / "run", home / "logs"
        for folder in (self.run_dir, self.log_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._closing = False
        # KeyboardInterrupt reaches only the main thread: started from another one, a child is always registered before we can be stopped.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")

    def all(self) -> list[Child]:
        """The children in the order of their start."""
        with self._lock:
            return list(self._children.values())

    def get(self, name: str) -> Child:
        """The child of this name. KeyError if there is none."""
        with self._lock:
            return self._children[name]

    def start(self, command: Command) -> Child:
        """Start a child. Raises PortTaken, ChildFailed."""
        return self._submit(command, 0)

    def restart(self, child: Child) -> Child:
        """Start a dead child again by the same command, once what it has left behind is ended."""
        self._end([child])
        return self._submit(child.command, child.restarts + 1)

    def _submit(self, command: Command, restarts: int) -> Child:
        if self._closing:
            raise ChildFailed(f"{command.name} is not started: the platform is stopping")
        return self._spawner.submit(self._spawn, command, restarts).result()

    def _spawn(self, command: Command, restarts: int) -> Child:
        with self._lock:
            if self._closing:
                raise ChildFailed(f"{command.name} is not started: the platform is stopping")
            if (old := self._children.get(command.name)) is not None and old.exit_code is None:
                raise ChildFailed(f"{command.name} is running already (pid {old.pid})")
            if command.port:
                require_free_port(command.port, command.name)
            log = self.log_dir / f"{command.name}.log"
            child = Child(command, _popen(command, log), log, restarts)
            self._children.pop(command.name, None)  # so that a restarted child counts as the youngest
            self._children[command.name] = child
            write_record(self.run_dir, child.record)
            return child

    def wait_ready(self, names: Iterable[str], timeout_s: float) -> None:
        """Return when all are ready. Raises ChildFailed when one dies or is not ready in time, with the reason and the end of its log."""
        deadline = time.monotonic() + timeout_s
        for name in names:
            child = self.get(name)
            pause_s = _POLL_S_MIN
            while (reason := child.command.why_not_ready()) is not None:
                if self._closing:
                    raise ChildFailed(f"{name} is not awaited any more: the platform is stopping")
                if child.exit_code is not None:
                    raise ChildFailed(child.epitaph())
                if time.monotonic() > deadline:
                    end = last_lines(child.log)
                    raise ChildFailed(f"{name} is not ready after {timeout_s:.0f} s: {reason}; end of {child.log}:\n{end}")
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _POLL_S_MAX)
            child.was_ready = True

    def run(self, command: Command, timeout_s: float) -> None:
        """Start a child that ends by itself, and wait for its end. Raises ChildFailed if it fails or takes too long."""
        child = self.start(replace(command, ends=True))
        deadline = time.monotonic() + timeout_s
        while child.exit_code is None:
            if time.monotonic() > deadline:
                self.stop(command.name)
                raise ChildFailed(f"{command.name} has not ended within {timeout_s:.0f} s; end of {child.log}:\n{last_lines(child.log)}")
            time.sleep(_POLL_S_MIN)
        if self._closing:
            raise ChildFailed(f"{command.name} was stopped")
        if child.exit_code:
            raise ChildFailed(child.epitaph())
        self.stop(command.name)

    def dead(self) -> list[Child]:
        """Children that ended although nobody asked them to."""
        with self._lock:
            return [] if self._closing else [c for c in self._children.values() if c.exit_code is not None and not c.command.ends]

    def stop(self, name: str) -> None:
        """Stop one child, or only forget it when it has ended. Nothing happens if there is none of this name."""
        with self._lock:
            child = self._children.pop(name, None)
        if child is not None:
            self._end([child])

    def stop_all(self) -> None:
        """Stop all children, phase by phase; none can be started afterwards. Raises InvariantBroken if a process survives SIGKILL."""
        with self._lock:
            self._closing = True
            children, self._children = list(self._children.values()), {}
        for phase in StopPhase:
            self._end([child for child in children if child.command.stop_phase == phase])
        self._spawner.shutdown(wait=False)

    def _end(self, children: Sequence[Child]) -> None:
        """Ask, wait, then kill what is left of the child, its group and its descendants."""
        if not children:
            return
        everyone = family(child.record for child in children)
        for child in children:
            if child.exit_code is None:
                child.popen.send_signal(child.command.stop_signal)
        deadline = time.monotonic() + self._grace_s
        while time.monotonic() < deadline and any(child.exit_code is None for child in children):
            time.sleep(_POLL_S_MIN)
        for child in children:  # by Popen, which alone may wait for its process: else the exit code is lost
            if child.exit_code is None:
                child.popen.kill()
                child.popen.wait()
        own = {child.pid for child in children}
        if survivors := kill_families((child.record for child in children), (process for process in everyone if process.pid not in own)):
            raise InvariantBroken(f"processes {survivors} survived SIGKILL")
        for child in children:
            forget(self.run_dir, child.record)


def last_lines(log: Path, lines: int = _LOG_LINES) -> str:
    """The last lines of a log file, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (nothing was logged)"


def _popen(command: Command, log: Path) -> "subprocess.Popen[bytes]":
    """Start it. Raises ChildFailed when the program is missing or we may not become its user."""
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as out:
        try:
            return subprocess.Popen(  # noqa: S603  argv comes from our own modules, never from a shell
                command.argv,
                env={**os.environ, **_NO_PROXY, **command.env},
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=command.user.uid if command.user else None,
                group=command.user.gid if command.user else None,
                extra_groups=() if command.user else None,
            )
        except OSError as error:
            raise ChildFailed(f"{command.name} cannot be started: {command.argv[0]}: {error.strerror}") from error


def _no_proxy() -> dict[str, str]:
    """The children talk to each other on this machine: no proxy of the environment may come between."""
    hosts = [h for h in os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",") if h]
    value = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))
    return {"NO_PROXY": value, "no_proxy": value}


_NO_PROXY = _no_proxy()
