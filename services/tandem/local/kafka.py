"""The embedded Apache Kafka: one node in KRaft mode from the artifacts that Maven resolves. Called by platform.py and the tests.

The class path (43 MB) is fetched once for a version into the user's cache; the log itself is under the home.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tandem.domain.errors import Permanent
from tandem.local.probes import HOST, tcp_ready
from tandem.local.processes import Children, Command, StopPhase

_FILES = Path(__file__).parent / "kafka"
_JAVA_MIN = 17  # what Kafka 4's brokers need
_MAVEN_TIMEOUT_S = 600  # 43 MB over a slow line
_FORMAT_TIMEOUT_S = 60
_CLASS_PATH_ENV = "CLASSPATH"
# C1 only: a log of frames costs the broker little, and C2 would compile for minutes on the two cores that the services need.
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",  # 50 by default: that many files to open before the first commit
    "offsets.retention.minutes": "5256000",  # ten years; a home that rests for longer than the default week still knows where it was
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",  # 128 MB by default, a quarter of the heap
    "log.segment.bytes": "268435456",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def find_java() -> Path:
    """The java of JAVA_HOME, else of PATH. Raises Permanent if there is none of version 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    java = shutil.which(program)
    how = "install Java 17 or newer (e.g. openjdk-17-jre-headless), or set JAVA_HOME or TANDEM_KAFKA_BOOTSTRAP_SERVERS"
    if java is None:
        raise Permanent(f"Java is missing ({program} cannot be run): {how}")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr  # noqa: S603  found above
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA_MIN:
        raise Permanent(f"{java} is Java {version[1] if version else 'of an unknown version'}, must be {_JAVA_MIN} or newer: {how}")
    return Path(java)


def jars_folder() -> Path:
    """Where the jars of this version lie, once they were fetched: in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"
    return cache / f"kafka-{hashlib.sha256((_FILES / 'pom.xml').read_bytes()).hexdigest()[:12]}"


def class_path(children: Children) -> Path:
    """The folder of Kafka's jars, fetched by Maven when the cache does not hold this pom's yet. Raises Permanent, ChildFailed."""
    pom, target = _FILES / "pom.xml", jars_folder()
    cache = target.parent
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise Permanent(
            "Maven is missing, which fetches Kafka once: install it (e.g. the package maven) or set TANDEM_KAFKA_BOOTSTRAP_SERVERS"
        )
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache, prefix=".kafka-"))
    try:
        shutil.copy(pom, partial)  # Maven writes beside the pom, which may lie where we may not write
        jars = partial / "jars"
        arguments = ("--batch-mode", "--quiet", "-f", str(partial / pom.name), "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
        children.run(Command(name="maven", argv=(maven, *arguments), cwd=partial), _MAVEN_TIMEOUT_S)
        if not target.exists():
            jars.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def prepare(folder: Path, port: int, controller_port: int, children: Children, *, advertised_port: int = 0) -> Path:
    """Write server.properties and, once, format the storage. Returns the path of the properties. Raises ChildFailed.

    advertised_port: where clients are sent to, when something stands before the broker; the broker's own when 0.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    listeners = f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}"
    properties = _PROPERTIES | {
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{HOST}:{advertised_port or port}",
        "log.dirs": str(data),
    }
    path = folder / "server.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    if not (data / "meta.properties").exists():
        _format(path, children)
    return path


def _format(properties: Path, children: Children) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # Joined by "=", because one id in 64 begins with "-" and would be read as an option.
    arguments = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(properties))
    command = Command(
        name="kafka-format",
        argv=(str(find_java()), "-Xmx128m", "-XX:TieredStopAtLevel=1", *_log_options(), *arguments),
        env={_CLASS_PATH_ENV: str(class_path(children) / "*")},
    )
    children.run(command, _FORMAT_TIMEOUT_S)


def _log_options() -> tuple[str, ...]:
    return (f"-Dlog4j2.configurationFile={_FILES / 'log4j2.xml'}",)


def command(properties: Path, port: int, children: Children) -> Command:
    """How to start the prepared broker."""
    return Command(
        name="kafka",
        argv=(str(find_java()), *_JVM, *_log_options(), "kafka.Kafka", str(properties)),
        env={_CLASS_PATH_ENV: str(class_path(children) / "*")},
        cwd=properties.parent,
        port=port,
        probe=lambda: _why_not_ready(port),
        stop_phase=StopPhase.STORE,
    )


def servers(port: int) -> str:
    """How clients connect."""
    return f"{HOST}:{port}"


def _why_not_ready(port: int) -> str | None:
    """Ready when the broker is registered and answers for its metadata, not only when the port accepts."""
    if (reason := tcp_ready(port)) is not None:
        return reason
    try:
        # A client that gives up leaves its connection open until it is collected: not before a broker that is starting answers.
        admin = KafkaAdminClient(bootstrap_servers=[servers(port)], request_timeout_ms=3_000, bootstrap_timeout_ms=5_000)
    except KafkaError as error:
        return f"{servers(port)}: {error!r}"
    try:
        admin.list_topics()
    except KafkaError as error:
        return f"{servers(port)}: {error!r}"
    finally:
        admin.close()
    return None
