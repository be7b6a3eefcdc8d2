"""Two workers share a study in a real Postgres; one is killed in a trial; the study ends with just the trials that were asked for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psycopg2
import pytest

from tandem.adapters import postgres
from tandem.domain.errors import Transient
from tandem.trainer.tuning_study import SCHEMA, HeartbeatRule, Study

TRIALS = 12
_WORKER = """
import os, sys, time
from pathlib import Path
from tandem.trainer.tuning_study import HeartbeatRule, Study

url, name, folder, slow = sys.argv[1:]

def score(trial):
    value = (trial.suggest_float("x", 0, 1) - 0.7) ** 2
    (Path(folder) / f"{os.getpid()}-{trial.number}").touch()
    while len({path.name.split("-")[0] for path in Path(folder).iterdir()}) < 2:
        time.sleep(0.05)  # one that was up first would else do all the trials before the other has begun
    time.sleep(float(slow))
    return value

study = Study(url, name, about={"data": "one"}, first={"x": 0.5}, seed=1, heartbeat=HeartbeatRule(interval_s=1, grace_s=15))
print(study.run(score, 12, poll_s=0.2).trials)
"""


def _start(url: str, name: str, folder: Path, *, slow_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _WORKER, url, name, str(folder), str(slow_s)], stdout=subprocess.PIPE, text=True)


def _until(folder: Path, pattern: str, count: int, limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline, f"fewer than {count} trials of {pattern} within {limit_s} s"
        time.sleep(0.05)


def _load(url: str, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=_reading(url))


def _reading(url: str) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(postgres.sqlalchemy_url(url), engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}})


def test_workers_share_a_study_and_a_killed_ones_trial_is_done_by_another(postgres_url: str, tmp_path: Path) -> None:
    first, second = (_start(postgres_url, "shared", tmp_path, slow_s=slow) for slow in (600, 0.3))
    try:
        _until(tmp_path, f"{first.pid}-*", 1)
        _until(tmp_path, f"{second.pid}-*", 2)
        os.kill(first.pid, signal.SIGKILL)  # in the middle of its trial
        again = _start(postgres_url, "shared", tmp_path, slow_s=0.3)
        try:
            totals = [int(worker.communicate(timeout=180)[0]) for worker in (second, again)]
        finally:
            again.kill()
    finally:
        first.kill()
        second.kill()
        first.communicate()
    assert totals == [TRIALS, TRIALS]
    trials = _load(postgres_url, "shared").get_trials()
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == TRIALS
    assert states.count("FAIL") == 1
    assert states.count("RUNNING") == 0
    lost = next(trial for trial in trials if trial.state.name == "FAIL")
    retried = next(trial for trial in trials if trial.user_attrs.get("retry_of") == lost.number)
    assert retried.params == lost.params
    assert {"x": 0.5} in [trial.params for trial in trials if trial.state.name == "COMPLETE"]
    drawn = [trial.params["x"] for trial in trials if trial.number not in (lost.number, retried.number)]
    assert len(set(drawn)) == len(drawn)  # workers that start at once do not draw the same


def test_the_studys_tables_stand_apart_from_ours(postgres_url: str) -> None:
    """Both have a table alembic_version: ours migrates before and after as if there were no study."""
    postgres.upgrade(postgres_url)
    study = Study(postgres_url, "apart", about={}, first={}, seed=1)
    assert study.run(lambda trial: trial.suggest_float("x", 0, 1), 2).trials == 2
    assert postgres.upgrade(postgres_url) == postgres.head()
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version' ORDER BY 1")
        assert [row[0] for row in cursor.fetchall()] == ["public", SCHEMA]
    connection.close()


def test_a_server_that_is_away_is_a_transient_failure() -> None:
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1/none"):
        Study("postgresql://nobody:secret@127.0.0.1:1/none", "s", about={}, first={}, seed=1, heartbeat=HeartbeatRule())
