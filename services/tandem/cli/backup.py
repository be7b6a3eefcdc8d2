"""`tandem backup`: ledger, registry, topics and what else a platform needs to go on, in one folder. Changes nothing; the platform may run.

In this order: the groups' offsets, the ledger, the topics, the registry, its artifacts. So each part is at least as new as what points to
it: a service that goes on from here reads some records a second time, which changes nothing, and misses none.
"""

import shutil
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tandem.adapters import postgres, postgres_dump
from tandem.adapters.artifact_copy import Artifacts
from tandem.adapters.kafka_copy import TopicCopy, Topics
from tandem.cli.backup_files import ARTIFACTS, FORMAT, HOME, LEDGER, REGISTRY, TOPICS, Manifest, digests
from tandem.cli.output import print_facts, print_json, remark
from tandem.cli.running import Home, settings_of
from tandem.cli.stores import home_files, opened
from tandem.domain.errors import Permanent
from tandem.local.endpoints import PORT_BASE, Endpoints
from tandem.local.postgres import MLFLOW_DATABASE, with_database

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PortBase = Annotated[
    int, typer.Option(envvar="TANDEM_PORT_BASE", min=1024, max=65_000, help="First port of the home's servers, where they are started.")
]


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to make; must not be there yet.", metavar="DIR")],
    *,
    home: Home = None,
    port_base: PortBase = PORT_BASE,
    json: Json = False,
) -> None:
    """Save ledger, model registry and Kafka topics of the platform, whether it runs or not."""
    if folder.exists():
        raise Permanent(f"{folder} is there already: a backup is never written over another; choose a new name")
    settings = settings_of(home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that what has its name is whole; readable by this user only: it holds the account.
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        with opened(settings, port_base=port_base, while_running=True) as endpoints:
            manifest = write(endpoints, settings.home.expanduser().resolve(), partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _report(folder, manifest, as_json=json)


def write(endpoints: Endpoints, home: Path, folder: Path) -> Manifest:
    """Everything into an empty folder. Raises Transient, Permanent."""
    with Topics(endpoints.kafka) as kafka:
        groups = kafka.groups()
        remark("saving the ledger")
        ledger = postgres_dump.dump(endpoints.postgres, folder / LEDGER)
        remark("saving the topics")
        (folder / TOPICS).mkdir()
        topics = tuple(kafka.save(name, folder / TOPICS) for name in kafka.names())
    registry = _registry(endpoints, folder)
    for path in home_files(home):
        (folder / HOME / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(home / path, folder / HOME / path)
    manifest = Manifest(
        format=FORMAT,
        version=version("tandem-trading"),
        taken_utc=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        revision=postgres.head(),
        rows=ledger.rows,
        heads=ledger.heads,
        registry_rows=registry,
        topics=topics,
        groups=groups,
        files=digests(folder),
    )
    manifest.write(folder)
    return manifest


def _registry(endpoints: Endpoints, folder: Path) -> dict[str, int]:
    """MLflow's database, where it lies beside the ledger, and its artifacts."""
    url = with_database(endpoints.postgres, MLFLOW_DATABASE)
    if not postgres_dump.exists(url):
        remark(f"the server of the ledger has no database {MLFLOW_DATABASE}: the registry is saved where it runs, not here")
        return {}
    remark("saving the registry")
    rows = postgres_dump.dump(url, folder / REGISTRY).rows
    with Artifacts(endpoints.mlflow) as artifacts:
        artifacts.save(folder / ARTIFACTS)
    return rows


def size_bytes(folder: Path) -> int:
    """What the folder takes on the disk."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def told(topics: tuple[TopicCopy, ...]) -> str:
    """How much the topics hold."""
    return f"{sum(copy.records for copy in topics):,} records in {len(topics)} topics"


def _report(folder: Path, manifest: Manifest, *, as_json: bool) -> None:
    size = size_bytes(folder)
    if as_json:
        print_json({"folder": str(folder.resolve()), "bytes": size} | manifest.model_dump(mode="json", exclude={"files"}))
        return
    print_facts(
        {
            "backup": str(folder.resolve()),
            "size": f"{size / 1e6:,.1f} MB in {len(manifest.files)} files",
            "ledger": f"{manifest.rows.get('entries', 0):,} entries, {sum(manifest.rows.values()):,} rows, {len(manifest.heads)} books",
            "registry": f"{manifest.registry_rows.get('model_versions', 0)} model versions",
            "Kafka": told(manifest.topics),
        }
    )
    remark(f"`tandem restore {folder}` brings it back, into an empty platform")
