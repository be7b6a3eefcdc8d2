"""Training in processes of their own: the same bundle from each."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from model_cases import market, tiny_options
from tandem.domain.ids import PairId, SectorId
from tandem.trainer.main import SectorTask, train_sector

task = SectorTask(sector=SectorId("consumer"), bar="1d", slots=1, declared=(PairId("AAA-CCC"),), data_digest="d" * 64)
print(train_sector(task, market(700), tiny_options()).digest)
"""


def digest(**environment: str) -> str:
    """Of a tiny training in a new interpreter."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_two_processes_train_the_same_bundle() -> None:
    """Another interpreter, hash seed, time zone and number of threads: the digest is the same."""
    first = digest(PYTHONHASHSEED="1", TZ="UTC", OMP_NUM_THREADS="1")
    assert len(first) == 64
    assert digest(PYTHONHASHSEED="77", TZ="Asia/Tokyo", OMP_NUM_THREADS="2") == first
