"""What rollouts read and write of the model registry over REST, on a real MLflow server; the mlflow package is the second opinion."""

from pathlib import Path
from uuid import uuid4

import pytest

from tandem.adapters.registry_rest import Registry
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import PairId
from tandem.rollout.observed import RegisteredVersion
from tandem.rollout.registry_names import CANDIDATE, CHAMPION, DIGEST_TAG, PAIRS_TAG, QUARANTINE_TAG, TRAINED_TO_TAG


def registered(mlflow_uri: str, folder: Path, *tags: dict[str, str]) -> str:
    """A registered model with one version for each set of tags; its name."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)
    name = f"rest-{uuid4().hex[:8]}"
    run = client.create_run(client.create_experiment(name))
    (folder / "file").write_text("")
    client.log_artifact(run.info.run_id, str(folder / "file"), "model")
    client.create_registered_model(name)
    for own in tags:
        client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id, tags=own)
    return name


def test_versions_with_what_a_rollout_needs_to_know(mlflow_uri: str, tmp_path: Path) -> None:
    """The newest first, with aliases, digest, quarantine and the end of training; one without our tags is there and has no digest."""
    name = registered(
        mlflow_uri, tmp_path, {DIGEST_TAG: "aa", TRAINED_TO_TAG: "17"}, {DIGEST_TAG: "bb", QUARANTINE_TAG: "worse"}, {"other": "x"}
    )
    with Registry(mlflow_uri) as registry:
        registry.set_alias(name, CHAMPION, "1")
        registry.set_alias(name, CANDIDATE, "2")
        third, second, first = registry.versions(name)
    assert first == RegisteredVersion(version="1", digest="aa", aliases=(CHAMPION,), trained_to_ns=17, created_s=first.created_s)
    assert (second.digest, second.aliases, second.quarantined, second.trained_to_ns) == ("bb", (CANDIDATE,), "worse", 0)
    assert (third.version, third.digest, third.aliases) == ("3", "", ())
    assert 0 < first.created_s <= second.created_s <= third.created_s


def test_all_pages_are_read(mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model has more versions than one answer holds."""
    monkeypatch.setattr("tandem.adapters.registry_rest._PAGE", 2)
    name = registered(mlflow_uri, tmp_path, *({DIGEST_TAG: str(n)} for n in range(5)))
    with Registry(mlflow_uri) as registry:
        assert [version.version for version in registry.versions(name)] == ["5", "4", "3", "2", "1"]


def test_a_model_that_was_never_trained_has_no_versions(mlflow_uri: str) -> None:
    """It is not an error: the sector waits for its first training."""
    with Registry(mlflow_uri) as registry:
        assert registry.versions("nobody-trained-this") == ()
        assert registry.champion("nobody-trained-this") is None
        assert registry.pairs("nobody-trained-this", "1") is None


def test_aliases_and_tags_are_set_moved_and_removed_and_twice_is_once(mlflow_uri: str, tmp_path: Path) -> None:
    """Every write may be done again after a kill."""
    import mlflow

    name = registered(mlflow_uri, tmp_path, {DIGEST_TAG: "aa", PAIRS_TAG: "KO-PEP,CL-KO"}, {DIGEST_TAG: "bb"})
    client = mlflow.MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)
    with Registry(mlflow_uri) as registry:
        for _ in range(2):
            registry.set_alias(name, CHAMPION, "1")
            registry.set_tag(name, "2", QUARANTINE_TAG, "worse by a lot")
        assert client.get_model_version_by_alias(name, CHAMPION).version == "1"
        assert client.get_model_version(name, "2").tags[QUARANTINE_TAG] == "worse by a lot"
        registry.set_alias(name, CHAMPION, "2")
        assert registry.champion(name) is not None
        assert registry.champion(name).version == "2"  # type: ignore[union-attr]  # asserted above
        for _ in range(2):
            registry.set_alias(name, CHAMPION, "")
            registry.delete_tag(name, "2", QUARANTINE_TAG)
        assert registry.champion(name) is None
        assert all(not version.quarantined for version in registry.versions(name))
        assert registry.pairs(name, "1") == (PairId("CL-KO"), PairId("KO-PEP"))
        assert registry.pairs(name, "2") is None


def test_an_empty_quarantine_tag_still_quarantines(mlflow_uri: str, tmp_path: Path) -> None:
    """A person who sets the tag by hand may leave out why."""
    name = registered(mlflow_uri, tmp_path, {DIGEST_TAG: "aa", QUARANTINE_TAG: ""})
    with Registry(mlflow_uri) as registry:
        assert registry.versions(name)[0].quarantined == "no reason given"


def test_writes_about_versions_that_are_not_there_are_permanent(mlflow_uri: str, tmp_path: Path) -> None:
    """Trying again would not help; the message names call and reason."""
    name = registered(mlflow_uri, tmp_path, {DIGEST_TAG: "aa"})
    with Registry(mlflow_uri) as registry:
        with pytest.raises(Permanent, match=r"registered-models/alias: RESOURCE_DOES_NOT_EXIST .*99"):
            registry.set_alias(name, CHAMPION, "99")
        with pytest.raises(Permanent, match=r"model-versions/set-tag: RESOURCE_DOES_NOT_EXIST .*99"):
            registry.set_tag(name, "99", QUARANTINE_TAG, "x")


def test_a_server_that_is_away_or_something_else_is_transient(kafka_broker: str) -> None:
    """Nothing listens, or what listens does not speak HTTP: ask again later."""
    for uri in ("http://127.0.0.1:9", f"http://{kafka_broker}"):
        with Registry(uri, timeout_s=2) as registry, pytest.raises(Transient, match=r"MLflow at http://127"):
            registry.versions("any")


def test_a_champion_without_digest_is_refused(mlflow_uri: str, tmp_path: Path) -> None:
    """It was not made by our trainer; a forecaster could not verify it."""
    name = registered(mlflow_uri, tmp_path, {})
    with Registry(mlflow_uri) as registry:
        registry.set_alias(name, CHAMPION, "1")
        with pytest.raises(Permanent, match=r"has no tag tandem\.digest"):
            registry.champion(name)
