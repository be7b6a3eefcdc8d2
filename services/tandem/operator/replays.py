"""The replay gate's runs: one process each, so that a model that crashes or eats memory takes nothing with it.

A run says passed, failed, or nothing: a server that was away, a limit that was reached and a process that was killed are no verdict, and
the run is made again. Called by sectors.py; what a run does is forecaster/replay_check.py.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from tandem.domain.forecasts import ModelRef
from tandem.rollout.observed import ReplayCheck

log = structlog.get_logger()
LIMIT_S = 600.0  # the recorded span of a training is replayed in seconds; imports on a busy core take most of it
AGAIN_S = 30.0  # after a run without a verdict
_RESULTS_MAX = 256
_OUTPUT_CHARACTERS_MAX = 400


def replay_command(model: ModelRef) -> tuple[str, ...]:
    """How a run is started; it prints one JSON object with passed, digest and reason."""
    return (sys.executable, "-m", "tandem.forecaster.replay_check", "--model", model.name, "--version", model.version)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A run that ended: the verdict, or why there is none and from when on to try again."""

    check: ReplayCheck | None
    trouble: str
    ended_s: float


class ReplayRuns:
    """Runs one check at a time, each at most once; results are kept in memory: after a restart a check runs again and says the same."""

    def __init__(self, done: Callable[[ModelRef], None], *, command: Callable[[ModelRef], Sequence[str]] = replay_command) -> None:
        """done: called from another thread when a run has ended, with or without a verdict."""
        self._done, self._command = done, command
        self._attempts: dict[ModelRef, _Attempt] = {}
        self._running: ModelRef | None = None
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def result(self, model: ModelRef) -> ReplayCheck | None:
        """The verdict; None while there is none."""
        attempt = self._attempts.get(model)
        return attempt.check if attempt else None

    def trouble(self, model: ModelRef) -> str:
        """Why the last run ended without a verdict; "" when it did not."""
        attempt = self._attempts.get(model)
        return attempt.trouble if attempt else ""

    def start(self, model: ModelRef) -> None:
        """Run the check, unless it runs, has a verdict, has just been tried, or another one is in hand: then ask again at the next look."""
        with self._lock:
            attempt = self._attempts.get(model)
            waits = attempt is not None and (attempt.check is not None or time.monotonic() - attempt.ended_s < AGAIN_S)
            if self._running is not None or waits or self._stopped:
                return
            self._running = model
        threading.Thread(target=self._run, args=(model,), name=f"replay-{model.version}", daemon=True).start()

    def stop(self) -> None:
        """End a run in hand; none starts any more."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()

    def _run(self, model: ModelRef) -> None:
        check, trouble = self._outcome(model)
        log.info("replay_checked", model=model.name, version=model.version, passed=check and check.passed, trouble=trouble)
        with self._lock:
            self._attempts[model] = _Attempt(check, trouble, time.monotonic())
            self._running = self._process = None
            while len(self._attempts) > _RESULTS_MAX:
                self._attempts.pop(next(iter(self._attempts)))
        self._done(model)

    def _outcome(self, model: ModelRef) -> tuple[ReplayCheck | None, str]:
        with self._lock:
            if self._stopped:
                return None, "the operator stops"
            try:
                process = subprocess.Popen(self._command(model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603  (ours)
            except OSError as error:
                return None, f"the replay could not be started: {error}"
            self._process = process
        try:
            output, errors = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, f"the replay took longer than {LIMIT_S:.0f} s"
        return read_outcome(process.returncode, output, errors)


def read_outcome(code: int, output: str, errors: str) -> tuple[ReplayCheck | None, str]:
    """The verdict in what a run printed, or why there is none. The last line counts: libraries may print before it."""
    line = output.strip().rpartition("\n")[2]
    try:
        document = json.loads(line)
        check = ReplayCheck(passed=document["passed"], digest=document.get("digest") or "", reason=document.get("reason") or "")
    except (ValueError, KeyError, TypeError):
        said = (errors.strip() or output.strip())[-_OUTPUT_CHARACTERS_MAX:]
        return None, f"the replay ended with code {code} and no verdict: {said or 'it printed nothing'}"
    if not isinstance(check.passed, bool):
        return None, f"the replay gave no verdict: {check.reason or 'it printed no reason'}"
    return check, ""
