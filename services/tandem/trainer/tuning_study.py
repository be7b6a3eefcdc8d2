"""A search's study in Optuna: shared by any number of processes, resumed by any of them, with just as many trials as asked for.

A trial is taken under the database's lock, so that workers together never start one too many; each sends a heartbeat while it works. A
worker that dies leaves a trial that runs no more: once its heartbeat is old another worker marks it failed and takes its place. One that
only slept goes on with another trial.
Optuna draws and keeps; what is drawn and how it is scored is trainer/tuning.py's.
"""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tandem.adapters import postgres
from tandem.domain.errors import BadSetting, Permanent, Transient

SCHEMA = "tuning"  # Optuna's tables have a version table of the same name as ours: they live in a schema of their own
_LOCK = 0x74756E65  # "tune": the advisory lock under which trials are counted and taken
_STARTUP_TRIALS = 10  # drawn at random before TPE has something to learn from: Optuna's default
_RETRIES_MAX = 3  # of one drawing whose workers died: it may be what kills them
_RETRY_OF, _RETRIES = "retry_of", "retries"  # user attributes of a drawing that is tried again
_REASON = "reason"  # user attribute of a trial that failed for a reason of its own, not because its worker died

Parameters = dict[str, Any]
Score = Callable[[Trial], float]
OnTrial = Callable[[int, float | None], None]  # trials finished, best value


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRule:
    """How a dead worker is told from a busy one."""

    interval_s: int = 10
    grace_s: int = 60  # six heartbeats: a machine that swaps or a failover of the database loses some


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What a study has found."""

    number: int  # of the best trial among the finished ones, from 1
    value: float
    parameters: Parameters
    trials: int  # finished: complete, pruned and failed; the number that a deflated Sharpe ratio has to be told


class Study:
    """One study. Raises Transient when its server is away."""

    def __init__(
        self, url: str, name: str, *, about: Mapping[str, str], first: Parameters, seed: int, heartbeat: HeartbeatRule | None = None
    ) -> None:
        """Open or make the study `name`. `about`: what must be the same for all its workers, else BadSetting. `first`: the first trial."""
        self._url, self._postgres, self._rule = url, url.startswith("postgres"), heartbeat or HeartbeatRule()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _errors(url), self._locked():
            self._storage = _storage(url, self._postgres, self._rule)
            self._study = optuna.create_study(
                study_name=name, storage=self._storage, sampler=_NumberedTpe(seed), pruner=_pruner(), load_if_exists=True
            )
            known = self._study.user_attrs.get("about")
            if known is None:
                self._study.set_user_attr("about", dict(about))
                self._study.enqueue_trial(first)
            elif known != dict(about):
                changed = [f"{key} was {known.get(key)!r}, is {value!r}" for key, value in about.items() if known.get(key) != value]
                raise BadSetting(f"study {name}: {'; '.join(changed)}: give another --study, or what it was made with")
        self.name = name

    def run(self, score: Score, trials: int, *, on_trial: OnTrial = lambda *_: None, poll_s: float = 1.0) -> Best:
        """Work until the study has `trials` finished trials, those of other workers and earlier runs included.

        score: value of a trial, less is better; may raise optuna.TrialPruned, or Permanent, which the trial keeps as its reason.
        Raises Permanent when every trial failed.
        """
        with _errors(self._url):
            while True:
                trial = self._take(trials)
                finished = self._finished()
                on_trial(len(finished), _least(finished))
                if trial is not None:
                    self._work(trial, score)
                elif len(finished) >= trials:
                    return self._best(finished)
                else:
                    time.sleep(poll_s)  # another worker's trial runs: it may finish, or die and leave its place

    def _take(self, trials: int) -> Trial | None:
        """A new trial, or None when enough are finished or running."""
        with self._locked(), _experimental():
            self._replace_lost()
            running = len(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
            if len(self._finished()) + running >= trials:
                return None
            trial = self._study.ask()
            self._beat(trial.number)  # inside the lock: a trial without a heartbeat is never found stale
            return trial

    def _replace_lost(self) -> None:
        """Mark trials whose worker died as failed and queue their drawings again, so that a death changes nothing but the time."""
        fail_stale_trials(self._study)
        everything = self._study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(_RETRY_OF) for trial in everything}
        for trial in everything:
            lost = trial.state is TrialState.FAIL and _REASON not in trial.user_attrs and trial.number not in replaced
            tried = int(trial.user_attrs.get(_RETRIES, 0))
            if lost and tried < _RETRIES_MAX:
                # Killed before it drew: what was queued for it. Killed while it drew: what it had; the rest is drawn anew.
                drawn = trial.params or trial.system_attrs.get("fixed_params", {})
                self._study.enqueue_trial(drawn, user_attrs={_RETRY_OF: trial.number, _RETRIES: tried + 1})

    def _work(self, trial: Trial, score: Score) -> None:
        # Of a machine that slept past the grace, another worker has the place by now: what is said of the trial comes too late.
        with self._heartbeat(trial.number), suppress(UpdateFinishedTrialError):
            try:
                value = score(trial)
            except optuna.TrialPruned:
                self._tell(trial, state=TrialState.PRUNED)
                return
            except Permanent as error:
                trial.set_user_attr(_REASON, f"{type(error).__name__}: {error}")
                self._tell(trial, state=TrialState.FAIL)
                return
            except BaseException:  # an interrupt, say: the place is free for another at once
                self._tell(trial, state=TrialState.FAIL)
                raise
            self._tell(trial, value)

    def _tell(self, trial: Trial, value: float | None = None, *, state: TrialState | None = None) -> None:
        self._study.tell(trial, value, state=state, skip_if_finished=True)

    def _finished(self) -> list[FrozenTrial]:
        """Trials that have said what they had to; not those whose worker died."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        return [trial for trial in done if trial.state is not TrialState.FAIL or _REASON in trial.user_attrs]

    def _best(self, finished: list[FrozenTrial]) -> Best:
        complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
        if not complete:
            reasons = sorted({str(trial.user_attrs[_REASON]) for trial in finished if _REASON in trial.user_attrs})
            raise Permanent(f"study {self.name}: none of {len(finished)} trials gave a value: {'; '.join(reasons[:3])}")
        best = min(complete, key=lambda trial: (trial.value, trial.number))
        assert best.value is not None  # complete
        number = 1 + sum(trial.number < best.number for trial in finished)
        return Best(number=number, value=best.value, parameters=dict(best.params), trials=len(finished))

    @contextmanager
    def _heartbeat(self, number: int) -> Iterator[None]:
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self._rule.interval_s):
                try:
                    self._beat(number)
                except (StorageInternalError, SQLAlchemyError):
                    continue  # the server is away: the worker itself fails when it has a result to tell

        thread = threading.Thread(target=beat, name=f"heartbeat-{number}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, number: int) -> None:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._storage.record_heartbeat(self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One worker at a time. A study in a file (for one process) needs no lock."""
        if not self._postgres:
            yield
            return
        connection = postgres.connect(self._url, application="tandem-tune")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            yield
        finally:
            connection.close()  # which also gives the lock back


class _NumberedTpe(BaseSampler):
    """TPE whose draws depend on the seed, the trial's number and the trials before it: a resumed study goes on as if it had not stopped,
    and two workers that start at once do not draw the same."""

    def __init__(self, seed: int) -> None:
        self._seed, self._number, self._sampler = seed, -1, TPESampler()

    def _of(self, trial: FrozenTrial) -> TPESampler:
        if trial.number != self._number:
            with _experimental():
                self._sampler = TPESampler(
                    seed=(self._seed * 1_000_003 + trial.number) % 2**32,
                    n_startup_trials=_STARTUP_TRIALS,
                    multivariate=True,
                    constant_liar=True,
                )
            self._number = trial.number
        return self._sampler

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


def _pruner() -> BasePruner:
    """A trial ends when after a fold it is worse than the median of the others after that fold."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=0)


def _storage(url: str, is_postgres: bool, rule: HeartbeatRule) -> RDBStorage:
    engine: dict[str, Any] = {}
    if is_postgres:
        connection = postgres.connect(url, application="tandem-tune")
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.close()
        engine = {"connect_args": {"options": f"-csearch_path={SCHEMA}", "application_name": "tandem-tune"}, "pool_pre_ping": True}
        url = postgres.sqlalchemy_url(url)
    with _experimental():
        return RDBStorage(url, engine_kwargs=engine, heartbeat_interval=rule.interval_s, grace_period=rule.grace_s)


def _least(trials: list[FrozenTrial]) -> float | None:
    return min((trial.value for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None), default=None)


@contextmanager
def _errors(url: str) -> Iterator[None]:
    """Optuna's and SQLAlchemy's failures as ours, without the URL's password."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        where = postgres.place(url) if url.startswith("postgres") else url
        cause = error.__cause__ or error
        raise Transient(f"the study's storage at {where}: {str(cause).splitlines()[0]}") from error


@contextmanager
def _experimental() -> Iterator[None]:
    """Heartbeats and multivariate TPE are marked experimental, and heartbeats are sent here, not by Study.optimize: tests hold both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        yield
