"""The search over the network's hyperparameters for one sector: what is drawn, and how a drawing is scored without the hold-out.

A drawing's score is the loss on the validation part (QLIKE of the variance plus cross-entropy of the reversion, what training minimises and
is stopped by), mean over spans of growing length that all end before the first test part of the walk-forward. After each span a drawing
that is worse than the median is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from optuna import TrialPruned
from optuna.trial import Trial
from threadpoolctl import threadpool_limits

from tandem.quant.panel import Panel
from tandem.trainer.options import TrainingOptions
from tandem.trainer.span_fit import SectorTask, fit_span
from tandem.trainer.tuning_study import Best, Parameters
from tandem.trainer.walk_forward import borders

Objective = Callable[[Trial], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Around the defaults: a half to a few times each. Members are not searched: more are better, at their cost; the loss is: its values
    would not compare."""

    sequence: tuple[int, ...] = (5, 10, 15, 20, 30, 40)
    hidden: tuple[int, ...] = (16, 32, 64, 128)
    dropout: tuple[float, float] = (0.0, 0.5)
    learning_rate: tuple[float, float] = (1e-4, 3e-3)
    batch: tuple[int, ...] = (16, 32, 64, 128)
    cell: tuple[str, ...] = ("correction", "integrated")

    def draw(self, trial: Trial) -> Parameters:
        """One drawing, names as in config/training.yaml's `network`."""
        return {
            "sequence": trial.suggest_categorical("sequence", self.sequence),
            "hidden": trial.suggest_categorical("hidden", self.hidden),
            "dropout": trial.suggest_float("dropout", *self.dropout),
            "learning_rate": trial.suggest_float("learning_rate", *self.learning_rate, log=True),
            "batch": trial.suggest_categorical("batch", self.batch),
            "cell": trial.suggest_categorical("cell", self.cell),
        }

    def holds(self, parameters: Parameters) -> bool:
        """Whether these could have been drawn."""
        low_high = {"dropout": self.dropout, "learning_rate": self.learning_rate}
        choices = {"sequence": self.sequence, "hidden": self.hidden, "batch": self.batch, "cell": self.cell}
        return all(low <= parameters[name] <= high for name, (low, high) in low_high.items()) and all(
            parameters[name] in allowed for name, allowed in choices.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRule:
    """How a drawing is scored."""

    span_shares: tuple[float, ...] = (0.6, 0.8, 1.0)  # of the bars before the first test part
    members: int = 1  # networks in each fit: the score is a mean over members, and a search wants many drawings
    space: SearchSpace = field(default_factory=SearchSpace)


def defaults(options: TrainingOptions, space: SearchSpace) -> Parameters:
    """The configured hyperparameters: the first trial, so that what is found is never worse than them. Empty where the space lacks them."""
    wanted = options.network.model_dump(include=set(SearchSpace.__slots__))
    return wanted if space.holds(wanted) else {}


def searched_panel(panel: Panel, options: TrainingOptions) -> Panel:
    """What the search may see: the bars before the first test part of the walk-forward, all of them without one."""
    rule = options.walk_forward
    starts = [start for start, _ in borders(len(panel.close_ns), folds=rule.folds, test_share=rule.test_share)]
    return panel.before(starts[0]) if starts else panel


def objective(task: SectorTask, panel: Panel, options: TrainingOptions, rule: TuningRule) -> Objective:
    """The score of a trial on a sector. It raises NoPairs or SpanTooShort, both Permanent, or TrialPruned."""
    seen = searched_panel(panel, options)
    spans = [seen.before(round(len(seen.close_ns) * share)) for share in rule.span_shares]

    def score(trial: Trial) -> float:
        drawn = options.network.model_copy(update=rule.space.draw(trial) | {"members": rule.members})
        configured = options.model_copy(update={"network": drawn})
        losses: list[float] = []
        with threadpool_limits(limits=1):
            for step, span in enumerate(spans):
                losses.append(fit_span(task, span, configured).validation_loss)
                mean = sum(losses) / len(losses)
                trial.report(mean, step)
                if step + 1 < len(spans) and trial.should_prune():
                    raise TrialPruned
        return mean

    return score


def write_overlay(path: Path, best: Best, *, study: str) -> None:
    """The best hyperparameters as a part of training.yaml that goes over it, with where they come from."""
    tree: dict[str, Any] = {"network": best.parameters}
    head = [
        f"# Study {study}: trial {best.number} of {best.trials}, validation loss {best.value:.6f}.",
        f"# tandem train --params {path.name} --trial {best.number} --trials {best.trials}: a deflated Sharpe ratio has to be told of all.",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, yaml.safe_dump(tree, sort_keys=False)]))
