"""The servers whose contents a backup holds: those that settings name, else the running platform's, else the home's own, started for it.

Called by backup.py and restore.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tandem.cli.output import remark
from tandem.domain.errors import Permanent
from tandem.local.endpoints import PORT_BASE, Endpoints
from tandem.local.home import state, supervisor_pid
from tandem.settings import Settings

# Files of the home that recovery needs: the paper exchange's accounts, and the number of the next replay, whose orders must get new ids.
HOME_FILES = ("exchange", "run/replays")


@contextmanager
def opened(settings: Settings, *, port_base: int = PORT_BASE, while_running: bool) -> Iterator[Endpoints]:
    """Where the servers are. Starts and stops those of the home when no platform runs on it. Raises Permanent, Transient."""
    given = {
        "kafka": settings.kafka_bootstrap_servers,
        "postgres": settings.postgres_url.get_secret_value(),
        "mlflow": settings.mlflow_tracking_uri,
    }
    home = settings.home.expanduser().resolve()
    if all(given.values()):
        yield Endpoints(redis="", **given)  # a cache: nothing of it is kept
    elif (pid := supervisor_pid(home)) is not None:
        if not while_running:
            raise Permanent(f"a platform runs on {home} (pid {pid}): `tandem down` stops it first, or choose another --home")
        found = state(home)["endpoints"]
        if not found:
            raise Permanent(f"the platform on {home} is not ready yet: `tandem status` tells what it waits for")
        yield Endpoints(**(found | {name: value for name, value in given.items() if value}))
    else:
        with _started(settings, port_base) as endpoints:
            yield endpoints


@contextmanager
def _started(settings: Settings, port_base: int) -> Iterator[Endpoints]:
    from tandem.local.platform import Platform  # noqa: PLC0415  (Kafka and SQLAlchemy, for this way only)

    with Platform(settings.home, settings, port_base, report=remark) as platform:
        endpoints = platform.start_servers()
        platform.wait_mlflow()
        yield endpoints


def home_files(home: Path) -> list[Path]:
    """Those of HOME_FILES that are there, relative to the home."""
    found = []
    for name in HOME_FILES:
        path = home / name
        found += [path] if path.is_file() else sorted(child for child in path.rglob("*") if child.is_file())
    return [path.relative_to(home) for path in found]
