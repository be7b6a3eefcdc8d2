"""Servers that faults have left dead, paused or without room: all run and answer again. Called by servers.py before and after each seed."""

import signal
import time
from collections.abc import Sequence

import psutil

from chaos import machine
from tandem.domain.errors import Permanent
from tandem.local.processes import Child, Children, last_lines

WHOLE_S = 240.0  # a broker that was ended while it wrote reads its log again, on a machine that others use, too
DEAF_S = 75.0  # Postgres has been seen to wait for ever for a startup process of its own that had failed
_POLL_S = 0.1


def mend(children: Children, names: Sequence[str], *, limit_s: float = WHOLE_S, deaf_s: float = DEAF_S) -> None:
    """Let all of these run and answer. Raises Permanent, which tells of each what is wrong, how it ended, and the end of its log.

    What a fault has left may end a server once more while it starts: it is started as often as that takes. One that runs and does not
    answer is killed after deaf_s.
    """
    until, deaths = time.monotonic() + limit_s, dict[str, str]()
    deaf_from_s = dict.fromkeys(names, time.monotonic())
    while reasons := {name: reason for name in names if (reason := _mended(children, name, deaths)) is not None}:
        for name in (name for name in reasons if time.monotonic() > deaf_from_s[name] + deaf_s):
            kill(children.get(name))
            deaf_from_s[name] = time.monotonic()
        if time.monotonic() > until:
            told = (f"{name}: {reason}; {deaths.get(name) or last_lines(children.get(name).log)}" for name, reason in reasons.items())
            raise Permanent(f"not whole again within {limit_s:.0f} s: " + "\n".join(told))
        time.sleep(_POLL_S)


def kill(child: Child) -> None:
    """kill -9 of a server with all its processes, as a machine that loses its power would."""
    for pid in pids(child):
        machine.send(pid, signal.SIGKILL)
    child.popen.wait()


def pids(child: Child) -> tuple[int, ...]:
    """A server's processes, the first one before its children; none when it has ended."""
    try:
        process = psutil.Process(child.pid)
        return tuple(one.pid for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return ()


def _mended(children: Children, name: str, deaths: dict[str, str]) -> str | None:
    """None when it runs, has room for its files, and answers; else why not."""
    child = children.get(name)
    if child.exit_code is not None:
        deaths[name] = f"started {child.restarts + 1} times, {child.epitaph()}"
        try:
            child = children.restart(child)
        except Permanent as error:  # what is left of it still holds its port
            return str(error)
    for pid in pids(child):
        machine.send(pid, signal.SIGCONT)
        machine.limit_files(pid, None)
    return "has ended again" if child.exit_code is not None else child.command.why_not_ready()
