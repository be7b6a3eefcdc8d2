"""The Dockerfile's rules, read from its text: what `make test-cluster` would find only after minutes of building."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tandem.cli.locks import LOCKS

ROOT = Path(__file__).parents[3]
TARGETS = ("services", "dashboard", "forecaster", "operator", "mlflow", "trainer")


@dataclass
class Stage:
    """One stage: what it begins from, and its instructions as (name, arguments)."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        """The arguments of the instructions of this name."""
        return [arguments for step, arguments in self.steps if step == name]


def stages() -> dict[str, Stage]:
    """The stages by name, in their order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS ([a-z-]+)", arguments).groups()  # type: ignore[union-attr]
            found[stage] = current = Stage(base)
        elif name and found:
            current.steps.append((name, arguments.strip()))
    return found


STAGES = stages()


def lineage(stage: str) -> list[Stage]:
    """The stages that an image is made of, the base's first."""
    chain = []
    while stage in STAGES:
        chain.insert(0, STAGES[stage])
        stage = STAGES[stage].base
    return chain


def test_every_stage_begins_from_the_pinned_base_or_another_stage() -> None:
    """One argument decides the base of all, so that one digest pins them."""
    assert {stage.base for stage in STAGES.values()} <= {"${PYTHON_IMAGE}", *STAGES}
    assert (ROOT / "Dockerfile").read_text().count("ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim\n") == 1


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_ends_as_an_ordinary_user_with_title_and_command(target: str) -> None:
    """Non-root by number, which the kubelet can check; labels that tell what it is; something to run and to be asked for its health."""
    chain = lineage(target)
    assert [user for stage in chain for user in stage.of("USER")] == ["65532:65532"]
    labels = " ".join(label for stage in chain for label in stage.of("LABEL"))
    assert f'org.opencontainers.image.title="tandem-{target}"' in labels
    assert all(f"org.opencontainers.image.{key}=" in labels for key in ("description", "version", "revision", "licenses"))
    assert chain[-1].of("CMD")
    checks = [check for stage in chain for check in stage.of("HEALTHCHECK")]
    assert checks
    assert "curl" not in checks[-1]
    assert any("PATH=/opt/venv/bin:" in env for stage in chain for env in stage.of("ENV"))


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_installed_in_what_is_shipped(target: str) -> None:
    """The compilers' and installers' stages stay behind: an image only copies, and makes its user."""
    chain = lineage(target)
    assert "build" not in [name for name, stage in STAGES.items() if stage in chain]
    runs = [run for stage in chain for run in stage.of("RUN")]
    assert len(runs) == 1
    assert "useradd" in runs[0]


def test_every_installation_is_held_to_hashes() -> None:
    """By a lock; the exceptions are our own wheel, and torch of an index whose hashes no lock can know."""
    commands = [part for stage in STAGES.values() for run in stage.of("RUN") for part in re.split(r"&&|;", run) if " install " in part]
    assert len(commands) == 10
    free = [command for command in commands if "--require-hashes" not in command]
    assert all("--no-deps" in command for command in free)
    assert [command.split()[-1] for command in free] == ["dist/*.whl"]
    locks = {name for command in commands for name in re.findall(r"requirements/([a-z]+)\.lock", command)}
    assert locks <= {lock.name for lock in LOCKS}


def test_every_image_has_the_lock_that_verify_knows() -> None:
    """A new target must not escape `make verify`."""
    assert set(TARGETS) <= {lock.name for lock in LOCKS}
    for target in TARGETS:
        assert any(f"requirements/{target}.lock" in copied for copied in STAGES[f"{target}-packages"].of("COPY"))


def test_no_address_and_no_secret_is_written_down() -> None:
    """Indexes and certificates come with the build; only this machine's own loopback is named."""
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"https?://([^/:\s\"]+)", text)) <= {"127.0.0.1", "0.0.0.0"}
    assert not re.search(r"(?i)(password|token|secret|api_key)\s*=", text)
    assert not re.search(r"^ADD ", text, re.MULTILINE)


def allowed() -> list[str]:
    """What .dockerignore lets into a build."""
    return [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    """No .git, no environment, no local state: everything is refused first."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    copied = [
        source
        for stage in STAGES.values()
        for arguments in stage.of("COPY")
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert {source.split("/")[0] for source in copied} == set(allowed())


@pytest.mark.parametrize("pattern", ["**/__pycache__", "**/*.pyc", "**/*.nbi", "**/*.nbc"])
def test_what_this_machine_compiled_stays_here(pattern: str) -> None:
    """It would make an image differ from machine to machine."""
    assert pattern in (ROOT / ".dockerignore").read_text().splitlines()
