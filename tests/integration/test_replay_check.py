"""The replay gate on a real MLflow: a trained version decides its recorded span again, in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from model_cases import market, tiny_options
from tandem.adapters.calendar import session_grid
from tandem.adapters.mlflow_registry import load_recording, log_and_register
from tandem.adapters.registry_rest import Registry
from tandem.domain.errors import Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.units import NS_PER_S
from tandem.forecaster.replay_check import check
from tandem.quant.bundle import Bundle
from tandem.quant.panel import Panel
from tandem.rollout.registry_names import PAIRS_TAG, REPLAY_TAG, TRAINED_TO_TAG
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.sectors import recorded_of, register_sector

SECTOR = SectorId("replayed")
SYMBOLS = (Symbol("AAA"), Symbol("BBB"), Symbol("CCC"))


@pytest.fixture(scope="module")
def trained() -> tuple[Bundle, Panel]:
    """A small model of a labelled synthetic market whose bars lie on the exchange's sessions."""
    grid = session_grid("1d", 1_577_836_800 * NS_PER_S, 1_735_689_600 * NS_PER_S)
    made = market(bars=600, symbols=SYMBOLS)
    panel = replace(made, close_ns=grid.close_ns[: len(made.close_ns)])
    task = SectorTask(sector=SECTOR, bar="1d", slots=1, declared=(PairId("AAA-BBB"),), data_digest="0" * 64)
    return train_sector(task, panel, tiny_options()), panel


@pytest.fixture(scope="module")
def ref(trained: tuple[Bundle, Panel], mlflow_uri: str) -> ModelRef:
    """It, registered with what it decided."""
    bundle, panel = trained
    recorded = recorded_of(bundle, panel)
    assert recorded is not None
    return register_sector(mlflow_uri, bundle, recorded=recorded)


def run(uri: str, ref: ModelRef) -> "subprocess.CompletedProcess[str]":
    """The gate's process."""
    command = [sys.executable, "-m", "tandem.forecaster.replay_check", "--model", ref.name, "--version", ref.version]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


def test_a_trained_version_passes(mlflow_uri: str, ref: ModelRef, trained: tuple[Bundle, Panel]) -> None:
    """The digest is the one that the registry states; a few hundred bars of the training were decided again."""
    ended = run(mlflow_uri, ref)
    assert ended.returncode == 0, ended.stderr
    verdict = json.loads(ended.stdout.strip().rpartition("\n")[2])
    stated, recorded = load_recording(mlflow_uri, ref) or ("", None)
    assert recorded is not None
    assert verdict == {
        "passed": True,
        "digest": stated,
        "reason": f"{recorded.decided.decisions} decisions on {len(recorded.span.close_ns)} recorded bars are those of its training",
    }
    assert len(recorded.span.close_ns) >= 250
    with Registry(mlflow_uri) as registry:
        assert registry.versions(ref.name)[0].trained_to_ns == trained[0].trained_to_ns
        assert registry.pairs(ref.name, ref.version) == ("AAA-BBB",)


def test_a_digest_that_is_not_trainings_fails(mlflow_uri: str, trained: tuple[Bundle, Panel]) -> None:
    """The tag is what counts, as a library that decides otherwise would show it."""
    bundle, panel = trained
    ref = register_sector(mlflow_uri, replace(bundle, sector=SectorId("skewed")), recorded=recorded_of(bundle, panel))
    with Registry(mlflow_uri) as registry:
        registry.set_tag(ref.name, ref.version, REPLAY_TAG, "f" * 64)
    found = check(mlflow_uri, ref.name, ref.version)
    assert not found.passed
    assert found.reason.endswith("at training it was ffffffffffff")


def test_another_models_span_fails(mlflow_uri: str, trained: tuple[Bundle, Panel]) -> None:
    """The recording belongs to the numbers that it was made with: a model with another network decides otherwise."""
    bundle, panel = trained
    other = replace(bundle, sector=SectorId("swapped"), calibration=replace(bundle.calibration, intercept=-5.0))
    ref = register_sector(mlflow_uri, other, recorded=recorded_of(bundle, panel))
    found = check(mlflow_uri, ref.name, ref.version)
    assert not found.passed
    assert "at training it was" in found.reason


def test_a_version_without_a_recorded_span_fails_and_says_what_to_do(mlflow_uri: str, trained: tuple[Bundle, Panel]) -> None:
    """It was registered by an older trainer, or by hand."""
    ref = log_and_register(mlflow_uri, replace(trained[0], sector=SectorId("spanless")), "card")
    assert check(mlflow_uri, ref.name, ref.version).reason == (
        "registered without a recorded span: train it again, or let the policy ask for no replay"
    )


def test_a_version_that_is_not_there_fails(mlflow_uri: str, ref: ModelRef) -> None:
    """Trying again would not bring it."""
    found = check(mlflow_uri, ref.name, "99")
    assert not found.passed
    assert "99" in found.reason


def test_without_a_server_there_is_no_verdict(ref: ModelRef) -> None:
    """Nothing on standard output, exit code 1: the caller runs it again."""
    with pytest.raises(Transient):
        check("http://127.0.0.1:9", ref.name, ref.version)
    ended = run("http://127.0.0.1:9", ref)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Transient: MLflow at http://127.0.0.1:9" in ended.stderr


def test_what_a_rollout_reads_of_a_version_stands_in_its_tags(mlflow_uri: str, ref: ModelRef) -> None:
    """Written once, at registration."""
    import mlflow

    tags = mlflow.MlflowClient(tracking_uri=mlflow_uri).get_model_version(ref.name, ref.version).tags
    assert {PAIRS_TAG, REPLAY_TAG, TRAINED_TO_TAG} <= set(tags)
