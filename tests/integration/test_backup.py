"""`tandem backup` and `tandem restore` between two real platforms: what was saved comes back, row for row and offset for offset."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from kafka import KafkaAdminClient, TopicPartition

from free_ports import free_base
from ledger_cases import trade
from model_cases import market, tiny_options
from tandem.adapters import postgres, topics
from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.control_log import publish_control, read_control
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.mlflow_registry import load_bundle, log_and_register, promote, resolve_alias
from tandem.adapters.postgres_dump import visitors
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.domain.control import RoutingPointer, TradingState
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.domain.trading import Action, TradingMode
from tandem.flow.accounting import deposit_entry
from tandem.local.endpoints import Endpoints
from tandem.local.platform import Platform
from tandem.quant.bundle import Bundle
from tandem.rollout.registry_names import CHAMPION
from tandem.settings import Settings
from tandem.trainer.card import model_card
from tandem.trainer.main import SectorTask, train_sector
from trading_cases import CONSUMER

pytestmark = pytest.mark.timeout(900)
_GROUP = "tandem.portfolio.paper"
_CAPITAL_USD = Decimal(1_000_000)
_FIRST = 3  # records of the forecasts that retention has taken
_KILLED = TradingState(scope="global", mode=TradingMode.FLATTENING, reason="before the backup")


@dataclass(frozen=True)
class Saved:
    """A backup, and what the platform held that it was made of."""

    folder: Path
    report: dict[str, object]
    book: str
    head: str
    model: ModelRef
    bundle: Bundle


@contextmanager
def platform(home: Path) -> Iterator[Endpoints]:
    """The servers of a home."""
    settings = Settings(home=home, kafka_bootstrap_servers="", postgres_url="", redis_url="", mlflow_tracking_uri="")
    with Platform(home, settings, free_base()) as running:
        endpoints = running.start_servers()
        running.wait_mlflow()
        yield endpoints


def tandem(*arguments: str, servers: Endpoints | None = None) -> "subprocess.CompletedProcess[str]":
    """The command, with the servers of its environment or with none."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_") and name != "MLFLOW_TRACKING_URI"}
    env |= servers.environment() if servers else {}
    command = [sys.executable, "-m", "tandem.cli.main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For both homes and the backup; every user may enter it, since Postgres may run as another."""
    path = Path(tempfile.mkdtemp(prefix="tandem-backup-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def saved(folder: Path) -> Saved:
    """A platform with a ledger, a model, pairs and forecasts, saved while its servers run."""
    home, target = folder / "first", folder / "backup"
    (home / "run").mkdir(parents=True)
    (home / "run" / "replays").write_text("7")
    with platform(home) as servers:
        book, head = fill_ledger(servers.postgres)
        fill_kafka(servers.kafka)
        task = SectorTask(sector=SectorId("consumer"), bar="1d", slots=1, declared=(PairId("AAA-BBB"),), data_digest="d" * 64)
        bundle = train_sector(task, market(600), tiny_options(seed=0, epochs_max=1))
        model = log_and_register(servers.mlflow, bundle, model_card(bundle))
        promote(servers.mlflow, model)
        done = tandem("backup", str(target), "--home", str(home), "--json", servers=servers)
    assert done.returncode == 0, done.stderr
    return Saved(folder=target, report=json.loads(done.stdout), book=book, head=head, model=model, bundle=bundle)


def fill_ledger(url: str) -> tuple[str, str]:
    """A book with capital and two trades. Returns its name and the newest link of its chain."""
    postgres.upgrade(url)
    with closing(PortfolioStore(url, "paper")) as store:
        store.begin_book("recycled", _CAPITAL_USD)
        store.append([deposit_entry(store.book, _CAPITAL_USD, 0)])
        store.commit(trade("i1", Action.OPEN_LONG, 1000, "i1"))
        store.commit(trade("i2", Action.CLOSE, 2000, "i1"))
        return store.book, AuditTrail(url).check(store.book).head


def fill_kafka(servers: str) -> None:
    """A pointer that was moved, a kill switch, and forecasts whose first ones are gone and half of whose rest is applied."""
    create_topics(servers, ["consumer"])
    writer = KafkaWriter(servers, "test")
    publish_control(writer, *(RoutingPointer(sector=CONSUMER, version=str(n), digest=f"d{n}", epoch=n) for n in (1, 2)), _KILLED)
    for number in range(10):
        writer.publish(topics.FORECASTS, f"forecast {number}".encode(), headers={"number": str(number).encode()})
        writer.publish(topics.ticks("consumer"), bytes(1000 + number), key=b"k")
    writer.flush()
    writer.close()
    admin = KafkaAdminClient(bootstrap_servers=[servers])
    admin.delete_records({TopicPartition(topics.FORECASTS, 0): _FIRST})
    admin.close()
    reader = KafkaReader(servers, [topics.FORECASTS], client_id="test", group=_GROUP)
    reader.commit_offsets({(topics.FORECASTS, 0): 6})
    reader.close()


def records(servers: str, topic: str) -> list[tuple[int, bytes | None, bytes | None, dict[str, bytes]]]:
    """Everything that a topic holds."""
    reader = KafkaReader(servers, [topic], client_id="test")
    found, end = [], reader.end_offsets()[topic, 0]
    while reader.position((topic, 0)) < end:
        found += [(r.offset, r.key, r.value, r.headers) for r in reader.poll(1.0)]
    reader.close()
    return found


def test_a_backup_tells_what_it_holds(saved: Saved) -> None:
    """The manifest and the report have the rows, the chain's head, the offsets and the group; the folder is its owner's only."""
    report = saved.report
    assert (report["heads"], report["groups"]) == ({saved.book: saved.head}, {_GROUP: {topics.FORECASTS: 6}})
    assert {copy["topic"]: (copy["first_offset"], copy["end_offset"]) for copy in report["topics"]}[topics.FORECASTS] == (_FIRST, 10)
    assert saved.folder.stat().st_mode & 0o077 == 0
    again = tandem("backup", str(saved.folder))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_who_has_just_left_the_database_is_not_in_its_way(postgres_url: str) -> None:
    """A restore looks who is there after it has been there itself; PostgreSQL shows a session for a moment longer than it lasts."""
    leaving = psycopg2.connect(postgres_url, application_name="leaving")
    goodbye = threading.Timer(0.5, leaving.close)
    goodbye.start()
    assert visitors(postgres_url) == ()
    goodbye.join()
    with closing(psycopg2.connect(postgres_url, application_name="recorder")):
        assert visitors(postgres_url) == ("recorder",)


@pytest.mark.parametrize("name", ["tandem.pgdump", "topics/tandem.forecasts.msgpack.gz"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(saved: Saved, folder: Path, name: str) -> None:
    """One byte more in a file, and the command names the file; no home is made."""
    damaged = folder / "damaged"
    shutil.copytree(saved.folder, damaged)
    with (damaged / name).open("ab") as file:
        file.write(b"x")
    done = tandem("restore", str(damaged), "--home", str(folder / "untouched"))
    shutil.rmtree(damaged)
    assert (done.returncode, name in done.stderr) == (1, True), done.stderr
    assert not (folder / "untouched").exists()


def test_an_empty_platform_goes_on_from_a_backup(saved: Saved, folder: Path) -> None:
    """Ledger, chain, registry, topics with their offsets, the group, the kill switch and the replay's number are those that were saved.

    Then the platform is not empty any more: the same restore is refused, and with --replace it gives the same again.
    """
    home = folder / "second"
    restored = tandem("restore", str(saved.folder), "--home", str(home), "--port-base", str(free_base()), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["faults"] == []
    assert (home / "run" / "replays").read_text() == "7"
    with platform(home) as servers:
        holds_what_was_saved(servers, saved)
        refused = tandem("restore", str(saved.folder), "--home", str(folder / "third"), servers=servers)
        assert (refused.returncode, "not empty" in refused.stderr) == (1, True), refused.stderr
        with closing(psycopg2.connect(servers.postgres, application_name="recorder")):
            used = tandem("restore", str(saved.folder), "--replace", "--home", str(folder / "third"), servers=servers)
        assert (used.returncode, "in use by recorder" in used.stderr) == (1, True), used.stderr
        again = tandem("restore", str(saved.folder), "--replace", "--home", str(folder / "third"), servers=servers)
        assert again.returncode == 0, again.stderr
        holds_what_was_saved(servers, saved)


def holds_what_was_saved(servers: Endpoints, saved: Saved) -> None:
    """Compare with what was put in, by the readers of the services."""
    checked = AuditTrail(servers.postgres).check(saved.book)
    assert (checked.head, checked.faults) == (saved.head, ())
    with closing(PortfolioStore(servers.postgres, "paper")) as store:
        assert store.open_newest_book() == ("recycled", _CAPITAL_USD)
        assert store.book == saved.book
        store.append([deposit_entry(f"{store.book}-more", Decimal(1), 9)])  # the triggers are there, and let the owner go on
    with closing(psycopg2.connect(servers.postgres)) as connection, connection.cursor() as cursor, pytest.raises(psycopg2.Error):
        cursor.execute("DELETE FROM entries")
    assert resolve_alias(servers.mlflow, saved.model.name, CHAMPION) == saved.model.version
    assert load_bundle(servers.mlflow, saved.model.name, saved.model.version) == (saved.model, saved.bundle)
    table, reader = read_control(servers.kafka, "test")
    reader.close()
    assert (table.pointers[CONSUMER].epoch, table.trading["global"]) == (2, _KILLED)
    wanted = [(n, None, f"forecast {n}".encode(), {"number": str(n).encode()}) for n in range(_FIRST, 10)]
    assert records(servers.kafka, topics.FORECASTS) == wanted
    assert records(servers.kafka, topics.ticks("consumer")) == [(n, b"k", bytes(1000 + n), {}) for n in range(10)]
    group = KafkaReader(servers.kafka, [topics.FORECASTS], client_id="test", group=_GROUP)
    assert group.committed() == {(topics.FORECASTS, 0): 6}
    group.close()
