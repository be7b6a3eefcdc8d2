"""What runs on a home: read from the records of the children and asked of the processes themselves. Called by `tandem status` and `up`."""

import time
from dataclasses import dataclass
from pathlib import Path

from tandem.local.probes import http_ready, tcp_ready
from tandem.local.records import Record, family, memory_bytes, read_records

_LOOK_S = 0.5  # each look asks every child


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One child as it is now."""

    name: str
    pid: int
    port: int
    alive: bool
    why_not_ready: str | None
    memory_bytes: int
    uptime_s: float
    log: str


def process_status(record: Record) -> ProcessStatus:
    """Look at one child."""
    alive = record.process() is not None
    reason = "it has ended" if not alive else http_ready(record.ready_url) if record.ready_url else tcp_ready(record.port)
    return ProcessStatus(
        name=record.name,
        pid=record.pid,
        port=record.port,
        alive=alive,
        why_not_ready=reason,
        memory_bytes=sum(memory_bytes(process) for process in family([record])) if alive else 0,
        uptime_s=time.time() - record.started_s if alive else 0.0,
        log=record.log,
    )


def unready(home: Path, *, within_s: float) -> list[str]:
    """Names of the children that serve something and are not ready, as soon as there is none, else when the time is over."""
    deadline_s = time.monotonic() + within_s
    while names := [one.name for one in statuses(home) if one.port and one.why_not_ready is not None]:
        if time.monotonic() > deadline_s:
            break
        time.sleep(_LOOK_S)
    return names


def statuses(home: Path) -> list[ProcessStatus]:
    """All children of a home that were started and not stopped, in order of port."""
    return sorted((process_status(record) for record in read_records(home / "run")), key=lambda s: s.port)
