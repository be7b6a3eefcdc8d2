"""A service of ours as a child process, as an operator starts it: environment in, HTTP for its health, SIGTERM to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

T = TypeVar("T")
_WAIT_S = 180.0  # a busy machine compiles every file first, and has other things to do; only what never comes waits for so long
_ANSWER_S = 60.0  # of a process that gets its turn late
STOP_S = 10.0  # what every service promises


@dataclass
class Service:
    """A running child."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def why_not_ready(self) -> str | None:
        """What /readyz says; None when ready."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=_ANSWER_S).json()["reason"]
        except httpx.TransportError as error:
            return f"no answer: {error}"

    def metrics(self) -> str:
        """The text of /metrics."""
        return httpx.get(f"{self.url}/metrics", timeout=_ANSWER_S).text

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def wait_until(condition: Callable[[], T], what: str, service: Service | None = None) -> T:
    """Poll until the condition holds, and what it was then; fails with the child's log."""
    deadline_s = time.monotonic() + _WAIT_S
    while not (found := condition()):
        dead = service is not None and service.process.poll() is not None
        if dead or time.monotonic() > deadline_s:
            log = service.log.read_text() if service else ""
            pytest.fail(f"{'the process ended before' if dead else 'waited in vain for'} {what}\n{log[-4000:]}", pytrace=False)
        time.sleep(0.1)
    return found


def command(name: str, program: str = "") -> list[str]:
    """How a service is started; program: Python that stands for its module."""
    return [sys.executable, *(("-c", program) if program else ("-m", f"tandem.{name}.main"))]


@contextmanager
def running(name: str, port: int, environ: Mapping[str, str], folder: Path, program: str = "") -> Iterator[Service]:
    """The service, killed in the end if the test has not stopped it. program: see `command`."""
    log = folder / f"{name}-{port}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(command(name, program), env={**os.environ, **environ, "TANDEM_PORT": str(port)}, stdout=out, stderr=out)
    try:
        yield Service(process=process, url=f"http://127.0.0.1:{port}", log=log)
    finally:
        process.kill()
        process.wait()
