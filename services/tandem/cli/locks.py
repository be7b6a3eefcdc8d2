"""What `make verify` holds against the locks of requirements/: they satisfy pyproject.toml, agree with each other and name no host.

run.lock is the one resolution; every other lock is a part of it in the same versions. Called by cli/verify.py.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# What would tie a lock to one index, or publish the address of a private one.
_HOST = re.compile(r"https?://|git\+|--(?:extra-)?index|--find-links|--trusted-host| @ ")
_NO_INDEX = ("Failed to fetch", "network was disabled", "error sending request")
_COMPILE_S_MAX = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One file of requirements/ and what it was resolved from: extras of pyproject.toml, or a list of its own."""

    name: str
    extras: tuple[str, ...] = ()
    source: str = ""  # of requirements/: then nothing of pyproject.toml is in it

    @property
    def file(self) -> str:
        """Its name in requirements/."""
        return f"{self.name}.lock"


LOCKS = (
    Lock(name="run", extras=("train", "local", "operator")),
    Lock(name="dev", extras=("train", "local", "operator", "dev")),
    Lock(name="build", source="build.in"),
    # One for each image, by the name of the Dockerfile's target.
    Lock(name="services", extras=("services",)),
    Lock(name="dashboard", extras=("dashboard",)),
    Lock(name="forecaster", extras=("forecaster",)),
    Lock(name="operator", extras=("operator",)),
    Lock(name="trainer", extras=("train",)),
    Lock(name="mlflow", source="mlflow.in"),
)


def pins(text: str) -> dict[str, frozenset[str]]:
    """The versions that a lock pins, by name: more than one where a marker tells between them."""
    found: dict[str, frozenset[str]] = {}
    for name, version in _PIN.findall(text):
        key = canonicalize_name(name)
        found[key] = found.get(key, frozenset()) | {version}
    return found


def locks_satisfy_project(root: Path) -> list[str]:
    """Each requirement of pyproject.toml is pinned in the locks at a version that it allows. Needs no network."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    faults = []
    for lock in LOCKS:
        pinned = pins((root / "requirements" / lock.file).read_text())
        for requirement in _wanted(root, lock, project):
            versions = pinned.get(canonicalize_name(requirement.name), frozenset())
            if not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
                held = " and ".join(sorted(versions)) or None
                faults.append(
                    f"requirements/{lock.file}: has {requirement.name} {held}, {_source(lock)} wants {requirement}; run `make lock`"
                )
    return faults


def locks_agree(root: Path) -> list[str]:
    """What an image holds is pinned as in run.lock, so that the tests of one are the tests of the other."""
    texts = {lock.name: (root / "requirements" / lock.file).read_text() for lock in LOCKS}
    known = pins(texts["run"])
    return [
        f"requirements/{name}.lock: has {package} {' and '.join(sorted(versions))}, requirements/run.lock has "
        f"{' and '.join(sorted(known.get(package, ()))) or None}; run `make lock`"
        for name, text in texts.items()
        if name != "dev"  # it adds what only tests need
        for package, versions in pins(text).items()
        if not versions <= known.get(package, frozenset())
    ]


def locks_name_no_host(root: Path) -> list[str]:
    """No file of requirements/ names an index, a URL or a host."""
    return [
        f"{path.relative_to(root)}:{number}: names a place to fetch from: {line.strip()}"
        for path in sorted((root / "requirements").iterdir())
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if _HOST.search(line)
    ]


def locks_are_resolved(root: Path) -> list[str]:
    """Resolving again, with the pins as they are, changes no lock. Without a package index it says so and passes."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "pyproject.toml", folder)
        shutil.copytree(root / "requirements", Path(folder) / "requirements")
        uv = Path(sys.executable).parent / "uv"
        # The recipe is the Makefile's, so that the options of the resolution are written once.
        command = ["make", "--no-print-directory", "--silent", "-C", folder, "-f", str(root / "Makefile"), "lock", f"UV={uv}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S_MAX, check=False)  # noqa: S603  (our own Makefile)
        if done.returncode and any(sign in done.stderr for sign in _NO_INDEX):
            typer.echo("      no package index can be reached: whether the locks are resolved afresh was not checked")
            return []
        if done.returncode:
            return [f"make lock failed: {done.stderr.strip()}"]
        return [
            f"requirements/{lock.file}: differs from what {_source(lock)} resolves to; run `make lock`"
            for lock in LOCKS
            if (Path(folder) / "requirements" / lock.file).read_text() != (root / "requirements" / lock.file).read_text()
        ]


def _source(lock: Lock) -> str:
    return f"requirements/{lock.source}" if lock.source else "pyproject.toml"


def _wanted(root: Path, lock: Lock, project: Mapping[str, object]) -> Iterator[Requirement]:
    """What the lock must hold."""
    if lock.source:
        lines = (root / "requirements" / lock.source).read_text().splitlines()
        yield from (Requirement(line) for line in lines if line and not line.startswith("#"))
        return
    dependencies, optional, own = project["dependencies"], project["optional-dependencies"], canonicalize_name(str(project["name"]))
    assert isinstance(dependencies, list)
    assert isinstance(optional, dict)
    yield from map(Requirement, dependencies)
    yield from _of_extras(lock.extras, optional, own)


def _of_extras(extras: Iterable[str], optional: Mapping[str, list[str]], own: str) -> Iterator[Requirement]:
    """The requirements of extras, and of those that they name in turn."""
    for extra in extras:
        for requirement in map(Requirement, optional[extra]):
            if canonicalize_name(requirement.name) == own:
                yield from _of_extras(sorted(requirement.extras), optional, own)
            else:
                yield requirement
