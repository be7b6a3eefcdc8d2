"""What is done to a process from the outside: signals, and how far its files may grow. Called by stage.py."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path


def limit_files(pid: int, bytes_max: int | None) -> None:
    """No file of a process may grow beyond so many bytes; None: any may. Postgres runs as another user, who must ask for it: not root."""
    with suppress(FileNotFoundError):  # it has ended meanwhile
        owner = Path(f"/proc/{pid}").stat()
        as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        limit = "unlimited" if bytes_max is None else bytes_max
        subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={limit}:"], capture_output=True, check=False, **as_owner)


def send(pid: int, number: int) -> None:
    """A signal."""
    with suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, number)
