"""PostgreSQL: one way to connect and one way to bring the schema up to date. Who owns which tables is told in migrations/versions."""

from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tandem.domain.errors import BadSetting, Permanent, Transient

_MIGRATIONS = Path(__file__).parent / "migrations"
_CONNECT_TIMEOUT_S = 5  # a server on the same network answers in milliseconds; more would only hide that it is away
_LOCK_TIMEOUT_S = 60  # how long one service waits while another migrates
_MIGRATION_LOCK = 0x74616E64656D  # "tandem": the advisory lock that lets one service migrate at a time


def connect(url: str, *, application: str = "tandem") -> psycopg2.extensions.connection:
    """A connection, not in autocommit; numeric comes back as Decimal. Raises BadSetting, Transient if the server is away."""
    try:
        return psycopg2.connect(plain_url(url), connect_timeout=_CONNECT_TIMEOUT_S, application_name=application)
    except psycopg2.OperationalError as error:
        raise Transient(f"PostgreSQL at {place(url)}: {str(error).strip()}") from error


def upgrade(url: str) -> str:
    """Bring the schema to the newest revision and return it. Safe to call from many services at once. Raises Transient, Permanent."""
    engine = create_engine(sqlalchemy_url(url), connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "tandem-migrate"})
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'"))
            connection.execute(text(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})"))
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})"))
                connection.commit()
    except CommandError as error:
        raise Permanent(f"the schema at {place(url)} cannot be migrated: {error}") from error
    except SQLAlchemyError as error:
        raise Transient(f"PostgreSQL at {place(url)}: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()
    return head()


def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, f"no migrations under {_MIGRATIONS}"
    return revision


def revisions() -> frozenset[str]:
    """Every revision that this code knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def sqlalchemy_url(url: str) -> str:
    """The URL with the driver named: SQLAlchemy 2.1 takes plain postgresql:// for psycopg 3, which is not installed."""
    return "postgresql+psycopg2://" + plain_url(url).removeprefix("postgresql://")


def plain_url(url: str) -> str:
    """The URL as libpq takes it. Raises BadSetting if it is not one of PostgreSQL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise BadSetting("TANDEM_POSTGRES_URL: expected postgresql://user:password@host:port/database" + ("" if url else ", found nothing"))
    return f"postgresql://{rest}"


def place(url: str) -> str:
    """host:port/database, fit for a message: no user, no password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'local socket'}:{parts.port or 5432}{parts.path}"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
