"""The replay gate's runs: real processes that stand in for the check; what they print decides, and how they die does not."""

import sys
import threading
import time

import pytest

from rollout_shapes import V7, V8
from tandem.domain.forecasts import ModelRef
from tandem.operator.replays import ReplayRuns, read_outcome

PASSED = '{"passed": true, "digest": "abc", "reason": "same"}'


def runs(script: str) -> tuple[ReplayRuns, threading.Semaphore]:
    """Runs of this Python script, and what is released at the end of each."""
    ended = threading.Semaphore(0)
    return ReplayRuns(lambda _: ended.release(), command=lambda model: (sys.executable, "-c", script, model.version)), ended


def test_a_run_gives_its_verdict_and_is_not_repeated() -> None:
    """One process for a version, however often it is asked for."""
    made, ended = runs(f"print('a library says hello'); print('''{PASSED}''')")
    assert made.result(V7) is None
    made.start(V7)
    assert ended.acquire(timeout=30)
    check = made.result(V7)
    assert check is not None
    assert (check.passed, check.digest, check.reason) == (True, "abc", "same")
    made.start(V7)
    assert not ended.acquire(timeout=0.3)


def test_runs_go_one_after_the_other() -> None:
    """A second one is not started while the first is in hand: it is asked for again at the next look."""
    made, ended = runs(f"import sys, time\nif sys.argv[1] == '7': time.sleep(1)\nprint('''{PASSED}''')")
    made.start(V7)
    made.start(V8)
    assert ended.acquire(timeout=30)
    assert made.result(V7) is not None
    assert made.result(V8) is None
    made.start(V8)
    assert ended.acquire(timeout=30)
    assert made.result(V8) is not None


def test_a_run_that_dies_is_no_verdict() -> None:
    """Its last words are told, and it is not tried again at once."""
    made, ended = runs("import sys; sys.exit('no route to MLflow')")
    made.start(V7)
    assert ended.acquire(timeout=30)
    assert made.result(V7) is None
    assert "no route to MLflow" in made.trouble(V7)
    made.start(V7)
    assert not ended.acquire(timeout=0.3)


def test_stopping_ends_a_run_in_hand() -> None:
    """The operator does not wait for it; nothing starts any more."""
    made, ended = runs("import time; time.sleep(60)")
    made.start(V7)
    limit_s = time.monotonic() + 30
    while made._process is None and time.monotonic() < limit_s:
        time.sleep(0.01)
    made.stop()
    assert ended.acquire(timeout=30)
    assert made.result(V7) is None
    made.start(V8)
    assert not ended.acquire(timeout=0.3)


def test_a_program_that_is_not_there_is_no_verdict() -> None:
    """The gate waits and says why."""
    ended = threading.Event()
    made = ReplayRuns(lambda _: ended.set(), command=lambda _: ("/nonexistent/python",))
    made.start(V7)
    assert ended.wait(30)
    assert "could not be started" in made.trouble(V7)


@pytest.mark.parametrize(
    ("code", "output", "passed", "words"),
    [
        (0, PASSED, True, ""),
        (1, '{"passed": false, "digest": "x", "reason": "differs at bar 3"}', False, ""),
        (1, '{"passed": null, "reason": "MLflow is away"}', None, "MLflow is away"),
        (1, "", None, "code 1"),
        (0, "[1]", None, "no verdict"),
        (0, "not JSON", None, "not JSON"),
        (-9, '{"digest": "x"}', None, "code -9"),
    ],
)
def test_what_a_run_printed_is_read_strictly(code: int, output: str, passed: bool | None, words: str) -> None:
    """Only true and false are verdicts."""
    check, trouble = read_outcome(code, output, "")
    assert (check.passed if check else None) is passed
    assert words in trouble


def test_a_result_belongs_to_name_version_and_digest() -> None:
    """The same number with another content is another model."""
    made, ended = runs(f"print('''{PASSED}''')")
    made.start(V7)
    assert ended.acquire(timeout=30)
    assert made.result(ModelRef(name=V7.name, version=V7.version, digest="other")) is None
