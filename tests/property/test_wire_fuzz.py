"""Coverage-guided fuzzing of what reads the market's and the broker's bytes: a short run for every test run, longer ones by hand."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
RUNS = 50_000


def test_no_bytes_of_the_market_the_broker_or_a_client_break_their_reader(tmp_path: Path) -> None:
    """A crash would be told with the input that caused it; `python -m fuzz.wire FOLDER FILE` runs that one again."""
    command = [
        sys.executable,
        "-m",
        "fuzz.wire",
        str(tmp_path / "corpus"),
        f"-runs={RUNS}",
        "-seed=1",
        "-max_len=800",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
