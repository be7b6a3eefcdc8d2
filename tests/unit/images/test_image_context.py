"""Images of the cluster's scenario are built again when, and only when, something that decides them has changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.image_context import Input, Recipe, key
from cluster.image_store import Store
from cluster.images import MLFLOW, SERVING
from tandem.domain.errors import Permanent


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """An image of a folder, on another one."""
    for name in ("base", "image"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Containerfile").write_text(f"FROM scratch\nLABEL {name}=1\n")
    base = Recipe(name="localhost/base:1", folder=tmp_path / "base")
    return Recipe(name="localhost/image:1", folder=tmp_path / "image", base=base, inputs=(Input("jars", "1", Path),))


def fresh_key(recipe: Recipe) -> str:
    """As another process would find it."""
    key.cache_clear()
    return key(recipe)


def of_base(recipe: Recipe) -> Path:
    """The Containerfile of what it is built on."""
    assert recipe.base is not None
    return recipe.base.folder / "Containerfile"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: (r.folder / "Containerfile").write_text("FROM scratch\n"),
        lambda r: (r.folder / "run").write_text("#!/bin/sh\n"),
        lambda r: (r.folder / "Containerfile").chmod(0o755),
        lambda r: of_base(r).write_text("FROM scratch\n"),
    ],
    ids=["a file", "another file", "a mode", "the base"],
)
def test_a_change_of_its_files_makes_another_image(recipe: Recipe, change: Callable[[Recipe], object]) -> None:
    """And so does one of what it is built on."""
    before = fresh_key(recipe)
    change(recipe)
    assert fresh_key(recipe) != before


def test_what_comes_from_elsewhere_counts_by_its_state(recipe: Recipe) -> None:
    """The version of a wheel, the digest of a pom."""
    other = replace(recipe, inputs=(Input("jars", "2", Path),))
    assert fresh_key(other) != fresh_key(recipe)


@pytest.mark.parametrize("name", ["__pycache__/a.cpython-311.pyc", "kernels.nbi", "x.egg-info/PKG-INFO"])
def test_what_a_build_leaves_out_changes_nothing(recipe: Recipe, name: str) -> None:
    """Running the tests must not make the images old."""
    before = fresh_key(recipe)
    (recipe.folder / name).parent.mkdir(exist_ok=True)
    (recipe.folder / name).write_text("compiled")
    assert fresh_key(recipe) == before


def test_ours_differ_though_they_share_a_file() -> None:
    """One Dockerfile, an image for each target, each at a place of its own."""
    recipes = (*SERVING, MLFLOW)
    assert len({key(recipe) for recipe in recipes}) == len({recipe.label for recipe in recipes}) == len(recipes)


def test_a_build_does_not_begin_on_a_disk_that_it_would_fill(recipe: Recipe, tmp_path: Path) -> None:
    """What a full disk breaks is not only the build."""
    with pytest.raises(Permanent, match="GB free, the build needs 1000000000"):
        Store(tmp_path).build(replace(recipe, disk_bytes=1e18))
