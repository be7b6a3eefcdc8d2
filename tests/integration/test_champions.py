"""The supervisor's question to MLflow: which version is champion. Asked of a real server."""

from pathlib import Path
from uuid import uuid4

import pytest

from tandem.domain.errors import Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.local.champions import champion
from tandem.quant.bundle import model_name
from tandem.rollout.registry_names import CHAMPION, DIGEST_TAG


def register(mlflow_uri: str, sector: str, folder: Path, tags: dict[str, str]) -> str:
    """A registered version of a sector's model; its number."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)
    run = client.create_run(client.create_experiment(f"champions-{uuid4().hex[:8]}"))
    (folder / "bundle.json").write_text("{}")
    client.log_artifact(run.info.run_id, str(folder / "bundle.json"), "model")
    name = model_name(sector)
    client.create_registered_model(name)
    version = client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id, tags=tags)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return str(version.version)


def test_champion_with_its_digest(mlflow_uri: str, tmp_path: Path) -> None:
    """What a routing pointer needs: version and digest."""
    version = register(mlflow_uri, "championed", tmp_path, {DIGEST_TAG: "abc"})
    assert champion(mlflow_uri, "championed") == ModelRef(name=model_name("championed"), version=version, digest="abc")


def test_no_model_is_no_champion(mlflow_uri: str) -> None:
    """A sector that was never trained, or whose model has no alias."""
    import mlflow

    assert champion(mlflow_uri, "untrained") is None
    mlflow.MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri).create_registered_model(model_name("aliasless"))
    assert champion(mlflow_uri, "aliasless") is None


def test_version_without_digest_is_refused(mlflow_uri: str, tmp_path: Path) -> None:
    """It was not made by our trainer; a forecaster could not verify it."""
    register(mlflow_uri, "foreign", tmp_path, {})
    with pytest.raises(Permanent, match=r"has no tag tandem\.digest"):
        champion(mlflow_uri, "foreign")


def test_server_that_is_away_is_transient() -> None:
    """The supervisor asks again later."""
    with pytest.raises(Transient, match=r"MLflow at http://127\.0\.0\.1:9"):
        champion("http://127.0.0.1:9", "technology")
