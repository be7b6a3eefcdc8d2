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


def start(**environment: str) -> "subprocess.Popen[str]":
    """A tiny training in a new interpreter."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_the_same_bundle() -> None:
    """Other interpreters, hash seeds, time zones and numbers of threads: the digest is the same."""
    both = start(PYTHONHASHSEED="1", TZ="UTC", OMP_NUM_THREADS="1"), start(PYTHONHASHSEED="77", TZ="Asia/Tokyo", OMP_NUM_THREADS="2")
    answers = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    first, second = (answer[0].strip() for answer in answers)
    assert len(first) == 64
    assert second == first
