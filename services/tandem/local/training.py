"""Training for the demo in a process of its own: torch and mlflow take a gigabyte, which goes back when the process ends.

Two halves over a pipe: fit while the servers start, register when MLflow is ready. The parent kills it if the demo ends early.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tandem.domain.errors import Permanent, TandemError
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId
from tandem.local.demo_plan import SectorPlan, Spans
from tandem.quant.bundle import Bundle, PairTest

if TYPE_CHECKING:
    from tandem.adapters.market_file import MarketData
    from tandem.trainer.options import TrainingOptions
    from tandem.trainer.sectors import SectorTraining

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSector:
    """A sector's model, and the registry's name for it."""

    ref: ModelRef
    bundle: Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSectors:
    """What came of training, by sector; `skipped` says why a sector has no model."""

    data_digest: str
    models: dict[str, TrainedSector]
    skipped: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The report's part on models."""
        return {
            sector: {
                **asdict(model.ref),
                "pairs": {
                    test.pair: {"p": test.p_value, "q": test.q_value, "declared": test.declared, "passed_screening": test.passed}
                    for test in model.bundle.tests
                    if test.pair in {pair.pair for pair in model.bundle.pairs}
                },
                "holdout": model.bundle.metrics,
            }
            for sector, model in self.models.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What to train, on what."""

    path: Path
    spans: Spans
    bar: str
    plans: tuple[SectorPlan, ...]
    config_dir: Path
    seed: int | None  # None: that of config/training.yaml
    log: Path  # takes what libraries print


class TrainingWorker:
    """The process. Use as a context manager: leaving it ends the process."""

    def __init__(self, job: TrainingJob) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, job), name="tandem-training", daemon=True)
        self._theirs = theirs

    def __enter__(self) -> Self:
        os.environ.update(_ONE_THREAD)  # inherited; must be there before the child imports numpy
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def fit(self, say: Callable[[str], None]) -> None:
        """Wait until every sector is fitted or given up. Raises Permanent when none has a model."""
        self._answers("fitted", say)

    def register(self, tracking_uri: str, say: Callable[[str], None]) -> TrainedSectors:
        """Register what was fitted; MLflow must be ready."""
        self._pipe.send(tracking_uri)
        result: TrainedSectors = self._answers("registered", say)
        return result

    def _answers(self, last: str, say: Callable[[str], None]) -> Any:
        while True:
            try:
                kind, value = self._pipe.recv()
            except EOFError as error:
                self._process.join(timeout=5)
                raise Permanent(f"training ended without an answer, exit code {self._process.exitcode}") from error
            if kind == "error":
                raise value
            if kind == last:
                return value
            say(value)


def _work(pipe: Connection, job: TrainingJob) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        os.dup2(log.fileno(), 1)  # mlflow prints, and the terminal belongs to the progress display
        os.dup2(log.fileno(), 2)
    try:
        _fit_and_register(pipe, job)
    except TandemError as error:
        # Rebuilt from its text: the parent needs the reason, and not every error survives the pipe.
        pipe.send(("error", Permanent(f"training: {error}")))
    except (BrokenPipeError, EOFError):
        pass  # the parent has gone


def _fit_and_register(pipe: Connection, job: TrainingJob) -> None:
    from tandem.adapters.market_file import load_market_data  # noqa: PLC0415  (in the child only: with torch, a gigabyte)
    from tandem.trainer.card_figures import card_of  # noqa: PLC0415
    from tandem.trainer.options import load_options  # noqa: PLC0415
    from tandem.trainer.sectors import register_sector  # noqa: PLC0415

    options = load_options(job.config_dir / "training.yaml")
    if job.seed is not None:
        options = options.model_copy(update={"network": options.network.model_copy(update={"seed": job.seed})})
    data = load_market_data(job.path, to_ns=job.spans.train_to_ns)
    trained: dict[str, SectorTraining] = {}
    skipped: dict[str, str] = {}
    for plan in job.plans:
        try:
            trained[plan.sector] = fitted = _fit(pipe, job, data, plan, options)
        except Permanent as error:
            skipped[plan.sector] = str(error)
            pipe.send(("line", f"no model for {plan.sector}: {error}"))
            continue
        pipe.send(("line", f"trained {plan.sector}: {', '.join(pair.pair for pair in fitted.training.bundle.pairs)}"))
    if not trained:
        raise Permanent("no sector has a model: " + "; ".join(f"{sector}: {reason}" for sector, reason in skipped.items()))
    cards = {sector: card_of(fitted.training) for sector, fitted in trained.items()}
    pipe.send(("fitted", None))
    tracking_uri = pipe.recv()
    models = {}
    for sector, fitted in trained.items():
        bundle = fitted.training.bundle
        # A demo trains what it replays: a champion of an earlier run may have seen the bars that this one replays.
        ref = register_sector(tracking_uri, bundle, card=cards[sector], promoted=True, recorded=fitted.recorded)
        models[sector] = TrainedSector(ref=ref, bundle=bundle)
        pipe.send(("line", f"registered {ref.name} version {ref.version}, champion"))
    pipe.send(("registered", TrainedSectors(data_digest=data.digest, models=models, skipped=skipped)))


def _fit(pipe: Connection, job: TrainingJob, data: "MarketData", plan: SectorPlan, options: "TrainingOptions") -> "SectorTraining":
    """A sector's model. Where nothing is declared and nothing passes screening, of the best pair that was tested, and that is said."""
    from tandem.trainer.main import NoPairs  # noqa: PLC0415  (in the child only)
    from tandem.trainer.sectors import train_from_market  # noqa: PLC0415

    def fitted(pairs: Sequence[PairId]) -> "SectorTraining":
        spans = job.spans
        return train_from_market(
            data,
            plan.sector,
            symbols=plan.symbols,
            declared=pairs,
            bar=job.bar,
            from_ns=spans.train_from_ns,
            to_ns=spans.train_to_ns,
            options=options,
        )

    try:
        return fitted([spec.pair for spec in plan.declared])
    except NoPairs as error:
        best = best_tested(error.tests)
        if best is None or plan.declared:
            raise
        found = f"p = {min(best.p_value, best.p_value_reverse):.3f}, q = {best.q_value:.2f}"
        line = f"{plan.sector}: nothing is declared and none of {len(error.tests)} pairs passes screening; for the demonstration it takes "
        pipe.send(("line", f"{line}the best of them, {best.pair} ({found})"))
        return fitted([best.pair])


def best_tested(tests: Sequence[PairTest]) -> PairTest | None:
    """The pair with the smallest p-value among those whose spread shows some reversion; None without one. Ties go by name."""
    reverting = [test for test in tests if test.half_life_bars is not None]
    return min(reverting, key=lambda test: (min(test.p_value, test.p_value_reverse), test.pair), default=None)
