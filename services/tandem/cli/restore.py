"""`tandem restore`: a backup into an empty platform, and the proof that the ledger is the one that was saved.

Refuses to touch a platform that runs or that holds something, unless --replace says that this may go.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from tandem.adapters import postgres, postgres_dump
from tandem.adapters.artifact_copy import Artifacts
from tandem.adapters.audit_trail import AuditTrail
from tandem.adapters.kafka_copy import Topics
from tandem.cli.backup import Json, PortBase, told
from tandem.cli.backup_files import ARTIFACTS, HOME, LEDGER, REGISTRY, TOPICS, Manifest, read_manifest
from tandem.cli.output import print_facts, print_json, remark
from tandem.cli.running import Home, settings_of
from tandem.cli.stores import home_files, opened
from tandem.domain.errors import Permanent
from tandem.local.endpoints import PORT_BASE, Endpoints
from tandem.local.postgres import MLFLOW_DATABASE, create_databases, with_database

_OF_SCHEMA = frozenset({"alembic_version"})  # rows that a schema without data has
_USED = ("registered_models", "runs")  # of MLflow: the other tables have rows from the start


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `tandem backup` made.", metavar="DIR")],
    *,
    home: Home = None,
    port_base: PortBase = PORT_BASE,
    replace: Annotated[bool, typer.Option("--replace", help="Remove what the target holds: its ledger, registry and topics.")] = False,
    json: Json = False,
) -> None:
    """Bring a backup back into an empty platform, and verify the ledger. Exit code 1: it is not what was saved."""
    manifest = read_manifest(folder)
    if manifest.revision not in postgres.revisions():
        raise Permanent(
            f"the backup is of schema {manifest.revision}, newer than this version's {postgres.head()}: install {manifest.version}"
        )
    settings = settings_of(home)
    target = settings.home.expanduser().resolve()
    if (kept := home_files(target)) and not replace:
        raise Permanent(f"{target} holds {kept[0]}: it is not empty; choose another --home, or say --replace")
    with opened(settings, port_base=port_base, while_running=False) as endpoints:
        _make_room(endpoints, replace=replace)
        _fill(endpoints, manifest, folder)
        faults = verify(endpoints, manifest)
    _home_files(folder / HOME, target)
    _report(manifest, faults, as_json=json)
    if faults:
        raise typer.Exit(1)


def _make_room(endpoints: Endpoints, *, replace: bool) -> None:
    """Empty databases and no topics. Raises Permanent for what is in use, or holds something that nobody gave up."""
    registry = with_database(endpoints.postgres, MLFLOW_DATABASE)
    if not postgres_dump.exists(endpoints.postgres):
        create_databases(with_database(endpoints.postgres, "postgres"))
    if visitors := postgres_dump.visitors(endpoints.postgres):
        raise Permanent(f"the database is in use by {', '.join(visitors)}: stop the services first (docs/operations.md)")
    held = []
    rows = postgres_dump.contents(endpoints.postgres).rows
    if any(count for table, count in rows.items() if table not in _OF_SCHEMA):
        held.append(f"the ledger's database ({rows.get('entries', 0)} entries)")
    if postgres_dump.exists(registry):
        found = postgres_dump.contents(registry).rows
        if any(found.get(table) for table in _USED):
            held.append(f"the registry ({found.get('model_versions', 0)} model versions)")
    with Topics(endpoints.kafka) as kafka:
        held += kafka.filled()
        if held and not replace:
            raise Permanent(f"the target is not empty: {', '.join(held)}; choose an empty one, or say --replace to remove this")
        kafka.delete(kafka.names())


def _fill(endpoints: Endpoints, manifest: Manifest, folder: Path) -> None:
    remark("restoring the ledger")
    postgres_dump.empty(endpoints.postgres)
    postgres_dump.load(endpoints.postgres, folder / LEDGER)
    postgres.upgrade(endpoints.postgres)
    if (folder / REGISTRY).is_file():
        remark("restoring the registry")
        registry = with_database(endpoints.postgres, MLFLOW_DATABASE)
        create_databases(endpoints.postgres)
        postgres_dump.empty(registry)
        postgres_dump.load(registry, folder / REGISTRY)
        with Artifacts(endpoints.mlflow) as artifacts:
            artifacts.restore(folder / ARTIFACTS)
    remark("restoring the topics")
    with Topics(endpoints.kafka) as kafka:
        for copy in manifest.topics:
            kafka.restore(copy, folder / TOPICS)
        for group, offsets in manifest.groups.items():
            kafka.restore_group(group, offsets)


def verify(endpoints: Endpoints, manifest: Manifest) -> list[str]:
    """What is not as it was saved: rows, audit chains, sums of the ledger, offsets. Empty when all is well."""
    found = postgres_dump.contents(endpoints.postgres)
    faults = postgres_dump.difference(manifest.rows, found.rows)
    trail = AuditTrail(endpoints.postgres)
    for book, head in manifest.heads.items():
        checked = trail.check(book)
        faults += [f"book {book}: {fault}" for fault in checked.faults]
        if checked.head != head:
            faults.append(f"book {book}: the chain ends with {checked.head[:12]}, the backup's with {head[:12]}")
    faults += [f"entry {entry} does not sum to zero" for entry in postgres_dump.unbalanced(endpoints.postgres)]
    if manifest.registry_rows:
        registry = postgres_dump.contents(with_database(endpoints.postgres, MLFLOW_DATABASE)).rows
        faults += postgres_dump.difference(manifest.registry_rows, registry)
    with Topics(endpoints.kafka) as kafka:
        groups = kafka.groups()
    faults += [
        f"group {group}: offsets {groups.get(group)}, saved were {offsets}"
        for group, offsets in manifest.groups.items()
        if groups.get(group) != offsets
    ]
    return faults


def _home_files(source: Path, home: Path) -> None:
    for path in home_files(home):
        (home / path).unlink()
    if source.is_dir():
        shutil.copytree(source, home, dirs_exist_ok=True)


def _report(manifest: Manifest, faults: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"taken_utc": manifest.taken_utc, "entries": manifest.rows.get("entries", 0), "heads": manifest.heads, "faults": faults})
        return
    print_facts(
        {
            "backup of": manifest.taken_utc,
            "ledger": f"{manifest.rows.get('entries', 0):,} entries in {len(manifest.heads)} books",
            "verified": f"{len(faults)} faults" if faults else "rows as saved, every chain whole, every entry sums to zero",
            "registry": f"{manifest.registry_rows.get('model_versions', 0)} model versions",
            "Kafka": told(manifest.topics),
        }
    )
    for fault in faults:
        typer.echo(f"FAULT {fault}")
    if not faults:
        remark("`tandem up` on this home goes on from here; on a live account the portfolio compares the book with the broker first")
