"""A test of an installed release: `python check_servers.py READYZ_URL...`; the servers come by the usual environment variables.

Prints one line for each check; exit code 1 when one failed. Writes nothing that stays: the topic of the test is deleted in the end.
"""

import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable

import psycopg2
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from tandem import settings
from tandem.adapters.kafka_servers import client_options

WAIT_S = 120.0  # for what still starts


def kafka() -> str:
    """A record goes in and comes back."""
    address = settings.load().kafka_bootstrap_servers
    how = {"bootstrap_servers": address.split(","), **client_options(address)}
    topic, value = f"helm-test-{uuid.uuid4().hex[:12]}", uuid.uuid4().bytes
    admin = KafkaAdminClient(**how)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    try:
        producer = KafkaProducer(**how, acks="all")
        producer.send(topic, value=value).get(timeout=30)
        producer.close()
        consumer = KafkaConsumer(topic, **how, auto_offset_reset="earliest", consumer_timeout_ms=30_000)
        found = next(consumer).value
        consumer.close()
    finally:
        admin.delete_topics([topic])
        admin.close()
    if found != value:
        raise RuntimeError(f"wrote {value!r}, read {found!r}")
    return "took a record and gave it back"


def postgres() -> str:
    """The schema is there."""
    connection = psycopg2.connect(settings.load().postgres_url.get_secret_value(), connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            return f"schema {cursor.fetchone()[0]}"
    finally:
        connection.close()


def redis_answers() -> str:
    """It takes our password."""
    client = redis.Redis.from_url(settings.load().redis_url.get_secret_value(), socket_timeout=5)
    client.ping()
    client.close()
    return "answers"


def answers(url: str) -> str:
    """200 over HTTP."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  of the release's own values
            return f"{answer.status}"
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code}: {error.read(300).decode(errors='replace')}") from error


def passes(name: str, check: Callable[[], str], deadline_s: float) -> bool:
    """Whether a check passes before the deadline; it is tried again until then."""
    while True:
        try:
            print(f"ok    {name}: {check()}", flush=True)
            return True
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            if time.monotonic() > deadline_s:
                print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
                return False
        time.sleep(2)


def main(urls: list[str]) -> int:
    """All checks; 1 if one failed."""
    checks: list[tuple[str, Callable[[], str]]] = [("kafka", kafka), ("postgres", postgres), ("redis", redis_answers)]
    for url in [f"{os.environ['MLFLOW_TRACKING_URI']}/health", *urls]:
        checks.append((url, lambda url=url: answers(url)))
    deadline_s = time.monotonic() + WAIT_S
    passed = [passes(name, check, deadline_s) for name, check in checks]  # all of them, also after one that failed
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
