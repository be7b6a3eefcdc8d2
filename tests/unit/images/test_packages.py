"""Each image holds what its processes import, at any depth and on any path, and none of what would only weigh."""

import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.utils import canonicalize_name

from tandem.cli.locks import pins

ROOT = Path(__file__).parents[3]
# By image: the modules that its processes begin with.
ENTRIES = {
    "services": ("tandem.ingestor.main", "tandem.recorder.main", "tandem.portfolio.main", "tandem.recycler.main", "tandem.cli.main"),
    "dashboard": ("tandem.dashboard.*", "tandem.dashboard.screens.*"),
    "forecaster": ("tandem.forecaster.main",),
    "operator": ("tandem.operator.*", "tandem.forecaster.replay_check"),
    "trainer": ("tandem.cli.train", "tandem.trainer.rebaseline_cli", "tandem.trainer.tuning_cli", "tandem.cli.main"),
}
TRAINING_ONLY = {"arch", "mlflow", "numba", "onnx", "optuna", "statsmodels", "torch", "triton"}


@cache
def graph() -> grimp.ImportGraph:
    """Who imports whom, imports within functions included."""
    return grimp.build_graph("tandem", include_external_packages=True, exclude_type_checking_imports=True)


def imported(image: str) -> set[str]:
    """The packages outside the standard library that the image's modules import."""
    begins = [name for entry in ENTRIES[image] for name in graph().find_matching_modules(entry)]
    assert len(begins) >= len(ENTRIES[image]), f"modules of {image} are gone: {ENTRIES[image]}"
    reached = set(begins).union(*map(graph().find_upstream_modules, begins))
    tops = {name.partition(".")[0] for name in reached}
    return tops - {"tandem"} - set(sys.stdlib_module_names)


def locked(image: str) -> set[str]:
    """The distributions of the image's lock."""
    return set(pins((ROOT / f"requirements/{image}.lock").read_text()))


@pytest.mark.parametrize("image", ENTRIES)
def test_an_image_holds_whatever_its_processes_import(image: str) -> None:
    """An import that only training needs, dragged into a service, fails here and not in a pod."""
    providers = packages_distributions()
    held = locked(image)
    missing = {name for name in imported(image) if not held & {canonicalize_name(one) for one in providers.get(name, [name])}}
    assert missing == set()


@pytest.mark.parametrize("image", ["services", "dashboard", "forecaster", "operator"])
def test_a_serving_image_holds_nothing_of_training(image: str) -> None:
    """Not torch, with or without CUDA, and not the compilers."""
    held = locked(image)
    assert held & TRAINING_ONLY == set()
    assert [name for name in held if name.startswith(("cuda-", "nvidia-cu", "nvidia-nccl"))] == []


def test_the_trainer_holds_torch() -> None:
    """The two tests above look at something."""
    assert {"torch", "mlflow", "numba"} <= locked("trainer")
    assert "torch" in imported("trainer")
    assert "kopf" in locked("operator")
