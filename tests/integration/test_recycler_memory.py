"""The recycler's memory does not grow with the recording: a process of its own plays files of different lengths to the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorded_cases import CONFIG, OPEN_NS

_TICK_BYTES = 58  # of the sorted columns on disk: a tick of 32, its time, price and symbol again, and its place among its symbol's
_BOUND_MB = 200
_ROWS = 8_000_000
_SCHEMA = pa.schema([("symbol", pa.string()), ("ts", pa.timestamp("ns", tz="UTC")), ("price", pa.float64()), ("size", pa.int64())])

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")


def long_file(path: Path, rows: int) -> Path:
    """Trades of four symbols over one session, symbol after symbol: the order that needs the most of a merge by time. Made by seed."""
    random, each = np.random.default_rng(1), rows // 16
    step_ns = 23_000 * 10**9 // (rows // 4)
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for number in range(16):
            symbol, part = divmod(number, 4)
            columns = {
                "symbol": pa.array([("CVX", "KO", "PEP", "XOM")[symbol]] * each),
                "ts": pa.array(OPEN_NS + (np.arange(each) + part * each) * step_ns + symbol, pa.timestamp("ns", tz="UTC")),
                "price": np.round(60 + random.normal(0, 0.001, each).cumsum(), 2),
                "size": random.integers(1, 500, each),
            }
            writer.write_table(pa.table(columns, _SCHEMA))
    return path


def played(path: Path) -> dict[str, float]:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root / 'services'}:{root / 'tests'}", "TANDEM_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "recycler_memory", str(path), str(CONFIG / "fees.yaml")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def test_a_recording_much_larger_than_the_bound_is_replayed_within_it(tmp_path):
    assert _ROWS * _TICK_BYTES > 2 * _BOUND_MB * 2**20

    short, long = (played(long_file(tmp_path / f"{rows}.parquet", rows)) for rows in (_ROWS // 8, _ROWS))

    assert (short["ticks"], long["ticks"]) == (_ROWS // 8, _ROWS)
    assert long["peak_mb"] < _BOUND_MB
    assert long["own_mb"] - short["own_mb"] < 16
