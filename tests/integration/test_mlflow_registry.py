"""The registry on a real MLflow server: log, register, verify, move aliases, and load by any MLflow client."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pytest

from free_ports import free_port
from model_cases import market, tiny_options
from tandem.adapters.mlflow_registry import (
    PREVIOUS,
    load_bundle,
    log_and_register,
    promote,
    resolve_alias,
    set_alias,
)
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import BadRecord, Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.quant.bundle import Bundle
from tandem.quant.features import FEATURES
from tandem.quant.hybrid import hybrid
from tandem.rollout.registry_names import CANDIDATE, CHAMPION, DIGEST_TAG
from tandem.trainer.card import model_card, model_summary
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.sectors import register_sector


@cache
def bundle(sector: str, seed: int = 0) -> Bundle:
    """A trained bundle; each test has its own sector, because the server is shared."""
    task = SectorTask(sector=SectorId(sector), bar="1d", slots=1, declared=(PairId("AAA-BBB"),), data_digest="d" * 64)
    return train_sector(task, market(600), tiny_options(seed=seed, epochs_max=1))


def registered(uri: str, item: Bundle) -> ModelRef:
    """Logged and registered, without an alias."""
    return log_and_register(uri, item, model_card(item))


def test_a_registered_bundle_comes_back_whole(mlflow_uri: str) -> None:
    """Name, version and digest, and every number of the bundle."""
    ref = registered(mlflow_uri, bundle("whole"))
    assert ref == ModelRef(name="pairs_trading_gru_garch_whole_v1", version="1", digest=bundle("whole").digest)
    assert load_bundle(mlflow_uri, ref.name, ref.version) == (ref, bundle("whole"))


def test_the_run_carries_parameters_metrics_and_card(mlflow_uri: str) -> None:
    """In the sector's experiment, under the run name that design gives."""
    item = bundle("logged")
    figures = {"spread_AAA-BBB.png": b"a picture"}
    log_and_register(mlflow_uri, item, model_card(item), summary=model_summary(item), figures=figures, commit="abc123")
    client = mlflow.MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("pairs_trading/logged")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name is not None
    assert run.info.run_name.startswith("pairs_trading_gru_garch_logged_v1_19")  # the day that training ended, eight digits
    assert run.data.params["network.hidden"] == "8"
    assert run.data.params["pairs"] == ",".join(p.pair for p in item.pairs)
    assert run.data.metrics == pytest.approx(item.metrics)
    assert {"model_card.md", "spread_AAA-BBB.png"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    version = client.get_model_version("pairs_trading_gru_garch_logged_v1", "1")
    assert version.description == model_summary(item)
    assert version.tags == {
        "tandem.digest": item.digest,
        "tandem.data_digest": "d" * 64,
        "tandem.seed": "0",
        "tandem.commit": "abc123",
        "tandem.trained_to_ns": str(item.trained_to_ns),
        "tandem.pairs": ",".join(sorted(p.pair for p in item.pairs)),
    }
    assert {name: run.data.tags[name] for name in version.tags} == version.tags


def test_registering_the_same_bundle_again_makes_no_second_version(mlflow_uri: str) -> None:
    """A trainer that is started twice on the same data leaves one version; another seed makes another."""
    first = registered(mlflow_uri, bundle("again"))
    assert registered(mlflow_uri, bundle("again")) == first
    assert registered(mlflow_uri, bundle("again", seed=1)).version == "2"


def test_a_new_champion_leaves_the_old_one_as_previous(mlflow_uri: str) -> None:
    """What rollback goes back to; promoting twice does not lose it."""
    first = register_sector(mlflow_uri, bundle("crowned"))
    assert resolve_alias(mlflow_uri, first.name, CHAMPION) == "1"
    assert resolve_alias(mlflow_uri, first.name, PREVIOUS) is None
    second = register_sector(mlflow_uri, bundle("crowned", seed=1), promoted=True)
    promote(mlflow_uri, second)
    assert resolve_alias(mlflow_uri, first.name, CHAMPION) == second.version == "2"
    assert resolve_alias(mlflow_uri, first.name, PREVIOUS) == "1"
    set_alias(mlflow_uri, first.name, CHAMPION, "1")
    assert resolve_alias(mlflow_uri, first.name, CHAMPION) == "1"


def test_a_second_version_is_a_candidate_until_somebody_promotes_it(mlflow_uri: str) -> None:
    """Training by hand must not replace what trades: only the first version of a sector is champion at once."""
    first = register_sector(mlflow_uri, bundle("patient"))
    second = register_sector(mlflow_uri, bundle("patient", seed=1))
    assert resolve_alias(mlflow_uri, first.name, CHAMPION) == first.version
    assert resolve_alias(mlflow_uri, first.name, CANDIDATE) == second.version
    register_sector(mlflow_uri, bundle("patient"))
    assert resolve_alias(mlflow_uri, first.name, CANDIDATE) == second.version  # the champion trained again is no candidate


def test_mlflow_models_serve_answers_as_the_network_does(mlflow_uri: str) -> None:
    """The stock server of MLflow as a process of its own, over HTTP: windows in, factor and probability out."""
    item = bundle("answered")
    ref = register_sector(mlflow_uri, item)
    port = free_port()
    serve = ["models", "serve", "-m", f"models:/{ref.name}/{ref.version}", "--env-manager", "local", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *serve, "--port", str(port), "--workers", "1"],
        env=os.environ | {"MLFLOW_TRACKING_URI": mlflow_uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": _path()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # mlflow starts uvicorn as a child: all of them end together
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/ping", server)
        windows = np.random.default_rng(0).standard_normal((5, 10, len(FEATURES))).astype(np.float32)
        answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": windows.tolist()}, timeout=60)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert answer.status_code == 200, answer.text
    factor, probability = hybrid(item.calibration, np.ones(5), OnnxNetwork(item.onnx)(windows))
    np.testing.assert_allclose(np.array(answer.json()["predictions"]), np.stack((factor, probability), axis=1), rtol=1e-6)


def _path() -> str:
    """The environment's programs first: mlflow looks for uvicorn there."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def wait_until_up(url: str, process: "subprocess.Popen[bytes]", limit_s: float = 200) -> None:
    """Poll until it answers; a process that has ended is a failure at once."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        assert process.poll() is None, f"mlflow models serve ended with {process.returncode}"
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{url} does not answer within {limit_s} s")


def test_any_mlflow_client_loads_and_predicts(mlflow_uri: str) -> None:
    """A fresh interpreter with MLflow only: the code comes with the model, windows go in as one float32 tensor."""
    item = bundle("served")
    ref = register_sector(mlflow_uri, item)
    program = (
        "import sys, mlflow, numpy as np; mlflow.set_tracking_uri(sys.argv[1]);"
        "model = mlflow.pyfunc.load_model(sys.argv[2]); import tandem;"
        f"windows = np.random.default_rng(0).standard_normal((5, 10, {len(FEATURES)})).astype(np.float32);"
        "print(tandem.__file__); print(model.predict(windows).tolist())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, mlflow_uri, f"models:/{ref.name}@{CHAMPION}"],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    place, numbers = answer.stdout.strip().splitlines()[-2:]
    assert "/code/tandem/" in place  # not this checkout
    windows = np.random.default_rng(0).standard_normal((5, 10, len(FEATURES))).astype(np.float32)
    factor, probability = hybrid(item.calibration, np.ones(5), OnnxNetwork(item.onnx)(windows))
    np.testing.assert_array_equal(np.array(eval(numbers), dtype=np.float32), np.stack((factor, probability), axis=1).astype(np.float32))


def test_windows_of_another_type_are_refused_by_the_signature(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """float64 is not float32: MLflow says so before the model sees it."""
    ref = register_sector(mlflow_uri, bundle("strict"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)  # which the next line would leave behind
    mlflow.set_tracking_uri(mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{ref.name}/{ref.version}")
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        model.predict(np.zeros((2, 10, len(FEATURES))))


def test_a_version_that_is_not_what_was_registered_is_refused(mlflow_uri: str) -> None:
    """The registry's tag and the content must agree."""
    ref = registered(mlflow_uri, bundle("tampered"))
    mlflow.MlflowClient(mlflow_uri).set_model_version_tag(ref.name, ref.version, DIGEST_TAG, "0" * 64)
    with pytest.raises(BadRecord, match="bundle_digest"):
        load_bundle(mlflow_uri, ref.name, ref.version)


def test_what_is_not_there_is_permanent_and_a_missing_server_transient(mlflow_uri: str) -> None:
    """A wrong version will not appear by waiting; a server may."""
    with pytest.raises(Permanent, match="nobody"):
        load_bundle(mlflow_uri, "nobody", "1")
    assert resolve_alias(mlflow_uri, "nobody", CHAMPION) is None
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        resolve_alias("http://127.0.0.1:9", "nobody", CHAMPION)


@pytest.mark.parametrize("given", [None, "http://127.0.0.1:9"])
def test_asking_a_server_leaves_the_environment_as_it_was(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    """What mlflow writes there for its children would send a platform that is started next to this server."""
    mlflow.set_tracking_uri(None)  # as if no server was asked before
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert resolve_alias(mlflow_uri, "nobody", CHAMPION) is None
    assert os.environ.get("MLFLOW_TRACKING_URI") == given


def test_a_run_that_breaks_leaves_no_version(mlflow_uri: str) -> None:
    """A metric that MLflow refuses ends the registration before a version exists."""
    broken = replace(bundle("broken"), metrics={"not a valid name: *?": 1.0})
    with pytest.raises(Permanent, match="not a valid name"):
        log_and_register(mlflow_uri, broken, "card")
    assert mlflow.MlflowClient(mlflow_uri).search_model_versions("name = 'pairs_trading_gru_garch_broken_v1'") == []
