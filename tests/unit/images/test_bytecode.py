"""The step of a build that compiles what a start imports."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "images" / "bytecode.py"


def compile_imports(folder: Path, *modules: str) -> "subprocess.CompletedProcess[str]":
    """Run it; what it compiles goes into the folder and not beside our packages."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, SCRIPT, *modules], env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_what_an_import_brings_is_compiled_and_trusted(tmp_path: Path) -> None:
    """The module and what it imports itself; marked as not to be compared with its source (PEP 552: flags 1)."""
    done = compile_imports(tmp_path, "structlog")
    assert done.returncode == 0, done.stderr
    compiled = {path.name.partition(".")[0]: path for path in tmp_path.rglob("structlog/*.pyc")}
    assert {"__init__", "_config", "stdlib"} <= set(compiled)
    head = compiled["_config"].read_bytes()[:8]
    assert head[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(head[4:], "little") == 1
    assert not list(tmp_path.rglob("json/*.pyc")), "the standard library is the base image's"


def test_a_package_that_is_missing_stops_the_build(tmp_path: Path) -> None:
    """A lock that lacks something is found before anything is shipped."""
    done = compile_imports(tmp_path, "left_pad")
    assert done.returncode == 1
    assert "No module named 'left_pad'" in done.stderr
