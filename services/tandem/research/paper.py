"""Protocol A, the "paper table": daily index volatility as in Wei, Yang and Cui (2025), with the rows that show what its headline is worth.

Besides the paper's targets (1, 3 and 7 days ahead, five days each, of which 1D knows four) every model is run on the five days that lie
wholly ahead ("ahead"). Models see nothing of the test labels; the five-day volatility of a label is compared with forecasts of that, and
the paper's own baseline, one day's sigma, stands beside the same GARCH given the returns that are known.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tandem.quant.volatility import Kind
from tandem.research.paper_baselines import FilteredVariance, baselines, filtered_variance
from tandem.research.paper_cells import NETWORKS
from tandem.research.paper_data import TARGETS, Definition, PaperSeries, paper_series
from tandem.research.paper_result import Case, assemble
from tandem.research.paper_training import PaperTraining, initial, predict, replicas_of, train
from tandem.research.records import ProtocolResult

Matrix = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what runs, steps done, steps in all

SEEDS, QUICK_SEEDS = 20, 3
QUICK_EPOCHS_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPlan:
    """What to run."""

    definition: Definition = Definition.RMS
    seeds: tuple[int, ...] = tuple(range(1, SEEDS + 1))
    training: PaperTraining = field(default_factory=PaperTraining)
    networks: tuple[str, ...] = tuple(NETWORKS)

    def settings(self) -> dict[str, object]:
        """What the report tells of it."""
        return {
            "definition": self.definition.value,
            "seeds": list(self.seeds),
            "optimiser": "Adam, mean squared error of the volatility",
            "hidden": self.training.hidden,
            "learning_rate": self.training.learning_rate,
            "batch": self.training.batch,
            "epochs_max": self.training.epochs_max,
            "patience": self.training.patience,
        }


@dataclass(slots=True)
class _Steps:
    """Counts what is done, for the progress bar: one step for an index's baselines, one for each epoch of a network."""

    report: Progress
    total: int
    done: int = 0

    def advance(self, what: str, steps: int = 1) -> None:
        self.done += steps
        self.report(what, self.done, self.total)


def quick_plan(definition: Definition) -> PaperPlan:
    """Three seeds and short training: minutes instead of hours."""
    return PaperPlan(definition=definition, seeds=tuple(range(1, QUICK_SEEDS + 1)), training=PaperTraining(epochs_max=QUICK_EPOCHS_MAX))


def run(
    path: Path | None,
    *,
    test_from: np.datetime64 | None = None,
    test_to: np.datetime64 | None = None,
    plan: PaperPlan | None = None,
    progress: Progress = lambda *_: None,
) -> ProtocolResult:
    """Protocol A on a file of index closes (see paper_series; None: those that the `arch` package carries).

    test_from, test_to: label days, both included; default: the last 252 labels. Raises BadRecord or FitRejected.
    """
    plan = plan or PaperPlan()
    indices, digest = paper_series(path, test_from=test_from, test_to=test_to, definition=plan.definition)
    steps = _Steps(progress, len(indices) * (1 + len(plan.networks) * plan.training.epochs_max))
    seconds: dict[str, float] = {}
    cases = [case for series in indices for case in _index(series, plan, steps, seconds)]
    return assemble(cases, digest=digest, seeds=dict.fromkeys(plan.networks, plan.seeds), seconds=seconds, settings=plan.settings())


def _index(series: PaperSeries, plan: PaperPlan, steps: _Steps, seconds: dict[str, float]) -> list[Case]:
    """One case for each target; adds the CPU seconds of each model."""
    cases = [Case(series=series, target=target) for target in TARGETS]
    gjr_model = _baselines(cases, seconds)
    steps.advance(f"{series.name}: baselines")
    for name in plan.networks:
        started, before = time.process_time(), steps.done
        matrices = _network(series, gjr_model, name=name, plan=plan, steps=steps)
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
        steps.advance(f"{series.name}: {name}", before + plan.training.epochs_max - steps.done)  # it may have stopped early
        for case, matrix in zip(cases, matrices, strict=True):
            case.members[name] = matrix
    return cases


def _baselines(cases: list[Case], seconds: dict[str, float]) -> FilteredVariance:
    """Add the forecasts of the models without a network to the cases of one index; returns its GJR."""
    models: dict[Kind, FilteredVariance] = {}
    fitting: dict[str, float] = {}
    for kind in (Kind.GARCH, Kind.GJR):
        started = time.process_time()
        models[kind] = filtered_variance(cases[0].series, kind)
        fitting[kind.value] = time.process_time() - started
    for name, baseline in baselines(models[Kind.GARCH], models[Kind.GJR]).items():
        started = time.process_time()
        for case in cases:
            case.plain[name] = baseline(case.series, case.target)
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - started + fitting.get(name.removesuffix("_known"), 0.0)
    return models[Kind.GJR]


def _network(series: PaperSeries, gjr_model: FilteredVariance, *, name: str, plan: PaperPlan, steps: _Steps) -> list[Matrix]:
    """(seeds, labels) for each target."""
    count, training, network = len(plan.seeds), plan.training, NETWORKS[name]
    data = replicas_of(series, gjr_model, TARGETS, seeds=count)
    replicas = count * len(TARGETS)
    start = initial(network, gjr_model, replicas=replicas, seeds=plan.seeds, hidden=training.hidden, dtype=torch.float32)
    best, _ = train(
        network,
        data,
        start,
        seeds=plan.seeds,
        config=training,
        on_epoch=lambda left: steps.advance(f"{series.name}: {name} ({left} train)"),
    )
    everything = predict(
        network, data, flat=best, active=torch.arange(replicas), hidden=training.hidden, first=0, stop=len(series.labels())
    )
    return list(everything.numpy().astype(np.float64).reshape(len(TARGETS), count, -1))
