"""The platform of one machine: starts the servers that no setting names, then the services, watches them and stops everything.

Used by `tandem up` (cli/platform.py), by the demo and by tests. Nothing is left behind: not on Ctrl-C or SIGTERM at any moment, not after
an exception; and what a killed supervisor leaves, the next one on the same home ends first.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tandem.adapters.postgres import plain_url
from tandem.domain.errors import InvariantBroken, Permanent
from tandem.local import kafka, mlflow, postgres, redis, signals
from tandem.local.endpoints import Endpoints, Ports, Service
from tandem.local.home import STATE_FILE
from tandem.local.probes import PortTaken
from tandem.local.processes import STOP_GRACE_S, Child, ChildFailed, Children, Command, StopPhase
from tandem.local.records import end_leftovers, write_json
from tandem.local.services import RECYCLED, Services
from tandem.settings import Settings

RESTARTS_MAX = 3  # a child that dies a fourth time will not live
_STORE_READY_S = 120  # initdb and Kafka's format on a busy machine; ready in 3 to 8 s on an idle one
_MLFLOW_READY_S = 180


class Platform:
    """All processes of one home. Use as a context manager: leaving it stops them."""

    def __init__(self, home: Path, settings: Settings, port_base: int, *, report: Callable[[str], None] = lambda _: None) -> None:
        """`report` takes one line on what happens; it may be called from other threads."""
        self.home = home.expanduser().resolve()
        self.settings = settings
        self.ports = Ports(port_base)
        self._report = report
        self._lock_file = _lock(self.home)
        self.children = Children(self.home)
        self._endpoints: Endpoints | None = None
        self._mlflow: Future[None] | None = None
        self._given_up: set[int] = set()
        self._handlers: signals.Handlers = {}

    def __enter__(self) -> Self:
        self._handlers = signals.interrupt_on_signals()
        try:
            ended, survivors = end_leftovers(self.children.run_dir, STOP_GRACE_S)
            if survivors:
                raise InvariantBroken(f"processes {survivors} of an earlier run survive SIGKILL")
            if ended:
                self._report(f"ended what an earlier run left: {', '.join(ended)}")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all children, services first. Signals wait until this is done: at most 10 s for each of the three phases."""
        with signals.deaf():
            try:
                self.children.stop_all()
            finally:
                self._lock_file.close()
        signals.restore(self._handlers)
        self._handlers = {}

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers are, once start_servers has returned."""
        if self._endpoints is None:
            raise InvariantBroken("the servers are not started")
        return self._endpoints

    def tell(self, state: str, *, bar: str) -> None:
        """What the commands that look are to know: starting, or ready and where the servers are."""
        endpoints = asdict(self.endpoints) if state == "ready" else {}
        document = {"state": state, "pid": os.getpid(), "port_base": self.ports.base, "bar": bar, "endpoints": endpoints}
        write_json(self.children.run_dir / STATE_FILE, document)

    def use_servers(self) -> Endpoints:
        """Start none: take those that the settings name."""
        given = self.settings
        self._endpoints = Endpoints(
            kafka=given.kafka_bootstrap_servers,
            postgres=given.postgres_url.get_secret_value(),
            redis=given.redis_url.get_secret_value(),
            mlflow=given.mlflow_tracking_uri,
        )
        return self._endpoints

    def start_servers(self) -> Endpoints:
        """Start what no setting names, all at once. Returns when Postgres, Redis and Kafka are ready; for MLflow see wait_mlflow.

        Raises Permanent with one reason: what is missing, which port is taken, what did not come up. Then everything is stopped already.
        """
        given = self.settings
        tasks: dict[str, Callable[[], None]] = {}
        postgres_url = given.postgres_url.get_secret_value()
        if not postgres_url:
            place = postgres.locate(self.home)
            postgres_url = postgres.url(place, self.ports.postgres)
            tasks["postgres"] = lambda: self._start_postgres(place)
        elif not given.mlflow_tracking_uri:
            tasks["postgres"] = lambda: postgres.create_databases(plain_url(postgres_url))
        if not given.redis_url.get_secret_value():
            tasks["redis"] = self._start_redis
        if not given.kafka_bootstrap_servers:
            tasks["kafka"] = self._start_kafka
        endpoints = Endpoints(
            kafka=given.kafka_bootstrap_servers or kafka.servers(self.ports.kafka),
            postgres=postgres_url,
            redis=given.redis_url.get_secret_value() or redis.url(self.ports.redis),
            mlflow=given.mlflow_tracking_uri or mlflow.url(self.ports.mlflow),
        )
        pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="start")
        try:
            if not given.mlflow_tracking_uri:
                self._mlflow = pool.submit(self._start_mlflow, postgres_url)
            futures = [pool.submit(task) for task in tasks.values()]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
        except BaseException:
            self.stop()  # lets the others end at once instead of being awaited
            raise
        finally:
            pool.shutdown(wait=False)
        self._endpoints = endpoints
        return endpoints

    def wait_mlflow(self) -> None:
        """Return when MLflow is ready. Raises ChildFailed."""
        if self._mlflow is not None:
            self._mlflow.result()

    def _start_postgres(self, place: postgres.Place) -> None:
        postgres.initialise(place, self.children)
        self._start_and_wait(postgres.command(place, self.ports.postgres), _STORE_READY_S)
        postgres.create_databases(postgres.url(place, self.ports.postgres, "postgres"))

    def _start_redis(self) -> None:
        self._start_and_wait(redis.command(self.home / "redis", self.ports.redis), _STORE_READY_S)

    def _start_kafka(self) -> None:
        properties = kafka.prepare(self.home / "kafka", self.ports.kafka, self.ports.kafka_controller, self.children)
        self._start_and_wait(kafka.command(properties, self.ports.kafka, self.children), _STORE_READY_S)

    def _start_mlflow(self, postgres_url: str) -> None:
        database_url = postgres.with_database(plain_url(postgres_url), postgres.MLFLOW_DATABASE)
        self._start_and_wait(mlflow.command(self.home / "mlflow", self.ports.mlflow, database_url), _MLFLOW_READY_S)

    def _start_and_wait(self, command: Command, timeout_s: float) -> None:
        self.children.start(command)
        self.children.wait_ready([command.name], timeout_s)
        self._report(f"{command.name} is ready on port {command.port}")

    def services(self, *, bar: str, source: str = RECYCLED, more: Mapping[str, str] | None = None) -> Services:
        """The maker of our services' commands and environments, for these servers."""
        return Services(
            endpoints=self.endpoints,
            ports=self.ports,
            home=self.home,
            config_dir=self.settings.config_dir.resolve(),
            bar=bar,
            source=source,
            api_token=self.api_token(),
            more=more or {},
        )

    def service_settings(self, port: int, *, bar: str, source: str = RECYCLED, **fields: str) -> dict[str, str]:
        """The environment of a service of one's own making. fields: names of Settings' fields."""
        return self.services(bar=bar, source=source).settings(port, **fields)

    def start_service(self, name: str, argv: Sequence[str], env: Mapping[str, str], ready_path: str = "/readyz") -> Child:
        """Start a service that listens on env["TANDEM_PORT"] and says at ready_path when it is ready. Does not wait."""
        port = int(env["TANDEM_PORT"])
        command = Command(
            name=name, argv=tuple(argv), env=env, port=port, ready_url=f"http://127.0.0.1:{port}{ready_path}", stop_phase=_phase(name)
        )
        return self.children.start(command)

    def start(self, service: Service) -> Child:
        """Start one of our services. Does not wait."""
        return self.start_service(service.name, service.argv, service.env, service.ready_path)

    def wait_ready(self, names: Iterable[str], timeout_s: float) -> None:
        """Return when all of these are ready. Raises ChildFailed naming the one that is not, with the end of its log."""
        self.children.wait_ready(names, timeout_s)

    def api_token(self) -> str:
        """The token for calls that change state, made once for a home and readable by this user only."""
        path = self.children.run_dir / "api_token"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        return path.read_text().strip()

    @property
    def processes(self) -> list[Child]:
        """The children that were started and not stopped."""
        return self.children.all()

    def memory_bytes(self) -> dict[str, int]:
        """Memory of each child with its descendants; what processes share counts once."""
        return {child.name: child.memory_bytes() for child in self.processes}

    def check(self) -> None:
        """Raises ChildFailed if a child has ended by itself: for runs that must not go on without it."""
        for child in self.children.dead():
            raise ChildFailed(child.epitaph())

    def revive(self) -> list[str]:
        """Start children again that have ended by themselves, each at most RESTARTS_MAX times. Returns what to tell the user."""
        told = []
        for child in self.children.dead():
            if child.restarts >= RESTARTS_MAX:
                if child.pid not in self._given_up:
                    self._given_up.add(child.pid)
                    told.append(f"{child.epitaph()}\n{child.name} was restarted {child.restarts} times and is given up")
                continue
            told.append(f"{child.epitaph()}\n{child.name} is started again ({child.restarts + 1} of {RESTARTS_MAX})")
            try:
                self.children.restart(child)
            except (ChildFailed, PortTaken) as error:
                told.append(str(error))
                child.restarts += 1
        return told


def _phase(name: str) -> StopPhase:
    """The market ends after those who are connected to it, so that they see no broken stream in the end."""
    return StopPhase.MARKET if name == "recycler" else StopPhase.SERVICE


def _lock(home: Path) -> IO[str]:
    """Hold the home for this process. Raises Permanent if it belongs to another user or a supervisor holds it."""
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        file = (home / "run" / "lock").open("a+")
    except PermissionError as error:
        raise Permanent(f"{error.filename} belongs to another user: choose another --home or TANDEM_HOME") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise Permanent(f"a platform runs on {home} already (pid {holder}): `tandem down` stops it; or choose another --home") from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
