"""The samples in config/samples are valid, and show what is worth showing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.rollout.crd import KINDS
from tandem.rollout.faults import parse
from tandem.rollout.resources import Strict

SAMPLES = Path(__file__).parents[3] / "config/samples"
MODELS = {kind.name: kind.model for kind in KINDS}


def documents() -> list[Any]:
    """Every document of every sample."""
    return [document for path in sorted(SAMPLES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["kind"])
def test_a_sample_is_valid(document: dict[str, Any]) -> None:
    """By the models; the API server takes the same ones in tests/integration/test_crds.py."""
    assert isinstance(parse(MODELS[document["kind"]], document), Strict)


def test_there_is_a_sample_of_each_kind_that_people_write() -> None:
    """Pairs have their own folder; rollouts are the operator's."""
    assert {document["kind"] for document in documents()} == {kind.name for kind in KINDS} - {"TradingPair", "ModelRollout"}
