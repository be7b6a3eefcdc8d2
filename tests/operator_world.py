"""What the operator's tests share: its settings, and the world around it as the other services make it, in few words."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2

from tandem.adapters import postgres, topics
from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable, read_control
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.domain.control import ControlRecord, RoutingPointer
from tandem.domain.ids import SectorId
from tandem.quant.bundle import model_name
from tandem.rollout.registry_names import DIGEST_TAG, PAIRS_TAG

TEMPLATE = "image: registry.example/tandem-forecaster:1\ninstance: tandem\n"


@dataclass(frozen=True)
class Servers:
    """Those that the operator needs beside the API server."""

    kafka: str
    postgres: str
    mlflow: str

    def environ(self, folder: Path, namespace: str) -> dict[str, str]:
        """The operator's settings."""
        return operator_environ(folder, namespace=namespace, kafka=self.kafka, postgres_url=self.postgres, mlflow=self.mlflow)


def operator_environ(folder: Path, *, namespace: str, kafka: str, postgres_url: str, mlflow: str) -> dict[str, str]:
    """The operator's settings."""
    template = folder / "forecaster.yaml"
    template.write_text(TEMPLATE)
    return {
        "TANDEM_NAMESPACE": namespace,
        "TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TANDEM_POSTGRES_URL": postgres_url,
        "MLFLOW_TRACKING_URI": mlflow,
        "TANDEM_FORECASTER_TEMPLATE": str(template),
        "TANDEM_SOURCE": "recycled",
    }


class Control:
    """The control topic, as any service reads it and anybody else may write it."""

    def __init__(self, servers: str) -> None:
        create_topics(servers, ())
        self._table, self._reader = read_control(servers, "test")
        self._writer = KafkaWriter(servers, "test")
        self.history: list[tuple[str, bytes | None]] = []  # key and value of every record since the start

    def table(self) -> ControlTable:
        """The newest record of each key now."""
        partition = (topics.CONTROL, 0)
        end = self._reader.end_offsets()[partition]
        while self._reader.position(partition) < end:
            for record in self._reader.poll(0.3):
                self._table.apply(record)
                self.history.append(((record.key or b"").decode(), record.value))
        return self._table

    def write(self, record: ControlRecord) -> None:
        """Past the operator."""
        key, value = encode_control(record)
        self._writer.publish(topics.CONTROL, value, key=key)
        self._writer.flush()

    def remove(self, key: str) -> None:
        """Past the operator."""
        self._writer.publish(topics.CONTROL, None, key=key.encode())
        self._writer.flush()

    def route(self, sector: str, version: str, epoch: int = 1) -> None:
        """A version becomes the live one."""
        self.write(RoutingPointer(sector=SectorId(sector), version=version, digest="d" * 64, epoch=epoch))

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
        self._writer.close()


def register_version(mlflow: str, sector: str, pairs: Iterable[str], *, source: str = "s3://nowhere/none", run_id: str = "") -> str:
    """A version in the registry that says which pairs it holds, without a bundle; its number."""
    name = model_name(SectorId(sector))
    call(mlflow, "registered-models/create", {"name": name}, fine={"RESOURCE_ALREADY_EXISTS"})
    tags = [{"key": PAIRS_TAG, "value": ",".join(sorted(pairs))}, {"key": DIGEST_TAG, "value": "d" * 64}]
    made = call(mlflow, "model-versions/create", {"name": name, "source": source, "run_id": run_id, "tags": tags})
    return str(made["model_version"]["version"])


def call(mlflow: str, what: str, body: dict[str, Any], fine: Iterable[str] = ()) -> dict[str, Any]:
    """One call of MLflow's REST interface."""
    answer = httpx.post(f"{mlflow}/api/2.0/mlflow/{what}", json=body, timeout=120)
    document: dict[str, Any] = answer.json()
    assert answer.status_code == 200 or document.get("error_code") in set(fine), document
    return document


class Book:
    """One account's book, as its portfolio writes it."""

    def __init__(self, url: str, account: str = "broker-1", source: str = "recycled", name: str | None = None) -> None:
        """name: of its TradingAccount."""
        postgres.upgrade(url)
        self._url, self._book = url, f"{account}/1"
        self._do(
            "INSERT INTO books (book, account, generation, source, capital_usd, trading_account) VALUES (%s, %s, 1, %s, 1000, %s) "
            "ON CONFLICT DO NOTHING",
            self._book,
            account,
            source,
            name,
        )

    def set(self, pair: str, state: str) -> None:
        """The state of a pair's position."""
        self._do(
            "INSERT INTO pair_states (book, pair, sector, state, direction, trade_id, symbol_a, symbol_b, target_a, target_b, held_a, "
            "held_b, order_a, order_b, attempts, waited_bars, decided_ns, opened_bar_index, half_life_bars, model_digest) "
            "VALUES (%s, %s, 'any', %s, 0, '', 'A', 'B', 0, 0, 0, 0, '', '', 0, 0, 0, 0, 1, '') "
            "ON CONFLICT (book, pair) DO UPDATE SET state = EXCLUDED.state",
            self._book,
            pair,
            state,
        )

    def _do(self, statement: str, *values: object) -> None:
        connection = psycopg2.connect(self._url)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
        connection.close()
