"""The search sees no test bar, goes on where it stopped, and counts every trial. Studies here live in a file; Postgres: see integration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import FixedTrial, Trial
from typer.testing import CliRunner

from model_cases import CONFIG, market, tiny_options
from tandem.cli.main import app
from tandem.domain.errors import BadSetting, Permanent
from tandem.domain.ids import PairId, SectorId
from tandem.trainer.options import load_options
from tandem.trainer.span_fit import SectorTask
from tandem.trainer.tuning import SearchSpace, TuningRule, defaults, objective, searched_panel, write_overlay
from tandem.trainer.tuning_study import HeartbeatRule, Study

FIRST = {"x": 0.25, "kind": "b"}
ABOUT = {"data_digest": "0" * 64, "sector": "consumer"}
TASK = SectorTask(sector=SectorId("consumer"), bar="1d", slots=1, declared=(PairId("AAA-BBB"),), data_digest="0" * 64)
DRAWN = {"sequence": 5, "hidden": 16, "dropout": 0.1, "learning_rate": 1e-3, "batch": 64, "cell": "correction"}


def _study(folder: Path, *, seed: int = 1, about: dict[str, str] | None = None, rule: HeartbeatRule | None = None) -> Study:
    return Study(f"sqlite:///{folder}/study.db", "s", about=about or ABOUT, first=FIRST, seed=seed, heartbeat=rule)


def _score(trial: Trial) -> float:
    return (trial.suggest_float("x", 0, 1) - 0.7) ** 2 + (trial.suggest_categorical("kind", ["a", "b"]) == "b")


def _drawn(folder: Path) -> list[dict[str, object]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/study.db")
    return [trial.params for trial in study.get_trials()]


def test_the_first_trial_is_the_configured_one_and_the_best_is_not_worse(tmp_path: Path) -> None:
    best = _study(tmp_path).run(_score, 25)
    assert _drawn(tmp_path)[0] == FIRST
    assert best.trials == 25
    assert best.value < 0.01
    assert 1 <= best.number <= 25
    assert best.parameters["kind"] == "a"


def test_a_resumed_study_draws_what_an_unbroken_one_draws(tmp_path: Path) -> None:
    """14 trials at once and 6 + 8 in two runs: the same drawings, past the random start too; another seed draws others."""
    for name in ("whole", "parts", "other"):
        (tmp_path / name).mkdir()
    _study(tmp_path / "whole").run(_score, 14)
    _study(tmp_path / "parts").run(_score, 6)
    assert _study(tmp_path / "parts").run(_score, 14).trials == 14
    _study(tmp_path / "other", seed=2).run(_score, 14)
    assert _drawn(tmp_path / "whole") == _drawn(tmp_path / "parts")
    assert _drawn(tmp_path / "whole") != _drawn(tmp_path / "other")


def test_a_study_that_has_enough_trials_does_no_more(tmp_path: Path) -> None:
    first = _study(tmp_path).run(_score, 5)
    assert _study(tmp_path).run(lambda _: pytest.fail("no trial was wanted"), 5) == first


def test_pruned_and_failed_trials_count_and_keep_their_reason(tmp_path: Path) -> None:
    def score(trial: Trial) -> float:
        if trial.number % 3 == 1:
            raise optuna.TrialPruned
        if trial.number % 3 == 2:
            raise Permanent("no pair")
        return _score(trial)

    seen: list[int] = []
    best = _study(tmp_path).run(score, 9, on_trial=lambda finished, _: seen.append(finished))
    assert best.trials == 9
    assert seen == list(range(10))


def test_a_study_without_any_value_says_why(tmp_path: Path) -> None:
    def score(_: Trial) -> float:
        raise Permanent("no pair")

    study = _study(tmp_path)
    with pytest.raises(Permanent, match="none of 3 trials gave a value: Permanent: no pair"):
        study.run(score, 3)


def test_an_interrupted_trial_is_done_again_with_the_same_drawing(tmp_path: Path) -> None:
    """Ctrl-C in the third trial: the next run takes its drawing up and the total is as asked."""

    def interrupted(trial: Trial) -> float:
        value = _score(trial)
        if trial.number == 2:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        _study(tmp_path).run(interrupted, 6)
    assert _study(tmp_path).run(_score, 6).trials == 6
    drawn = _drawn(tmp_path)
    assert len(drawn) == 7
    assert _study(tmp_path).run(_score, 6).number <= 6  # among the finished: the interrupted one has no number
    assert drawn[3] == drawn[2]


def test_a_trial_whose_worker_vanished_is_found_by_its_silence(tmp_path: Path) -> None:
    """Taken and never told: after the grace the next worker marks it failed and does its drawing."""
    rule = HeartbeatRule(interval_s=1, grace_s=1)
    assert _study(tmp_path, rule=rule)._take(3) is not None
    assert _study(tmp_path, rule=rule).run(_score, 3, poll_s=0.1).trials == 3
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    trials = study.get_trials()
    assert [trial.state.name for trial in trials].count("FAIL") == 1
    assert FIRST in [trial.params for trial in trials if trial.state.name == "COMPLETE"]


@pytest.mark.parametrize("ends", ["with a value", "at a report", "pruned", "failed", "interrupted"])
def test_a_worker_that_slept_and_was_taken_for_dead_goes_on_with_another_trial(tmp_path: Path, ends: str) -> None:
    """Another has its place: what it says of that trial comes too late, whatever it is, and the total is as asked."""

    def score(trial: Trial) -> float:
        if trial.number == 0:
            assert _study(tmp_path, rule=HeartbeatRule(interval_s=1, grace_s=1)).run(_score, 2, poll_s=0.1).trials == 2
            if ends == "at a report":
                trial.report(1.0, 0)
            if ends == "pruned":
                raise optuna.TrialPruned
            if ends == "failed":
                raise Permanent("no pair")
            if ends == "interrupted":
                raise KeyboardInterrupt
        return _score(trial)

    slept = _study(tmp_path, rule=HeartbeatRule(interval_s=3_600, grace_s=3_600))
    if ends == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            slept.run(score, 4)
    assert slept.run(score, 4).trials == 4
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL", *["COMPLETE"] * 4]


def test_workers_with_other_data_are_refused(tmp_path: Path) -> None:
    _study(tmp_path)
    with pytest.raises(BadSetting, match="sector was 'consumer', is 'tech'"):
        _study(tmp_path, about=ABOUT | {"sector": "tech"})


def test_the_search_never_sees_a_bar_that_the_walk_forward_tests_on() -> None:
    """Other prices from the first test bar on change no score."""
    options, rule = tiny_options(), TuningRule(span_shares=(1.0,))
    panel = market(bars=600)
    seen = len(searched_panel(panel, options).close_ns)
    assert seen == round(600 * (1 - options.walk_forward.folds * options.walk_forward.test_share))
    changed = panel.close.copy()
    changed[seen:] *= np.exp(np.random.default_rng(5).standard_normal((600 - seen, 1)))
    other = replace(panel, close=changed)
    scores = [objective(TASK, p, options, rule)(FixedTrial(DRAWN)) for p in (panel, other)]  # type: ignore[arg-type]
    assert scores[0] == scores[1]


def test_a_drawing_is_what_the_network_is_told() -> None:
    assert SearchSpace().draw(FixedTrial(DRAWN)) == DRAWN  # type: ignore[arg-type]
    assert SearchSpace().holds(DRAWN)
    assert not SearchSpace().holds(DRAWN | {"hidden": 8})


def test_a_span_that_is_too_short_is_a_reason_and_no_crash() -> None:
    score = objective(TASK, market(bars=300), tiny_options(), TuningRule(span_shares=(1.0,)))
    with pytest.raises(Permanent):
        score(FixedTrial(DRAWN))  # type: ignore[arg-type]


def test_the_space_holds_the_configured_hyperparameters() -> None:
    """Else the search would not start from them."""
    options = load_options(CONFIG / "training.yaml")
    first = defaults(options, SearchSpace())
    assert first == options.network.model_dump(include=set(first))
    assert len(first) == 6
    assert defaults(tiny_options(), SearchSpace()) == {}  # 8 units are outside


def test_the_overlay_goes_over_the_configuration(tmp_path: Path) -> None:
    best = _study(tmp_path).run(_score, 3)
    path = tmp_path / "best.yaml"
    write_overlay(path, replace(best, parameters=DRAWN, number=2), study="s")
    assert "--params best.yaml --trial 2 --trials 3" in path.read_text()
    assert path.read_text().startswith("# Study s: trial 2 of 3, validation loss ")
    assert yaml.safe_load(path.read_text()) == {"network": DRAWN}
    assert load_options(CONFIG / "training.yaml", overlay=path).network.sequence == 5


def test_the_command_names_what_it_lacks(tmp_path: Path) -> None:
    result = CliRunner(env={"TANDEM_CONFIG_DIR": str(CONFIG), "TANDEM_POSTGRES_URL": ""}).invoke(
        app, ["tune", "--sector", "consumer", "--data", str(tmp_path / "x.parquet"), "--trials", "3"]
    )
    assert result.exit_code == 1
    assert "neither --storage nor TANDEM_POSTGRES_URL is given" in result.output
