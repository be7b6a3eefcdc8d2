"""The images of the scenario, built without a registry: `build_all()`, or `python -m cluster.images` to make them beforehand.

Ours come from the repository's Dockerfile as it is. What it builds on and what the chart takes from a registry are stand-ins under the
official names, made of Debian's packages, a wheel and Kafka's artifacts: see standins/. They exist in the tests' own storage only.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.image_context import ROOT, Input, Recipe, debian_tar, kafka_jars, key, postgres_wheel, project_version
from cluster.image_store import Store
from cluster.steps import say
from tandem.domain.errors import Permanent, TandemError

UNPACKED_MB_MAX = 700  # of an image that serves
_STANDINS = Path(__file__).parent / "standins"
_HUB = "docker.io/library"
_OURS = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "config",
    "images",
    "operators",
    "pyproject.toml",
    "requirements",
    "services",
)

DEBIAN = Recipe(name=f"{_HUB}/debian:bookworm-slim", folder=_STANDINS / "debian", inputs=(Input("debian.tar", "bookworm-1", debian_tar),))
PYTHON = Recipe(name=f"{_HUB}/python:3.11-slim", folder=_STANDINS / "python", base=DEBIAN)
SERVERS = (
    Recipe(name=f"{_HUB}/postgres:18-bookworm", folder=_STANDINS / "postgres", base=DEBIAN, inputs=postgres_wheel()),
    Recipe(name=f"{_HUB}/redis:8-bookworm", folder=_STANDINS / "redis", base=DEBIAN),
    Recipe(name="docker.io/apache/kafka:4.1.1", folder=_STANDINS / "kafka", base=DEBIAN, inputs=(kafka_jars(),)),
)


def _ours(target: str, parts: Sequence[str] = _OURS) -> Recipe:
    return Recipe(name=f"{_HUB}/tandem-{target}:{project_version()}", folder=ROOT, target=target, base=PYTHON, parts=tuple(parts))


SERVING = tuple(map(_ours, ("services", "forecaster", "operator", "dashboard")))
MLFLOW = _ours(
    "mlflow", ("Dockerfile", "LICENSE", "images", "requirements/build.lock", "requirements/mlflow.lock", "services/tandem/health.py")
)
TRAINER = replace(_ours("trainer"), disk_bytes=45e9)  # torch with CUDA: seven gigabytes, several times over


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image as an archive that containerd imports."""

    name: str
    archive: Path
    unpacked_bytes: int


def build_all(*, trainer: bool = False) -> list[Path]:
    """The archives of all images that an installation needs, built where the cache lacks them. Raises Permanent.

    trainer: its image, too; with torch as the default index has it, seven gigabytes.
    """
    return [built.archive for built in build((*SERVERS, MLFLOW, *SERVING, *((TRAINER,) if trainer else ())))]


def build(recipes: Sequence[Recipe]) -> list[Built]:
    """The images of these recipes, in their order. Raises Permanent: a build fails, or a serving image is larger than it may be."""
    with Store.open() as store:
        made = [_archived(store, recipe) for recipe in recipes]
        store.drop_old({key(recipe) for recipe in (DEBIAN, PYTHON, *SERVERS, MLFLOW, *SERVING, TRAINER)})
    serving = {recipe.name for recipe in SERVING}
    for built in made:
        if built.name in serving and built.unpacked_bytes > UNPACKED_MB_MAX * 1e6:
            raise Permanent(f"{built.name} has {built.unpacked_bytes / 1e6:.0f} MB unpacked, may have {UNPACKED_MB_MAX}")
    return made


def _archived(store: Store, recipe: Recipe) -> Built:
    """The image's archive, from the cache or built now."""
    archive = store.archive(recipe)
    if not archive.exists():
        began_s = time.monotonic()
        say(f"building {recipe.name}")
        _ensure(store, recipe)
        store.export(recipe)
        say(f"  built in {time.monotonic() - began_s:.0f} s")
    return Built(name=recipe.name, archive=archive, unpacked_bytes=store.unpacked_bytes(archive))


def _ensure(store: Store, recipe: Recipe) -> None:
    """Have the image, and the one that it is built on, in the store under its name."""
    if store.has(recipe):
        return
    if recipe.base is not None:
        _ensure(store, recipe.base)
    store.build(recipe)


def main(arguments: list[str]) -> int:
    """Build and list them."""
    parser = argparse.ArgumentParser(prog="python -m cluster.images", description=__doc__)
    parser.add_argument("--trainer", action="store_true", help="the trainer's, too: 7 GB, and 45 on the way")
    options = parser.parse_args(arguments)
    try:
        for built in build((*SERVERS, MLFLOW, *SERVING, *((TRAINER,) if options.trainer else ()))):
            say(f"{built.unpacked_bytes / 1e6:6.0f} MB  {built.name}  {built.archive}")
    except TandemError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
