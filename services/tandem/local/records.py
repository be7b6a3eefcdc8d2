"""What runs, written down: one JSON file for each child under home/run, so that the next command finds what a killed supervisor left.

A pid alone proves nothing, since the kernel uses it again: a record counts only while the process of that pid started when it says.
"""

import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_SAME_START_S = 3.0  # the start is derived from the time of boot, which moves when the clock is set; no pid comes back that fast
_POLL_S = 0.02
_GONE_S = 5.0  # SIGKILL needs only a schedule; more means a process stuck in the kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One child that was started. It leads a process group of its own."""

    name: str
    pid: int
    started_s: float  # Unix time, as the kernel tells it
    port: int
    ready_url: str  # answers 200 when ready; empty: ready when the port accepts
    stop_signal: int
    stop_phase: int
    log: str

    def process(self) -> psutil.Process | None:
        """The process, None if it has ended. A zombie has ended."""
        process = self.holder()
        return process if process is not None and _lives(process) else None

    def holder(self) -> psutil.Process | None:
        """Who has the pid, while that is the child: until somebody has waited for it, an ended one keeps its pid."""
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.started_s) <= _SAME_START_S else None
        except psutil.NoSuchProcess:
            return None


def write_record(folder: Path, record: Record) -> None:
    """Store or replace the record of this name, all at once."""
    write_json(folder / f"{record.name}.child.json", asdict(record))


def read_records(folder: Path) -> tuple[Record, ...]:
    """All records, by start. A file that is no record (cut short by a full disk) is left out: its process cannot be known."""
    records = []
    for path in folder.glob("*.child.json"):
        with suppress(TypeError, ValueError, FileNotFoundError):
            records.append(Record(**json.loads(path.read_text())))
    return tuple(sorted(records, key=lambda r: r.started_s))


def forget(folder: Path, record: Record) -> None:
    """Remove the record of a child that has ended."""
    (folder / f"{record.name}.child.json").unlink(missing_ok=True)


def write_json(path: Path, document: object) -> None:
    """Write a file that only this user may read (it may hold a password), all at once."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(document, indent=1))
    partial.replace(path)


def family(records: Iterable[Record]) -> list[psutil.Process]:
    """All living processes that belong to these children: themselves, their groups and their descendants.

    Groups, because a descendant whose parent has ended belongs to init; descendants, because Postgres's have groups of their own.
    """
    leaders: dict[int, psutil.Process | None] = {r.pid: r.holder() for r in records}
    found: dict[int, psutil.Process] = {}
    for pid in psutil.pids():  # process_iter() remembers who had a pid earlier
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            # A foreign process that got the pid of an ended leader would lead a group of that number, too.
            if group in leaders and (leaders[group] is not None or not psutil.pid_exists(group)):
                found[pid] = psutil.Process(pid)
    for leader in leaders.values():
        with suppress(psutil.NoSuchProcess):
            if leader is not None:
                found |= {p.pid: p for p in (leader, *leader.children(recursive=True))}
    return [process for process in found.values() if _lives(process)]


def kill(processes: Iterable[psutil.Process]) -> list[int]:
    """SIGKILL, then wait. Returns the pids that survived; psutil refuses to signal a pid that was used again."""
    targets = list(processes)
    for process in targets:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return [p.pid for p in await_end(targets, _GONE_S)]


def kill_families(records: Iterable[Record], known: Iterable[psutil.Process] = ()) -> list[int]:
    """SIGKILL for these, and for who belongs to the children by now: one that ends may have started another. The pids that survived."""
    ours, survivors = list(records), kill(known)
    while not survivors and (late := family(ours)):
        survivors = kill(late)
    return survivors


def await_end(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until the processes have ended; those that have not. One that only waits to be reaped by its parent, maybe init, has."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while left := [p for p in left if _lives(p)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_leftovers(folder: Path, grace_s: float) -> tuple[list[str], list[int]]:
    """Stop what a supervisor that is no more has left: stop signal, wait, SIGKILL, phase by phase.

    Returns the names of those that were still running and the pids that survived. Records of the ended ones are removed.
    """
    records = read_records(folder)
    ended, survivors = [], []
    for phase in sorted({r.stop_phase for r in records}):
        members = [r for r in records if r.stop_phase == phase]
        everyone = family(members)
        leaders = [(r, p) for r in members if (p := r.process()) is not None]
        ended += [record.name for record, _ in leaders]
        for record, process in leaders:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.Signals(record.stop_signal))
        await_end((process for _, process in leaders), grace_s)
        survivors += kill_families(members, everyone)
    for record in records:
        if record.process() is None:
            forget(folder, record)
    return ended, survivors


def memory_bytes(process: psutil.Process) -> int:
    """Memory of one process: its proportional share (PSS), so that what Postgres's processes share counts once; RSS where PSS is hidden."""
    try:
        try:
            return int(process.memory_full_info().pss)
        except psutil.AccessDenied:
            return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
