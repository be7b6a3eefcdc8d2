"""Kafka, Postgres, Redis and the fault proxy of a chaos run: started once, emptied for each seed, killed and started again by faults."""

import signal
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import redis
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from chaos import machine, sockets
from chaos.mend import kill, mend, pids
from cluster import binaries
from free_ports import PLATFORM, free_base
from tandem.adapters.kafka_log import create_topics
from tandem.adapters.postgres import upgrade
from tandem.domain.errors import Permanent
from tandem.local import kafka as local_kafka
from tandem.local import postgres as local_postgres
from tandem.local import redis as local_redis
from tandem.local.endpoints import Ports
from tandem.local.processes import Child, Children, Command, last_lines

_READY_S = 120
_TEMPLATE, DATABASE = "chaos_template", "tandem"
_API = 49  # offsets from the base of the ports
PROXIES = {"kafka": 50, "postgres": 51, "redis": 52, "market": 53, "updates": 54, "rest": 55}
NAMES = ("kafka", "postgres", "redis")


class Servers:
    """The three servers, and the proxies in front of them and of the recycler."""

    def __init__(self, home: Path) -> None:
        self.home, self.children, self.ports = home, Children(home), Ports(free_base((*PLATFORM, _API, *PROXIES.values())))
        self.sockets = sockets.Sockets(self.ports.base + _API)

    def proxy_port(self, name: str) -> int:
        """Where clients of a server connect."""
        return self.ports.base + PROXIES[name]

    def start(self) -> None:
        """Start everything and make the database that those of the seeds are copies of."""
        program = binaries.locate(binaries.CHAOS)["toxiproxy-server"]
        properties = local_kafka.prepare(
            self.home / "kafka",
            self.ports.kafka,
            self.ports.kafka_controller,
            self.children,
            advertised_port=self.proxy_port("kafka"),
        )
        place = local_postgres.locate(self.home)
        local_postgres.initialise(place, self.children)
        self._maintenance = local_postgres.url(place, self.ports.postgres, "postgres")
        for command in (
            sockets.command(program, self.ports.base + _API),
            local_kafka.command(properties, self.ports.kafka, self.children),
            _postgres(local_postgres.command(place, self.ports.postgres)),
            local_redis.command(self.home / "redis", self.ports.redis),
        ):
            self.children.start(command)
        self.children.wait_ready(["toxiproxy"], _READY_S)
        upstream = dict.fromkeys(("market", "updates", "rest"), self.ports.recycler)
        upstream |= {"kafka": self.ports.kafka, "postgres": self.ports.postgres, "redis": self.ports.redis}
        for name, port in upstream.items():
            self.sockets.add(name, self.proxy_port(name), port)
        self.children.wait_ready(NAMES, _READY_S)
        local_postgres.create_databases(self._maintenance, (_TEMPLATE,))
        upgrade(local_postgres.with_database(self._maintenance, _TEMPLATE))

    def empty(self, sectors: list[str]) -> None:
        """A new database, topics without a record, an empty Redis, whole sockets. No service may be running. Raises Permanent."""
        self.whole()
        with closing(psycopg2.connect(self._maintenance)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
                cursor.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{_TEMPLATE}"')
        with closing(redis.Redis(port=self.ports.redis)) as client:
            client.flushall()
        try:
            self._empty_kafka(sectors)
        except KafkaError as error:
            raise Permanent(f"Kafka cannot be emptied: {error!r}; end of its log:\n{last_lines(self.child('kafka').log)}") from error

    def _empty_kafka(self, sectors: list[str]) -> None:
        with closing(KafkaAdminClient(bootstrap_servers=[self.kafka])) as admin:
            groups = [group["group_id"] for group in admin.list_groups()]
            if groups:
                admin.delete_groups(groups)
            if old := [name for name in admin.list_topics() if not name.startswith("__")]:
                admin.delete_topics(old)
            until = time.monotonic() + _READY_S
            while any(not name.startswith("__") for name in admin.list_topics()):
                assert time.monotonic() < until, "the topics are not deleted"
                time.sleep(0.02)
        create_topics(self.kafka, sectors)

    @property
    def kafka(self) -> str:
        """host:port for the services and the checker, through the proxy."""
        return f"{sockets.HOST}:{self.proxy_port('kafka')}"

    @property
    def postgres_url(self) -> str:
        """The seed's database, without the proxy."""
        return local_postgres.with_database(self._maintenance, DATABASE)

    @property
    def proxied_postgres_url(self) -> str:
        """The seed's database as the services reach it."""
        return self.postgres_url.replace(f":{self.ports.postgres}/", f":{self.proxy_port('postgres')}/")

    @property
    def maintenance_url(self) -> str:
        """The server's own database."""
        return self._maintenance

    def whole(self) -> None:
        """All three run and answer, and every socket is whole: for who looks at what is left. Raises Permanent, which tells why not."""
        self.sockets.heal()
        mend(self.children, NAMES)

    def child(self, name: str) -> Child:
        """A server's process."""
        return self.children.get(name)

    def kill(self, name: str) -> None:
        """kill -9 of a server with all its processes, as a machine that loses its power would."""
        kill(self.child(name))

    def restart(self, name: str) -> None:
        """Start a dead server again; does not wait."""
        self.children.restart(self.child(name))

    def pause(self, name: str) -> None:
        """SIGSTOP to a server and all its processes."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT to them."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        if self.child(name).exit_code is not None:
            return
        for pid in self.pids(name):
            machine.send(pid, number)

    def pids(self, name: str) -> tuple[int, ...]:
        """A running server's processes, the first one before its children."""
        return pids(self.child(name))

    def ready(self, name: str) -> bool:
        """The server answers."""
        child = self.child(name)
        return child.exit_code is None and child.command.why_not_ready() is None

    def stop(self) -> None:
        """End everything."""
        self.sockets.close()
        self.children.stop_all()


def _postgres(command: Command) -> Command:
    """With shared memory that no limit of files reaches: a full disk takes none away, and Postgres without any cannot even recover."""
    return replace(command, argv=(*command.argv, "-c", "dynamic_shared_memory_type=sysv"))
