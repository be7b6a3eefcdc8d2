"""Compiled kernels give the same numbers on the day they are compiled and from their cache: digests of models depend on it."""

import os
import subprocess
import sys
from pathlib import Path

_FITS = """
import numpy as np
from tandem.quant.engle_granger import engle_granger_many
from tandem.quant.garch_selection import select_many

random = np.random.default_rng(0)
series = [random.standard_t(5, 1000) * np.exp(0.3 * np.sin(np.arange(1000) / 50)) for _ in range(2)]
walks = np.cumsum(random.standard_normal((500, 3)), axis=0)
print(repr(select_many(series)), engle_granger_many(walks, np.array([[0, 1], [1, 2]]), lags_max=12))
"""


def _numbers(cache: Path) -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", _FITS], env=environment, capture_output=True, text=True, check=True, timeout=300).stdout


def test_a_fresh_machine_fits_the_same_numbers_as_one_that_has_run_before(tmp_path: Path) -> None:
    """Sums in whatever order the compiler likes would differ: a function compiled alone and one inlined into another are two copies."""
    fresh = _numbers(tmp_path)
    assert list(tmp_path.rglob("*.nbc")), "nothing was cached: the second run would prove nothing"
    assert _numbers(tmp_path) == fresh
