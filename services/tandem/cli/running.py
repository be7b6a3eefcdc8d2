"""Where the running platform listens, for the commands that talk to it. Reads the records of its children; starts nothing."""

import socket
from pathlib import Path
from typing import Annotated

import typer

from tandem.domain.errors import BadSetting, Transient
from tandem.local.home import state, supervisor_pid
from tandem.local.probes import HOST
from tandem.local.records import Record, read_records
from tandem.settings import Settings, load

Home = Annotated[Path | None, typer.Option("--home", help="Folder of the platform, as given to `tandem up`; default: TANDEM_HOME.")]
_CONNECT_S = 5.0
_START = "start it with `tandem up`"


def settings_of(home: Path | None) -> Settings:
    """The settings, with another home where one is named."""
    settings = load()
    return settings.model_copy(update={"home": home}) if home else settings


def kafka_servers(settings: Settings) -> str:
    """Bootstrap servers: the setting, else the running platform's Kafka. Raises Transient when there is neither."""
    servers = settings.kafka_bootstrap_servers
    if not servers:
        servers = f"{HOST}:{_one(settings.home, 'kafka', 'or set TANDEM_KAFKA_BOOTSTRAP_SERVERS').port}"
    _require_reachable(servers)
    return servers


def _require_reachable(servers: str) -> None:
    """Raises Transient if none of the servers takes a connection: Kafka's own client asks for half a minute before it says so."""
    reasons = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise BadSetting(f"TANDEM_KAFKA_BOOTSTRAP_SERVERS: found {server!r}, must be host:port[,host:port]")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
            return
        except OSError as error:
            reasons.append(f"{server}: {error}")
    raise Transient(f"Kafka is not there: {'; '.join(reasons)}")


def postgres_url(settings: Settings) -> str:
    """The database's URL: the setting, else that of the running platform. Raises Transient when there is neither."""
    url = settings.postgres_url.get_secret_value()
    if not url and supervisor_pid(home := settings.home.expanduser().resolve()) is not None:
        url = state(home)["endpoints"].get("postgres", "")
    if not url:
        raise Transient(f"no platform runs under {settings.home}; {_START}, or set TANDEM_POSTGRES_URL")
    return url


def mlflow_uri(settings: Settings) -> str:
    """The registry's address: the setting, else that of the running platform. Raises Transient when there is neither."""
    uri = settings.mlflow_tracking_uri
    if not uri and supervisor_pid(home := settings.home.expanduser().resolve()) is not None:
        uri = state(home)["endpoints"].get("mlflow", "")
    if not uri:
        raise Transient(f"no platform runs under {settings.home}; {_START}, or set MLFLOW_TRACKING_URI")
    return uri


def portfolio_url(settings: Settings) -> str:
    """Base URL of the portfolio's API. Raises Transient when it does not run."""
    return f"http://{HOST}:{_one(settings.home, 'portfolio', 'or name its API with --url').port}"


def forecaster_urls(settings: Settings) -> dict[str, str]:
    """Base URL of each running forecaster by its name, forecaster-<sector>-v<version>. Raises Transient when none runs."""
    records = _alive(settings.home)
    found = {record.name: f"http://{HOST}:{record.port}" for record in records if record.name.startswith("forecaster-")}
    if not found and records:
        raise Transient(f"the platform under {settings.home} runs no forecaster yet: `tandem train` makes a sector's first model")
    if not found:
        raise Transient(f"no platform runs under {settings.home}; {_START}, or name a forecaster with --url")
    return dict(sorted(found.items()))


def _one(home: Path, name: str, otherwise: str) -> Record:
    records = _alive(home)
    for record in records:
        if record.name == name:
            return record
    what = f"the platform under {home} runs without {name}" if records else f"no platform runs under {home}"
    raise Transient(f"{what}; {_START}, {otherwise}")


def _alive(home: Path) -> list[Record]:
    return [record for record in read_records(home / "run") if record.process() is not None]
