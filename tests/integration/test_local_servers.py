"""The embedded servers do what the platform needs of them: checked with their ordinary clients."""

import time
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import psycopg2
import pytest
import redis

from tandem.adapters import topics
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.local import kafka as local_kafka


def test_postgres_answers_with_the_settings_we_gave(postgres_url: str) -> None:
    """PostgreSQL 18 listens on the loopback address only, in UTF-8 and UTC."""
    connection = psycopg2.connect(postgres_url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('listen_addresses'), "
            "current_setting('max_connections'), current_setting('shared_buffers'), pg_encoding_to_char(encoding), "
            "current_setting('timezone') FROM pg_database WHERE datname = current_database()"
        )
        assert cursor.fetchone() == (18, "127.0.0.1", "100", "128MB", "UTF8", "UTC")
    connection.close()


def test_postgres_refuses_a_wrong_password(postgres_url: str) -> None:
    """Reaching the port is not enough."""
    head, _, tail = postgres_url.partition("@")
    wrong = head.rpartition(":")[0] + ":wrong@" + tail
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)


def test_redis_forgets_rather_than_fills_the_memory(redis_url: str) -> None:
    """Redis is a cache: bounded memory, least recently used out first, nothing on disk."""
    client = redis.Redis.from_url(redis_url)
    assert client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert client.config_get("save") == {"save": ""}
    client.close()


def test_kafka_gives_back_what_was_written(kafka_servers: str) -> None:
    """Records come back in order through our own adapter, and a group goes on where it committed."""
    create_topics(kafka_servers, ["technology"])
    writer = KafkaWriter(kafka_servers, "test")
    for number in range(1000):
        writer.publish(topics.ticks("technology"), str(number).encode())
    writer.flush()
    writer.close()
    assert _read(kafka_servers, 600) == [str(n).encode() for n in range(600)]
    assert _read(kafka_servers, 400) == [str(n).encode() for n in range(600, 1000)]


def _read(servers: str, count: int) -> list[bytes | None]:
    """Take `count` records as group `test` and commit exactly those."""
    topic = topics.ticks("technology")
    reader = KafkaReader(servers, [topic], client_id="test", group="test")
    records = []
    while len(records) < count:
        records += reader.poll(10.0)
    taken = records[:count]
    reader.commit_offsets({(topic, 0): taken[-1].offset + 1})
    reader.close()
    return [record.value for record in taken]


def test_an_offset_is_committed_without_waiting_for_it(kafka_servers: str) -> None:
    """The call returns before the group's offset is there, which it is soon. One that fails in passing is made good by the next."""
    create_topics(kafka_servers, ["utilities"])
    place = (topics.ticks("utilities"), 0)
    reader = KafkaReader(kafka_servers, [place[0]], client_id="test", group="soon")
    deadline_s = time.monotonic() + 120
    offset = 0
    while not reader.committed()[place]:
        assert time.monotonic() < deadline_s, "it never came"
        offset += 1
        reader.commit_soon({place: offset})
        reader.poll(0.05)
    assert reader.committed()[place] <= offset
    reader.close()


def test_kafka_makes_no_topic_by_accident(kafka_servers: str) -> None:
    """A misspelt topic is an error, not a new topic."""
    with pytest.raises(Exception, match="has no topic misspelt"):
        KafkaReader(kafka_servers, ["misspelt"], client_id="test")


def test_kafka_jars_are_fetched_once(children: object, kafka_servers: str) -> None:
    """The class path is complete in the cache: a second look-up runs nothing."""
    folder = local_kafka.class_path(children)  # type: ignore[arg-type]
    assert any(jar.name.startswith("kafka_2.13-") for jar in folder.glob("*.jar"))


def test_mlflow_keeps_runs_artifacts_and_aliases(mlflow_uri: str, tmp_path: Path) -> None:
    """Experiment, proxied artifact, registered model and alias work over HTTP alone."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)
    name = f"test-{uuid4().hex[:8]}"
    run = client.create_run(client.create_experiment(name))
    (tmp_path / "bundle.json").write_text("{}")
    client.log_artifact(run.info.run_id, str(tmp_path / "bundle.json"), "model")
    assert [f.path for f in client.list_artifacts(run.info.run_id, "model")] == ["model/bundle.json"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    client.create_registered_model(name)
    version = client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    assert client.get_model_version_by_alias(name, "champion").version == version.version


def test_mlflow_stores_in_postgres(mlflow_uri: str, postgres_server: str) -> None:
    """The tables are in mlflow_db, at the schema revision that this MLflow expects."""
    with urlopen(f"{mlflow_uri}/version") as response:
        assert response.read().decode() >= "3.17"
    connection = psycopg2.connect(postgres_server.removesuffix("/postgres") + "/mlflow_db")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alembic_version")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_name IN ('runs', 'model_versions')")
        assert cursor.fetchone() == (2,)
    connection.close()
