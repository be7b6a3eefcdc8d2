"""Kafka, PostgreSQL and Redis over TLS with certificates of our own authority, and Kafka with a user and password, by settings alone."""

import gc
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from sqlalchemy import create_engine, text

from certificates import Authority, Certificate
from free_ports import free_port
from replay_world import until
from tandem import settings
from tandem.adapters import postgres, topics
from tandem.adapters.kafka_log import KafkaReader, KafkaWriter, create_topics
from tandem.adapters.kafka_servers import KafkaSecurity, KafkaServers, client_options
from tandem.adapters.redis_cache import RedisCache
from tandem.domain.errors import Transient
from tandem.local import kafka as local_kafka
from tandem.local.processes import Children

_READY_S = 120
_USERS = {"admin": "Admin-s3cret-1", "tandem": "Tandem-s3cret-2"}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required "
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Certificate:
    return authority.sign("server")


@pytest.fixture(scope="module")
def secure_kafka(authority: Authority, server: Certificate, home: Path, children: Children) -> str:
    """host:port of a broker that takes nobody without TLS and a password; SCRAM knows the user tandem."""
    port, folder = free_port(), home / "kafka-tls"
    properties = local_kafka.prepare(folder, port, free_port(), children)
    listener = f"SASL_SSL://127.0.0.1:{port}"
    users = " ".join(f'user_{name}="{password}"' for name, password in _USERS.items())
    with properties.open("a") as file:  # the last line of a name counts
        controller = next(line for line in properties.read_text().splitlines() if line.startswith("listeners=")).partition(",")[2]
        for name, value in {
            "listeners": f"{listener},{controller}",
            "advertised.listeners": listener,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{_PLAIN}username="admin" password="{_USERS["admin"]}" {users};',
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.file),
        }.items():
            file.write(f"{name}={value}\n")
    servers = KafkaServers(f"127.0.0.1:{port}", _security(authority, "admin", "PLAIN"))
    command = local_kafka.command(properties, port, children)
    children.start(replace(command, name="kafka-tls", probe=lambda: _why_not_ready(servers)))
    children.wait_ready(["kafka-tls"], _READY_S)
    with closing(KafkaAdminClient(bootstrap_servers=[str(servers)], **client_options(servers))) as admin:
        admin.alter_user_scram_credentials([_scram_user("tandem")])
    as_user = KafkaServers(servers, _security(authority, "tandem", "SCRAM-SHA-512"))
    until("the broker has heard of its new user", lambda: _why_not_ready(as_user) is None)
    return str(servers)


def _scram_user(name: str) -> object:
    from kafka.admin import UserScramCredentialUpsertion

    return UserScramCredentialUpsertion(name, "SCRAM-SHA-512", _USERS[name])


def _security(authority: Authority, user: str, mechanism: str) -> KafkaSecurity:
    return KafkaSecurity(
        protocol="SASL_SSL", ca_file=str(authority.file), mechanism=mechanism, username=user, password=_USERS.get(user, "wrong-password")
    )


def _why_not_ready(servers: KafkaServers) -> str | None:
    try:
        with closing(
            KafkaAdminClient(
                bootstrap_servers=[str(servers)], bootstrap_timeout_ms=2_000, request_timeout_ms=3_000, **client_options(servers)
            )
        ) as admin:
            admin.list_topics()
    except KafkaError as error:
        return repr(error)
    finally:
        collect_refused()
    return None


def collect_refused() -> None:
    """kafka-python and redis-py leave the socket of a refused handshake to the garbage collector, which would warn in another test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_records_go_to_kafka_and_back_over_tls_as_a_user(
    secure_kafka: str, authority: Authority, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By settings alone, from the environment as a service reads it."""
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": secure_kafka,
        "KAFKA_SECURITY": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": mechanism,
        "KAFKA_USERNAME": "tandem",
        "KAFKA_PASSWORD": _USERS["tandem"],
        "KAFKA_CA_FILE": str(authority.file),
    }.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    servers = settings.load().kafka_bootstrap_servers
    create_topics(servers, [])
    with closing(KafkaWriter(servers, "test")) as writer:
        writer.publish(topics.DEADLETTER, mechanism.encode())
        writer.flush()
    with closing(KafkaReader(servers, [topics.DEADLETTER], client_id="test")) as reader:
        until("the record is read", lambda: mechanism.encode() in {record.value for record in reader.poll(0.25)})


def test_kafka_takes_neither_a_stranger_nor_a_client_that_does_not_trust_it(
    secure_kafka: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "another authority")
    strangers = [
        _security(authority, "nobody", "PLAIN"),
        replace(_security(authority, "tandem", "SCRAM-SHA-512"), password="wrong-password"),
        replace(_security(authority, "tandem", "PLAIN"), ca_file=str(other.file)),
    ]
    for security in strangers:
        why = _why_not_ready(KafkaServers(secure_kafka, security))
        assert why is not None, security
        assert "s3cret" not in why


@dataclass(slots=True)
class TlsEnd:
    """A TLS end before a server: the wheels' PostgreSQL and Redis are built without TLS, which their clients cannot tell from outside.

    greet: what a client and a server say to each other before TLS begins.
    """

    certificate: Certificate
    inner: int
    greet: Callable[[socket.socket], None] = lambda _: None
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    threads: list[threading.Thread] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        """Until the listener is closed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        while True:
            try:
                outside, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.greet(outside)
                encrypted = context.wrap_socket(outside, server_side=True)
            except OSError:  # a client that does not trust us
                outside.close()
                continue
            plain = socket.create_connection(("127.0.0.1", self.inner))
            self.sockets += [encrypted, plain]
            for source, target in ((encrypted, plain), (plain, encrypted)):
                self.threads.append(threading.Thread(target=_copy, args=(source, target), daemon=True))
                self.threads[-1].start()

    def close(self) -> None:
        """End, with every connection."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(timeout=5)
        for end in self.sockets:
            end.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_before(certificate: Certificate, inner: int, greet: Callable[[socket.socket], None] = lambda _: None) -> Iterator[int]:
    """The port of a TLS end before a server."""
    end = TlsEnd(certificate=certificate, inner=inner, greet=greet)
    thread = threading.Thread(target=end.serve, daemon=True)
    thread.start()
    try:
        yield end.port
    finally:
        end.close()
        thread.join(timeout=5)


def _take_ssl_request(client: socket.socket) -> None:
    """PostgreSQL's clients ask for TLS with 8 bytes, and are answered with one (Frontend/Backend Protocol, SSLRequest)."""
    asked = client.recv(8, socket.MSG_WAITALL)
    if asked != struct.pack("!II", 8, 80877103):
        raise ConnectionError(f"no SSLRequest, but {asked!r}")
    client.sendall(b"S")


def test_postgres_is_reached_over_tls_and_its_name_is_checked(
    postgres_server: str, authority: Authority, server: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inner = urlsplit(postgres_server)
    stranger, misnamed = Authority(tmp_path, "another authority"), authority.sign("elsewhere", hosts=("elsewhere",), addresses=())
    with tls_before(server, int(inner.port or 0), _take_ssl_request) as port:
        url = postgres_server.replace(f":{inner.port}/", f":{port}/")
        with closing(postgres.connect(_settings_url(monkeypatch, url, "verify-full", authority.file))) as connection:
            assert connection.info.ssl_in_use
        engine = create_engine(postgres.sqlalchemy_url(_settings_url(monkeypatch, url, "verify-full", authority.file)))
        with engine.connect() as through_sqlalchemy:
            assert through_sqlalchemy.execute(text("SELECT 1")).scalar_one() == 1
        engine.dispose()
        with pytest.raises(Transient, match="certificate verify failed") as refused:
            postgres.connect(_settings_url(monkeypatch, url, "verify-full", stranger.file))
        assert str(inner.password) not in str(refused.value)
    with tls_before(misnamed, int(inner.port or 0), _take_ssl_request) as port:
        url = postgres_server.replace(f":{inner.port}/", f":{port}/")
        with pytest.raises(Transient, match="does not match host name"):
            postgres.connect(_settings_url(monkeypatch, url, "verify-full", authority.file))
        postgres.connect(_settings_url(monkeypatch, url, "verify-ca", authority.file)).close()


def _settings_url(monkeypatch: pytest.MonkeyPatch, url: str, sslmode: str, authority: Path) -> str:
    for name, value in {"POSTGRES_URL": url, "POSTGRES_SSLMODE": sslmode, "POSTGRES_CA_FILE": str(authority)}.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    return settings.load().postgres_url.get_secret_value()


def test_redis_is_reached_over_tls(
    redis_server: str, server: Certificate, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tandem.adapters.redis_cache._TIMEOUT_S", 30.0)  # a handshake on a busy machine is no failure
    with tls_before(server, int(urlsplit(redis_server).port or 0)) as port:

        def cache(trusted: Path) -> RedisCache:
            monkeypatch.setenv("TANDEM_REDIS_URL", f"rediss://127.0.0.1:{port}/0")
            monkeypatch.setenv("TANDEM_REDIS_CA_FILE", str(trusted))
            return RedisCache(settings.load().redis_url.get_secret_value(), "tls")

        with closing(cache(authority.file)) as trusted:
            trusted.put("x", b"1", 600)
            assert trusted.get("x") == b"1"
        with closing(cache(Authority(tmp_path, "another authority").file)) as stranger, pytest.raises(Transient, match="certificate"):
            stranger.get("x")
        collect_refused()
